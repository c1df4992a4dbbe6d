"""Paired differences, Holm's correction and the slices, by hand and on data with a known truth."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.handoff.parameters import ParameterError
from utils.metrics import bootstrap, click, significance
from utils.metrics.click import EvaluationError


def clicks(seed: int, users: int = 60, each: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return user, label and a score that knows a little of the label."""
    generator = np.random.default_rng(seed)
    user = np.repeat(np.arange(users) * 7 + 3, each)
    label = (generator.random(len(user)) < 0.5).astype(np.float32)
    return user, label, label + generator.normal(0, 1.5, len(user))


def noisy(score: np.ndarray, seed: int, scale: float) -> np.ndarray:
    return (score + np.random.default_rng(seed).normal(0, scale, len(score))).astype(np.float32)


# --- p-values and Holm


def test_p_value_by_hand():
    # 99 replicates of which 4 are not above 0: 2 * (4 + 1) / 100.
    assert bootstrap.p_value(np.r_[np.full(95, 0.1), np.full(3, -0.1), 0]) == pytest.approx(0.1)
    assert bootstrap.p_value(np.full(999, 0.1)) == bootstrap.p_value(np.full(999, -0.1)) == pytest.approx(0.002)
    assert bootstrap.p_value(np.zeros(99)) == 1
    assert bootstrap.p_value([np.nan, 0.1]) == 1
    assert np.isnan(bootstrap.p_value([np.nan]))


def test_centred_interval():
    low, high = bootstrap.interval(np.linspace(1, 3, 1001), centre=0.5)
    assert (low, high) == (0, pytest.approx(0.5 + 0.95))


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.3 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.3.
    assert significance.holm([0.02, 0.3, 0.01, 0.03]) == pytest.approx([0.06, 0.3, 0.04, 0.06])
    # The third product, 0.04, is below the second, 0.08, and must not overtake it; 1.5 is cut to 1.
    assert significance.holm([0.01, 0.04, 0.04]) == pytest.approx([0.03, 0.08, 0.08])
    assert significance.holm([0.5, 0.9, 0.9]) == pytest.approx([1, 1, 1])
    assert significance.holm([]).shape == (0,)


def test_holm_leaves_out_what_has_no_p_value():
    assert significance.holm([np.nan, 0.01, 0.04]) == pytest.approx([np.nan, 0.02, 0.04], nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_the_value_and_bonferroni_and_keeps_the_order(values):
    corrected = significance.holm(values)
    assert (corrected >= np.array(values)).all()
    assert (corrected <= np.minimum(np.array(values) * len(values), 1)).all()
    assert (np.diff(corrected[np.argsort(values, kind="stable")]) >= 0).all()


def test_holm_refuses_what_is_no_p_value():
    with pytest.raises(EvaluationError, match=r"p_values\[1\] is 1.2: a p-value is between 0 and 1"):
        significance.holm([0.1, 1.2])


# --- paired differences


def test_the_difference_is_the_mean_over_seeds_on_shared_resamples():
    user, label, score = clicks(0)
    ids = [noisy(score, seed, 0.5) for seed in (1, 2)]
    better = [noisy(score + 0.4 * label, seed, 0.5) for seed in (3, 4)]
    table = significance.paired_differences(user, label, {"ids": ids, "ids+text": better}, replicates=50, seed=9)
    assert tuple(table.columns) == significance.COLUMNS
    row = table.iloc[0]
    assert (row.features, row.seeds, row.n) == ("ids+text", 2, len(user))
    expected = np.mean([click.auc(label, b) - click.auc(label, a) for a, b in zip(ids, better, strict=True)])
    assert row.difference == pytest.approx(expected)
    # The same by repeating rows, one resample of users for both seeds and both sets.
    code = np.unique(user, return_inverse=True)[1]
    replicated = []
    for counts in bootstrap.resamples(60, 50, 9):
        rows = np.repeat(np.arange(len(user)), counts[code])
        aucs = [[click.auc(label[rows], s[rows]) for s in scores] for scores in (better, ids)]
        replicated.append(np.mean(aucs[0]) - np.mean(aucs[1]))
    assert (row.low, row.high) == pytest.approx(bootstrap.interval(replicated))
    assert row.p == pytest.approx(bootstrap.p_value(replicated))


def test_what_helps_is_found_and_what_does_not_is_not():
    user, label, score = clicks(1, users=150)
    scores = {
        "ids": [noisy(score, 1, 0.3), noisy(score, 2, 0.3)],
        "ids+genres": [noisy(score + 0.3 * label, 3, 0.3), noisy(score + 0.3 * label, 4, 0.3)],
        "ids+genres(random)": [noisy(score, 5, 0.3), noisy(score, 6, 0.3)],
        "ids+copy": [noisy(score, 1, 0.3), noisy(score, 2, 0.3)],
    }
    table = significance.paired_differences(user, label, scores, replicates=500).set_index("features")
    assert list(table.index) == ["ids+genres", "ids+genres(random)", "ids+copy"]
    helped, random, copy = table.loc["ids+genres"], table.loc["ids+genres(random)"], table.loc["ids+copy"]
    assert 0 < helped.low < helped.difference < helped.high
    assert helped.p == pytest.approx(2 / 501) and helped.p_holm == pytest.approx(3 * 2 / 501)
    assert random.low < 0 < random.high and random.p > 0.05
    assert (copy.difference, copy.low, copy.high, copy.p, copy.p_holm) == (0, 0, 0, 1, 1)


def test_pairing_makes_the_interval_narrower_than_that_of_either_model():
    user, label, score = clicks(2, users=100)
    scores = {"ids": [score], "ids+text": [score + 0.1 * label]}
    row = significance.paired_differences(user, label, scores, replicates=200).iloc[0]
    shared = {"trainer": "torch", "model": "seed", "seed": 1, "split": "random", "slice": "warm"}
    alone = click.evaluate(user, label, score, **shared, features="ids", probabilities=False)[0]
    assert row.high - row.low < (alone["high"] - alone["low"]) / 2


def test_p_values_are_even_where_nothing_differs():
    below = 0
    for seed in range(100):
        user, label, score = clicks(seed, users=40, each=10)
        scores = {"ids": [noisy(score, 2 * seed, 0.5)], "ids+text": [noisy(score, 2 * seed + 1, 0.5)]}
        below += significance.paired_differences(user, label, scores, replicates=100).p[0] < 0.2
    assert 8 <= below <= 34


def test_one_class_gives_nan_and_an_empty_slice_too():
    table = significance.paired_differences(np.array([1, 2]), np.ones(2), {"ids": [np.ones(2)], "a": [np.ones(2)]})
    assert np.isnan(table.loc[0, ["difference", "low", "high", "p", "p_holm"]].astype(float)).all()
    empty = np.zeros(0)
    table = significance.paired_differences(empty, empty, {"ids": [empty], "a": [empty]}, replicates=3)
    assert table.n[0] == 0 and np.isnan(table.p[0])


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
def test_refusals(scores, message):
    arrays = {name: [np.array(score, float) for score in of_seeds] for name, of_seeds in scores.items()}
    with pytest.raises(EvaluationError, match=message):
        significance.paired_differences(np.array([1, 2]), np.array([0, 1]), arrays)


def test_replicates_must_be_whole():
    with pytest.raises(ParameterError, match="replicates=0 must be a whole number of at least 1"):
        significance.paired_differences(np.array([1]), np.array([1]), {"ids": [np.ones(1)]}, replicates=0)


# --- slices


FEATURES = pa.table({"movieId": [10, 20, 50, 60], "has_poster": [True, True, True, False], "has_text": [True] * 4})


@pytest.mark.parametrize("kind", [pa.table, pl.DataFrame, pd.DataFrame])
def test_slices_by_hand(kind):
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


def test_few_must_be_whole():
    with pytest.raises(ParameterError, match="few=0 must be a whole number of at least 1"):
        significance.part_masks("valid", {}, {}, few=0)


# --- means of what each user has


def test_paired_means_by_hand():
    users = np.array([3, 5, 8])
    values = {"popularity": [(users, np.array([0.0, 0.5, 1.0]))], "ours": [(users, np.array([0.5, 0.5, 0.8]))]}
    (row,) = significance.paired_means(values, "popularity").to_dict("records")
    assert row["features"] == "ours" and row["n"] == 3 and row["seeds"] == 1
    assert row["difference"] == pytest.approx(0.1) and row["low"] <= 0.1 <= row["high"]
    assert row["low"] >= -0.2 and row["high"] <= 0.5, "a resampled mean lies between the least and the greatest"


def test_paired_means_sees_what_is_always_there_and_not_what_is_not():
    generator = np.random.default_rng(0)
    users, base = np.arange(300), generator.uniform(size=300)
    better, noise = base + generator.normal(0.1, 0.2, 300), base + generator.normal(0, 0.2, 300)
    values = {"ids": [(users, base)] * 2, "better": [(users, better)] * 2, "noise": [(users, noise)] * 2}
    found = significance.paired_means(values, "ids").set_index("features")
    assert found.loc["better", "low"] > 0 and found.loc["better", "p_holm"] < 0.05
    assert found.loc["noise", "low"] < 0 < found.loc["noise", "high"]


def test_paired_means_of_other_users_are_refused():
    values = {"ids": [(np.array([1, 2]), np.ones(2))], "text": [(np.array([1, 3]), np.ones(2))]}
    with pytest.raises(EvaluationError, match="'text' has values of other users than 'ids'"):
        significance.paired_means(values, "ids")
