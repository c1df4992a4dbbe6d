"""What the tables of ratings and of movies share: their error and the check of their columns."""

from collections.abc import Iterable
from pathlib import Path


class DataError(ValueError):
    """A file of ratings or movies cannot be used; the message names the file, the line, and what to do."""


def check_columns(path: Path, found: list[str], needed: Iterable[str]) -> None:
    """Raise DataError unless ``found`` has each of ``needed``, once."""
    missing = [name for name in needed if name not in found]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}. Found: {', '.join(found)[:300] or 'nothing'}. "
            f"Expected: {', '.join(needed)}."
        )
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise DataError(f"{path} has the column {', '.join(twice)} more than once. Keep one.")
