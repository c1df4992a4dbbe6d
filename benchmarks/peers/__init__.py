"""Recommenders of other libraries on our split and our vectors, judged by our metrics: ``make peers``, then ``run``."""
