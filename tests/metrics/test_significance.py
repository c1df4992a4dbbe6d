"""Paired differences, Holm's correction and the slices, by hand and on data with a known truth."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.handoff.contract import FLAGS
from utils.handoff.parameters import ParameterError
from utils.metrics import bootstrap, click, significance
from utils.metrics.checks import EvaluationError
from utils.metrics.click import Rated


def clicks(seed: int, users: int = 60, each: int = 20, movies: int = 500) -> tuple[Rated, np.ndarray]:
    """Return rows and a score that knows a little of the label."""
    generator = np.random.default_rng(seed)
    user = np.repeat(np.arange(users) * 7 + 3, each)
    label = (generator.random(len(user)) < 0.5).astype(np.float32)
    return Rated(user, generator.integers(0, movies, len(user)), label), label + generator.normal(0, 1.5, len(user))


def noisy(score: np.ndarray, seed: int, scale: float) -> np.ndarray:
    return (score + np.random.default_rng(seed).normal(0, scale, len(score))).astype(np.float32)


# Holm


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.3 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.3.
    assert significance.holm([0.02, 0.3, 0.01, 0.03]) == pytest.approx([0.06, 0.3, 0.04, 0.06])
    # The third product, 0.04, is below the second, 0.08, and must not overtake it; 1.5 is cut to 1.
    assert significance.holm([0.01, 0.04, 0.04]) == pytest.approx([0.03, 0.08, 0.08])
    assert significance.holm([0.5, 0.9, 0.9]) == pytest.approx([1, 1, 1])
    assert significance.holm([np.nan, 0.01, 0.04]) == pytest.approx([np.nan, 0.02, 0.04], nan_ok=True)
    assert significance.holm([]).shape == (0,)
    with pytest.raises(EvaluationError, match=r"p_values\[1\] is 1.2: a p-value is between 0 and 1"):
        significance.holm([0.1, 1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_the_value_and_bonferroni_and_keeps_the_order(values: list[float]) -> None:
    corrected = significance.holm(values)
    assert (corrected >= np.array(values)).all()
    assert (corrected <= np.minimum(np.array(values) * len(values), 1)).all()
    assert (np.diff(corrected[np.argsort(values, kind="stable")]) >= 0).all()


# Paired differences


def test_the_difference_is_the_mean_over_seeds_on_shared_resamples_of_users_and_movies() -> None:
    rated, score = clicks(0)
    ids = [noisy(score, seed, 0.5) for seed in (1, 2)]
    better = [noisy(score + 0.4 * rated.label, seed, 0.5) for seed in (3, 4)]
    table = significance.paired_differences(rated, {"ids": ids, "ids+text": better}, replicates=50, seed=9)
    assert tuple(table.columns) == significance.COLUMNS
    row = table.iloc[0]
    assert (row.features, row.seeds, row.n) == ("ids+text", 2, len(score))
    expected = np.mean(
        [click.auc(rated.label, b) - click.auc(rated.label, a) for a, b in zip(ids, better, strict=True)]
    )
    assert row.difference == pytest.approx(expected)
    # The same by repeating rows: one resample of users and movies for both seeds and both sets.
    user, movie = (np.unique(side, return_inverse=True)[1] for side in (rated.user, rated.movie))
    replicated = []
    for of_user, of_movie in bootstrap.two_way(60, movie.max() + 1, 50, 9):
        rows = np.repeat(np.arange(len(user)), of_user[user] * of_movie[movie])
        aucs = [[click.auc(rated.label[rows], s[rows]) for s in scores] for scores in (better, ids)]
        replicated.append(np.mean(aucs[0]) - np.mean(aucs[1]))
    assert (row.low, row.high) == pytest.approx(bootstrap.interval(replicated))
    assert row.p == pytest.approx(bootstrap.p_value(replicated))


def test_what_helps_is_found_and_what_does_not_is_not() -> None:
    rated, score = clicks(1, users=150)
    told = score + 0.3 * rated.label
    scores = {
        "ids": [noisy(score, 1, 0.3), noisy(score, 2, 0.3)],
        "ids+genres": [noisy(told, 3, 0.3), noisy(told, 4, 0.3)],
        "ids+genres(random)": [noisy(score, 5, 0.3), noisy(score, 6, 0.3)],
        "ids+copy": [noisy(score, 1, 0.3), noisy(score, 2, 0.3)],
    }
    table = significance.paired_differences(rated, scores, replicates=500).set_index("features")
    assert list(table.index) == ["ids+genres", "ids+genres(random)", "ids+copy"]
    helped, random, copy = table.loc["ids+genres"], table.loc["ids+genres(random)"], table.loc["ids+copy"]
    assert 0 < helped.low < helped.difference < helped.high
    assert helped.p == pytest.approx(2 / 501) and helped.p_holm == pytest.approx(3 * 2 / 501)
    assert random.low < 0 < random.high and random.p > 0.05
    assert (copy.difference, copy.low, copy.high, copy.p, copy.p_holm) == (0, 0, 0, 1, 1)


def test_pairing_makes_the_interval_narrower_than_that_of_either_model() -> None:
    rated, score = clicks(2, users=100)
    row = significance.paired_differences(rated, {"ids": [score], "text": [score + 0.1 * rated.label]}, replicates=200)
    shared = {"trainer": "torch", "model": "seed", "seed": 1, "split": "random", "slice": "warm", "features": "ids"}
    alone = click.evaluate(rated, score, shared, probabilities=False)[0]
    assert row["high"][0] - row["low"][0] < (alone["high"] - alone["low"]) / 2


def test_p_values_are_rather_too_large_where_nothing_differs() -> None:
    below = 0
    for seed in range(100):
        rated, score = clicks(seed, users=40, each=10, movies=40)
        scores = {"ids": [noisy(score, 2 * seed, 0.5)], "ids+text": [noisy(score, 2 * seed + 1, 0.5)]}
        below += significance.paired_differences(rated, scores, replicates=100).p[0] < 0.2
    assert 1 <= below <= 25


@pytest.mark.parametrize("rows", [0, 2])
def test_one_class_and_an_empty_slice_give_nan(rows: int) -> None:
    alone = np.ones(rows)
    rated = Rated(np.arange(rows), np.arange(rows), alone)
    table = significance.paired_differences(rated, {"ids": [alone], "a": [alone]}, replicates=3)
    assert table.n[0] == rows
    assert np.isnan(table.loc[0, ["difference", "low", "high", "p", "p_holm"]].astype(float)).all()


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"a": [[1, 2]]}, r"against='ids' is not among the feature sets \['a'\]: train it too"),
        ({"ids": [[1, 2]], "a": [[1, 2], [2, 1]]}, "Seeds by feature set are {'ids': 1, 'a': 2}: give each set the"),
        ({"ids": [], "a": []}, "Seeds by feature set are {'ids': 0, 'a': 0}"),
        ({"ids": [[1, 2]], "a": [[1, np.nan]]}, r"Scores 0 of 'a': score\[1\] is nan: the model diverged"),
        ({"ids": [[1, 2]], "a": [[1]]}, "Scores 0 of 'a': Shapes .* differ"),
    ],
)
def test_refusals(scores: dict[str, list], message: str) -> None:
    arrays = {name: [np.array(score, float) for score in of_seeds] for name, of_seeds in scores.items()}
    rated = Rated(np.array([1, 2]), np.array([1, 2]), np.array([0, 1]))
    with pytest.raises(EvaluationError, match=message):
        significance.paired_differences(rated, arrays)
    with pytest.raises(ParameterError, match="replicates=0 must be a whole number of at least 1"):
        significance.paired_differences(rated, arrays, replicates=0)


# Slices

_THERE = dict.fromkeys(FLAGS.values(), [True] * 4) | {"has_poster": [True, True, True, False]}
FEATURES = pa.table({"movieId": [10, 20, 50, 60]} | _THERE)


@pytest.mark.parametrize("kind", [pa.table, pl.DataFrame, pd.DataFrame])
def test_slices_by_hand(kind) -> None:
    # Movie 10 has 6 ratings in train, movie 20 has 5, movie 30 has 1, movie 40 none. User 9 is new.
    train = kind({"userId": [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6], "movieId": [10] * 6 + [20] * 5 + [30]})
    valid = kind({"userId": [1, 9, 1, 9, 6], "movieId": [10, 20, 30, 40, 5]})
    cold = kind({"userId": [1, 2, 9], "movieId": [50, 60, 50]})
    raw = {"train": train, "valid": valid, "cold": cold}
    masks = significance.part_masks("valid", raw, FEATURES)
    assert list(masks) == ["warm", "few-shot", "new users"] and masks["warm"].all()
    assert masks["few-shot"].tolist() == [False, True, True, False, False]
    assert masks["new users"].tolist() == [False, True, False, True, False]
    once = significance.part_masks("valid", raw, FEATURES, few=1)
    assert once["few-shot"].tolist() == [False, False, True, False, False]
    of_cold = significance.part_masks("cold", raw, FEATURES)
    assert {name: mask.tolist() for name, mask in of_cold.items()} == {
        "cold": [True, True, True],
        "cold with poster": [True, False, True],
    }
    empty = kind({"userId": np.zeros(0, np.int64), "movieId": np.zeros(0, np.int64)})
    without = significance.part_masks("valid", raw | {"train": empty}, FEATURES)
    assert list(without) == ["warm", "new users"] and without["new users"].all()
    assert significance.part_masks("cold", raw | {"cold": empty}, FEATURES) == {}
    with pytest.raises(ParameterError, match="few=0 must be a whole number of at least 1"):
        significance.part_masks("valid", raw, FEATURES, few=0)
