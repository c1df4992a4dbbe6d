"""Hand-offs: what exists is whole, of this data set, fresh, and of the right columns; the rest is refused by name."""

import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Open
from tests.places import ROOT
from utils.handoff import contract, manifest
from utils.handoff.atomic import DataFolderError, sha256
from utils.handoff.contract import ARTEFACTS
from utils.handoff.manifest import HandOffError
from utils.handoff.parameters import ParameterError
from utils.handoff.store import GROUP, group_rows, open_store, read_parquet
from utils.handoff.vector_columns import vector_column


def enriched(synopsis: str = "A toy comes alive.") -> pa.Table:
    columns = ("synopsis", "synopsis_source", "poster_path", "poster_source")
    return pa.table({"movieId": [1, 2]} | dict.fromkeys(columns, pa.array([synopsis, None])))


def embeddings(width: int = 3) -> pa.Table:
    return pa.table({"movieId": [1, 2], "embedding": vector_column(np.arange(2 * width).reshape(2, width))})


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# Writing


def test_round_trip(open_for: Open, ratings: pa.Table) -> None:
    store = open_for("train")
    path = store.write("train", ratings, metadata={"note": "ours"})
    assert path == store.folder / "train.parquet"
    assert store.read("train").equals(ratings)
    assert store.read("train", ["rating"]).column_names == ["rating"]
    described = store.metadata("train")
    assert described["note"] == "ours"
    assert (described["dataset"], described["seed"], described["version"]) == ("toy", 42, contract.VERSION)
    assert list(store.folder.rglob(".*.tmp")) == []


def test_types_are_cast_to_the_contract(open_for: Open) -> None:
    columns = {
        "movieId": pa.array([1], pa.int32()),
        "title": pa.array(["Babe"], pa.large_string()),
        "year": pa.array([1995], pa.int64()),
        "genres": pa.array([[]], pa.large_list(pa.large_string())),
        "imdbId": pa.array([None], pa.null()),
        "tmdbId": pa.array([None], pa.null()),
        "originalId": pa.array([None], pa.null()),
    }
    store = open_for("movies_converted")
    store.write("movies_converted", pa.table(columns))
    read = store.read("movies_converted")
    assert {name: read.schema.field(name).type for name in columns} == ARTEFACTS["movies_converted"].columns


def test_a_table_without_the_columns_is_not_written(open_for: Open) -> None:
    store = open_for("train")
    with pytest.raises(HandOffError, match=r"train.parquet: columns \['rating', 'timestamp'\] are missing"):
        store.write("train", pa.table({"userId": [1], "movieId": [1]}))
    with pytest.raises(HandOffError, match=r"column 'embedding' is list<.*expected fixed_size_list<float32>\[d\]"):
        open_for("text_embeddings").write("text_embeddings", pa.table({"movieId": [1], "embedding": [[1.0]]}))
    assert list(store.folder.glob("*.parquet")) == []


def test_only_its_own_notebook_writes_a_file(open_for: Open, ratings: pa.Table) -> None:
    with pytest.raises(AssertionError, match="02-Data-Enrichment may not write train: 01-Download-Convert does"):
        open_for("enriched").write("train", ratings)


def test_a_full_disk_leaves_what_was_there(open_for: Open, ratings: pa.Table) -> None:
    store = open_for("train")
    store.write("train", ratings)
    before = sha256(store.path("train"))
    # A process whose files may be 4 KB at most meets EFBIG where a full disk gives ENOSPC.
    code = f"""
        import resource, signal
        import numpy as np, pyarrow as pa
        from utils.handoff.store import open_store
        store = open_store({str(store.folder.parent)!r}, "toy", 42, "01-Download-Convert")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        many = np.random.default_rng(0).integers(0, 2**60, 20000)
        store.write("train", pa.table({{
            "userId": many, "movieId": many, "rating": (many % 5).astype("float32"), "timestamp": many}}))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "DataFolderError: No space left to write" in done.stderr
    assert "What was there before is unharmed. Free some space or set DATA_DIR to a larger disk" in done.stderr
    assert sha256(store.path("train")) == before
    assert store.read("train").equals(ratings)
    assert list(store.folder.rglob(".*.tmp")) == []


# Opening


def test_the_home_folder_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert open_store("~/mine", "toy", 42, "01-Download-Convert").folder == tmp_path / "mine" / "toy"
    assert open_store(Path("~"), "toy", 42, "01-Download-Convert").cache == tmp_path / ".cache"
    with pytest.raises(ParameterError, match="DATA_DIR='~no-such-user/x': there is no such home folder"):
        open_store("~no-such-user/x", "toy", 42, "01-Download-Convert")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "toy"]


def test_a_file_in_place_of_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("I am a file")
    with pytest.raises(DataFolderError, match=r"DATA_DIR='.*data': cannot write in .*toy .*Set DATA_DIR to a folder"):
        open_store(tmp_path / "data", "toy", 42, "01-Download-Convert")


@pytest.mark.parametrize(
    ("name", "seed", "wanted"),
    [
        ("..", 42, "DATASET='..' must be 1 to 64 letters"),
        ("a/b", 42, "DATASET='a/b' must be 1 to 64 letters"),
        ("toy", -1, "SEED=-1 must be a whole number of at least 0 and at most 4294967295"),
        ("toy", 2**32, "SEED=4294967296 must be a whole number"),
    ],
)
def test_a_name_that_is_a_path_and_a_seed_out_of_range_are_refused(
    tmp_path: Path, name: str, seed: int, wanted: str
) -> None:
    with pytest.raises(ParameterError, match=wanted):
        open_store(tmp_path, name, seed, "01-Download-Convert")
    assert list(tmp_path.iterdir()) == []


def test_left_overs_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    (folder / "checkpoints").mkdir(parents=True)
    dead = dead_process()
    (folder / f".half.{dead}.tmp").mkdir()
    (folder / f".half.{dead}.tmp" / "part").touch()
    (folder / "checkpoints" / f".run.pt.{dead}.tmp").touch()
    (folder / ".nonsense.tmp").touch()
    alive = folder / f".train.parquet.{os.getpid()}.tmp"
    alive.touch()
    (folder / "mine.tmp").touch()
    open_store(tmp_path, "toy", 42, "01-Download-Convert")
    assert sorted(path.name for path in folder.rglob("*")) == sorted([alive.name, "checkpoints", "mine.tmp"])


def test_a_folder_caught_between_two_renames_is_put_back(tmp_path: Path) -> None:
    dead = dead_process()
    aside = tmp_path / "toy" / f".posters.aside.{dead}.tmp"
    aside.mkdir(parents=True)
    (aside / "1.png").touch()
    folder = open_store(tmp_path, "toy", 42, "02-Data-Enrichment").folder
    assert [path.name for path in folder.iterdir()] == ["posters"]
    assert [path.name for path in (folder / "posters").iterdir()] == ["1.png"]


# Reading


def test_a_missing_file_and_another_dataset_seed_or_version_are_refused(
    open_for: Open, ratings: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, again = open_for("train"), "Run 01-Download-Convert.ipynb"
    with pytest.raises(HandOffError, match=rf"train.parquet does not exist. {again} first \(DATASET='toy'\)"):
        open_for("feature_store").read("train")
    store.write("train", ratings)
    with pytest.raises(HandOffError, match=rf"train.parquet was written for SEED=42, not 7. {again}"):
        open_for("enriched", seed=7).read("train")
    copy = store.folder.parent / "other"
    store.folder.rename(copy)
    other = open_for("enriched", dataset="other")
    with pytest.raises(HandOffError, match=rf"was written for DATASET='toy', not 'other'. {again}"):
        other.read("train")
    (copy / "manifest.json").unlink()  # The file itself says so, too.
    with pytest.raises(HandOffError, match="was written for DATASET='toy', not 'other'"):
        other.read("train")
    copy.rename(store.folder)
    monkeypatch.setattr("utils.handoff.store.VERSION", contract.VERSION + 1)
    wanted = rf"was written for schema version={contract.VERSION}, not {contract.VERSION + 1}. {again}"
    with pytest.raises(HandOffError, match=wanted):
        open_for("enriched").read("train")


def write_chain(open_for: Open) -> None:
    open_for("enriched").write("enriched", enriched())
    for name in ("poster_embeddings", "text_embeddings"):
        store = open_for(name)
        store.read("enriched")
        store.write(name, embeddings())
    store = open_for("feature_store")
    for name in ("poster_embeddings", "text_embeddings"):
        store.read(name)
    vector = vector_column(np.zeros((2, 3)))
    there = pa.array([True, False])
    blocks, flags = dict.fromkeys(contract.BLOCKS, vector), dict.fromkeys(contract.FLAGS.values(), there)
    store.write("feature_store", pa.table({"movieId": [1, 2]} | blocks | flags))


def test_a_stale_file_is_refused_and_so_is_what_was_made_from_it(open_for: Open) -> None:
    write_chain(open_for)
    reader = open_for("movie_codes")
    reader.read("feature_store")
    open_for("enriched").write("enriched", enriched())
    reader.read("poster_embeddings")  # The same content again is no change.
    open_for("enriched").write("enriched", enriched("Another story."))
    older = "was made from an older enriched.parquet, which has changed since. Run"
    with pytest.raises(
        HandOffError, match=f"poster_embeddings.parquet {older} 03-Feature-Extraction-Poster.ipynb again"
    ):
        reader.read("poster_embeddings")
    with pytest.raises(HandOffError, match=f"(poster|text)_embeddings.parquet {older}"):
        reader.read("feature_store")


def test_what_a_notebook_reads_back_is_not_an_input_of_its_own_files(open_for: Open, ratings: pa.Table) -> None:
    store = open_for("train")
    store.write("train", ratings)
    store.read("train")
    store.write("train", ratings.slice(1))
    store.write("valid", ratings)
    assert store.manifest()["train"]["inputs"] == {}
    open_for("enriched").read("valid")


@pytest.mark.parametrize(
    ("name", "change", "wanted"),
    [
        (
            "train",
            lambda table: table.drop_columns(["timestamp"]),
            r"train.parquet: must have one column 'timestamp', but has .*'rating'\]. Run 01-Download",
        ),
        (
            "train",
            lambda table: table.set_column(2, "rating", table["rating"].cast(pa.float64())),
            "train.parquet: column 'rating' is double, expected float. Run 01-Download-Convert.ipynb again",
        ),
        (
            "text_embeddings",
            lambda table: table.set_column(1, "embedding", pa.array([[1.0] * 3] * 2, pa.list_(pa.float64(), 3))),
            r"column 'embedding' is fixed_size_list<.*double.*>\[3\], expected",
        ),
    ],
)
def test_a_missing_column_and_a_wrong_type_are_refused(
    open_for: Open, ratings: pa.Table, name: str, change: Callable[[pa.Table], pa.Table], wanted: str
) -> None:
    store = open_for(name)
    path = store.write(name, ratings if name == "train" else embeddings())
    pq.write_table(change(pq.read_table(path)), path)
    store.record(name, rows=None)  # As if it had been written so.
    with pytest.raises(HandOffError, match=wanted):
        store.read(name)


def test_a_file_of_ones_own_is_taken_with_a_warning(open_for: Open, ratings: pa.Table) -> None:
    store = open_for("enriched")
    pq.write_table(ratings, store.path("train"))
    with pytest.warns(UserWarning, match=r"train.parquet carries no provenance: it was not written by this series."):
        assert store.read("train").equals(ratings)
    store.write("enriched", enriched())
    assert store.manifest()["enriched"]["inputs"] == {"train": sha256(store.path("train"))}
    pq.write_table(ratings.slice(1), store.path("train"))
    with pytest.raises(HandOffError, match=r"enriched.parquet was made from an older train.parquet"):
        open_for("feature_store").read("enriched")


# The manifest


def test_the_manifest_says_where_a_file_came_from(open_for: Open, ratings: pa.Table) -> None:
    open_for("train", SPLIT="random").write("train", ratings)
    store = open_for("enriched", ENRICHMENT="offline", MAX_MOVIES=None)
    store.read("train")
    store.write("enriched", enriched())
    train, entry = store.manifest()["train"], store.manifest()["enriched"]
    assert entry["path"] == "enriched.parquet"
    assert entry["notebook"] == "02-Data-Enrichment"
    assert entry["inputs"] == {"train": sha256(store.path("train"))} == {"train": train["sha256"]}
    assert entry["sha256"] == sha256(store.path("enriched"))
    assert entry["parameters"] == {"ENRICHMENT": "offline", "MAX_MOVIES": None}
    assert train["parameters"] == {"SPLIT": "random"}
    assert entry["packages"]["pyarrow"] == pa.__version__
    assert (entry["rows"], train["rows"]) == (2, ratings.num_rows)
    assert 0 <= entry["seconds"] < 60
    assert (entry["dataset"], entry["seed"], entry["version"]) == ("toy", 42, contract.VERSION)


@pytest.mark.parametrize("text", ["{", "[]", '{"train": 5}', "\udcff"])
def test_a_damaged_manifest(open_for: Open, ratings: pa.Table, text: str) -> None:
    store = open_for("train")
    store.write("train", ratings)
    (store.folder / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(HandOffError, match=r"manifest.json is damaged \(.*\). Delete it and run 01 again."):
        store.read("train")


def _record(data_dir: Path, names: list[str], ready: "multiprocessing.synchronize.Barrier") -> None:
    store = open_store(data_dir, "toy", 42, "07-Training-with-HugeCTR")
    read = manifest.read

    def slowly(folder: Path) -> dict[str, object]:
        entries = read(folder)
        time.sleep(0.005)  # Between reading and writing, where the other process would come in.
        return entries

    manifest.read = slowly
    ready.wait(30)
    for name in names:
        store.path(name).write_text(name)
        store.record(name, rows=1)


def test_concurrent_writers_lose_no_entry(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    names = list(ARTEFACTS)
    ready = context.Barrier(2)
    processes = [context.Process(target=_record, args=(tmp_path, names[part::2], ready)) for part in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    entries = json.loads((tmp_path / "toy" / "manifest.json").read_text())
    assert sorted(entries) == sorted(names)
    assert all(entries[name]["sha256"] == sha256(tmp_path / "toy" / ARTEFACTS[name].path) for name in names)


# Row groups


def test_a_row_group_holds_a_million_rows_or_what_fits_of_vectors() -> None:
    assert group_rows(pa.schema({"movieId": pa.int64()})) == 1 << 20
    wide = pa.schema(
        {"movieId": pa.int64(), "poster": pa.list_(pa.float32(), 1024), "text": pa.list_(pa.float32(), 1024)}
    )
    assert group_rows(wide) * 2048 * 4 == GROUP
    assert group_rows(pa.schema({"embedding": pa.list_(pa.float32(), 1 << 26)})) == 1


@pytest.mark.parametrize("columns", [None, ["embedding", "movieId"], ["movieId"], []])
@pytest.mark.parametrize("rows", [7, 0])
def test_row_groups_are_read_as_one_table(tmp_path: Path, columns: list[str] | None, rows: int) -> None:
    table = pa.table({"movieId": np.arange(rows), "embedding": vector_column(np.ones((rows, 3), np.float32))})
    pq.write_table(table.replace_schema_metadata({"said": "so"}), tmp_path / "a.parquet", row_group_size=3)
    found = read_parquet(tmp_path / "a.parquet", columns)
    assert found.equals(table.select(table.column_names if columns is None else columns))
    assert found.schema.metadata == {b"said": b"so"}
