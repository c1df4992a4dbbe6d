"""A strict stand-in for the Python module of HugeCTR 25.03. It trains nothing: it checks everything.

It exists because a script for HugeCTR needs a GPU to run, while nearly all that can be wrong with it
can be seen without one. Put the folder above on PYTHONPATH and run the script in its data folder: it
ends with exit code 0, or with the name of the defect (``errors``). Every call is checked against
the table of HugeCTR's arguments (``api``), every layer against its shapes (``graph``), the data
against what the parquet reader assumes (``reader``), and, where the environment variable
HUGECTR_STAND_IN_TRUTH names the folder with the raw files, every vector that a row looks up against
the feature store (``truth``).
"""

from typing import Any

from . import api
from .errors import StandInError, UnknownName
from .model import Model

__version__ = api.TABLE["version"]
CreateSolver = api.function("CreateSolver", "Solver")
CreateOptimizer = api.function("CreateOptimizer", "OptParamsPy")
_SURFACE = {**api.ENUMS, **{name: api.RECORDS[name] for name in api.TABLE["classes"]}}
globals().update(_SURFACE)
__all__ = ["CreateOptimizer", "CreateSolver", "Model", "StandInError", *_SURFACE]


def __getattr__(name: str) -> Any:
    raise UnknownName(f"module hugectr has no attribute {name!r} (as far as this stand-in knows)")
