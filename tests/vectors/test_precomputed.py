"""PRECOMPUTED: vectors of a file are taken as they are, or refused with the reason."""

import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.places import ROOT
from utils.handoff.parameters import ParameterError
from utils.handoff.vector_columns import vector_column
from utils.vectors import precomputed
from utils.vectors.precomputed import files_of, read_vectors
from utils.vectors.shards import Embeddings

LISTS = pa.list_(pa.float64())
MEAN = '[{"Mean": [1]}]'
VALUES = np.array([[3, 0.5], [1, 0.25], [2, 0.125]])
IDS = [30, 10, 20]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vectors.parquet"


def write(path, ids, embedding, kind=LISTS, id_kind=None):
    pq.write_table(pa.table({"movieId": pa.array(ids, id_kind), "embedding": pa.array(embedding, kind)}), path)
    return path


def as_json(folder, name="{}", inside=lambda movie, vector: {str(movie): vector}):
    folder.mkdir()
    for movie, vector in zip(IDS, VALUES.tolist(), strict=True):
        (folder / f"{name.format(movie)}.json").write_text(json.dumps(inside(movie, vector)))
    return folder


def as_one_json(path):
    path.write_text(json.dumps(dict(zip(map(str, IDS), VALUES.tolist(), strict=True))))
    return path


def as_npz(folder, **arrays):
    np.savez_compressed(folder / "vectors.npz", **arrays)
    return folder / "vectors.npz"


def as_npy(folder, ids="30\n10\n20\n"):
    np.save(folder / "vit.npy", VALUES)
    if isinstance(ids, str):
        (folder / "vit.ids.txt").write_text(ids)
    elif ids is not None:
        np.save(folder / "vit.ids.npy", ids)
    return folder / "vit.npy"


def in_groups(folder):
    table = pa.table({"movieId": IDS, "embedding": vector_column(VALUES)})
    pq.write_table(table, folder / "a.parquet", row_group_size=2)
    return folder / "a.parquet"


LAYOUTS = {
    "lists": lambda folder: write(folder / "a.parquet", IDS, VALUES.tolist()),
    "large lists": lambda folder: write(folder / "a.parquet", IDS, VALUES.tolist(), pa.large_list(pa.float32())),
    "lists of one width, in groups": in_groups,
    "npz": lambda folder: as_npz(folder, ids=np.array(IDS, "int32"), vectors=VALUES),
    "npz in Fortran's order": lambda folder: as_npz(folder, ids=np.array(IDS), vectors=np.asfortranarray(VALUES)),
    "npy and ids.npy": lambda folder: as_npy(folder, np.array(IDS)),
    "npy and ids.txt": lambda folder: as_npy(folder),
    "npy and ids.txt of Windows": lambda folder: as_npy(folder, "30\r\n10\r\n20"),
    "M3L, a file per movie": lambda folder: as_json(folder / "minilm"),
    "M3L, a file per encoder": lambda folder: as_one_json(folder / "text_mpnet.json"),
    "Popcorn, trailers": lambda f: as_json(f / "agg", "{:010}", lambda movie, vector: [{"Max": [9.0], "Mean": vector}]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_vectors_in_order_of_movie_without_unknown_ones(tmp_path, layout, capsys):
    found = read_vectors(LAYOUTS[layout](tmp_path), [10, 30, 40])
    assert found.ids.tolist() == [10, 30]
    assert found.vectors.dtype == np.float32
    assert found.vectors.tolist() == [[1, 0.25], [3, 0.5]]
    assert (found.metadata["width"], found.metadata["unknown"]) == (2, 1)
    assert "2 vectors, 2 wide; 1 of unknown movies left out" in capsys.readouterr().out


def test_the_hash_is_of_all_files_that_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = as_npy(tmp_path)
    assert files_of("~/vit.npy") == [path, tmp_path / "vit.ids.txt"]
    before = read_vectors("~/vit.npy", IDS).metadata["file_sha256"]
    (tmp_path / "vit.ids.txt").write_text("10\n30\n20\n")
    assert read_vectors(path, IDS).metadata["file_sha256"] != before
    folder = as_json(tmp_path / "minilm")
    (folder / "notes.txt").write_text("not read")
    assert files_of(folder) == [folder / f"{movie}.json" for movie in (10, 20, 30)]
    before = read_vectors(folder, IDS).metadata["file_sha256"]
    (folder / "10.json").write_text('{"10": [1.0, 1.0]}')
    assert read_vectors(folder, IDS).metadata["file_sha256"] != before


@pytest.mark.parametrize(
    ("ids", "embedding", "kind", "message"),
    [
        ([1, 1, 2], [[1.0], [1.0], [1.0]], LISTS, "movieId 1 comes 2 times"),
        ([1, 2], [[1.0, 2.0], [1.0]], LISTS, r"one width in all rows.* has \[2, 1\]"),
        ([1, 2], [[], []], LISTS, r"at least 1, but has \[0\]"),
        ([], [], LISTS, r"at least 1, but has \[\]"),
        ([1, 2], [[1.0], [float("nan")]], LISTS, r"1 vectors hold NaN or infinity.*row 1 \(movieId 2\)"),
        ([1, 2], [[1e300], [1.0]], LISTS, r"row 0 \(movieId 1\)"),
        ([1, 2], [[1.0, None], [1.0, 2.0]], LISTS, r"row 0 \(movieId 1\)"),
        ([1, 2], [None, [1.0]], LISTS, "1 rows lack movieId or embedding"),
        ([1, None], [[1.0], [1.0]], LISTS, "1 rows lack movieId or embedding"),
        (np.array([2**64 - 1], "uint64"), [[1.0]], LISTS, "movieId 18446744073709551615 does not fit 64 bits"),
        (["one"], [[1.0]], LISTS, "'one' is not a movieId: digits and nothing else"),
        ([True], [[1.0]], LISTS, "the ids are (bool|object)"),
        ([1], ["[1.0, 2.0]"], pa.string(), "embedding is string, expected lists of floats"),
        ([1], [[1]], pa.list_(pa.int64()), "expected lists of floats"),
        ([8, 9], [[1.0], [1.0]], LISTS, r"none of its 2 movieIds \(first: \[8, 9\]\) is in the catalogue of 2 movies"),
    ],
)
def test_parquet_that_is_refused(path, ids, embedding, kind, message):
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
    csv = path.with_suffix(".csv")
    csv.write_text("movieId,a\n1,2\n")
    with pytest.raises(ParameterError, match=r"cannot be read as .csv.* docs/own-data.md turns others into the first"):
        read_vectors(csv, [1])
    pq.write_table(pa.table({"movieId": [1], "vector": [[1.0]]}), path)
    with pytest.raises(ParameterError, match=r"one column of each of \['embedding'\]; it has \['movieId', 'vector'\]"):
        read_vectors(path, [1])


def put(path, data=b"not what it says"):
    path.write_bytes(data)
    return path


def lying(path, shape, numbers=2):
    """Write a .npy of some numbers that says it has ``shape``."""
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
        stream.write(b"\0" * 8 * numbers)
    return path


def lying_npz(folder, shape):
    lying(folder / "vectors.npy", shape, 40_000)
    np.save(folder / "ids.npy", np.array(IDS))
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("ids.npy", "vectors.npy"):
            archive.write(folder / name, name)
    return folder / "a.npz"


def folder_of(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name.removeprefix('f')}.json").write_text(text)
    return folder


REFUSED = {
    "no ids in npz": (lambda f: as_npz(f, movies=np.array(IDS), vectors=VALUES), "no array 'ids' in it, only"),
    "objects in npz": (
        lambda f: as_npz(f, ids=np.array(IDS), vectors=np.array([[1.0], "a", None], dtype=object)),
        "it holds object, not numbers; objects are never unpickled",
    ),
    "ids of floats": (lambda f: as_npz(f, ids=np.array(IDS, float), vectors=VALUES), r"the ids are float64 \[3\]"),
    "ids in a table": (lambda f: as_npz(f, ids=np.array([IDS]), vectors=VALUES), r"the ids are int64 \[1, 3\]"),
    "one vector only": (lambda f: as_npz(f, ids=np.array(IDS), vectors=VALUES[0]), r"the vectors are float64 \[2\]"),
    "whole numbers": (lambda f: as_npz(f, ids=np.array(IDS), vectors=VALUES.astype(int)), "expected floats"),
    "an id too few in npz": (lambda f: as_npz(f, ids=np.array(IDS[:2]), vectors=VALUES), "3 vectors but 2 movieIds"),
    "ids too many in npz": (lambda f: as_npz(f, ids=np.arange(10, 40), vectors=VALUES), "3 vectors but 30 movieIds"),
    "an id too few in ids.npy": (lambda f: as_npy(f, np.array(IDS[:2])), "3 vectors but 2 movieIds"),
    "an id too few in ids.txt": (lambda f: as_npy(f, "30\n10\n"), "3 vectors but 2 movieIds"),
    "damaged npz": (lambda f: put(f / "a.npz"), "it cannot be read as .npz"),
    "damaged npy": (lambda f: put(as_npy(f)), "vit.npy cannot be read as an array of numbers"),
    "npy alone": (lambda f: as_npy(f, None), "the movieIds of its rows, in vit.ids.npy or .ids.txt"),
    "a tebibyte": (lambda f: lying(as_npy(f), (1 << 37, 1)), "says it has 137,438,953,472 numbers, more than fit"),
    "a negative number of rows": (lambda f: lying(as_npy(f), (-1, 4)), r"its shape is \(-1, 4\)"),
    "negative in npz": (lambda f: lying_npz(f, (-1, 4)), r"its shape is \(-1, 4\)"),
    "a side that is no number": (lambda f: lying(as_npy(f), (True, 2)), r"its shape is \(True, 2\)"),
    "numbers of rows": (lambda f: as_npz(f, ids=np.arange(3), vectors=VALUES), "its ids are 0 to 2: numbers of rows"),
    "json of a list": (lambda f: put(f / "a.json", b"[1, 2]"), r"it is not an object \{movieId: vector\}"),
    "half a json": (lambda f: put(f / "a.json", b'{"10": [1'), "a.json cannot be read as JSON"),
    "an empty json": (lambda f: put(f / "a.json", b"{}"), r"the vectors are float32 \[0\]"),
    "json without end": (lambda f: put(f / "a.json", b"[" * 100_000), "a.json cannot be read as JSON"),
    "json of two widths": (
        lambda f: put(f / "a.json", b'{"10": [1, 2], "20": [1]}'),
        "2 .movieId 10., 1 .movieId 20",
    ),
    "json of texts": (lambda f: put(f / "a.json", b'{"10": ["1"]}'), "movieId 10 does not have a list of numbers"),
    "json of a number": (lambda f: put(f / "a.json", b'{"10": 1}'), "movieId 10 does not have a list of numbers"),
    "json of nothing": (lambda f: put(f / "a.json", b'{"10": []}'), r"the vectors are float32 \[1, 0\]"),
    "json of truths": (lambda f: put(f / "a.json", b'{"10": [true]}'), "movieId 10 does not have a list of numbers"),
    "json of huge numbers": (lambda f: put(f / "a.json", b'{"10": [1%s]}' % (b"0" * 400)), "too large"),
    "a key twice": (lambda f: put(f / "a.json", b'{"10": [1.0], "10": [2.0]}'), "a key comes twice"),
    "a movie by two keys": (lambda f: put(f / "a.json", b'{"10": [1], "010": [2]}'), "movieId 10 comes 2 times"),
    "another movie inside": (lambda f: folder_of(f / "a", f10='{"11": [1]}'), "10.json.* the one key '10'"),
    "two movies inside": (lambda f: folder_of(f / "a", f10='{"10": [1], "20": [2]}'), "10.json.* the one key '10'"),
    "a movie in two files": (lambda f: folder_of(f / "a", f10=MEAN, f010=MEAN), "movieId 10 comes 2 times"),
    "an empty folder": (lambda f: folder_of(f / "a"), r"the vectors are float32 \[0\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_of_other_layouts_that_are_refused(tmp_path, case):
    write_it, message = REFUSED[case]
    path = write_it(tmp_path)
    with pytest.raises(ParameterError, match=message) as refused:
        read_vectors(path, [10, 20, 30])
    assert str(refused.value).startswith(f"PRECOMPUTED='{path}': ")


@pytest.mark.parametrize("movie", ["tt30", "3_0", "30.0", " 30", "30 ", "+30", "-30", "", "\uff13\uff10", "9" * 30])
def test_ids_are_digits_and_nothing_else(tmp_path, movie):
    layouts = {
        "txt": lambda: as_npy(tmp_path, f"10\n{movie}\n20\n"),
        "json": lambda: put(tmp_path / "a.json", json.dumps({movie: [1.0]}).encode()),
        "name": lambda: folder_of(tmp_path / "a", **{f"f{movie}": json.dumps({movie: [1.0]})}),
    }
    for layout in layouts.values():
        with pytest.raises(ParameterError, match=r"is not a movieId: digits and nothing else|is not an object with"):
            read_vectors(layout(), [10, 20, 30])


@pytest.mark.parametrize("layout", ["parquet", "npz", "npy", "txt", "json", "folder"])
def test_vectors_are_found_by_original_ids(tmp_path, layout):
    """Ids are texts, two of them digits of which one would be the movieId of another movie."""
    originals, ids = {"B01": 907, "000225501X": 20, "0042": 30, "20": 10}, ["B01", "000225501X", "0042", "20", "B99"]
    vectors, path = np.arange(10, dtype="float32").reshape(5, 2), tmp_path / f"a.{layout}"
    if layout == "parquet":
        pq.write_table(
            pa.table({"movieId": ids, "embedding": pa.array(vectors.tolist(), pa.list_(pa.float32()))}), path
        )
    elif layout == "npz":
        np.savez(path, ids=np.array(ids), vectors=vectors)
    elif layout in ("npy", "txt"):
        path = tmp_path / "a.npy"
        np.save(path, vectors)
        if layout == "npy":
            np.save(tmp_path / "a.ids.npy", np.array(ids))
        else:
            (tmp_path / "a.ids.txt").write_text("\n".join(ids))
    elif layout == "json":
        path.write_text(json.dumps(dict(zip(ids, vectors.tolist(), strict=True))))
    else:
        named = zip(ids, vectors.tolist(), strict=True)
        path = folder_of(tmp_path / "a", **{f"f{name}": json.dumps({name: vector}) for name, vector in named})
    found = read_vectors(path, [10, 20, 30, 907], originals)
    assert found.ids.tolist() == [10, 20, 30, 907] and found.vectors[:, 0].tolist() == [6, 2, 4, 0]
    assert found.metadata["unknown"] == 1


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


@pytest.mark.parametrize("kind", ["parquet", "npz", "npy", "json"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_pipes_and_devices_are_not_waited_for(tmp_path, kind, make):
    make(tmp_path / f"v.{kind}")
    with pytest.raises(ParameterError, match=rf"v\.{kind}': v\.{kind} is a pipe, a device or a folder, not a file\."):
        read_vectors(tmp_path / f"v.{kind}", IDS)


def test_files_over_the_limit_are_refused(tmp_path, monkeypatch, path):
    monkeypatch.setattr(precomputed, "MAX_BYTES", 1000)
    write(path, range(1, 300), [[1.0, 2.0]] * 299)
    with pytest.raises(ParameterError, match=r"bytes, over the limit of 1,000. Write it as float32 parquet"):
        read_vectors(path, [1])
    with pytest.raises(ParameterError, match=r"it has 16,128 bytes, over the limit of 1,000"):
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


def test_the_recipe_of_the_docs_turns_csv_into_parquet(tmp_path, monkeypatch):
    for part, movies in enumerate((IDS[:2], IDS[2:])):
        rows = [f"{movie},{','.join(map(str, VALUES[IDS.index(movie)]))}" for movie in movies]
        (tmp_path / f"thumbnails_ml25m_part{part}.csv").write_text("\n".join(["movie_id,embd_0,embd_1", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    (recipe,) = re.findall(r"```python\n([^`]*thumbnails[^`]*)```", (ROOT / "docs" / "own-data.md").read_text())
    exec(recipe, {})
    found = read_vectors("vectors.parquet", IDS)
    assert found.ids.tolist() == [10, 20, 30]
    assert found.vectors.tolist() == [[1, 0.25], [2, 0.125], [3, 0.5]]


def test_real_vectors_of_posters():
    given = os.environ.get("POSTER_EMBEDDINGS")
    if not given:
        pytest.skip("POSTER_EMBEDDINGS does not name a file of real poster vectors")
    ids = pq.read_table(given, columns=["movieId"])["movieId"].to_pylist()
    found = read_vectors(Path(given), [*ids[1:], -1])
    assert found.vectors.shape == (len(ids) - 1, 1280)
    assert found.metadata["unknown"] == 1
