"""Resamples, intervals and p-values by hand."""

import numpy as np
import pytest

from utils.metrics import bootstrap


def test_resamples_draw_as_many_as_there_are_and_depend_on_the_seed_alone() -> None:
    drawn = list(bootstrap.resamples(50, 200, 1))
    assert all(counts.sum() == 50 for counts in drawn)
    assert np.mean([(counts == 0).mean() for counts in drawn]) == pytest.approx(np.exp(-1), abs=0.02)
    assert np.array_equal(drawn, list(bootstrap.resamples(50, 200, 1)))
    assert not np.array_equal(drawn, list(bootstrap.resamples(50, 200, 2)))
    assert [counts.shape for counts in bootstrap.resamples(0, 2, 1)] == [(0,), (0,)]


def test_users_and_movies_are_drawn_apart() -> None:
    pairs = list(bootstrap.two_way(40, 40, 100, 3))
    users, movies = (np.array(side) for side in zip(*pairs, strict=True))
    assert (users.sum(axis=1) == 40).all() and (movies.sum(axis=1) == 40).all()
    assert abs(np.corrcoef(users.ravel(), movies.ravel())[0, 1]) < 0.06
    assert np.array_equal(users, list(bootstrap.resamples(40, 100, 3))), "the users of the other metrics"


def test_p_value_by_hand() -> None:
    # 99 replicates of which 4 are not above 0: 2 * (4 + 1) / 100.
    assert bootstrap.p_value(np.r_[np.full(95, 0.1), np.full(3, -0.1), 0]) == pytest.approx(0.1)
    assert bootstrap.p_value(np.full(999, 0.1)) == bootstrap.p_value(np.full(999, -0.1)) == pytest.approx(0.002)
    assert bootstrap.p_value(np.zeros(99)) == bootstrap.p_value([np.nan, 0.1]) == 1
    assert np.isnan(bootstrap.p_value([np.nan]))


def test_interval_by_hand() -> None:
    assert bootstrap.interval([*range(1001), np.nan]) == pytest.approx((25, 975))
    assert bootstrap.interval(np.linspace(1, 3, 1001), centre=0.5) == (0, pytest.approx(0.5 + 0.95))
    assert np.isnan(bootstrap.interval([np.nan])).all()
