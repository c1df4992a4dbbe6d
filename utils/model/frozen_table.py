"""Stage 07: the frozen table of content, whose row ``content_code`` is the feature-store row of that movie.

That one property is what the series stands on: ``check_content`` proves it from the files, bit for bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa

from utils.handoff import vector_columns
from utils.handoff.contract import BLOCKS, FLAGS, WIDEST
from utils.handoff.store import HandOffError
from utils.model.hugectr_files import read_sparse


@dataclass(frozen=True)
class ContentTable:
    """The frozen table: ``vectors`` float32 [every content_code, width] and its ``columns`` by name."""

    vectors: np.ndarray
    columns: Mapping[str, tuple[int, int]]


def content_columns(widths: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return the column ranges of a frozen table: the blocks, each ``widths`` wide, then their flags.

    Flags are left out where all together would not fit in 1024 columns.
    """
    if sum(widths.values()) + len(widths) <= WIDEST:
        widths = dict(widths) | {FLAGS[block]: 1 for block in widths}
    stops = accumulate(widths.values())
    return {name: (stop - widths[name], stop) for name, stop in zip(widths, stops, strict=True)}


def content_table(features: pa.Table, codes: pa.Table) -> ContentTable:
    """Lay the feature store out by content_code.

    Rows that belong to no movie (the reserved codes) hold the mean of all movies, flagged as absent.
    Raises HandOffError where a movie has no code, or the reverse.
    """
    _check_same_movies(features, codes)
    parts = {block: vector_columns.vectors(features[block]) for block in BLOCKS}
    columns = content_columns({block: values.shape[1] for block, values in parts.items()})
    rows = codes["content_code"].to_numpy()
    vectors = np.zeros((rows.max() + 1, max(stop for _, stop in columns.values())), dtype=np.float32)
    parts |= {name: features[name].to_numpy()[:, None] for name in FLAGS.values() if name in columns}
    reserved = np.setdiff1d(np.arange(len(vectors)), rows)
    for name, (start, stop) in columns.items():
        vectors[rows, start:stop] = parts[name]
        if name in BLOCKS:
            vectors[reserved, start:stop] = parts[name].mean(axis=0)
    return ContentTable(vectors, columns)


def _check_same_movies(features: pa.Table, codes: pa.Table) -> None:
    if not np.array_equal(features["movieId"].to_numpy(), codes["movieId"].to_numpy()):
        raise HandOffError(
            "movie_codes.parquet and feature_store.parquet do not list the same movies. Run notebooks 05 and 06 again."
        )


def check_content(folder: Path, features: pa.Table, codes: pa.Table) -> int:
    """Prove the property the series stands on, from the files: the frozen row of every movie is its feature vector.

    Reads the table back, looks every movie up by its content_code as HugeCTR would by key, and compares
    each named part bit for bit. Returns the movies checked; raises HandOffError naming the first that differs.
    """
    columns = content_columns({block: features[block].type.list_size for block in BLOCKS})
    keys, vectors = read_sparse(folder, max(stop for _, stop in columns.values()))
    _check_same_movies(features, codes)
    code_of = dict(zip(codes["movieId"].to_pylist(), codes["content_code"].to_pylist(), strict=True))
    movie_ids = features["movieId"].to_pylist()
    most = max([len(keys) - 1, *code_of.values()])
    if not np.array_equal(np.sort(keys), np.arange(most + 1)):
        raise HandOffError(f"{folder}: keys must be every code from 0 to {most}, each once. Run notebook 07 again.")
    position = np.empty(len(keys), dtype=np.int64)
    position[keys] = np.arange(len(keys))
    rows = vectors[position[[code_of[movie] for movie in movie_ids]]]
    for name, (start, stop) in columns.items():
        column = features[name]
        wanted = column.to_numpy()[:, None] if name in FLAGS.values() else vector_columns.vectors(column)
        same = (rows[:, start:stop] == wanted.astype(np.float32)).all(axis=1)
        if not same.all():
            movie = movie_ids[int(np.argmin(same))]
            raise HandOffError(f"{folder}: the {name} columns of movieId {movie} are not its feature-store row")
    return len(movie_ids)
