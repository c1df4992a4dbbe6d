"""Metrics of clicks, against scikit-learn and against examples worked by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from utils.handoff.parameters import ParameterError
from utils.metrics import bootstrap, calibration, click
from utils.metrics.checks import EvaluationError
from utils.metrics.click import Pairs, Rated

TAGS = {"trainer": "torch", "model": "seed", "features": "ids", "seed": 1, "split": "random", "slice": "warm"}
NOTHING = Rated(np.zeros(0, int), np.zeros(0, int), np.zeros(0))

tied_rows = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])), min_size=2, max_size=60
)


def clicks(users: int, rows: int, seed: int = 0, decimals: int = 6) -> tuple[Rated, np.ndarray]:
    generator = np.random.default_rng(seed)
    user, movie = generator.integers(0, users, rows) * 7 + 3, generator.integers(0, rows, rows)
    label = (generator.random(rows) < 0.55).astype(np.float32)
    score = np.round(1 / (1 + np.exp(-(generator.normal(size=rows) + label))), decimals).astype(np.float32)
    return Rated(user, movie, label), score


# AUC, logloss, GAUC


def test_auc_by_hand() -> None:
    # Liked 0.8 and 0.4 against other 0.4 and 0.1: two wins for 0.8; a tie and a win for 0.4: 3.5 of 4.
    assert click.auc(np.array([1, 1, 0, 0]), np.array([0.8, 0.4, 0.4, 0.1])) == 3.5 / 4
    assert click.auc(np.array([1, 0, 1, 0]), np.full(4, 0.3, np.float32)) == 0.5
    close = np.array([np.nextafter(np.float32(0.5), np.float32(1)), 0.5], np.float32)
    assert click.auc(np.array([1, 0]), close) == 1.0, "scores that differ in the last bit are no ties"
    assert np.isnan(click.auc(np.ones(3), np.arange(3.0))) and np.isnan(click.auc(np.zeros(0), np.zeros(0)))


@settings(deadline=None)
@given(tied_rows, st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_auc_and_gauc_equal_scikit_learn_on_heavy_ties(rows: list, counts: list[int]) -> None:
    user, label, score = (np.array(column) for column in zip(*rows, strict=True))
    if 0 < label.mean() < 1:
        assert click.auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    two_classes = [u for u in np.unique(user) if 0 < label[user == u].mean() < 1]
    value, used, left_out = click.gauc(user, label, score.astype(np.float32))
    assert (used, left_out) == (len(two_classes), len(np.unique(user)) - len(two_classes))
    own = [roc_auc_score(label[user == u], score[user == u]) for u in two_classes]
    expected = np.average(own, weights=[(user == u).sum() for u in two_classes]) if own else np.nan
    assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)
    # A weight of a row is so many copies of it.
    repeated = np.repeat(np.arange(len(rows)), np.array(counts)[user])
    weighted = Pairs.of(label, score).auc(np.array(counts)[user])
    assert weighted == pytest.approx(click.auc(label[repeated], score[repeated]), abs=1e-12, nan_ok=True)


def test_logloss() -> None:
    rated, score = clicks(10, 500)
    assert click.logloss(rated.label, score) == pytest.approx(log_loss(rated.label, score.astype(float)), rel=1e-9)
    assert click.logloss(np.array([1.0]), np.array([0.0], np.float32)) == pytest.approx(-np.log(1e-7))
    assert click.logloss(np.array([0.0]), np.array([1.0], np.float32)) == pytest.approx(-np.log(1e-7))


def test_gauc_by_hand() -> None:
    # User 1: 3 rows, AUC 0.5 (one win of two). User 2: 2 rows, AUC 1. User 3 liked everything: left out.
    user = np.array([2, 1, 3, 1, 2, 1, 3])
    label = np.array([1, 1, 1, 0, 0, 0, 1])
    score = np.array([0.9, 0.5, 0.1, 0.6, 0.8, 0.4, 0.2])
    assert click.gauc(user, label, score) == (pytest.approx((3 * 0.5 + 2 * 1) / 5), 2, 1)


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([0, 1, 0.5], [0.1, 0.2, 0.3], r"label\[2\] is 0.5: labels must be 0 or 1"),
        ([0, 1], [0.1, np.nan], r"score\[1\] is nan: the model diverged"),
        ([0, 1], [0.1], "Shapes .* differ: give one-dimensional arrays of one length"),
        ([0, 1], [0.5, 2.5], r"score\[1\] is 2.5: logloss and calibration need probabilities; apply the sigmoid first"),
    ],
)
def test_refusals(label: list, score: list, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        click.logloss(np.array(label), np.array(score))


# Rows with intervals


def test_rows_are_tidy_and_bracket_the_value() -> None:
    rated, score = clicks(200, 5_000)
    table = click.metrics_table(click.evaluate(rated, score, TAGS))
    assert tuple(table.columns) == click.METRICS_COLUMNS
    assert list(table.metric) == ["auc", "logloss", "gauc", "ece"]
    assert ((table.low < table.value) & (table.value < table.high)).all()
    gauc, used, _ = click.gauc(rated.user, rated.label, score)
    assert list(table.n) == [5_000, 5_000, used, 5_000]
    label = rated.label
    wanted = [click.auc(label, score), click.logloss(label, score), gauc, calibration.calibration_error(label, score)]
    assert table.value.tolist() == pytest.approx(wanted, abs=1e-12)
    unlike = click.evaluate(rated, score * 100, TAGS, probabilities=False)
    assert {row["metric"]: row["value"] for row in unlike} == pytest.approx({"auc": wanted[0], "gauc": gauc})


def test_the_order_of_rows_and_the_names_of_users_and_movies_do_not_matter() -> None:
    rated, score = clicks(50, 1_000, decimals=1)
    order = np.random.default_rng(5).permutation(1_000)
    moved = rated.take(order)
    again = click.evaluate(Rated(moved.user + 100, moved.movie * 2, moved.label), score[order], TAGS)
    pd.testing.assert_frame_equal(pd.DataFrame(click.evaluate(rated, score, TAGS)), pd.DataFrame(again))


def test_slices_of_nothing_and_of_one_class() -> None:
    rows = click.evaluate(NOTHING, np.zeros(0), TAGS)
    assert [row["n"] for row in rows] == [0, 0, 0, 0]
    assert all(np.isnan([row["value"], row["low"], row["high"]]).all() for row in rows)
    rows = click.evaluate(Rated(np.array([1, 2]), np.array([1, 2]), np.ones(2)), np.array([0.5, 0.6]), TAGS)
    assert np.isnan([rows[0]["value"], rows[0]["low"], rows[2]["value"]]).all()
    assert rows[1]["low"] <= rows[1]["value"] <= rows[1]["high"]


def sample(seed: int, users: int, movies: int, each: int = 20) -> tuple[Rated, np.ndarray]:
    """Users and movies differ in how well they are predicted, so ratings of one depend on each other."""
    generator = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), each)
    movie = generator.integers(0, movies, len(user))
    label = generator.random(len(user)) < 0.5
    skill = 1 + generator.normal(0, 1, users)[user] + generator.normal(0, 1, movies)[movie]
    return Rated(user, movie, label), 1 / (1 + np.exp(-skill * label - generator.normal(size=len(user))))


def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    whole, score = sample(10_000, 10_000, 10_000)
    truth, covered = click.auc(whole.label, score), 0
    for seed in range(100):
        row = click.evaluate(*sample(seed, 60, 30), TAGS, replicates=100)[0]
        covered += row["low"] <= truth <= row["high"]
    assert covered >= 88, "the pigeonhole bootstrap is rather too wide than too narrow"


def test_few_movies_make_the_auc_uncertain_however_many_users_there_are() -> None:
    rated, score = sample(3, 400, 6)
    row = click.evaluate(rated, score, TAGS)[0]
    pairs = Pairs.of(rated.label, score)
    of_users = bootstrap.interval([pairs.auc(counts[rated.user]) for counts in bootstrap.resamples(400, 200, 0)])
    assert row["high"] - row["low"] > 2 * (of_users[1] - of_users[0])


def test_the_interval_of_the_calibration_error_covers_the_truth() -> None:
    def spread_out(seed: int, rows: int) -> tuple[Rated, np.ndarray]:
        generator = np.random.default_rng(seed)
        logit = generator.normal(size=rows)
        label = generator.random(rows) < 1 / (1 + np.exp(-logit))
        user = generator.integers(0, max(rows // 20, 1), rows)
        return Rated(user, np.arange(rows), label), 1 / (1 + np.exp(-1.6 * logit))

    whole, score = spread_out(10_000, 500_000)
    truth, covered = calibration.calibration_error(whole.label, score), 0
    for seed in range(50):
        row = click.evaluate(*spread_out(seed, 2_000), TAGS, replicates=100)[3]
        assert 0 <= row["low"] <= row["value"] <= row["high"]
        covered += row["low"] <= truth <= row["high"]
    assert covered >= 42


def test_what_rows_need() -> None:
    with pytest.raises(ParameterError, match="replicates=0 must be a whole number of at least 1"):
        click.evaluate(*clicks(5, 20), TAGS, replicates=0)
    with pytest.raises(EvaluationError, match="A metrics row needs"):
        click.metric_row("auc", 0.5, (0.4, 0.6), 3, {"trainer": "torch"})


def test_a_summary_averages_seeds_widens_the_interval_and_can_be_read() -> None:
    rows = [
        click.metric_row("auc", value, bounds, n, TAGS | {"seed": seed, "slice": part, "features": features})
        for part, features, seed, value, bounds, n in [
            ("warm", "ids", 1, 0.7, (0.68, 0.72), 1200), ("warm", "ids", 2, 0.8, (0.79, 0.83), 1200),
            ("cold", "ids", 1, 0.5, (0.4, 0.6), 30), ("warm", "ids+genres", 1, 0.65, (0.5, 0.75), 1200),
        ]
    ]  # fmt: skip
    rows.append(click.metric_row("ece", 0.1, (0, 1), 30, TAGS))
    summary = click.summarise(click.metrics_table(rows))
    warm = summary.iloc[0]
    assert (warm.value, warm.low, warm.high, warm.seeds, warm.n) == (pytest.approx(0.75), 0.68, 0.83, 2, 1200)
    table = click.spread(summary, ["auc"]).reset_index()
    assert list(table.columns[4:]) == ["warm auc (n=1,200)", "cold auc (n=30)"]
    cells = table.set_index(["features", "seeds"]).iloc[:, 2:].fillna("")
    assert cells.loc[("ids", 2)].tolist()[0] == "0.7500 [0.6800, 0.8300]"
    assert cells.loc[("ids", 1)].tolist()[1] == "0.5000 [0.4000, 0.6000]"
    assert cells.loc[("ids+genres", 1)].tolist() == ["0.6500 [0.5000, 0.7500]", ""]
