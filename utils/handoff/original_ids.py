"""The ids that a reader's own files have: what a movieId or userId of ours stands for, and how it is found by it.

``movies_converted`` and ``users`` carry them as ``originalId``, null where our number is the very id of the file.
"""

import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from utils.handoff.store import Store


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
