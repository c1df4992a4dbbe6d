"""What 01 found out about a reader's own data and later notebooks need: what is a like, and whose ids ours stand for.

Likes stand in the metadata of ``train.parquet``. ``movies_converted`` and ``users`` carry the ids of the reader's files
as ``originalId``, null where our number is the very id of the file.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from utils.handoff.manifest import HandOffError
from utils.handoff.store import Store


@dataclass(frozen=True)
class Likes:
    """A rating above ``above`` is a like. ``feedback`` is "explicit", or "implicit", where every row is one.

    ``low`` and ``high`` are the ends of the scale, of counts the least and the most.
    """

    feedback: str = "explicit"
    low: float = 0.5
    high: float = 5.0
    above: float = 3.0

    def of(self, rating: np.ndarray) -> np.ndarray:
        """Return which ratings float [n] are likes, bool [n]."""
        return np.asarray(rating > self.above)

    def metadata(self) -> Mapping[str, Any]:
        """Return what ``train.parquet`` carries of it."""
        return {"likes": asdict(self)}

    def __str__(self) -> str:
        if self.feedback == "implicit":
            return "implicit feedback: every row is a like"
        return f"ratings from {self.low:g} to {self.high:g}; a like is above {self.above:g}"


STARS = Likes()
"""Those of MovieLens, from half a star to five: what a ``train.parquet`` means that does not say."""


def likes_of(store: Store) -> Likes:
    """Return what 01 found to be a like. Raises HandOffError where that is of another shape."""
    said = store.metadata("train").get("likes", {})
    try:
        return Likes(**said)
    except TypeError as error:
        raise HandOffError(f"{store.path('train')} does not say what a like is ({error}). Run 01 again.") from error


def by_original(movies: pa.Table) -> dict[str, int]:
    """Return the movieId of each movie of ``movies_converted`` that has an original id, by it."""
    pairs = zip(movies["originalId"].to_pylist(), movies["movieId"].to_pylist(), strict=True)
    return {original: number for original, number in pairs if original is not None}


def movie_id(text: str, originals: Mapping[str, int]) -> int | None:
    """Return the movieId that a text of the reader's names: an original id, or else digits; None for anything else."""
    found = originals.get(text)
    return int(text) if found is None and re.fullmatch("[0-9]{1,18}", text) else found


def with_originals(table: pa.Table, store: Store) -> pa.Table:
    """Return a table of userId and movieId with ``originalUserId`` and ``originalMovieId``."""
    for name, column, source in (
        ("originalUserId", "userId", store.read("users")),
        ("originalMovieId", "movieId", store.read("movies_converted", ["movieId", "originalId"])),
    ):
        table = table.append_column(name, original_of(table[column], source[column], source["originalId"]))
    return table


def original_of(ids: pa.ChunkedArray, known: pa.ChunkedArray, originals: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the original of each of ``ids``, null where there is none."""
    if originals.null_count == len(originals):
        return pa.chunked_array([pa.nulls(len(ids), pa.string())])
    return originals.cast(pa.string()).take(pc.index_in(ids, known.combine_chunks()))
