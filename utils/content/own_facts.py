"""Facts of the reader's own, FACTS=path: a csv or parquet with movieId and any of the columns of ``movie_facts``.

Lists in a csv are separated by bars, "Joel Coen|Ethan Coen". Nothing in the file is trusted: a value that cannot be
used stops the run and names its row.
"""

import math
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from utils.content.movie import Facts, Movie
from utils.content.providers.base import Missing, NotGiven
from utils.content.providers.local import of_catalogue
from utils.handoff.contract import FACT_LISTS
from utils.handoff.own_data import movie_id
from utils.handoff.store import unpacked_bytes
from utils.ratings.columns import DataError, which
from utils.ratings.movie_table import LAST_YEAR, clean
from utils.ratings.tables import SIZE_LIMIT, open_text, text_rows

COLUMNS = ("movieId", *FACT_LISTS, "runtime", "year")
MOST_NAMES, LONGEST_NAME = 1000, 200
MOST_MINUTES = 100_000


class OwnFacts:
    """The reader's table, read and checked against the catalogue's ids."""

    name = "own"

    def __init__(self, path: Path, movie_ids: Collection[int], originals: Mapping[str, int]) -> None:
        """Read ``path``, whose movieIds may be ``originals``.

        Raises DataError naming the row for a value that cannot be used, ParameterError where no movie is known.
        """
        self._path, self._strangers = path, 0
        found: dict[int, Facts] = {}
        for row, values in _rows(path):
            where = f"{path}, row {row}"
            given = values["movieId"]
            movie = movie_id(given.strip(), originals) if isinstance(given, str) else _whole(given)
            if movie is None and isinstance(given, str) and originals:
                self._strangers += 1
                continue
            if movie is None or movie < 0:
                raise DataError(f"{where}: movieId {given!r} is not a whole number of 0 or more. Mend it.")
            if movie in found:
                raise DataError(f"{where}: movieId {movie} is there twice. Remove one of the two.")
            found[movie] = _facts(where, values)
        self._facts = of_catalogue(found, set(movie_ids), str(path))
        self._strangers += len(found) - len(self._facts)

    def describe(self) -> str:
        """Return how many movies the table knows."""
        return (
            f"own: facts of {len(self._facts):,} movies from {self._path.name} ({self._strangers:,} of unknown movies)"
        )

    def facts_of(self, movies: Sequence[Movie]) -> dict[int, Facts | NotGiven]:
        """Return the facts of each movie, by movieId."""
        missing = Missing(f"not in {self._path.name}")
        return {movie.movieId: self._facts.get(movie.movieId, missing) for movie in movies}


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (row, values by column): of a csv the line and texts, of parquet numbers, texts and lists."""
    if path.suffix.lower() == ".csv":
        with tempfile.TemporaryDirectory() as scratch:
            table = open_text(path, Path(scratch))
            which(path, list(table.columns), ("movieId",), (), {})
            _check_names(path, table.columns)
            yield from text_rows(path, table)
        return
    try:
        file = pq.ParquetFile(path)
        which(path, file.schema_arrow.names, ("movieId",), (), {})
        _check_names(path, file.schema_arrow.names)
        size = unpacked_bytes(file)
        if size > SIZE_LIMIT:
            raise DataError(f"{path} unpacks to {size:,} bytes, over the limit of {SIZE_LIMIT:,} for such a file.")
        yield from enumerate(file.read().to_pylist(), start=1)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet ({error}). Give a parquet or csv file.") from error


def _check_names(path: Path, names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in COLUMNS]:
        raise DataError(f"{path} has a column {unknown[0]!r}. Name it as one of {', '.join(COLUMNS)}, or remove it.")


def _facts(where: str, values: Mapping[str, Any]) -> Facts:
    names = {column: _names(where, column, values.get(column)) for column in FACT_LISTS}
    runtime, year = _number(values.get("runtime")), _number(values.get("year"))
    if runtime is not None and not 0 < runtime <= MOST_MINUTES:
        raise DataError(
            f"{where}: runtime {values['runtime']!r} is not a number of minutes. Mend it, or leave it empty."
        )
    if year is not None and not (year and year.is_integer() and -LAST_YEAR <= year <= LAST_YEAR):
        raise DataError(f"{where}: year {values['year']!r} is not a year. Mend it, or leave it empty.")
    return Facts(names, runtime, None if year is None else int(year), "own")


def _names(where: str, column: str, value: object) -> tuple[str, ...]:
    listed = value.split("|") if isinstance(value, str) else [] if value is None else value
    if not isinstance(listed, list) or not all(name is None or isinstance(name, str) for name in listed):
        raise DataError(f"{where}: {column} {str(value)[:80]!r} is not a list of texts. Mend it, or leave it empty.")
    names = tuple(dict.fromkeys(name for each in listed if (name := clean(each or ""))))
    if len(names) > MOST_NAMES or any(len(name) > LONGEST_NAME for name in names):
        raise DataError(
            f"{where}: {column} holds {len(names):,} names, the longest of {max(map(len, names)):,} letters; at most "
            f"{MOST_NAMES:,} names of {LONGEST_NAME} letters are read. Are they separated by bars?"
        )
    return names


def _number(value: object) -> float | None:
    """Return a number; None where nothing is given, NaN where it is no number."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
