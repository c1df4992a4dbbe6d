"""The experiment of 07 on a tiny data set: rows are aligned, metrics complete, recommendations new to their users."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from tests.conftest import Open
from utils.etl import negative_sampling
from utils.handoff import store as artefacts
from utils.handoff.store import HandOffError, Store
from utils.metrics import click, significance
from utils.model.frozen_table import content_table
from utils.model.training import fit
from utils.study import missing_content, objectives
from utils.study.catalogue import check_alignment
from utils.study.study import Study, fullest

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


def fit_here(job: fit.Job, _: Path) -> fit.Run:
    return fit.fit(job)


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
    encode(second, "rank", negative_sampling.rank_rows(parts["train"], 2, None, 0))
    generator = np.random.default_rng(3)
    features = pa.table(
        {
            "movieId": MOVIES,
            "poster": artefacts.vector_column(generator.normal(size=(len(MOVIES), 4)).astype(np.float32)),
            "text": artefacts.vector_column(generator.normal(size=(len(MOVIES), 3)).astype(np.float32)),
            "has_poster": MOVIES % 4 > 0,
            "has_text": MOVIES > 0,
        }
    )
    settings = objectives.settings("both", 1, 1, 64, 0.01)
    content = content_table(features, codes)
    return Study.open(open_for("metrics"), movies, features, codes, content, settings, "torch", fit_here)


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
        assert np.array_equal(scores, fit.score(run.twin, study.splits[name]))


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
    table = study.recommender.table(run.twin, k=5).to_pandas()
    train = study.raw["train"].to_pandas()
    assert sorted(table["userId"].unique()) == list(range(1, 21))
    for user, own in table.groupby("userId"):
        assert own["rank"].tolist() == [1, 2, 3, 4, 5]
        assert own["score"].is_monotonic_decreasing
        assert not set(own["movieId"]) & set(train[train["userId"] == user]["movieId"])
        row = study.users.tolist().index(user)
        scores = fit.catalogue_scorer(run.twin, study.catalogue.codes)(study.user_codes[row : row + 1])[0]
        scores[np.isin(MOVIES, train[train["userId"] == user]["movieId"])] = -1
        assert set(own["movieId"]) == set(MOVIES[np.argsort(-scores)[:5]])


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


def test_each_objective_has_its_own_rows_name_and_checkpoint(study: Study) -> None:
    like, rank = (study.run("multimodal", "ids", 1, objective) for objective in ("like", "rank"))
    assert {row["model"] for row in study.rows} == {"multimodal", "multimodal-rank"}
    assert not rank.resumed and not torch.equal(like.twin.tables["userId"].weight, rank.twin.tables["userId"].weight)
    of_rank = {row["metric"] for row in study.rows if row["model"] == "multimodal-rank"}
    assert of_rank == {"auc", "gauc", "recall@10", "ndcg@10"}, "its scores are no probabilities of a like"
    assert study.run("multimodal", "ids", 1, "rank").resumed
    assert study.job("multimodal", "ids", 1, "rank", study.settings["rank"]).source == "rank-hugectr"


def test_slices_have_the_metrics_of_their_rows(study: Study) -> None:
    study.run("multimodal", "ids", 1)
    movie = study.raw["cold"]["movieId"].to_numpy()
    mask = movie % 4 > 0
    label = (study.raw["cold"]["rating"].to_numpy() > 3).astype(np.float32)
    scores = study.scores["multimodal", "ids", 1, "cold"]
    (row,) = [row for row in study.rows if row["slice"] == "cold with poster" and row["metric"] == "auc"]
    assert row["n"] == mask.sum() and row["value"] == pytest.approx(click.auc(label[mask], scores[mask]))
    assert {"warm", "cold", "cold with poster", "cold among all"} <= {row["slice"] for row in study.rows}
    assert "cold with text" not in {row["slice"] for row in study.rows}, "all of them have a text"


def test_hidden_content_is_trained_on_and_shares_a_run_where_nothing_is_hidden(study: Study) -> None:
    full = "ids+genres+poster+text"
    names = {share: missing_content.name(full, share, "zero") for share in (0.0, 0.5)}
    tables = {
        share: study.job("multimodal", name, 1, "like", study.settings["like"]).frozen for share, name in names.items()
    }
    text = slice(4, 7)
    assert not tables[0.0][3:, text].all(axis=1).sum() < len(MOVIES)
    hidden = (tables[0.5][3:, text] == 0).all(axis=1).sum()
    assert 0 < hidden < len(MOVIES)
    assert not study.run("multimodal", names[0.5], 1).resumed
    assert study.metrics(gaps=False).empty and set(study.metrics(gaps=True)["features"]) == {names[0.5]}


def test_baselines_are_judged_like_models(study: Study) -> None:
    study.run_baselines()
    rows = study.metrics()
    assert set(rows["trainer"]) == {"baseline"}
    assert {"popularity", "item-knn", "movie mean"} <= set(rows["model"])
    assert "recent popularity" not in set(rows["model"]), "likes of this data do not age"
    assert set(rows[rows["model"] == "popularity"]["metric"]) == {"auc", "gauc", "recall@10", "ndcg@10"}


def test_differences_name_their_slice(study: Study) -> None:
    for features in ("ids", "ids+genres"):
        study.run("multimodal", features, 1)
    found = study.differences("multimodal", ["ids", "ids+genres"], [1], slices=["cold", "cold with poster"])
    assert found["slice"].tolist() == ["cold", "cold with poster"]
    first = [
        click.auc(study.splits["cold"].label.numpy(), study.scores["multimodal", name, 1, "cold"])
        for name in ("ids", "ids+genres")
    ]
    assert found["difference"][0] == pytest.approx(first[1] - first[0])


def test_the_better_ranker_is_chosen_on_train(study: Study) -> None:
    assert study.better_ranker("multimodal", "ids") == "rank", "untuned: the one made for it"
    for objective, reached in (("like", 0.3), ("rank", 0.2)):
        study.tuned[objectives.tag("multimodal", objective), "ids"] = [{"tuning_ndcg@10": reached}]
    assert study.better_ranker("multimodal", "ids") == "like"


def test_every_rating_of_valid_and_cold_is_in_its_whole_slice(study: Study) -> None:
    assert {part: masks[name].all() for part, masks in study.masks.items() if (name := significance.SLICES[part])} == {
        "valid": True,
        "cold": True,
    }
