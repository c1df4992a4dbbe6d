"""Neighbours: nearest first, never the movie itself, and not fooled by a common direction."""

import numpy as np
import pytest

from utils.vectors.neighbours import directions, layout, nearest

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


def test_directions_are_of_length_one_and_none_at_the_centre() -> None:
    found = directions(np.float32([[3, 4], [0, 0], [1, 0]]), np.float32([0, 0]))
    assert found == pytest.approx(np.float32([[0.6, 0.8], [0, 0], [1, 0]]))


def clusters(each: int) -> tuple[np.ndarray, np.ndarray]:
    """Three far clusters in eight dimensions, and the cluster of each row."""
    generator = np.random.default_rng(4)
    group = np.repeat(np.arange(3), each)
    return (10 * np.eye(8)[group] + generator.normal(0, 0.5, (3 * each, 8))).astype(np.float32), group


def test_the_map_keeps_neighbours_together() -> None:
    vectors, group = clusters(30)
    rows, places = layout(vectors, seed=1)
    assert rows.tolist() == list(range(90)) and places.shape == (90, 2) and places.dtype == np.float32
    distance = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(axis=1)] == group).all()
    assert np.array_equal(places, layout(vectors, seed=1)[1]), "the same seed draws the same map"


def test_a_map_of_some_of_the_movies_is_drawn_by_the_seed() -> None:
    vectors, _ = clusters(30)
    rows, places = layout(vectors, seed=1, at_most=20)
    assert len(rows) == len(places) == 20 and (np.diff(rows) > 0).all()
    assert np.array_equal(places, layout(vectors[rows], seed=1)[1]), "a row is the place of its own movie"
    assert np.array_equal(rows, layout(vectors, seed=1, at_most=20)[0])
    assert not np.array_equal(rows, layout(vectors, seed=2, at_most=20)[0])


@pytest.mark.parametrize("movies", [0, 1, 2, 3, 5, 31])
@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.filterwarnings("error")
def test_a_map_of_few_movies(movies: int, width: int) -> None:
    rows, places = layout(np.random.default_rng(0).normal(size=(movies, width)).astype(np.float32), seed=0)
    assert rows.tolist() == list(range(movies)) and places.shape == (movies, 2)
    assert np.isfinite(places).all() and len(np.unique(places, axis=0)) == movies


@pytest.mark.filterwarnings("error")
def test_a_map_of_movies_that_are_all_the_same() -> None:
    rows, places = layout(np.ones((40, 3), np.float32), seed=0)
    assert len(rows) == 40 and np.isfinite(places).all()
