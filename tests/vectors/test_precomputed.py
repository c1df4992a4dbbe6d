"""PRECOMPUTED: vectors of a file are taken as they are, or refused with the reason."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from utils.handoff.parameters import ParameterError
from utils.handoff.store import open_store
from utils.handoff.vector_columns import vector_column, vectors
from utils.vectors import vector_files
from utils.vectors.precomputed import read_vectors
from utils.vectors.shards import Embeddings

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
    with pytest.raises(ParameterError, match=r"there is no such file or folder. Check the path. Expected .parquet"):
        read_vectors(path, [1])
    path.write_text("movieId,embedding\n1,2\n")
    with pytest.raises(ParameterError, match=r"cannot be read as .parquet"):
        read_vectors(path, [1])
    pq.write_table(pa.table({"movieId": [1], "vector": [[1.0]]}), path)
    with pytest.raises(ParameterError, match=r"one column of each of \['embedding'\]; it has \['movieId', 'vector'\]"):
        read_vectors(path, [1])


VALUES = np.array([[3, 0.5], [1, 0.25], [2, 0.125]])
IDS = [30, 10, 20]


def as_json(folder, suffix="", inside=lambda movie, vector: {str(movie): vector}):
    folder.mkdir()
    for movie, vector in zip(IDS, VALUES.tolist(), strict=True):
        (folder / f"{suffix}{movie}.json").write_text(json.dumps(inside(movie, vector)))
    return folder


def as_npy(folder, write_ids):
    np.save(folder / "vit.npy", VALUES)
    write_ids(folder)
    return folder / "vit.npy"


def as_npz(folder, **arrays):
    np.savez_compressed(folder / "vectors.npz", **arrays)
    return folder / "vectors.npz"


def as_csv(path, header="movie_id,embd_0,embd_1", rows=range(3)):
    lines = [",".join(map(str, [IDS[row], *VALUES[row]])) for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def as_parts(folder):
    folder.mkdir()
    as_csv(folder / "thumbnails_ml25m_part1.csv", rows=[0, 1])
    as_csv(folder / "thumbnails_ml25m_part2.csv", rows=[2])
    return folder


def as_one_json(path):
    path.write_text(json.dumps(dict(zip(map(str, IDS), VALUES.tolist(), strict=True))))
    return path


LAYOUTS = {
    "npz": lambda folder: as_npz(folder, ids=np.array(IDS, "int32"), vectors=VALUES),
    "npz in Fortran's order": lambda folder: as_npz(folder, ids=np.array(IDS), vectors=np.asfortranarray(VALUES)),
    "npy and ids.npy": lambda folder: as_npy(folder, lambda f: np.save(f / "vit.ids.npy", np.array(IDS))),
    "npy and ids.txt": lambda folder: as_npy(folder, lambda f: (f / "vit.ids.txt").write_text("30\n10\n20\n")),
    "npy and ids.json": lambda folder: as_npy(
        folder, lambda f: (f / "vit.ids.json").write_text('{"20": 2, "30": 0, "10": 1}')
    ),
    "M3L, a file a movie": lambda folder: as_json(folder / "minilm"),
    "a list a movie": lambda folder: as_json(folder / "lists", inside=lambda movie, vector: vector),
    "M3L, a file an encoder": lambda folder: as_one_json(folder / "text_mpnet.json"),
    "Popcorn, a part": lambda folder: as_csv(folder / "part.csv"),
    "Popcorn, all parts": lambda folder: as_parts(folder / "embedding_clip"),
    "Popcorn, trailers": lambda folder: as_json(
        folder / "agg", "00000000", lambda movie, vector: [{"Max": [9.0, 9.0], "Mean": vector}]
    ),
    "csv": lambda folder: as_csv(folder / "own.csv", "movieId,a,b"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_vectors(tmp_path, layout):
    found = read_vectors(LAYOUTS[layout](tmp_path), [10, 20, 30, 40])
    assert found.ids.tolist() == [10, 20, 30]
    assert found.vectors.dtype == np.float32
    assert found.vectors.tolist() == [[1, 0.25], [2, 0.125], [3, 0.5]]
    assert found.metadata["width"] == 2


def damaged(path, data=b"not what it says"):
    path.write_bytes(data)
    return path


def lying_npy(path):
    """Write a .npy of 16 bytes that says it has a tebibyte."""
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 37, 1)}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(b"\0" * 16)
    return path


def folder_of(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


REFUSED = {
    "no ids in npz": (
        lambda f: as_npz(f, movies=np.array(IDS), vectors=VALUES),
        r"no array 'ids' in it, only \['movies'",
    ),
    "objects in npz": (
        lambda f: as_npz(f, ids=np.array(IDS), vectors=np.array([[1.0], "a", None], dtype=object)),
        "it holds object, not numbers; objects are never unpickled",
    ),
    "ids of floats": (lambda f: as_npz(f, ids=np.array(IDS, float), vectors=VALUES), r"the ids are float64 \[3\]"),
    "one vector only": (lambda f: as_npz(f, ids=np.array(IDS), vectors=VALUES[0]), r"the vectors are float64 \[2\]"),
    "whole numbers": (lambda f: as_npz(f, ids=np.array(IDS), vectors=VALUES.astype(int)), "expected floats"),
    "damaged npz": (lambda f: damaged(f / "a.npz"), "it cannot be read as .npz"),
    "damaged npy": (lambda f: damaged(f / "a.npy"), "a.npy cannot be read as an array of numbers"),
    "lying npy": (lambda f: lying_npy(f / "a.npy"), "says it has 137,438,953,472 numbers, more than fit"),
    "npy alone": (lambda f: as_npy(f, lambda _: None), "movieIds of its 3 rows, in one of vit.ids.npy, vit.ids.txt"),
    "too few ids": (
        lambda f: as_npy(f, lambda g: (g / "vit.ids.txt").write_text("30\n10\n")),
        "it has 3 rows but vit.ids.txt has 2 movieIds",
    ),
    "names for ids": (
        lambda f: as_npy(f, lambda g: (g / "vit.ids.txt").write_text("tt30\ntt10\n")),
        "vit.ids.txt is not in a layout that is known",
    ),
    "a row too many": (
        lambda f: as_npy(f, lambda g: (g / "vit.ids.json").write_text('{"30": 3}')),
        r"vit.ids.json names row 3 of 3 \(the first is 0\)",
    ),
    "numbers of rows": (
        lambda f: as_npz(f, ids=np.arange(3), vectors=VALUES),
        "its ids are 0 to 2: numbers of rows, not movieIds",
    ),
    "movie twice": (lambda f: as_npz(f, ids=np.array([10, 10, 20]), vectors=VALUES), "movieId 10 comes 2 times"),
    "not finite": (lambda f: as_npz(f, ids=np.array(IDS), vectors=VALUES * np.inf), "3 vectors hold NaN or infinity"),
    "json of a list": (lambda f: damaged(f / "a.json", b"[1, 2]"), r"an object \{movieId: vector\} was expected"),
    "half a json": (lambda f: damaged(f / "a.json", b'{"10": [1'), "a.json is not in a layout that is known"),
    "json of two widths": (
        lambda f: damaged(f / "a.json", b'{"10": [1, 2], "20": [1, 2, 3]}'),
        r"one width.* 2 \(movieId 10\), 3 \(movieId 20\)",
    ),
    "json of texts": (
        lambda f: damaged(f / "a.json", b'{"10": ["1", true]}'),
        "the vector of movieId 10 does not hold numbers only",
    ),
    "json of names": (lambda f: damaged(f / "a.json", b'{"Heat": [1.0]}'), "invalid literal for int"),
    "another movie inside": (lambda f: folder_of(f / "a", **{"10__json": '{"11": [1]}'}), "10.json.*no '10' in it"),
    "one movie in two files": (
        lambda f: folder_of(f / "a", **{"10__json": "[1.0]", "010__json": "[1.0]"}),
        "two of its .json files are of the same movieId",
    ),
    "an empty folder": (lambda f: folder_of(f / "a"), "the folder has 0 .csv and 0 .json files"),
    "csv without ids": (lambda f: as_csv(f / "a.csv", "id,a,b"), "one column movieId or movie_id; it has"),
    "csv of texts": (lambda f: damaged(f / "a.csv", b"movieId,a\n10,x\n"), "column 'a' does not hold numbers only"),
    "csv parts of two widths": (
        lambda f: folder_of(f / "a", a__csv="movieId,a\n10,1\n", b__csv="movieId,a,b\n20,1,2\n"),
        r"its files have vectors of widths \[1, 2\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_of_other_layouts(tmp_path, case):
    write_it, message = REFUSED[case]
    path = write_it(tmp_path)
    with pytest.raises(ParameterError, match=message) as refused:
        read_vectors(path, [10, 20, 30])
    assert str(refused.value).startswith(f"PRECOMPUTED='{path}': ")


def test_a_pickle_in_an_archive_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    path = tmp_path / "vectors.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "trap.npy", "ids.npy")
        archive.write(tmp_path / "trap.npy", "vectors.npy")
    with pytest.raises(ParameterError, match="objects are never unpickled"):
        read_vectors(path, [1])
    assert not (tmp_path / "ran").exists()


def test_files_over_the_limit_are_refused(tmp_path, monkeypatch, path):
    monkeypatch.setattr(vector_files, "MAX_BYTES", 1000)
    write(path, range(1, 300), [[1.0, 2.0]] * 299)
    with pytest.raises(ParameterError, match=r"bytes, over the limit of 1,000. Write it as float32 parquet"):
        read_vectors(path, [1])
    with pytest.raises(ParameterError, match=r"it has 16,000 bytes, over the limit of 1,000"):
        read_vectors(as_npz(tmp_path, ids=np.array([1]), vectors=np.zeros((1, 2000))), [1])


def test_our_own_vectors_go_through_unchanged_to_the_bit(tmp_path, open_for):
    store = open_for("poster_embeddings")
    values = np.random.default_rng(1).standard_normal((40, 1280)).astype("float32")
    ids = np.sort(np.random.default_rng(2).permutation(10_000)[:40]) + 1
    made = Embeddings(ids, values, (), {"encoder": "efficientnet-lite0", "width": 1280, "source": {"local": 40}})
    store.write("poster_embeddings", *made.hand_off())
    before = store.read("poster_embeddings")
    copy = tmp_path / "shared.parquet"
    copy.write_bytes(store.path("poster_embeddings").read_bytes())
    store.write("poster_embeddings", *read_vectors(copy, ids.tolist()).hand_off())
    after = store.read("poster_embeddings")
    assert after.schema.equals(before.schema)
    assert after.equals(before)
    assert store.metadata("poster_embeddings")["encoder"] == "precomputed"


def test_real_vectors_of_posters():
    given = os.environ.get("POSTER_EMBEDDINGS")
    if not given:
        pytest.skip("POSTER_EMBEDDINGS does not name a file of real poster vectors")
    ids = pq.read_table(given, columns=["movieId"])["movieId"].to_pylist()
    found = read_vectors(Path(given), [*ids[1:], -1])
    assert found.vectors.shape == (len(ids) - 1, 1280)
    assert found.metadata["unknown"] == 1
