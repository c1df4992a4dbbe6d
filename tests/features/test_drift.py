"""Drift: movies of another kind show in the report."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.fakes.facts import movie_facts
from utils.features import drift, feature_store
from utils.handoff.vector_columns import vector_column

MOVIES = np.arange(1000, 1600, dtype=np.int64)
KNOWN = MOVIES[:400]


def reduced(values: np.ndarray, ids: np.ndarray = MOVIES, width: int = 5) -> feature_store.Reduced:
    table = pa.table({"movieId": ids, "embedding": vector_column(values)})
    return feature_store.reduce(table, MOVIES, KNOWN, width)


def content(seed: int, count: int = 600) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, np.linspace(1, 0.1, 12), (count, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    parts = {"poster": reduced(content(1)), "text": reduced(content(2), width=3)}
    parts["facts"] = feature_store.reduce_facts(movie_facts(MOVIES), KNOWN, 4)
    embeddings = {"poster": {"encoder": "resnet50", "weights_sha256": "ab"}, "text": {"encoder": "MiniLM"}}
    # By way of JSON, as it comes from a file.
    return json.loads(json.dumps(drift.describe(parts, embeddings)))


def test_what_a_store_says_of_itself(made: dict[str, Any]) -> None:
    poster, text = made["reductions"]["poster"], made["reductions"]["text"]
    assert (poster["encoder"], poster["weights_sha256"]) == ("resnet50", "ab")
    assert (poster["raw_width"], poster["width"], poster["components"], poster["fitted_on"]) == (12, 5, 5, 400)
    facts = made["reductions"]["facts"]
    assert (facts["encoder"], facts["people"], facts["countries"], facts["fitted_on"]) == (None, 60, 3, 400)
    assert poster["sha256"] == reduced(content(1)).reduction.sha256() != text["sha256"]


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
