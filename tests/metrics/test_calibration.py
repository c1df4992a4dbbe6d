"""Calibration, against scikit-learn and against examples worked by hand."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from utils.handoff.parameters import ParameterError
from utils.metrics import calibration
from utils.metrics.checks import EvaluationError


def calibrated(rows: int, users: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User, label and score [rows] of a model whose probabilities are true."""
    generator = np.random.default_rng(seed)
    score = generator.random(rows)
    return generator.integers(0, users, rows) * 7 + 3, generator.random(rows) < score, score


def test_calibration_error_by_hand() -> None:
    # Two bins of two: mean score 0.2 against 0.5 liked, 0.75 against 1 liked: (2 * 0.3 + 2 * 0.25) / 4.
    label, score = np.array([1, 0, 1, 1]), np.array([0.1, 0.3, 0.9, 0.6])
    assert calibration.calibration_error(label, score, bins=2) == pytest.approx((2 * 0.3 + 2 * 0.25) / 4)
    assert calibration.calibration_error(label, score, bins=1) == pytest.approx(abs(1.9 / 4 - 0.75))
    assert np.isnan(calibration.calibration_error(np.zeros(0), np.zeros(0)))


def test_calibration_error_equals_scikit_learn_on_quantiles() -> None:
    _, label, score = calibrated(3_000)
    likes, means = calibration_curve(label, score, n_bins=10, strategy="quantile")
    expected = np.abs(likes - means).mean()  # without ties, all bins have 300 rows
    assert len(np.unique(score)) == 3_000
    assert calibration.calibration_error(label, score) == pytest.approx(expected, abs=1e-9)


def test_one_score_for_all_is_one_bin_in_any_order() -> None:
    # Cut by position, sorted labels of one score would look miscalibrated in every bin.
    label = np.repeat([0, 1], 50)
    assert calibration.calibration_error(label, np.full(100, 0.5, np.float32)) == 0
    assert calibration.calibration_error(label, np.full(100, 0.8)) == pytest.approx(0.3)


def test_a_calibrated_model_shows_only_the_noise_of_the_docstring() -> None:
    _, label, score = calibrated(20_000)
    noise = 0.4 * np.sqrt(10 / 20_000)
    assert 0.3 * noise < calibration.calibration_error(label, score) < 2 * noise
    assert calibration.calibration_error(label, score**2) > 0.15


def test_reliability_by_hand() -> None:
    user, label, score = np.array([1, 2, 1, 2]), np.array([1, 0, 1, 1]), np.array([0.1, 0.3, 0.9, 0.6])
    curve = calibration.reliability(user, label, score, bins=2)
    assert tuple(curve.columns) == calibration.COLUMNS
    assert curve["score"].tolist() == pytest.approx([0.2, 0.75])
    assert curve["share"].tolist() == [0.5, 1.0]
    assert curve["n"].tolist() == [2, 2]
    # Half of the resamples hold one user twice, and with it a share of 1 or of 0 in the lower bin.
    assert (curve["low"].tolist(), curve["high"].tolist()) == ([0, 1], [1, 1])


@pytest.mark.parametrize("bins", [1, 7, 10])
@pytest.mark.parametrize("decimals", [1, 9])
def test_reliability_adds_up_to_the_calibration_error(bins, decimals) -> None:
    user, label, score = calibrated(2_000)
    score = np.round(score**2, decimals)
    curve = calibration.reliability(user, label, score, bins, replicates=20)
    error = (curve["n"] / curve["n"].sum() * (curve["score"] - curve["share"]).abs()).sum()
    assert error > 0.1
    assert error == pytest.approx(calibration.calibration_error(label, score, bins), abs=1e-12)
    assert curve["score"].is_monotonic_increasing
    assert ((curve["low"] <= curve["share"]) & (curve["share"] <= curve["high"])).all()


def test_reliability_leaves_empty_bins_out() -> None:
    user, label = np.arange(100), np.repeat([0, 1], 50)
    (row,) = calibration.reliability(user, label, np.full(100, 0.5)).itertuples(index=False)
    assert (row.score, row.share, row.n) == (0.5, 0.5, 100)
    none = calibration.reliability(np.zeros(0, int), np.zeros(0), np.zeros(0))
    assert tuple(none.columns) == calibration.COLUMNS and none.empty


def test_intervals_of_reliability_see_that_ratings_of_a_user_depend_on_each_other() -> None:
    # One user likes all, another nothing: with 10 users the share is known far worse than 2,000 rows suggest.
    label = np.repeat(np.arange(10) % 2, 200)
    score = np.full(2_000, 0.5)
    few = calibration.reliability(np.repeat(np.arange(10), 200), label, score)
    many = calibration.reliability(np.arange(2_000), label, score)
    assert (few["high"] - few["low"]).item() > 5 * (many["high"] - many["low"]).item()


def test_intervals_of_reliability_cover_the_diagonal_of_a_calibrated_model() -> None:
    curves = [calibration.reliability(*calibrated(2_000, seed=seed)) for seed in range(20)]
    covered = [((curve["low"] <= curve["score"]) & (curve["score"] <= curve["high"])).mean() for curve in curves]
    assert 0.88 < np.mean(covered) < 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"score": np.array([0.5, 1.5])},
            EvaluationError,
            r"score\[1\] is .*1.5.* need probabilities; apply the sigmoid",
        ),
        ({"label": np.array([0, 2])}, EvaluationError, r"label\[1\] is .*: labels must be 0 or 1"),
        ({"user": np.array([1])}, EvaluationError, "Shapes .* differ"),
        ({"bins": 0}, ParameterError, "bins=0 must be a whole number of at least 1"),
        ({"replicates": 0}, ParameterError, "replicates=0 must be a whole number of at least 1"),
    ],
)
def test_reliability_refusals(changes, error, message) -> None:
    given = {"user": np.array([1, 2]), "label": np.array([0, 1]), "score": np.array([0.2, 0.8])}
    with pytest.raises(error, match=message):
        calibration.reliability(**(given | changes))
