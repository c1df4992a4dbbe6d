"""Helpers of the notebooks, one module a stage: see CONTRIBUTING.md for the map."""

from utils.machine.threads import THREADS as THREADS  # before anything that starts threads is loaded
