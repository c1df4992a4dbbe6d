"""Stage 06: rows keep their order, ids that are hidden keep their content, HugeCTR's assumptions are checked."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Open
from utils.etl import workflow
from utils.handoff.atomic import DataFolderError
from utils.handoff.manifest import HandOffError
from utils.handoff.own_data import STARS
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store, open_store
from utils.machine.dask_cluster import cluster

with workflow.quiet():
    import nvtabular as nvt
    from merlin.io import Dataset
    from nvtabular import ops

pytestmark = pytest.mark.filterwarnings("ignore:Row group memory size", "ignore:.*CPU mode")

MOVIES = np.arange(1, 31)
GENRES = [[["Drama"], ["Comedy", "Drama"], [], ["War", "Comedy", "Sci-Fi"]][movie % 4] for movie in MOVIES.tolist()]
MOST = 3


@pytest.fixture(scope="module")
def train(ratings: pa.Table) -> pd.DataFrame:
    """Ratings by users 1 to 30 of the odd movies up to 23: the others are unseen."""
    return ratings.to_pandas()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, train: pd.DataFrame) -> nvt.Workflow:
    """The workflow of notebook 06, fitted on ``train``."""
    return fitted_on(Dataset(train), GENRES, str(tmp_path_factory.mktemp("categories")))


def fitted_on(rows: Dataset, genres_of: list[list[str]], scratch: str) -> nvt.Workflow:
    """The workflow of notebook 06 on a catalogue whose movies have these genres."""
    with workflow.quiet():
        ids = ["userId", "movieId"] >> ops.Categorify(out_path=scratch)
        catalogue = pa.table({"movieId": MOVIES, "genres": pa.array(genres_of, pa.list_(pa.string()))})
        movies = Dataset(workflow.with_genres(catalogue))
        joined = ["movieId"] >> ops.JoinExternal(movies, on=["movieId"], columns_ext=["movieId", "genres"])
        genres = joined["genres"] >> ops.Categorify(out_path=scratch)
        vocabulary = {"movieId_duplicate": pd.Series(MOVIES)}
        content = ["movieId"] >> ops.Rename(postfix="_duplicate") >> ops.Categorify(vocabs=vocabulary, out_path=scratch)
        label = ["rating"] >> ops.LambdaOp(lambda rating: (rating > STARS.above).astype("float32"))
        fitted = nvt.Workflow(ids + genres + content + label)
        fitted.fit(rows)
    return fitted


@pytest.fixture
def store(open_for: Open) -> Store:
    return open_for("movie_codes")


def encode(
    recipe: nvt.Workflow, store: Store, frame: pd.DataFrame, dropout: float = 0.0, part_size: str = "32MB"
) -> dict[str, np.ndarray]:
    """Write ``frame`` as train.parquet in many row groups, encode it as notebook 06 does, and read it back."""
    source, folder = store.path("train"), store.path("train-hugectr")
    frame.to_parquet(source, index=False, row_group_size=40)
    shutil.rmtree(folder, ignore_errors=True)
    written = workflow.write_encoded(recipe, source, folder, part_size, dropout, seed=7)
    assert written == len(frame)
    workflow.finish(folder, folder, workflow.cardinalities(recipe), MOST, written)
    return read(store)


def read(store: Store) -> dict[str, np.ndarray]:
    return workflow.read_encoded(store, "train-hugectr", MOST)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    assert one.keys() == other.keys()
    return all(np.array_equal(values, other[name]) for name, values in one.items())


# Encoding


def test_rows_keep_their_order_and_mean_what_they_say(recipe: nvt.Workflow, store: Store, train: pd.DataFrame) -> None:
    encoded = encode(recipe, store, train)
    assert np.array_equal(encoded["movieId_duplicate"], train["movieId"] + workflow.RESERVED - 1)
    assert np.array_equal(encoded["label"], (train["rating"] > 3).astype(np.float32))
    for column in ("userId", "movieId"):
        pairs = set(zip(train[column], encoded[column], strict=True))
        assert len(pairs) == train[column].nunique() == len({code for _, code in pairs})
        assert min(code for _, code in pairs) == workflow.RESERVED
    lengths = (encoded["genres"] > 0).sum(axis=1)
    assert lengths.tolist() == [len(GENRES[movie - 1]) or 1 for movie in train["movieId"]]
    assert {name: values.dtype for name, values in encoded.items()} == dict.fromkeys(
        workflow.CATEGORIES, np.int32
    ) | {"genres": np.int8, "label": np.float32}  # fmt: skip


@pytest.mark.parametrize("name", ["[1]", "a*", "?", "ü [!x] {a,b}"])
def test_a_path_is_no_pattern(recipe: nvt.Workflow, train: pd.DataFrame, tmp_path: Path, name: str) -> None:
    """``*`` would take in the files of the neighbours, and ``[1]`` find none."""
    for folder in ("1", "ab", "x", name):
        there = open_store(tmp_path / folder, "toy", 42, "06-ETL-with-NVTabular")
        train.to_parquet(there.path("train"), index=False)
    with workflow.quiet():
        fitted = nvt.Workflow(["userId", "movieId"] >> ops.Categorify(out_path=str(there.folder / ".categories")))
        fitted.fit(Dataset(workflow.files_of(there.path("train")), engine="parquet"))
    assert sorted(path.name for path in there.folder.iterdir()) == [".categories", "train.parquet"]
    assert len(encode(recipe, there, train)["label"]) == len(train)


def test_only_what_depends_on_the_rows_is_left(recipe: nvt.Workflow, store: Store, train: pd.DataFrame) -> None:
    """Merlin's schema names the data folder, so that the same rows would have another sha256 elsewhere."""
    encode(recipe, store, train)
    left = sorted(path.name for path in store.path("train-hugectr").iterdir())
    assert left == ["_file_list.txt", "_metadata", "_metadata.json", "part_0.parquet"]


def test_categories_that_cannot_be_written(store: Store, train: pd.DataFrame) -> None:
    folder = store.folder / workflow.CATEGORY_FOLDER
    wanted = r"No space left to write .*\.categories. What was there before is unharmed"
    with pytest.raises(DataFolderError, match=wanted), workflow.working(store, None):
        raise OSError(errno.ENOSPC, "No space left on device")
    folder.write_text("in the way")
    recipe = nvt.Workflow(["userId"] >> ops.Categorify(out_path=str(folder)))
    wanted = r"Cannot write .*\.categories: .*Remove or rename what is in its place"
    with pytest.raises(DataFolderError, match=wanted), workflow.working(store, None):
        recipe.fit(Dataset(train))


def test_codes_of_genres_take_the_room_they_need(store: Store) -> None:
    folder = store.path("train-hugectr")
    folder.mkdir()
    for number, genres in enumerate([[[127], []], [[128, 3]]]):
        columns = {name: np.arange(len(genres)) for name in workflow.CATEGORIES}
        columns |= {"genres": genres, workflow.LABEL: np.ones(len(genres), np.float32)}
        pq.write_table(pa.table(columns), folder / f"part_{number}.parquet")
    (folder / "_file_list.txt").write_text("2\ntrain-hugectr/part_0.parquet\ntrain-hugectr/part_1.parquet\n")
    store.record("train-hugectr", rows=3)
    genres = read(store)["genres"]
    assert genres[:, :3].tolist() == [[127, 0, 0], [0, 0, 0], [128, 3, 0]]
    assert genres.dtype == np.int32


@pytest.mark.parametrize(("rows_per_file", "files"), [(10**6, 1), (100, 3)])
def test_the_order_survives_partitions_and_files(
    recipe: nvt.Workflow, store: Store, train: pd.DataFrame, rows_per_file: int, files: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    one = encode(recipe, store, train)
    monkeypatch.setattr(workflow, "ROWS_PER_FILE", rows_per_file)
    many = encode(recipe, store, train, part_size="1KB")
    with workflow.quiet():
        assert Dataset(str(store.path("train")), engine="parquet", part_size="1KB").to_ddf().npartitions > 3
    assert len(list(store.path("train-hugectr").glob("part_*.parquet"))) == files
    assert same(one, many)


def test_what_hugectr_reads(recipe: nvt.Workflow, store: Store, train: pd.DataFrame) -> None:
    encode(recipe, store, train)
    folder = store.path("train-hugectr")
    described = json.loads((folder / "_metadata.json").read_text())
    assert [entry["col_name"] for entry in described["cats"]] == workflow.CATEGORIES
    indices = [entry["index"] for entry in described["cats"]]
    assert indices == sorted(indices), "slots follow ascending index"
    assert [entry["col_name"] for entry in described["labels"]] == ["rating"]
    assert described["conts"] == []
    schema = pq.read_schema(folder / "part_0.parquet")
    for entry in described["cats"] + described["labels"]:
        assert schema.names[entry["index"]] == entry["col_name"]
    assert schema.field("genres").type == pa.list_(pa.int64())
    assert schema.field("rating").type == pa.float32()
    assert {schema.field(name).type for name in ("userId", "movieId", "movieId_duplicate")} == {pa.int64()}
    assert not any(name.startswith("__index") for name in schema.names)
    assert (folder / "_file_list.txt").read_text() == "1\ntrain-hugectr/part_0.parquet\n"
    assert described["file_stats"] == [{"file_name": "part_0.parquet", "num_rows": len(train)}]


@pytest.mark.parametrize("rows", [0, 1])
def test_a_split_of_hardly_any_rows(recipe: nvt.Workflow, store: Store, train: pd.DataFrame, rows: int) -> None:
    encoded = encode(recipe, store, train.iloc[:rows], dropout=0.5)
    assert encoded["genres"].shape == (rows, MOST)
    assert {len(values) for values in encoded.values()} == {rows}
    described = json.loads((store.path("train-hugectr") / "_metadata.json").read_text())
    names = pq.read_schema(store.path("train-hugectr") / "part_0.parquet").names
    listed = [names[entry["index"]] for entry in described["cats"] + described["labels"]]
    assert listed == [*workflow.CATEGORIES, workflow.LABEL]


def test_unseen_movies_are_out_of_vocabulary_and_keep_their_content(recipe: nvt.Workflow, train: pd.DataFrame) -> None:
    codes = workflow.movie_codes(recipe, MOVIES, any_user=1)
    seen = np.isin(MOVIES, train["movieId"])
    code = codes["code"].to_numpy()
    assert codes["movieId"].to_pylist() == MOVIES.tolist()
    assert (code[~seen] == workflow.OUT_OF_VOCABULARY).all()
    assert sorted(code[seen]) == list(range(3, 15))
    assert codes["content_code"].to_pylist() == list(range(3, 33))
    assert workflow.cardinalities(recipe) == {"userId": 33, "movieId": 15, "genres": 7, "movieId_duplicate": 33}


def test_the_vocabulary_is_what_the_workflow_does(recipe: nvt.Workflow, store: Store, train: pd.DataFrame) -> None:
    with workflow.quiet():
        recipe.save(str(store.path("workflow-hugectr")))
    encoded = encode(recipe, store, train)
    for column in ("userId", "movieId"):
        known = workflow.vocabulary(store, column)
        assert [known[value] for value in train[column]] == encoded[column].tolist()
    genres = workflow.vocabulary(store, "genres")
    assert sorted(genres) == ["Comedy", "Drama", "Sci-Fi", "War"]
    for movie, row in zip(train["movieId"], encoded["genres"], strict=True):
        assert [code for code in row if code] == [genres[name] for name in workflow.genres_of(GENRES[movie - 1])]


@pytest.mark.parametrize("part_size", ["32MB", "1KB"])
@pytest.mark.parametrize(
    "listed",
    [
        pytest.param([[]] * 30, id="none at all"),
        pytest.param([["Drama"], ["War"], ["Comedy"]] * 10, id="one each"),
        pytest.param([["Drama"]] * 30, id="one for all"),
        pytest.param([[], ["Drama"], ["War"]] * 10, id="one or none, none first"),
        pytest.param([[]] * 28 + [["War", "Drama"], []], id="none in train, two elsewhere"),
        pytest.param([[]] * 22 + [["Drama", "War"]] * 8, id="none but the last"),
    ],
)
def test_genres_are_a_list_however_many_a_movie_has(
    store: Store, train: pd.DataFrame, tmp_path: Path, listed: list[list[str]], part_size: str
) -> None:
    """Through 06's encoding to the graph of 07 and its script: the kind of the column, not of its values, decides."""
    train.to_parquet(tmp_path / "rows.parquet", index=False, row_group_size=40)
    recipe = fitted_on(Dataset(str(tmp_path / "rows.parquet"), part_size=part_size), listed, str(tmp_path / "c"))
    encoded = encode(recipe, store, train, part_size=part_size)
    assert pq.read_schema(store.path("train-hugectr") / "part_0.parquet").field("genres").type == pa.list_(pa.int64())
    with workflow.quiet():
        recipe.save(str(store.path("workflow-hugectr")))
    known = workflow.vocabulary(store, "genres")
    for movie, row in zip(train["movieId"], encoded["genres"], strict=True):
        assert [code for code in row if code] == [known[name] for name in workflow.genres_of(listed[movie - 1])]
    codes = workflow.movie_codes(recipe, MOVIES, any_user=1)
    assert codes.num_rows == len(MOVIES)


# Hiding ids


def frame(rows: int = 4000) -> pd.DataFrame:
    pairs = np.random.default_rng(0).choice(200 * 300, rows, replace=False)
    columns = {"userId": pairs // 300 + 3, "movieId": pairs % 300 + 3, "movieId_duplicate": pairs % 300 + 5}
    return pd.DataFrame(columns)


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_about_the_share_of_ids_is_hidden(share: float) -> None:
    before = frame()
    original = before.copy()
    after = workflow.drop_movie_ids(before, share, seed=1)
    pd.testing.assert_frame_equal(before, original)
    dropped = (after["movieId"] != before["movieId"]).to_numpy()
    assert dropped.mean() == pytest.approx(share, abs=0.03)
    assert (after["movieId"][dropped] == workflow.OUT_OF_VOCABULARY).all()
    pd.testing.assert_frame_equal(after.drop(columns="movieId"), before.drop(columns="movieId"))
    assert after["movieId"].dtype == before["movieId"].dtype
    assert workflow.drop_movie_ids(before, 0.0, seed=1) is before
    assert len(workflow.drop_movie_ids(before.iloc[:0], share, seed=1)) == 0


def test_which_ids_are_hidden_does_not_depend_on_the_partitioning() -> None:
    whole = frame()
    one = workflow.drop_movie_ids(whole, 0.2, seed=1)
    for cuts in ([1, 17, 900], [2000]):
        pieces = np.split(np.arange(len(whole)), cuts)
        parts = [workflow.drop_movie_ids(whole.iloc[rows], 0.2, seed=1) for rows in pieces]
        pd.testing.assert_frame_equal(pd.concat(parts), one)
    backwards = workflow.drop_movie_ids(whole.iloc[::-1], 0.2, seed=1)
    pd.testing.assert_frame_equal(backwards.iloc[::-1], one)
    other = workflow.drop_movie_ids(whole, 0.2, seed=2)
    assert (other["movieId"] != one["movieId"]).mean() > 0.2


def test_hidden_ids_are_in_the_files_and_the_content_is_not_touched(
    recipe: nvt.Workflow, store: Store, train: pd.DataFrame
) -> None:
    plain, dropped = encode(recipe, store, train), encode(recipe, store, train, dropout=0.3)
    assert same(dropped, encode(recipe, store, train, dropout=0.3, part_size="1KB"))
    hidden = dropped["movieId"] != plain["movieId"]
    assert 0.2 < hidden.mean() < 0.4
    assert (dropped["movieId"][hidden] == workflow.OUT_OF_VOCABULARY).all()
    assert same(dropped | {"movieId": plain["movieId"]}, plain)


def test_a_cluster_writes_the_same_files_and_hides_the_same_ids(
    recipe: nvt.Workflow, store: Store, train: pd.DataFrame
) -> None:
    alone = encode(recipe, store, train, dropout=0.4)
    with cluster("local:1") as client:
        assert len(client.scheduler_info()["workers"]) == 1
        there = encode(recipe, store, train, dropout=0.4, part_size="1KB")
    assert same(alone, there)


def test_how_valid_was_split_is_in_the_manifest(open_for: Open, ratings: pa.Table) -> None:
    assert workflow.how_split(open_for("movie_codes")) == "random"
    open_for("train", SPLIT="temporal").write("train", ratings)
    assert workflow.how_split(open_for("movie_codes")) == "temporal"


# What finish refuses

GOOD = {
    "userId": pa.array([3, 4]),
    "movieId": pa.array([2, 3]),
    "genres": pa.array([[3], [3, 4, 3]]),
    "movieId_duplicate": pa.array([3, 4]),
    "rating": pa.array([0, 1], pa.float32()),
}
ROWS = {"userId": 5, "movieId": 5, "genres": 5, "movieId_duplicate": 5}


def finish(folder: Path, counted: int = 2, rows: int = 2, **changes: pa.Array) -> None:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(GOOD | changes), folder / "part_0.parquet")
    stats = {"file_stats": [{"file_name": "part_0.parquet", "num_rows": counted}]}
    (folder / "_metadata.json").write_text(json.dumps(stats))
    workflow.finish(folder, folder.with_name("train-hugectr"), ROWS, MOST, rows)


def test_finish_accepts_what_is_right(store: Store) -> None:
    finish(store.folder / "x")
    assert (store.folder / "x" / "_file_list.txt").read_text() == "1\ntrain-hugectr/part_0.parquet\n"
    finish(store.path("train-hugectr"), genres=pa.array([[], [4, 3]]))
    assert read(store)["genres"].tolist() == [[0, 0, 0], [4, 3, 0]]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"userId": pa.array([3, None])}, "column 'userId' must be int64 keys without nulls, not int64"),
        ({"genres": pa.array([[3], None])}, "column 'genres' must be int64 keys without nulls"),
        ({"genres": pa.array([[3], [None]], pa.list_(pa.int64()))}, "column 'genres' must be int64 keys"),
        ({"movieId": pa.array([3, 4], pa.int32())}, "column 'movieId' must be int64 keys without nulls, not int32"),
        ({"genres": pa.array([[3], [4]], pa.list_(pa.int32()))}, "column 'genres' must be .*not list<"),
        ({"userId": pa.array([3, 5])}, "column 'userId' has codes outside 0..4"),
        ({"movieId_duplicate": pa.array([-1, 3])}, "column 'movieId_duplicate' has codes outside 0..4"),
        ({"genres": pa.array([[3], [9]])}, "column 'genres' has codes outside 0..4"),
        ({"genres": pa.array([[3], [3, 3, 3, 3]])}, "a row has more than 3 genres"),
        ({"rating": pa.array([0.0, 1.0])}, "the label must be float32 without nulls, not double"),
        ({"rating": pa.array([0, None], pa.float32())}, "the label must be float32 without nulls"),
        ({"counted": 3}, "2 rows written of 2; _metadata.json counts .*'num_rows': 3"),
        ({"rows": 3}, "2 rows written of 3"),
    ],
)
def test_finish_refuses(tmp_path: Path, changes: dict[str, object], wanted: str) -> None:
    with pytest.raises(HandOffError, match=wanted):
        finish(tmp_path / "x", **changes)


def test_files_are_listed_by_number(tmp_path: Path) -> None:
    folder, numbers = tmp_path / "x", list(range(11))
    folder.mkdir()
    for number in numbers:
        part = {"userId": [3], "movieId": [3], "genres": [[3]], "movieId_duplicate": [number]}
        pq.write_table(pa.table(part | {"rating": pa.array([1], pa.float32())}), folder / f"part_{number}.parquet")
    stats = [{"file_name": f"part_{number}.parquet", "num_rows": 1} for number in sorted(numbers, key=str)]
    (folder / "_metadata.json").write_text(json.dumps({"file_stats": stats}))
    workflow.finish(folder, folder, ROWS | {"movieId_duplicate": 11}, MOST, 11)
    listed = (folder / "_file_list.txt").read_text().split()
    assert listed == ["11", *(f"x/part_{number}.parquet" for number in numbers)]


# Parameters


def check(**given: object) -> None:
    default = {"DASK_SCHEDULER": None, "PART_SIZE": "32MB", "MOVIE_ID_DROPOUT": 0.2}
    workflow.check_parameters(*(default | given).values())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("DASK_SCHEDULER", [None, "local:1", "local:16", "tcp://10.0.0.1:8786"]),
        ("PART_SIZE", ["32MB", "1GB", "64 MiB", "1000B"]),
        ("MOVIE_ID_DROPOUT", [0]),
    ],
)
def test_parameters_that_can_be_used(name: str, values: list[object]) -> None:
    for value in values:
        check(**{name: value})


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        (
            "DASK_SCHEDULER",
            ["local", "local:", "local:0", "local:-1", "4", "http://x:1", "tcp://x", 4, ""],
            'must be None (this process), "local:N" (N worker processes) or "tcp://host:port" (a running scheduler).',
        ),
        (
            "PART_SIZE",
            ["", "MB", "0MB", "-1MB", "32MBMB", "many", "²MB", 32, None],
            'must be a size such as "32MB".',
        ),
        ("MOVIE_ID_DROPOUT", [1.0, -0.1, "0.2", None], "must be a number of 0 or more and less than 1."),
    ],
)
def test_parameters_that_are_refused(name: str, values: list[object], wanted: str) -> None:
    for value in values:
        with pytest.raises(ParameterError) as caught:
            check(**{name: value})
        assert str(caught.value) == f"{name}={value!r} {wanted}"


# The rest


def test_the_drawing_has_every_branch() -> None:
    label = ["rating"] >> ops.LambdaOp(lambda rating: rating)
    ids = ["userId", "movieId"] >> ops.Categorify()
    nodes, edges = workflow.workflow_graph(nvt.Workflow(ids + label))
    labels = sorted(text for _, text, _ in nodes)
    assert any(text.startswith("Categorify") for text in labels)
    assert any(text.startswith("LambdaOp") for text in labels)
    names = [name for name, _, _ in nodes]
    assert len(names) == len(set(names))
    assert {end for edge in edges for end in edge} == set(names)


def test_scratch_is_forgotten(store: Store) -> None:
    (store.folder / ".categories" / "x").mkdir(parents=True)
    workflow.forget_categories(store)
    workflow.forget_categories(store)
    assert list(store.folder.glob(".categories")) == []
