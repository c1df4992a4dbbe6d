"""Helpers of the notebooks, one room a stage: see CONTRIBUTING.md for the map."""

from utils.machine import threads

threads.settle()
