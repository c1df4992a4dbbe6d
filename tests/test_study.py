"""The experiment of 07 on a tiny data set: rows are aligned, metrics complete, recommendations new to their users."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import Open

from utils import training
from utils.artefacts import HandOffError, Store
from utils.content import ContentTable, content_columns
from utils.study import Study, check_alignment, fullest
from utils.training import Settings

MOVIES = np.arange(1, 31)
GENRES = [[["Drama"], ["Comedy", "War"], []][movie % 3] for movie in MOVIES.tolist()]
COLD = np.arange(25, 31)
NAMES = ["Drama", "Comedy", "War"]
pytestmark = pytest.mark.usefixtures("one_thread")


def rated(seed: int, movies: np.ndarray, each: int) -> pa.Table:
    generator = np.random.default_rng(seed)
    pairs = np.array([(user, movie) for user in range(1, 21) for movie in generator.permutation(movies)[:each]])
    pairs = generator.permutation(pairs.reshape(-1, 2))
    return pa.table(
        {
            "userId": pairs[:, 0],
            "movieId": pairs[:, 1],
            "rating": (generator.integers(1, 11, len(pairs)) / 2).astype(np.float32),
            "timestamp": np.arange(len(pairs)),
        }
    )


def encode(store: Store, name: str, table: pa.Table) -> None:
    """Write a split as notebook 06 does, without NVTabular."""
    folder = store.path(f"{name}-hugectr")
    folder.mkdir()
    movies = table["movieId"].to_numpy()
    columns = {
        "userId": table["userId"].to_numpy() + 2,
        "movieId": np.where(np.isin(movies, COLD), 2, movies + 2),
        "genres": pa.array(
            [[NAMES.index(genre) + 3 for genre in GENRES[movie - 1]] for movie in movies], pa.list_(pa.int64())
        ),
        "movieId_duplicate": movies + 2,
        "rating": (table["rating"].to_numpy() > 3).astype(np.float32),
    }
    pq.write_table(pa.table(columns), folder / "part_0.parquet")
    (folder / "_file_list.txt").write_text(f"1\n{name}-hugectr/part_0.parquet\n")
    store.record(f"{name}-hugectr", rows=table.num_rows)


@pytest.fixture
def movies() -> pa.Table:
    none = pa.nulls(len(MOVIES), pa.string())
    return pa.table(
        {
            "movieId": MOVIES,
            "title": [f"Movie {movie}" for movie in MOVIES],
            "year": pa.nulls(len(MOVIES), pa.int16()),
            "genres": GENRES,
            "imdbId": none,
            "tmdbId": pa.nulls(len(MOVIES), pa.int64()),
        }
    )


def fit_here(job: training.Job, _: Path) -> training.Run:
    return training.fit(job)


def open_study(open_for: Open, movies: pa.Table, cold: int) -> Study:
    first, second = open_for("train"), open_for("movie_codes")
    ratings = rated(0, MOVIES[:24], 15)
    parts = {"train": ratings.slice(60), "valid": ratings.slice(0, 60), "cold": rated(1, COLD, cold)}
    for name, table in parts.items():
        first.write(name, table)
        encode(second, name, table)
    codes = pa.table({"movieId": MOVIES, "code": np.where(MOVIES < 25, MOVIES + 2, 2), "content_code": MOVIES + 2})
    rows = {"userId": 23, "movieId": 27, "genres": 6, "movieId_duplicate": 33}
    second.write("movie_codes", codes, metadata={"rows": rows, "most_genres": 2})
    categories = second.path("workflow-hugectr") / "categories"
    categories.mkdir(parents=True)
    for column, values in {"userId": list(range(1, 21)), "genres": NAMES}.items():
        pq.write_table(pa.table({column: values}), categories / f"unique.{column}.parquet")
    vectors = np.random.default_rng(3).normal(size=(33, 9)).astype(np.float32)
    content = ContentTable(vectors, content_columns(4, 3))
    return Study.open(open_for("metrics"), movies, codes, content, Settings(1, 64, 0.01), "torch", fit_here)


@pytest.fixture
def study(open_for: Open, movies: pa.Table) -> Study:
    return open_study(open_for, movies, cold=3)


def test_a_run_is_scored_on_both_slices(study: Study) -> None:
    run = study.run("multimodal", "ids+genres+poster+text", 1)
    assert not run.resumed
    assert {(row["slice"], row["metric"]) for row in study.rows} >= {
        (slice_name, metric)
        for slice_name in ("warm", "cold")
        for metric in ("auc", "logloss", "gauc", "recall@10", "ndcg@10")
    }
    assert {(row["trainer"], row["model"], row["features"], row["seed"], row["split"]) for row in study.rows} == {
        ("torch", "multimodal", "ids+genres+poster+text", 1, "random")
    }
    assert [(row["features"], row["epoch"]) for row in study.history] == [("ids+genres+poster+text", 1)]
    for name in ("valid", "cold"):
        scores = study.scores["multimodal", "ids+genres+poster+text", 1, name]
        assert np.array_equal(scores, training.score(run.twin, study.splits[name]))


def test_predictions_have_a_row_a_rating(study: Study) -> None:
    study.run("seed", "ids", 1)
    for name in ("valid", "cold"):
        table = study.predictions("seed", "ids", 1, name)
        raw = study.raw[name]
        assert table.select(["userId", "movieId", "rating"]).equals(raw.select(["userId", "movieId", "rating"]))
        assert table["label"].to_pylist() == [float(rating > 3) for rating in raw["rating"].to_pylist()]
        assert pc.min(table["score"]).as_py() > 0 and pc.max(table["score"]).as_py() < 1


def test_recommendations_are_new_ranked_and_scored_as_the_model_does(study: Study) -> None:
    run = study.run("multimodal", "ids+genres+poster", 1)
    table = study.recommendations(run, k=5).to_pandas()
    train = study.raw["train"].to_pandas()
    assert sorted(table["userId"].unique()) == list(range(1, 21))
    for user, own in table.groupby("userId"):
        assert own["rank"].tolist() == [1, 2, 3, 4, 5]
        assert own["score"].is_monotonic_decreasing
        assert not set(own["movieId"]) & set(train[train["userId"] == user]["movieId"])
        row = study.users.tolist().index(user)
        scores = training.score_catalogue(run.twin, study.user_codes[row : row + 1], study.catalogue.codes)[0]
        scores[np.isin(MOVIES, train[train["userId"] == user]["movieId"])] = -1
        assert set(own["movieId"]) == set(MOVIES[np.argsort(-scores)[:5]])


def test_the_shelf(study: Study, movies: pa.Table) -> None:
    recommendations = study.recommendations(study.run("seed", "ids", 1))
    paths = pa.array([None, *(f"posters/{movie}.jpg" for movie in MOVIES[1:])])
    enriched = pa.table({"movieId": MOVIES, "poster_path": paths})
    liked, shown = study.shelf(recommendations, enriched, movies, user=4, k=3)
    train = study.raw["train"].to_pandas()
    best = train[train["userId"] == 4].sort_values(["rating", "timestamp"], ascending=False)["movieId"].head(3)
    assert [title for _, title in liked] == [f"Movie {movie}" for movie in best]
    own = recommendations.to_pandas().query("userId == 4").head(3)
    assert [(title, score) for _, title, score, _ in shown] == [
        (f"Movie {movie}", score) for movie, score in zip(own["movieId"], own["score"], strict=True)
    ]
    assert [genres for *_, genres in shown] == [", ".join(GENRES[movie - 1]) for movie in own["movieId"]]
    posters = {title: poster for poster, title, *_ in [*liked, *shown]}
    assert posters.pop("Movie 1", None) is None
    assert all(poster == study.store.folder / "posters" / f"{title[6:]}.jpg" for title, poster in posters.items())


def test_without_cold_movies(open_for: Open, movies: pa.Table) -> None:
    study = open_study(open_for, movies, cold=0)
    study.run("seed", "ids", 1)
    assert {row["slice"] for row in study.rows} == {"warm"}
    assert study.predictions("seed", "ids", 1, "cold").num_rows == 0


def test_rows_in_another_order_are_refused(study: Study) -> None:
    raw = study.raw["valid"]
    codes = pa.table({"movieId": MOVIES, "content_code": MOVIES + 2})
    encoded = {name: values.numpy() for name, values in study.splits["valid"].codes.items()}
    encoded["label"] = study.splits["valid"].label.numpy()
    users = dict(zip(raw["userId"].to_pylist(), encoded["userId"].tolist(), strict=True))
    check_alignment("valid", raw, encoded, codes, users)
    wanted = r"valid-hugectr does not have the rows of valid.parquet in the same order: \w+ differs. Run notebook 06"
    for broken in (
        {name: values[::-1] for name, values in encoded.items()},
        {name: values[:-1] for name, values in encoded.items()},
        encoded | {"label": 1 - encoded["label"]},
        encoded | {"movieId_duplicate": encoded["movieId_duplicate"] + 1},
        encoded | {"userId": encoded["userId"] + 1},
    ):
        with pytest.raises(HandOffError, match=wanted):
            check_alignment("valid", raw, broken, codes, users)


def test_the_fullest_feature_set() -> None:
    sets = ["ids", "ids+genres+text", "ids+genres+poster+text", "ids+genres+poster+text(shuffled)"]
    assert fullest(sets) == "ids+genres+poster+text"
    assert fullest(sets[:2]) == "ids+genres+text"
    assert fullest(sets[-1:]) == sets[-1]


def test_the_store_is_not_touched_outside_checkpoints(study: Study, tmp_path: Path) -> None:
    before = {path for path in study.store.folder.rglob("*") if "checkpoints" not in path.parts}
    study.run("seed", "ids", 1)
    assert {path for path in study.store.folder.rglob("*") if "checkpoints" not in path.parts} == before
