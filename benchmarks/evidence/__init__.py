"""The full study of notebook 07's question, on several data sets and splits: ``make evidence``."""
