"""PRECOMPUTED: ready-made vectors from a file, in place of an encoder, for 03 and 04.

For those who have vectors of posters or texts but may not, or cannot, have the posters and texts.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from utils.artefacts import sha256
from utils.parameters import ParameterError
from utils.shards import Embeddings

LAYOUT = "Expected a parquet file with the columns movieId (whole numbers) and embedding (lists of d floats)."


def read_vectors(path: str | Path, catalogue_ids: Iterable[int]) -> Embeddings:
    """Return the vectors of a parquet file (movieId, embedding), of those movies that the catalogue has.

    ``embedding`` may be a fixed_size_list or a list of equal lengths, of any float type; it is given as
    float32 [n, d] in ascending movieId. Vectors of unknown movies are left out, and counted in the
    metadata. Raises ParameterError for a file that is missing or in another layout, vectors that are not
    finite or of unequal width, a movie that comes twice, and a file without any movie of the catalogue.
    """
    path = Path(path)
    table = _read(path)
    ids, found = _ids(path, table["movieId"]), _matrix(path, table["embedding"])
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < len(ids):
        raise _error(path, f"movieId {distinct[counts > 1][0]} comes {counts.max()} times. Keep one vector a movie.")
    finite = np.isfinite(found).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise _error(
            path,
            f"{np.count_nonzero(~finite):,} vectors hold NaN or infinity as float32, the first in row {row} "
            f"(movieId {ids[row]}). Leave such movies out of the file.",
        )
    catalogue = np.fromiter(catalogue_ids, "int64")
    known = np.isin(ids, catalogue)
    if not known.any():
        raise _error(
            path,
            f"none of its {len(ids):,} movieIds (first: {ids[:3].tolist()}) is in the catalogue of {len(catalogue):,} "
            f"movies (first: {catalogue[:3].tolist()}). movieId must be MovieLens's, and of the same DATASET.",
        )
    order = np.flatnonzero(known)[np.argsort(ids[known], kind="stable")]
    unknown = int(np.count_nonzero(~known))
    print(f"{path.name}: {len(order):,} vectors, {found.shape[1]} wide; {unknown:,} of unknown movies left out.")
    metadata = {
        "encoder": "precomputed",
        "weights_sha256": None,
        "width": found.shape[1],
        "preprocessing": f"vectors of {path.name}",
        "file_sha256": sha256(path),
        "source": {"precomputed": len(order)},
        "unknown": unknown,
    }
    return Embeddings(ids[order], found[order], (), metadata)


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise _error(path, f"there is no such file. Check the path. {LAYOUT}")
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            absent = [column for column in ("movieId", "embedding") if names.count(column) != 1]
            if absent:
                raise _error(path, f"there must be one column of each of {absent}; it has {names}. {LAYOUT}")
            return file.read(columns=["movieId", "embedding"])
    except (pa.ArrowException, OSError) as error:
        raise _error(path, f"it cannot be read as parquet ({error}). {LAYOUT}") from error


def _ids(path: Path, column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_integer(column.type):
        raise _error(path, f"movieId is {column.type}, expected whole numbers. {LAYOUT}")
    if column.null_count:
        raise _error(path, f"movieId is empty in {column.null_count:,} rows. Give each vector its movie.")
    try:
        return column.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise _error(path, f"movieId does not fit 64 bits ({error}). {LAYOUT}") from error


def _matrix(path: Path, column: pa.ChunkedArray) -> np.ndarray:
    """Return the lists as float32 [n, d]; chunk by chunk, so that the whole is there only once."""
    kind = column.type
    nested = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not nested or not pa.types.is_floating(kind.value_type):
        raise _error(path, f"embedding is {kind}, expected lists of floats. {LAYOUT}")
    if column.null_count:
        raise _error(path, f"embedding is empty in {column.null_count:,} rows. Leave such movies out of the file.")
    widths = pc.value_counts(pc.list_value_length(column)).to_pylist()
    if len(widths) != 1 or not widths[0]["values"]:
        listed = ", ".join(f"{w['counts']:,} of width {w['values']}" for w in widths[:4]) or "none at all"
        raise _error(path, f"embedding must have one width in all rows, and at least 1, but there are: {listed}.")
    width = widths[0]["values"]
    found = np.empty((len(column), width), "float32")
    start = 0
    with np.errstate(over="ignore"):
        for chunk in column.chunks:
            # A number that is missing inside a list becomes NaN here, which is refused with the others.
            numbers = chunk.flatten().to_numpy(zero_copy_only=False)
            found[start : start + len(chunk)] = numbers.reshape(-1, width)
            start += len(chunk)
    return found


def _error(path: Path, message: str) -> ParameterError:
    return ParameterError(f"PRECOMPUTED={str(path)!r}: {message}")
