"""Controls: what a knock-out keeps of the frozen table, and what it takes away."""

import numpy as np
import pytest

from utils.handoff.parameters import ParameterError
from utils.model.knock_outs import knocked_out

FULL = "ids+genres+poster+text"
MOVIE_ROWS = np.arange(3, 403)


@pytest.fixture
def table() -> np.ndarray:
    return np.random.default_rng(0).normal([1, -5, 0], [1, 0.1, 10], (403, 3)).astype(np.float32)


def test_no_control_no_change(table: np.ndarray) -> None:
    assert knocked_out(table, FULL, MOVIE_ROWS, 1) is table


def test_shuffled_vectors_are_those_of_other_movies(table: np.ndarray) -> None:
    before = table.copy()
    shuffled = knocked_out(table, f"{FULL}(shuffled)", MOVIE_ROWS, 1)
    assert np.array_equal(table, before)
    assert np.array_equal(shuffled[:3], table[:3])
    assert sorted(shuffled[3:].tolist()) == sorted(table[3:].tolist())
    assert (shuffled[3:] == table[3:]).all(axis=1).mean() < 0.02
    assert np.array_equal(shuffled, knocked_out(table, f"{FULL}(shuffled)", MOVIE_ROWS, 1))
    assert not np.array_equal(shuffled, knocked_out(table, f"{FULL}(shuffled)", MOVIE_ROWS, 2))


def test_only_movie_rows_are_shuffled(table: np.ndarray) -> None:
    rows = MOVIE_ROWS[::2]
    shuffled = knocked_out(table, f"{FULL}(shuffled)", rows, 1)
    others = np.setdiff1d(np.arange(len(table)), rows)
    assert np.array_equal(shuffled[others], table[others])
    assert sorted(shuffled[rows].tolist()) == sorted(table[rows].tolist())


def test_random_vectors_have_the_columns_mean_and_deviation(table: np.ndarray) -> None:
    noise = knocked_out(table, f"{FULL}(random)", MOVIE_ROWS, 1)
    assert noise.dtype == np.float32
    assert np.array_equal(noise[:3], table[:3])
    own, random = table[3:], noise[3:]
    assert np.abs((random.mean(0) - own.mean(0)) / own.std(0)).max() < 0.2
    assert random.std(0) == pytest.approx(own.std(0), rel=0.15)
    assert np.abs([np.corrcoef(own[:, c], random[:, c])[0, 1] for c in range(3)]).max() < 0.2


def test_zeros_say_nothing_of_any_movie(table: np.ndarray) -> None:
    nothing = knocked_out(table, f"{FULL}(zeros)", MOVIE_ROWS, 1)
    assert (nothing[3:] == 0).all() and np.array_equal(nothing[:3], table[:3])


def test_an_unknown_control_is_refused(table: np.ndarray) -> None:
    with pytest.raises(ParameterError, match=r"FEATURES='reversed' is not known"):
        knocked_out(table, f"{FULL}(reversed)", MOVIE_ROWS, 1)
