"""The door: whatever happens to a file between two notebooks, the reader is told in one line, or it does not matter."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.study import toy
from utils.etl import workflow
from utils.features import reductions
from utils.handoff.atomic import files_in
from utils.handoff.contract import ARTEFACTS, BLOCKS, FACT_LISTS, RULES, Rule
from utils.handoff.manifest import HandOffError
from utils.handoff.store import KEY, Store, open_store
from utils.handoff.vector_columns import vector_column, vectors

TABLES = [name for name, artefact in ARTEFACTS.items() if artefact.columns is not None]
FOLDERS = [name for name, artefact in ARTEFACTS.items() if artefact.folder]
READER = "08-A-Reader"


def rest() -> dict[str, pa.Table]:
    """The tables that ``toy.write`` does not write."""
    movies, count = toy.MOVIES, len(toy.MOVIES)
    texts = pa.array(["told"] * count)
    paths = pa.array([f"posters/{movie}.jpg" for movie in movies])
    embeddings = pa.table(
        {"movieId": movies, "embedding": vector_column(np.random.default_rng(1).normal(size=(count, 4)))}
    )
    predictions = toy.rated(2, movies, 2).drop_columns(["timestamp"])
    both = pa.array(np.arange(predictions.num_rows) % 2)
    predictions = predictions.append_column("label", both).append_column("score", pa.array(np.full(len(both), 0.5)))
    for name in ("originalUserId", "originalMovieId"):
        predictions = predictions.append_column(name, pa.array(["x"] * predictions.num_rows))
    listed = pa.array([["someone"]] * count)
    return {
        "rejected": pa.table({"raw": ["x"], "row": [2], "reason": ["no rating"]}),
        "enriched": pa.table(
            {"movieId": movies, "poster_path": paths}
            | dict.fromkeys(("synopsis", "synopsis_source", "poster_source"), texts)
        ),
        "movie_facts": pa.table(
            {"movieId": movies, "year": pa.array([1995] * count), **dict.fromkeys(FACT_LISTS, listed)}
            | {"runtime": pa.array(np.full(count, 90.0)), "source": texts}
        ),
        "enrichment_report": pa.table(
            {"movieId": movies, "modality": texts, "provider": texts, "outcome": texts, "detail": texts}
            | {"attempts": np.ones(count, np.int32)}
        ),
        "poster_embeddings": embeddings,
        "text_embeddings": embeddings,
        "feature_store": toy.features(),
        "valid_predictions": predictions,
        "cold_predictions": predictions,
        "recommendations": pa.table({"userId": [1, 1], "rank": [1, 2], "movieId": [2, 3], "score": [0.5, 0.4],
                                     "originalUserId": ["x", "x"], "originalMovieId": ["x", None]}),
    }  # fmt: skip


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a finished run, small: every artefact of the contract is there."""
    data = tmp_path_factory.mktemp("finished")

    def opened(name: str) -> Store:
        return open_store(data, "toy", 42, ARTEFACTS[name].notebook)

    toy.write(opened, toy.ratings())
    for name, table in rest().items():
        opened(name).write(name, table)
    for name in ARTEFACTS.keys() - set(TABLES):
        store, path = opened(name), opened(name).path(name)
        if name in FOLDERS:
            path.mkdir(exist_ok=True)
            (path / "first.bin").write_bytes(name[:10].encode() * 30)
            (path / "second.bin").write_bytes(bytes(range(1, 256)))
        else:
            path.write_bytes(name.encode() * 50)
        store.record(name, rows=None)
    return data


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Store:
    """A copy of the finished folder, opened by who only reads."""
    return open_store(shutil.copytree(finished, tmp_path / "data", copy_function=shutil.copy2), "toy", 42, READER)


def some_file(path: Path) -> Path:
    return files_in(path)[-1] if path.is_dir() else path


def flip(path: Path) -> None:
    """Flip one bit in the middle, and leave the size and the times as they were."""
    file = some_file(path)
    before, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_kind(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("a file")
    else:
        path.unlink()
        path.mkdir()


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def another(path: Path) -> None:
    """Put another artefact of the same run in its place."""
    other = path.with_name("posters" if path.name != "posters" else "checkpoints")
    other = other if path.is_dir() else path.with_name("model.py" if path.name != "model.py" else "metrics.csv")
    remove(path)
    (shutil.copytree if other.is_dir() else shutil.copy)(other, path)


def replaced_by(make: Callable[[Path], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        remove(path)
        make(path)

    return damage


def rows(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    """A damage that writes the changed table with the metadata it had."""

    def damage(path: Path) -> None:
        table = pq.read_table(path, partitioning=None)
        pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)

    return damage


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "a flipped bit": flip,
    "cut": lambda path: some_file(path).write_bytes(some_file(path).read_bytes()[:-40]),
    "emptied": lambda path: some_file(path).write_bytes(b""),
    "one byte more": lambda path: some_file(path).open("ab").write(b"\0"),
    "zeros": lambda path: some_file(path).write_bytes(bytes(some_file(path).stat().st_size)),
    "a web page": lambda path: some_file(path).write_text("<html>Not found</html>"),
    "gone": remove,
    "the other kind": other_kind,
    "another artefact": another,
    "a pipe": replaced_by(os.mkfifo),
    "a link to nothing": replaced_by(lambda path: path.symlink_to("nowhere")),
    "a link to a device": replaced_by(lambda path: path.symlink_to("/dev/zero")),
}  # fmt: skip
OF_A_FOLDER: dict[str, Callable[[Path], Any]] = {
    "a part gone": lambda path: some_file(path).unlink(),
    "a part too many": lambda path: (path / "more.bin").write_text("more"),
    "a part renamed": lambda path: some_file(path).rename(path / "renamed.bin"),
    "a part is a pipe": lambda path: replaced_by(os.mkfifo)(some_file(path)),
}
OF_A_TABLE: dict[str, Callable[[Path], Any]] = {
    "reversed": rows(lambda table: table.take(np.arange(len(table))[::-1]) if len(table) > 1 else table.slice(1)),
    "rolled": rows(lambda table: pa.concat_tables([table.slice(1), table.slice(0, 1), table.slice(0, 1)])),
    "cut short": rows(lambda table: table.slice(0, len(table) - 1)),
}


def copy(source: Path, target: Path) -> None:
    remove(target) if target.exists() or target.is_symlink() else None
    (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)


@pytest.mark.parametrize("name", ARTEFACTS)
def test_whatever_was_changed_is_told_in_one_line(store: Store, finished: Path, name: str) -> None:
    path, again = store.path(name), f"Run {ARTEFACTS[name].notebook}.ipynb"
    damages = DAMAGES | (OF_A_FOLDER if name in FOLDERS else {}) | (OF_A_TABLE if name in TABLES else {})
    assert len(damages) >= 10
    for said_of, damage in damages.items():
        damage(path)
        for read in [store.need, *([store.read] if name in TABLES else [])]:
            try:
                read(name)
                said = "nothing"
            except HandOffError as error:
                said = str(error)
            one_line = said.startswith(str(path)) and again in said.replace("run", "Run") and "\n" not in said
            assert one_line, f"{said_of}: {said}"
        copy(finished / "toy" / path.name, path)
    assert store.need(name) == path, "mended, it is let in"


@pytest.mark.parametrize("name", ARTEFACTS)
def test_what_does_not_matter_is_let_in(store: Store, name: str) -> None:
    """Other times, as a copy has them; and what file browsers leave."""
    path = store.path(name)
    for file in files_in(path) if path.is_dir() else [path]:
        os.utime(file, (1, 1))
    if path.is_dir():
        (path / ".DS_Store").write_text("")
        (path / ".ipynb_checkpoints").mkdir()
        (path / ".ipynb_checkpoints" / "1.jpg").write_text("")
    assert store.need(name) == path


def set_first(table: pa.Table, column: str, value: Any) -> pa.Table:
    """Set the first value of a column, or the first number in it."""
    place, kind = table.column_names.index(column), table.schema.field(column).type
    if pa.types.is_fixed_size_list(kind) and value is not None:
        numbers = vectors(table[column]).copy()
        numbers[0, 0] = value
        return table.set_column(place, column, vector_column(numbers))
    return table.set_column(place, column, pa.array([value, *table[column].to_pylist()[1:]], kind))


def spoilt(name: str, table: pa.Table) -> dict[str, pa.Table]:
    """Every way in which values of a table can break the contract, by what is then said."""
    found = {}
    for column, kind in (ARTEFACTS[name].columns or {}).items():
        rule = RULES.get(column, Rule())
        if not rule.null:
            found[f"column '{column}' has 1 nulls, the first in row 0"] = set_first(table, column, None)
        if kind in (pa.float32(), "fixed_size_list<float32>[d]"):
            for value in ("nan", "inf", "-inf"):
                found[f"column '{column}' has {value}"] = set_first(table, column, float(value))
        if pa.types.is_list(table.schema.field(column).type):
            found[f"column '{column}' has a null within a list"] = set_first(table, column, [None])
        if rule.low > -1e30:
            wrong = set_first(table, column, int(rule.low) - 1)
            found[rf"column '{column}' has {int(rule.low) - 1}(\.0)?, the first"] = wrong
        if rule.high < 1e30 or rule.codes:
            most = 1e9 if kind == pa.float32() else 10**9
            found[rf"column '{column}' has 1000000000(\.0)?, the first"] = set_first(table, column, most)
    if name != "movies_converted" and ARTEFACTS[name].movies:
        found["movies that movies_converted.parquet lacks .first: 777"] = set_first(table, "movieId", 777)
    if ARTEFACTS[name].movies in ("once", "all"):
        found["movieId 1 is there more than once"] = pa.concat_tables([table, table.slice(0, 1)])
    if ARTEFACTS[name].movies == "all":
        found["1 movies of movies_converted.parquet are missing .first: 30"] = table.slice(0, len(table) - 1)
    if "poster_path" in table.column_names:
        for path in ("/etc/passwd", "../up.jpg", "posters/../../up.jpg", "posters/..", "a\0b", ""):
            found[f"column 'poster_path' has {path!r}".replace("\\", r"\\")] = set_first(table, "poster_path", path)
    if name == "movie_codes":
        found["content_code 4 is there more than once"] = set_first(table, "content_code", 4)
        found["column 'content_code' has 1000000000000"] = set_first(table, "content_code", 10**12)
    return found


@pytest.mark.parametrize("name", TABLES)
def test_values_that_break_the_contract_are_neither_written_nor_read(store: Store, name: str) -> None:
    path, writer = store.path(name), open_store(store.folder.parent, "toy", 42, ARTEFACTS[name].notebook)
    table, before, metadata = store.read(name), path.read_bytes(), store.metadata(name)
    for wanted, wrong in spoilt(name, table).items():
        with pytest.raises(HandOffError, match=f"{path.name} is not written: .*{wanted}"):
            writer.write(name, wrong, metadata)
        assert path.read_bytes() == before
        pq.write_table(wrong.replace_schema_metadata(table.schema.metadata), path)
        writer.record(name, rows=None)  # As if it had been written so; and then as if it were the reader's own.
        # pyarrow itself refuses to read a vector that is null.
        said = f"{path.name}(: .*{wanted}| cannot be read).*Run {ARTEFACTS[name].notebook}.ipynb again"
        with pytest.raises(HandOffError, match=said):
            store.read(name)
        path.write_bytes(before)
    assert spoilt(name, table)


def test_a_file_of_ones_own_is_held_to_the_contract_wherever_it_is_asked_for(store: Store) -> None:
    manifest = store.folder / "manifest.json"
    manifest.write_text(json.dumps({name: entry for name, entry in store.manifest().items() if name != "train"}))
    train = store.read("train")
    assert store.need("train") == store.path("train")
    pq.write_table(set_first(train, "rating", None), store.path("train"))
    with pytest.raises(HandOffError, match="train.parquet: column 'rating' has 1 nulls"):
        store.need("train")


@pytest.mark.parametrize("said", [b"{", b"[]", b"7", b"\xff", b"null", b"[" * 100_000])
def test_metadata_of_another_shape(store: Store, said: bytes) -> None:
    path = store.path("movie_codes")
    pq.write_table(pq.read_table(path).replace_schema_metadata({KEY: said}), path)
    (store.folder / "manifest.json").unlink()
    for read in (store.read, store.metadata, store.need):
        with pytest.raises(HandOffError, match=r"movie_codes.parquet cannot be read .*Run 06-ETL"):
            read("movie_codes")


@pytest.mark.parametrize("states", [{"rows": [1], "most_genres": 2}, {"rows": {}}, {"rows": {}, "most_genres": "2"}])
def test_metadata_that_lacks_what_the_contract_says(store: Store, states: dict[str, Any]) -> None:
    writer = open_store(store.folder.parent, "toy", 42, ARTEFACTS["movie_codes"].notebook)
    writer.write("movie_codes", store.read("movie_codes"), states)
    with pytest.raises(
        HandOffError, match=r"movie_codes.parquet: its metadata must state '(rows|most_genres)'.*Run 06"
    ):
        store.metadata("movie_codes")


SHAPES = [
    "{", "[]", '{"train": 5}', "null", "[" * 100_000, '{"train": {}}', '{"train": {"sha256": 1}}',
    '{"train": {"sha256": "a", "inputs": null, "parameters": {}}}', '{"train": {"sha256": "a", "inputs": []}}',
    '{"train": {"sha256": "a", "inputs": {"valid": 3}, "parameters": {}}}',
    '{"train": {"sha256": "a", "inputs": {}, "parameters": null}}', '{"train": {"sha256": "a", "parameters": {}}}',
]  # fmt: skip


@pytest.mark.parametrize("text", [*SHAPES, "a folder", "not UTF-8"])
def test_a_manifest_of_another_shape(store: Store, text: str) -> None:
    path = store.folder / "manifest.json"
    path.write_bytes(b"\xff" if text == "not UTF-8" else text.encode())
    if text == "a folder":
        path.unlink()
        path.mkdir()
    for call in (lambda: store.read("train"), lambda: workflow.how_split(store)):
        with pytest.raises(
            HandOffError, match=r"manifest.json is damaged \(.*\). Delete it and run 01 again.$"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_names_in_the_manifest_that_nobody_knows_are_passed_over(store: Store) -> None:
    entries = json.loads((store.folder / "manifest.json").read_text())
    entries["train"]["inputs"] = {"of another version": "a"}
    (store.folder / "manifest.json").write_text(json.dumps(entries | {"of another version": entries["valid"]}))
    assert "of another version" not in store.manifest() and store.read("train").num_rows


# What is not one table is read in its own way, and through the same door


def codes_of_users(store: Store) -> None:
    workflow.vocabulary(store, "userId")


def encoded(store: Store) -> None:
    workflow.read_encoded(store, "valid-hugectr", 2)


def new_movie(store: Store) -> None:
    reductions.read(store, {"reductions": {block: {"sha256": "a"} for block in BLOCKS}})


def part(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    return lambda folder: pq.write_table(change(pq.read_table(folder / "part_0.parquet")), folder / "part_0.parquet")


@pytest.mark.parametrize(
    ("name", "read", "damage"),
    [
        ("workflow-hugectr", codes_of_users, lambda folder: shutil.rmtree(folder / "categories")),
        ("workflow-hugectr", codes_of_users, lambda folder: flip_all(folder / "categories" / "unique.userId.parquet")),
        ("workflow-hugectr", codes_of_users, lambda folder: other_kind(folder / "categories")),
        ("valid-hugectr", encoded, lambda folder: (folder / "_file_list.txt").unlink()),
        ("valid-hugectr", encoded, lambda folder: (folder / "_file_list.txt").write_text("2\na/part_0.parquet\nb/c\n")),
        ("valid-hugectr", encoded, lambda folder: (folder / "_file_list.txt").write_bytes(b"\xff\xff")),
        ("valid-hugectr", encoded, lambda folder: flip_all(folder / "part_0.parquet")),
        ("valid-hugectr", encoded, lambda folder: other_kind(folder / "part_0.parquet")),
        ("valid-hugectr", encoded, part(lambda table: table.drop_columns(["genres"]))),
        ("valid-hugectr", encoded, part(lambda table: set_first(table, "genres", [3, 4, 5]))),
        ("valid-hugectr", encoded, part(lambda table: set_first(table, "userId", None))),
        ("reductions", new_movie, lambda path: path.write_bytes(b"PK\3\4")),
        ("reductions", new_movie, lambda path: np.savez(path, a=np.zeros(3))),
    ],
)
def test_damage_that_was_recorded_is_told_by_the_reader(
    store: Store, name: str, read: Callable[[Store], None], damage: Callable[[Path], Any]
) -> None:
    damage(store.path(name))
    (store.folder / "manifest.json").unlink()
    with pytest.raises(HandOffError) as caught:
        read(store)
    said = str(caught.value)
    assert f"{ARTEFACTS[name].path} cannot be read (" in said and said.endswith(
        f"Run {ARTEFACTS[name].notebook}.ipynb again."
    )


def flip_all(file: Path) -> None:
    file.write_bytes(bytes(255 - byte for byte in file.read_bytes()))


def test_what_readers_bring_is_told_how(store: Store) -> None:
    for name, way in {"text_embeddings": "PRECOMPUTED of 04", "train": "RATINGS and MOVIES of 01"}.items():
        pq.write_table(store.read(name), store.path(name), compression="none")
        with pytest.raises(HandOffError, match=rf" bytes instead of [0-9]+, so .*again, or bring your own by {way}\.$"):
            store.read(name)
    (store.path("posters") / "mine.png").write_text("a picture")
    with pytest.raises(HandOffError, match=r"posters is not what 02.* wrote: 3 files of 474 bytes instead of 2 of 465"):
        store.need("posters")


@pytest.mark.parametrize("name", ARTEFACTS)
def test_what_is_in_the_way_of_a_notebook_stops_it_before_it_starts(store: Store, name: str) -> None:
    other_kind(store.path(name))
    notebook = ARTEFACTS[name].notebook
    with pytest.raises(HandOffError, match=rf"{ARTEFACTS[name].path} must be a .*Remove it, then run {notebook}"):
        open_store(store.folder.parent, "toy", 42, notebook)
