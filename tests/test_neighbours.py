"""Neighbours: nearest first, never the movie itself, and not fooled by a common direction."""

import numpy as np
import pytest

from utils.neighbours import nearest

IDS = np.array([10, 20, 30, 40])


def test_nearest_first_without_itself() -> None:
    vectors = np.float32([[1, 0], [0.9, 0.1], [-1, 0], [0, -1]])
    (query, found), *others = nearest(IDS, vectors, np.array([10, 30]), k=2)
    assert query == 10
    assert [movie for movie, _ in found] == [20, 40]
    assert found[0][1] > found[1][1]
    assert others[0][0] == 30
    assert 30 not in [movie for movie, _ in others[0][1]]


def test_similarity_is_of_centred_vectors() -> None:
    vectors = np.float32([[1, 0], [-1, 0], [0, 1], [0, -1]])
    ((_, plain),) = nearest(IDS, vectors, np.array([10]), k=3)
    ((_, moved),) = nearest(IDS, vectors + 100, np.array([10]), k=3)
    assert dict(plain) == {20: pytest.approx(-1), 30: pytest.approx(0), 40: pytest.approx(0)}
    assert dict(moved) == pytest.approx(dict(plain), abs=1e-4)


def test_more_neighbours_than_movies() -> None:
    ((_, found),) = nearest(IDS, np.eye(4, dtype=np.float32), np.array([20]), k=99)
    assert sorted(movie for movie, _ in found) == [10, 30, 40]
    assert nearest(IDS[:1], np.ones((1, 3)), IDS[:1], k=5) == [(10, [])]


def test_vectors_that_are_all_the_same() -> None:
    ((_, found),) = nearest(IDS, np.ones((4, 3)), IDS[:1], k=2)
    assert found == [(20, 0.0), (30, 0.0)]
