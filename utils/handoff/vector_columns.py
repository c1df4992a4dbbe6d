"""Columns of vectors, fixed_size_list<float32>[d] in parquet, as float32 arrays [n, d], and the reverse."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LAYOUTS = (
    "Expected .parquet (movieId, embedding), .npz (ids, vectors), .npy with .ids.npy, .ids.txt or .ids.json beside it, "
    ".json ({movieId: vector}), .csv (movieId, then numbers), or a folder of <movieId>.json or of .csv files."
)


class VectorFileError(ValueError):
    """A file of vectors cannot be read; the message says why, to be put behind the name of the file."""


def id_column(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_integer(column.type):
        raise VectorFileError(f"movieId is {column.type}, expected whole numbers. {LAYOUTS}")
    if column.null_count:
        raise VectorFileError(f"movieId is empty in {column.null_count:,} rows. Give each vector its movie.")
    try:
        return column.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise VectorFileError(f"movieId does not fit 64 bits ({error}). {LAYOUTS}") from error


def list_column(column: pa.ChunkedArray) -> np.ndarray:
    """Return the lists as float32 [n, d], copied chunk by chunk so that memory holds them once."""
    kind = column.type
    nested = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not nested or not pa.types.is_floating(kind.value_type):
        raise VectorFileError(f"embedding is {kind}, expected lists of floats. {LAYOUTS}")
    if column.null_count:
        raise VectorFileError(f"embedding is empty in {column.null_count:,} rows. Leave such movies out of the file.")
    widths = pc.value_counts(pc.list_value_length(column)).to_pylist()
    if len(widths) != 1 or not widths[0]["values"]:
        listed = ", ".join(f"{w['counts']:,} of width {w['values']}" for w in widths[:4]) or "none at all"
        raise VectorFileError(f"embedding must have one width in all rows, and at least 1, but there are: {listed}.")
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


class Stacked:
    """A fixed_size_list<float32>[d] column of n rows that is indexed like a float32 array [n, d].

    Only the rows asked for are copied; the whole array is never made.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        """Take the chunks as they are, without a copy."""
        width = column.type.list_size
        self._parts = [chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks]
        self._starts = np.cumsum([0, *map(len, self._parts)])
        self.shape = len(column), width

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return a copy of rows, places int64 [m] or a slice: float32 [m, d]."""
        rows = np.arange(len(self))[rows]
        found = np.empty((len(rows), self.shape[1]), np.float32)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for part in np.unique(part_of):
            here = part_of == part
            found[here] = self._parts[part][rows[here] - self._starts[part]]
        return found


def is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Return a fixed_size_list<float32>[d] column of n rows as a float32 array [n, d], without a copy per row."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return array.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)


def vector_column(values: np.ndarray) -> pa.Array:
    """Return a float32 array [n, d] as a fixed_size_list<float32>[d] column."""
    flat = pa.array(values.astype("float32", copy=False).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
