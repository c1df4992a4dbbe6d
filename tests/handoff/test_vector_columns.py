"""Columns of vectors as arrays, and back."""

import numpy as np
import pyarrow as pa

from utils.handoff.vector_columns import vector_column, vectors


def test_vectors_round_trip_through_slices_and_chunks() -> None:
    values = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    column = vector_column(values)
    assert column.type == pa.list_(pa.float32(), 3)
    assert np.array_equal(vectors(pa.chunked_array([column])), values)
    assert np.array_equal(vectors(pa.chunked_array([column]).slice(2, 5)), values[2:7])
    chunked = pa.chunked_array([column.slice(7), column.slice(0, 0), column.slice(1, 4)])
    assert np.array_equal(vectors(chunked), values[[7, 8, 9, 1, 2, 3, 4]])


def test_no_vectors_keep_their_width() -> None:
    empty = vector_column(np.zeros((0, 3)))
    assert vectors(pa.chunked_array([empty])).shape == (0, 3)
    assert vectors(pa.chunked_array([], empty.type)).shape == (0, 3)
