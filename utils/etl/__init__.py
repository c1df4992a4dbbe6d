"""Stage 06: ratings as codes that HugeCTR reads, and the rows that a model learns ranking from."""
