"""Helpers of the notebooks, one module a stage: see CONTRIBUTING.md for the map."""
