"""Stage 06: rows keep their order, ids that are dropped keep their content, HugeCTR's assumptions are checked."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Open
from utils.etl import negative_sampling
from utils.etl import workflow as etl
from utils.handoff.contract import LIKED
from utils.handoff.parameters import ParameterError
from utils.handoff.store import HandOffError, Store

with etl.quiet():
    import nvtabular as nvt
    from merlin.io import Dataset
    from nvtabular import ops

pytestmark = pytest.mark.filterwarnings("ignore:Row group memory size", "ignore:.*CPU mode")

MOVIES = np.arange(1, 31)
GENRES = [[["Drama"], ["Comedy", "Drama"], [], ["War", "Comedy", "Sci-Fi"]][movie % 4] for movie in MOVIES.tolist()]
MOST = 3


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    """Ratings by users 1 to 30 of the odd movies up to 23: the others are unseen."""
    generator = np.random.default_rng(2)
    pairs = np.array([(user, 2 * movie + 1) for user in range(1, 31) for movie in generator.permutation(12)[:8]])
    pairs = generator.permutation(pairs)
    return pd.DataFrame(
        {
            "userId": pairs[:, 0],
            "movieId": pairs[:, 1],
            "rating": (generator.integers(1, 11, len(pairs)) / 2).astype(np.float32),
            "timestamp": np.arange(len(pairs)),
        }
    )


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory, train: pd.DataFrame) -> nvt.Workflow:
    """The workflow of notebook 06, fitted on ``train``."""
    scratch = str(tmp_path_factory.mktemp("categories"))
    with etl.quiet():
        ids = ["userId", "movieId"] >> ops.Categorify(out_path=scratch)
        movies = Dataset(pd.DataFrame({"movieId": MOVIES, "genres": GENRES}))
        joined = ["movieId"] >> ops.JoinExternal(movies, on=["movieId"], columns_ext=["movieId", "genres"])
        genres = joined["genres"] >> ops.Categorify(out_path=scratch)
        vocabulary = {"movieId_duplicate": pd.Series(MOVIES)}
        content = ["movieId"] >> ops.Rename(postfix="_duplicate") >> ops.Categorify(vocabs=vocabulary, out_path=scratch)
        label = ["rating"] >> ops.LambdaOp(lambda rating: (rating > LIKED).astype("float32"))
        fitted = nvt.Workflow(ids + genres + content + label)
        fitted.fit(Dataset(train))
    return fitted


@pytest.fixture
def store(open_for: Open) -> Store:
    return open_for("movie_codes")


def encode(
    workflow: nvt.Workflow, store: Store, frame: pd.DataFrame, dropout: float = 0.0, part_size: str = "32MB"
) -> Path:
    """Write ``frame`` as train.parquet in many row groups, encode it as notebook 06 does; return the folder."""
    source, folder = store.path("train"), store.path("train-hugectr")
    frame.to_parquet(source, index=False, row_group_size=40)
    shutil.rmtree(folder, ignore_errors=True)
    written = etl.write_encoded(workflow, source, folder, part_size, dropout, seed=7)
    assert written == len(frame)
    etl.finish(folder, folder, etl.cardinalities(workflow), MOST, written)
    return folder


def read(store: Store) -> dict[str, np.ndarray]:
    return etl.read_encoded(store, "train-hugectr", MOST)


# Encoding


def test_rows_keep_their_order_and_mean_what_they_say(
    workflow: nvt.Workflow, store: Store, train: pd.DataFrame
) -> None:
    encode(workflow, store, train)
    encoded = read(store)
    assert np.array_equal(encoded["movieId_duplicate"], train["movieId"] + etl.RESERVED - 1)
    assert np.array_equal(encoded["label"], (train["rating"] > 3).astype(np.float32))
    for column in ("userId", "movieId"):
        pairs = set(zip(train[column], encoded[column], strict=True))
        assert len(pairs) == train[column].nunique() == len({code for _, code in pairs})
        assert min(code for _, code in pairs) == etl.RESERVED
    lengths = (encoded["genres"] > 0).sum(axis=1)
    assert lengths.tolist() == [len(GENRES[movie - 1]) for movie in train["movieId"]]
    assert {name: values.dtype for name, values in encoded.items()} == dict.fromkeys(
        etl.CATEGORIES, np.int32
    ) | {"genres": np.int8, "label": np.float32}  # fmt: skip


def test_codes_of_genres_take_the_room_they_need(store: Store) -> None:
    folder = store.path("train-hugectr")
    folder.mkdir()
    for number, codes in enumerate([[[127], []], [[128, 3]]]):
        columns = {name: np.arange(len(codes)) for name in etl.CATEGORIES} | {
            "genres": codes,
            etl.LABEL: [1.0] * len(codes),
        }
        pq.write_table(pa.table(columns), folder / f"part_{number}.parquet")
    (folder / "_file_list.txt").write_text("2\ntrain-hugectr/part_0.parquet\ntrain-hugectr/part_1.parquet\n")
    store.record("train-hugectr", rows=3)
    genres = read(store)["genres"]
    assert genres[:, :3].tolist() == [[127, 0, 0], [0, 0, 0], [128, 3, 0]]
    assert genres.dtype == np.int32


@pytest.mark.parametrize("rows_per_file", [10**6, 100])
def test_the_order_survives_partitions_and_files(
    workflow: nvt.Workflow, store: Store, train: pd.DataFrame, rows_per_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etl, "ROWS_PER_FILE", rows_per_file)
    with etl.quiet():
        assert Dataset(str(_parquet(store, train)), engine="parquet", part_size="1KB").to_ddf().npartitions > 3
    folder = encode(workflow, store, train, part_size="1KB")
    files = list(folder.glob("part_*.parquet"))
    assert len(files) == (1 if rows_per_file == 10**6 else 3)
    many = read(store)
    encode(workflow, store, train)
    one = read(store)
    assert all(np.array_equal(many[name], one[name]) for name in one)


def _parquet(store: Store, frame: pd.DataFrame) -> Path:
    frame.to_parquet(store.path("valid"), index=False, row_group_size=40)
    return store.path("valid")


def test_what_hugectr_reads(workflow: nvt.Workflow, store: Store, train: pd.DataFrame) -> None:
    folder = encode(workflow, store, train)
    described = json.loads((folder / "_metadata.json").read_text())
    assert [entry["col_name"] for entry in described["cats"]] == etl.CATEGORIES
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


def test_an_empty_split(workflow: nvt.Workflow, store: Store, train: pd.DataFrame) -> None:
    folder = encode(workflow, store, train.iloc[:0])
    encoded = read(store)
    assert encoded["genres"].shape == (0, MOST)
    assert {len(values) for values in encoded.values()} == {0}
    described = json.loads((folder / "_metadata.json").read_text())
    names = pq.read_schema(folder / "part_0.parquet").names
    assert [names[entry["index"]] for entry in described["cats"] + described["labels"]] == [*etl.CATEGORIES, etl.LABEL]


def test_one_row(workflow: nvt.Workflow, store: Store, train: pd.DataFrame) -> None:
    encode(workflow, store, train.iloc[:1], dropout=0.5)
    assert len(read(store)["label"]) == 1


def test_unseen_movies_are_out_of_vocabulary_and_keep_their_content(
    workflow: nvt.Workflow, train: pd.DataFrame
) -> None:
    codes = etl.movie_codes(workflow, MOVIES, any_user=1)
    seen = np.isin(MOVIES, train["movieId"])
    code = codes["code"].to_numpy()
    assert codes["movieId"].to_pylist() == MOVIES.tolist()
    assert (code[~seen] == etl.OUT_OF_VOCABULARY).all()
    assert sorted(code[seen]) == list(range(3, 15))
    assert codes["content_code"].to_pylist() == list(range(3, 33))


def test_cardinalities_cover_every_code(workflow: nvt.Workflow) -> None:
    assert etl.cardinalities(workflow) == {"userId": 33, "movieId": 15, "genres": 7, "movieId_duplicate": 33}


def test_the_vocabulary_is_what_the_workflow_does(workflow: nvt.Workflow, store: Store, train: pd.DataFrame) -> None:
    with etl.quiet():
        workflow.save(str(store.path("workflow-hugectr")))
    encode(workflow, store, train)
    encoded = read(store)
    for column in ("userId", "movieId"):
        known = etl.vocabulary(store, column)
        assert [known[value] for value in train[column]] == encoded[column].tolist()
    genres = etl.vocabulary(store, "genres")
    assert sorted(genres) == ["Comedy", "Drama", "Sci-Fi", "War"]
    for movie, row in zip(train["movieId"], encoded["genres"], strict=True):
        assert [code for code in row if code] == [genres[name] for name in GENRES[movie - 1]]


# Dropping ids


def frame(rows: int = 4000) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    pairs = generator.choice(200 * 300, rows, replace=False)
    return pd.DataFrame(
        {"userId": pairs // 300 + 3, "movieId": pairs % 300 + 3, "movieId_duplicate": pairs % 300 + 5}
    )  # fmt: skip


@pytest.mark.parametrize("share", [0.05, 0.2, 0.9])
def test_about_the_share_of_ids_is_dropped(share: float) -> None:
    before = frame()
    original = before.copy()
    after = etl.drop_movie_ids(before, share, seed=1)
    pd.testing.assert_frame_equal(before, original)
    dropped = (after["movieId"] != before["movieId"]).to_numpy()
    assert dropped.mean() == pytest.approx(share, abs=0.03)
    assert (after["movieId"][dropped] == etl.OUT_OF_VOCABULARY).all()
    pd.testing.assert_frame_equal(after.drop(columns="movieId"), before.drop(columns="movieId"))
    assert after["movieId"].dtype == before["movieId"].dtype


def test_which_ids_are_dropped_does_not_depend_on_the_partitioning() -> None:
    whole = frame()
    one = etl.drop_movie_ids(whole, 0.2, seed=1)
    for cuts in ([1, 17, 900], [2000]):
        pieces = np.split(np.arange(len(whole)), cuts)
        parts = [etl.drop_movie_ids(whole.iloc[rows], 0.2, seed=1) for rows in pieces]
        pd.testing.assert_frame_equal(pd.concat(parts), one)
    backwards = etl.drop_movie_ids(whole.iloc[::-1], 0.2, seed=1)
    pd.testing.assert_frame_equal(backwards.iloc[::-1], one)
    other = etl.drop_movie_ids(whole, 0.2, seed=2)
    assert (other["movieId"] != one["movieId"]).mean() > 0.2


def test_nothing_to_drop() -> None:
    whole = frame()
    assert etl.drop_movie_ids(whole, 0.0, seed=1) is whole
    assert len(etl.drop_movie_ids(whole.iloc[:0], 0.5, seed=1)) == 0


def test_dropped_ids_are_in_the_files_and_the_content_is_not_touched(
    workflow: nvt.Workflow, store: Store, train: pd.DataFrame
) -> None:
    encode(workflow, store, train)
    plain = read(store)
    encode(workflow, store, train, dropout=0.3)
    dropped = read(store)
    encode(workflow, store, train, dropout=0.3, part_size="1KB")
    again = read(store)
    hidden = dropped["movieId"] != plain["movieId"]
    assert 0.2 < hidden.mean() < 0.4
    assert (dropped["movieId"][hidden] == etl.OUT_OF_VOCABULARY).all()
    for name in plain:
        assert np.array_equal(dropped[name], again[name])
        assert name == "movieId" or np.array_equal(dropped[name], plain[name])


# Rows for ranking


@pytest.fixture(scope="module")
def drawn(train: pd.DataFrame) -> pd.DataFrame:
    """Likes and negatives of ``train``, of which the last like comes very often."""
    table = pa.Table.from_pandas(train, preserve_index=False)
    rows = negative_sampling.rank_rows(table, 3, half_life=1e-4, seed=1)
    return rows.append_column(etl.PLACE, pa.array(range(len(rows)))).to_pandas()


def test_rows_for_ranking_have_the_codes_and_labels_of_train(
    workflow: nvt.Workflow, store: Store, train: pd.DataFrame, drawn: pd.DataFrame
) -> None:
    encode(workflow, store, train)
    known = read(store)
    codes = {
        name: dict(zip(train[name], known[name].tolist(), strict=True)) for name in ("userId", "movieId")
    }  # fmt: skip
    encode(workflow, store, drawn)
    encoded = read(store)
    for name, of in codes.items():
        assert encoded[name].tolist() == [of[value] for value in drawn[name]]
    assert encoded["movieId_duplicate"].tolist() == (drawn["movieId"] + etl.RESERVED - 1).tolist()
    assert encoded["label"].tolist() == (drawn["rating"] > LIKED).astype(float).tolist()
    assert 0 < encoded["label"].sum() < len(drawn) / 3


def test_copies_of_a_like_are_hidden_one_by_one_whatever_the_partitioning(
    workflow: nvt.Workflow, store: Store, drawn: pd.DataFrame
) -> None:
    encode(workflow, store, drawn, dropout=0.4)
    whole = read(store)
    encode(workflow, store, drawn, dropout=0.4, part_size="1KB")
    with etl.quiet():
        assert Dataset(str(store.path("train")), engine="parquet", part_size="1KB").to_ddf().npartitions > 3
    assert all(np.array_equal(whole[name], values) for name, values in read(store).items())
    hidden = whole["movieId"] == etl.OUT_OF_VOCABULARY
    assert 0.25 < hidden.mean() < 0.55
    pairs = drawn.assign(hidden=hidden).query("rating > 3").groupby(["userId", "movieId"])["hidden"]
    copies = pairs.agg(["size", "mean"]).sort_values("size").iloc[-1]
    assert copies["size"] > 10 and 0.1 < copies["mean"] < 0.9


def test_a_cluster_hides_the_same_copies(workflow: nvt.Workflow, store: Store, drawn: pd.DataFrame) -> None:
    encode(workflow, store, drawn, dropout=0.4)
    alone = read(store)
    with etl.cluster("local:1"):
        encode(workflow, store, drawn, dropout=0.4, part_size="1KB")
    assert all(np.array_equal(alone[name], values) for name, values in read(store).items())


def test_a_temporary_file_is_a_file_only_inside(store: Store, ratings: pa.Table) -> None:
    with etl.temporary_file(store, ratings) as path:
        found = pq.read_table(path)
        assert found.drop_columns([etl.PLACE]) == ratings and found[etl.PLACE].to_pylist() == list(range(len(ratings)))
        assert path.parent == store.folder
    with pytest.raises(KeyError), etl.temporary_file(store, ratings) as path:
        raise KeyError
    assert not path.exists()


def test_an_older_folder_is_removed_with_its_entry(store: Store) -> None:
    for name in ("rank-hugectr", "train-hugectr"):
        store.path(name).mkdir()
        (store.path(name) / "part_0.parquet").touch()
        store.record(name, rows=0)
    store.forget("rank-hugectr")
    assert not store.path("rank-hugectr").exists() and sorted(store.manifest()) == ["train-hugectr"]
    store.need("train-hugectr")
    with pytest.raises(HandOffError, match="rank-hugectr does not exist. Run 06-ETL-with-NVTabular.ipynb first"):
        store.need("rank-hugectr")
    before = (store.folder / "manifest.json").read_bytes()
    store.forget("rank-hugectr")
    assert (store.folder / "manifest.json").read_bytes() == before


def test_how_valid_was_cut_is_in_the_manifest(open_for: Open, ratings: pa.Table) -> None:
    assert etl.how_split(open_for("movie_codes")) == "random"
    open_for("train", SPLIT="temporal").write("train", ratings)
    assert etl.how_split(open_for("movie_codes")) == "temporal"


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
    etl.finish(folder, folder.with_name("train-hugectr"), ROWS, MOST, rows)


def test_finish_accepts_what_is_right(tmp_path: Path) -> None:
    finish(tmp_path / "x")
    assert (tmp_path / "x" / "_file_list.txt").read_text() == "1\ntrain-hugectr/part_0.parquet\n"
    finish(tmp_path / "x", genres=pa.array([[], []], pa.list_(pa.int64())))


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
    etl.finish(folder, folder, ROWS | {"movieId_duplicate": 11}, MOST, 11)
    assert (folder / "_file_list.txt").read_text().split() == [
        "11",
        *(f"x/part_{number}.parquet" for number in numbers),
    ]


def test_lists_are_padded_with_zero(store: Store) -> None:
    folder = store.path("train-hugectr")
    finish(folder, genres=pa.array([[], [4, 3]]))
    assert read(store)["genres"].tolist() == [[0, 0, 0], [4, 3, 0]]


# Parameters


def check(scheduler: object = None, part_size: object = "32MB", dropout: object = 0.2, **given: object) -> None:
    ranking = {"OBJECTIVE": "both", "NEGATIVES": 8, "HALF_LIFE": "auto"} | given
    etl.check_parameters(scheduler, part_size, dropout, *ranking.values())


def test_parameters_that_can_be_used() -> None:
    for scheduler in (None, "local:1", "local:16", "tcp://10.0.0.1:8786"):
        for size in ("32MB", "1GB", "64 MiB", "1000B"):
            check(scheduler, size)
    check(dropout=0)
    for objective in ("like", "rank", "both"):
        check(OBJECTIVE=objective)
    for half_life in ("auto", None, 30, 0.5):
        check(HALF_LIFE=half_life)


@pytest.mark.parametrize("value", ["local", "local:", "local:0", "local:-1", "4", "http://x:1", "tcp://x", 4, ""])
def test_schedulers_that_are_refused(value: object) -> None:
    with pytest.raises(ParameterError) as caught:
        check(scheduler=value)
    assert str(caught.value) == (
        f'DASK_SCHEDULER={value!r} must be None (this process), "local:N" (N worker processes) '
        'or "tcp://host:port" (a running scheduler).'
    )


@pytest.mark.parametrize("value", ["", "MB", "0MB", "-1MB", "32MBMB", "many", "²MB", 32, None])
def test_sizes_that_are_refused(value: object) -> None:
    with pytest.raises(ParameterError) as caught:
        check(part_size=value)
    assert str(caught.value) == f'PART_SIZE={value!r} must be a size such as "32MB".'


@pytest.mark.parametrize("value", [1.0, -0.1, "0.2", None])
def test_dropouts_that_are_refused(value: object) -> None:
    with pytest.raises(ParameterError, match=r"MOVIE_ID_DROPOUT=.* must be a number of 0 or more and less than 1."):
        check(dropout=value)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("OBJECTIVE", "click", r"OBJECTIVE='click' is not known. Choose one of: 'like', 'rank', 'both'\."),
        ("NEGATIVES", 0, r"NEGATIVES=0 must be a whole number of at least 1\."),
        ("NEGATIVES", 1.5, r"NEGATIVES=1.5 must be a whole number"),
        *(
            ("HALF_LIFE", value, rf'HALF_LIFE={value!r} must be "auto", None .* or a number of days above 0\.')
            for value in (0, -1.0, float("nan"), float("inf"), True, "30", "none", [30])
        ),
    ],
)
def test_what_is_refused_of_ranking(name: str, value: object, wanted: str) -> None:
    with pytest.raises(ParameterError, match=wanted.replace("[", r"\[").replace("]", r"\]")):
        check(**{name: value})


# The rest


def test_this_process_needs_no_cluster() -> None:
    with etl.cluster(None) as client:
        assert client is None


def test_a_cluster_of_processes_writes_the_same_files(
    workflow: nvt.Workflow, store: Store, train: pd.DataFrame
) -> None:
    encode(workflow, store, train, dropout=0.3)
    alone = read(store)
    with etl.cluster("local:1") as client:
        assert len(client.scheduler_info()["workers"]) == 1
        encode(workflow, store, train, dropout=0.3, part_size="1KB")
    assert all(np.array_equal(alone[name], values) for name, values in read(store).items())


def test_the_drawing_has_every_branch(workflow: nvt.Workflow) -> None:
    label = ["rating"] >> ops.LambdaOp(lambda rating: rating)
    ids = ["userId", "movieId"] >> ops.Categorify()
    nodes, edges = etl.workflow_graph(nvt.Workflow(ids + label))
    labels = sorted(text for _, text, _ in nodes)
    assert any(text.startswith("Categorify") for text in labels)
    assert any(text.startswith("LambdaOp") for text in labels)
    names = [name for name, _, _ in nodes]
    assert len(names) == len(set(names))
    assert {end for edge in edges for end in edge} == set(names)


def test_scratch_is_forgotten(store: Store) -> None:
    (store.folder / ".categories" / "x").mkdir(parents=True)
    etl.forget_categories(store)
    etl.forget_categories(store)
    assert list(store.folder.glob(".categories")) == []
