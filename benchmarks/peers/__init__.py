"""Peers: recommenders of other libraries, on our split and our vectors, judged by our metrics.

They need numpy 2 and a compiler, so they live in an environment of their own and meet ours in files only:

    python3.11 -m benchmarks.peers.install                 # makes benchmarks/peers/.venv; says what cannot be had
    benchmarks/peers/.venv/bin/python -m benchmarks.peers.run --data data/ml-100k --out peers.csv
    python -m benchmarks.peers.evaluate --data data/ml-100k --lists peers.parquet --out peers-metrics.csv

``run`` reads the hand-offs of 01 and 05 and writes two files: ``peers.csv``, one row a model and seed with its
settings or the error that kept it away, and ``peers.parquet``, the lists of recommendations. ``evaluate``, in the
main environment, turns the lists into rows of ``metrics.csv``; no library judges itself.
"""
