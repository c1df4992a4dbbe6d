"""Columns of tables that hold vectors, as arrays."""

import numpy as np
import pyarrow as pa


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


def vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Return a fixed_size_list<float32>[d] column of n rows as a float32 array [n, d], without a copy per row."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return array.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)


def vector_column(values: np.ndarray) -> pa.Array:
    """Return a float32 array [n, d] as a fixed_size_list<float32>[d] column."""
    flat = pa.array(values.astype("float32", copy=False).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
