"""What this machine can do: packages, GPUs, memory, and clusters of processes."""
