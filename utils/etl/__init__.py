"""Stage 06: ratings as codes that HugeCTR reads."""
