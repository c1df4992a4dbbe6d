"""PRECOMPUTED: vectors of a file are taken as they are, or refused with the reason."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from utils.artefacts import open_store, vector_column, vectors
from utils.parameters import ParameterError
from utils.precomputed import read_vectors

LISTS = pa.list_(pa.float64())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vectors.parquet"


def write(path, ids, embedding, kind=LISTS, id_kind=None):
    pq.write_table(pa.table({"movieId": pa.array(ids, id_kind), "embedding": pa.array(embedding, kind)}), path)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        LISTS,
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 2),
        pa.list_(pa.float64(), 2),
    ],
    ids=str,
)
def test_each_list_type_is_read_in_order_of_movie(path, kind):
    write(path, [30, 10, 20], [[3, 0.5], [1, 0.25], [2, 0.125]], kind)
    found = read_vectors(path, [10, 20, 30, 40])
    assert found.ids.tolist() == [10, 20, 30]
    assert found.vectors.dtype == np.float32
    assert found.vectors.tolist() == [[1, 0.25], [2, 0.125], [3, 0.5]]


def test_several_row_groups_and_a_pathlike_string(path):
    table = pa.table({"movieId": range(10), "embedding": vector_column(np.arange(20.0).reshape(10, 2))})
    pq.write_table(table, path, row_group_size=3)
    assert read_vectors(str(path), range(10)).vectors.tolist() == np.arange(20.0).reshape(10, 2).tolist()


def test_unknown_movies_are_counted_and_left_out(path, capsys):
    write(path, [1, 2, 3], [[1.0], [2.0], [3.0]])
    found = read_vectors(path, [3, 4])
    assert found.ids.tolist() == [3]
    assert found.vectors.tolist() == [[3.0]]
    assert found.metadata["unknown"] == 2
    assert found.metadata["width"] == 1
    assert "1 vectors, 1 wide; 2 of unknown movies left out" in capsys.readouterr().out


def test_round_trip_through_the_hand_off(path, tmp_path):
    values = np.random.default_rng(0).standard_normal((5, 7)).astype("float32")
    pq.write_table(pa.table({"movieId": range(5), "embedding": vector_column(values)}), path)
    store = open_store(tmp_path, "toy", 42, "03-Feature-Extraction-Poster")
    store.write("poster_embeddings", *read_vectors(path, range(5)).hand_off())
    np.testing.assert_array_equal(vectors(store.read("poster_embeddings")["embedding"]), values)
    assert store.metadata("poster_embeddings")["encoder"] == "precomputed"
    again = read_vectors(store.path("poster_embeddings"), range(5))
    np.testing.assert_array_equal(again.vectors, values)


@pytest.mark.parametrize(
    ("ids", "embedding", "kind", "message"),
    [
        ([1, 1, 2], [[1.0], [1.0], [1.0]], LISTS, "movieId 1 comes 2 times"),
        ([1, 2], [[1.0, 2.0], [1.0]], LISTS, "one width in all rows.* 1 of width 2, 1 of width 1"),
        ([1, 2], [[], []], LISTS, "at least 1.* 2 of width 0"),
        ([], [], LISTS, "at least 1, but there are: none at all"),
        ([1, 2], [[1.0], [float("nan")]], LISTS, r"1 vectors hold NaN or infinity.*row 1 \(movieId 2\)"),
        ([1, 2], [[float("inf")], [1.0]], LISTS, r"row 0 \(movieId 1\)"),
        ([1, 2], [[1e300], [1.0]], LISTS, r"row 0 \(movieId 1\)"),
        ([1, 2], [[1.0, None], [1.0, 2.0]], LISTS, r"row 0 \(movieId 1\)"),
        ([1, 2], [None, [1.0]], LISTS, "embedding is empty in 1 rows"),
        ([1, None], [[1.0], [1.0]], LISTS, "movieId is empty in 1 rows"),
        (np.array([2**64 - 1], "uint64"), [[1.0]], LISTS, "movieId does not fit 64 bits"),
        (["tt1"], [[1.0]], LISTS, "movieId is string, expected whole numbers"),
        ([1], ["[1.0, 2.0]"], pa.string(), "embedding is string, expected lists of floats"),
        ([1], [[1]], pa.list_(pa.int64()), "expected lists of floats"),
        ([8, 9], [[1.0], [1.0]], LISTS, r"none of its 2 movieIds \(first: \[8, 9\]\) is in the catalogue of 2 movies"),
    ],
)
def test_refusals(path, ids, embedding, kind, message):
    write(path, ids, embedding, kind, pa.int64() if len(ids) == 0 else None)
    with pytest.raises(ParameterError, match=message) as refused:
        read_vectors(path, [1, 2])
    assert str(refused.value).startswith(f"PRECOMPUTED='{path}': ")


def test_a_file_that_is_missing_or_of_another_kind(path):
    with pytest.raises(ParameterError, match=r"there is no such file. Check the path. Expected a parquet file"):
        read_vectors(path, [1])
    path.write_text("movieId,embedding\n1,2\n")
    with pytest.raises(ParameterError, match=r"cannot be read as parquet"):
        read_vectors(path, [1])
    pq.write_table(pa.table({"movieId": [1], "vector": [[1.0]]}), path)
    with pytest.raises(ParameterError, match=r"one column of each of \['embedding'\]; it has \['movieId', 'vector'\]"):
        read_vectors(path, [1])


def test_real_vectors_of_posters():
    given = os.environ.get("POSTER_EMBEDDINGS")
    if not given:
        pytest.skip("POSTER_EMBEDDINGS does not name a file of real poster vectors")
    ids = pq.read_table(given, columns=["movieId"])["movieId"].to_pylist()
    found = read_vectors(Path(given), [*ids[1:], -1])
    assert found.vectors.shape == (len(ids) - 1, 1280)
    assert found.metadata["unknown"] == 1
