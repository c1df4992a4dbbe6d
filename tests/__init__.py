"""Tests, one folder a room."""

from utils.machine.threads import THREADS as THREADS  # before PyTorch is loaded
