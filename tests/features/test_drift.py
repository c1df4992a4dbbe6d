"""Drift: a feature store is refused for another catalogue, and movies of another kind show in the report."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.fakes.facts import movie_facts
from utils.features import drift, feature_store
from utils.handoff.store import HandOffError
from utils.handoff.vector_columns import vector_column

MOVIES = np.arange(1000, 1600, dtype=np.int64)
KNOWN = MOVIES[:400]


def reduced(values: np.ndarray, ids: np.ndarray = MOVIES, width: int = 5) -> feature_store.Reduced:
    table = pa.table({"movieId": ids, "embedding": vector_column(values)})
    return feature_store.reduce(table, MOVIES, KNOWN, width)


def content(seed: int, count: int = 600) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, np.linspace(1, 0.1, 12), (count, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, object], pa.Table]:
    parts = {"poster": reduced(content(1)), "text": reduced(content(2), width=3)}
    parts["facts"] = feature_store.reduce_facts(movie_facts(MOVIES), KNOWN, 4)
    embeddings = {"poster": {"encoder": "resnet50", "weights_sha256": "ab"}, "text": {"encoder": "MiniLM"}}
    # By way of JSON, as it comes from a file.
    metadata = json.loads(json.dumps(drift.describe(parts, MOVIES, embeddings)))
    return metadata, feature_store.table(MOVIES, parts)


def test_what_a_store_says_of_itself(made: tuple[dict, pa.Table]) -> None:
    metadata = made[0]
    assert metadata["catalogue"] == {"movies": 600, "sha256": drift.fingerprint(MOVIES[::-1].astype(np.int32))}
    assert drift.fingerprint(MOVIES) != drift.fingerprint(MOVIES[1:])
    poster, text = metadata["reductions"]["poster"], metadata["reductions"]["text"]
    assert (poster["encoder"], poster["weights_sha256"]) == ("resnet50", "ab")
    assert (poster["raw_width"], poster["width"], poster["components"], poster["fitted_on"]) == (12, 5, 5, 400)
    facts = metadata["reductions"]["facts"]
    assert (facts["encoder"], facts["people"], facts["countries"], facts["fitted_on"]) == (None, 60, 3, 400)
    assert poster["sha256"] == reduced(content(1)).reduction.sha256() != text["sha256"]


def test_its_own_catalogue_is_accepted(made: tuple[dict, pa.Table]) -> None:
    metadata, features = made
    drift.check_drift(metadata, features, MOVIES)
    drift.check_drift(metadata, features.select(["movieId"]), np.random.default_rng(0).permutation(MOVIES))
    drift.check_drift({}, features, MOVIES)


@pytest.mark.parametrize(
    ("movie_ids", "wanted"),
    [
        (MOVIES[2:], r"of 598 movies: 0 movies are missing from it, 2 movies are \(first: movieId 1000\) unknown to"),
        (
            np.append(MOVIES, [7000, 7001, 7002]),
            r"3 movies are \(first: movieId 7000\) missing from it, 0 movies are unk",
        ),
        (
            MOVIES + 100,
            r"100 movies are \(first: movieId 1600\) missing from it, 100 movies are \(first: movieId 1000\)",
        ),
    ],
)
def test_another_catalogue_is_refused(made: tuple[dict, pa.Table], movie_ids: np.ndarray, wanted: str) -> None:
    for metadata in (made[0], {}):
        with pytest.raises(HandOffError, match=wanted + r".*Run 05-Create-Feature-Store.ipynb again"):
            drift.check_drift(metadata, made[1], movie_ids)


def test_a_store_that_was_changed_is_refused(made: tuple[dict, pa.Table]) -> None:
    metadata, features = made
    with pytest.raises(HandOffError, match="holds 590 movies that are not the 600 it was written for"):
        drift.check_drift(metadata, features.slice(10), MOVIES[10:])
    with pytest.raises(HandOffError, match="feature_store.parquet has 1 movieIds twice"):
        drift.check_drift(metadata, pa.concat_tables([features, features.slice(3, 1)]), MOVIES)
    narrow = features.set_column(features.column_names.index("poster"), "poster", vector_column(np.zeros((600, 4))))
    with pytest.raises(HandOffError, match="poster is 4 wide, but says that it is 5"):
        drift.check_drift(metadata, narrow, MOVIES)


def report(values: np.ndarray, width: int = 5) -> pd.Series:
    given = {"poster": reduced(values, MOVIES[: len(values)], width)}
    return drift.report(given, np.isin(MOVIES, KNOWN)).loc["poster"]


def test_movies_of_one_kind_do_not_drift() -> None:
    row = report(content(1))
    assert (row["old"], row["new"], row["share_new"]) == (400, 200, pytest.approx(1 / 3))
    assert row["by_chance"] == pytest.approx(np.sqrt(1 / 400 + 1 / 200))
    assert row["shift"] < 2 * row["by_chance"] and not row["drifts"]
    assert row["cosine_new"] == pytest.approx(row["cosine_old"], abs=0.05)


def test_the_shift_is_in_standard_deviations() -> None:
    values = content(1)
    values[400:] = values[:200]
    values[400:, 0] += 2 * np.sqrt(np.var(values[:400], axis=0).sum())  # Column 0 varies most, so it is kept.
    row = report(values, width=12)
    assert row["shift"] == pytest.approx(2, abs=0.15) and row["drifts"]


def test_movies_turned_away_have_a_lower_cosine() -> None:
    values = content(1)
    values[400:] *= -1
    row = report(values)
    assert row["cosine_old"] > 0 > row["cosine_new"] and row["drifts"]


def test_a_few_odd_movies_are_chance_and_those_without_vectors_do_not_count() -> None:
    values = content(1)[:403]
    values[400:, 0] += 0.5
    row = report(values)
    assert (row["old"], row["new"]) == (400, 3)
    assert row["shift"] < 3 * row["by_chance"] and not row["drifts"]


@pytest.mark.parametrize("count", [0, 1, 401])
def test_too_few_movies_to_compare(count: int) -> None:
    row = report(content(1)[:count])
    assert np.isnan(row["shift"]) and not row["drifts"]
    assert row["old"] + row["new"] == count
