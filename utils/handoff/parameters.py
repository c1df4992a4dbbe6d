"""Checks of notebook parameters: each error says which parameter is wrong, how, and what it may be.

Every notebook makes its checks right after its parameters, so that a wrong value stops it before any work.
"""

import re
from collections.abc import Sequence
from pathlib import Path

PRECISIONS = ("auto", "float32", "bfloat16")
"""Values of PRECISION."""


class ParameterError(ValueError):
    """A notebook parameter has a value that the notebook cannot use."""


def choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Raise ParameterError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        listed = ", ".join(repr(option) for option in allowed)
        raise ParameterError(f"{name}={value!r} is not known. Choose one of: {listed}.")


def fraction(name: str, value: object, *, below: float = 1.0, zero: bool = True) -> None:
    """Raise ParameterError unless ``value`` is a number in [0, below), or (0, below) without zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < below or not (value or zero):
        least = "0 or more" if zero else "more than 0"
        raise ParameterError(f"{name}={value!r} must be a number of {least} and less than {below:g}.")


def whole(name: str, value: object, *, least: int = 1, most: int | None = None, none: bool = False) -> None:
    """Raise ParameterError unless ``value`` is an int in [least, most], or None where ``none`` allows it."""
    if value is None and none:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" + (f" and at most {most}" if most is not None else "")
        or_none = ", or None" if none else ""
        raise ParameterError(f"{name}={value!r} must be a whole number {bounds}{or_none}.")


def expanded(name: str, value: object) -> Path:
    """Return a path that a parameter names, with ``~`` as the reader's home; raise ParameterError for anything else."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ParameterError(f"{name}={value!r} must be the path of a file or folder, as text.")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:  # "~nobody"
        raise ParameterError(f"{name}={str(value)!r}: there is no such home folder. Write the path in full.") from error


def dataset_name(value: object) -> None:
    """Raise ParameterError unless ``value`` can only be the name of a folder, never a path."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ParameterError(
            f"DATASET={value!r} must be 1 to 64 letters, digits, dots, dashes or underscores, "
            "starting with a letter or digit: it names a folder below DATA_DIR."
        )
