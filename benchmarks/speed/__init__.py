"""How fast each stage is, against what a user would otherwise do and against the way of the original series."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The project. ``utils.series.runner`` has it too, but loads papermill, which takes longer than many a case."""
