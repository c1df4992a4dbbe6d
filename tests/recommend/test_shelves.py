"""Shelves: what a user liked, what is recommended; the liked movie nearest to each."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from utils.content.gallery import Gallery
from utils.handoff.contract import FLAGS
from utils.handoff.parameters import ParameterError
from utils.handoff.vector_columns import vector_column
from utils.recommend.shelves import Shelves

LONG = "The Englishman Who Went up a Hill But Came down a Mountain"


@pytest.fixture
def shelves() -> Shelves:
    """Movies 10 to 60; 10 and 20 lie one way, 30 and 40 another, 50 between them, 60 has no content."""
    movie_ids = [10, 20, 30, 40, 50, 60]
    poster = np.float32([[1, 0], [0.9, 0.1], [-1, 0], [-0.9, -0.1], [0, 1], [0, 0]])
    text = np.float32([[0, 1], [0, 1], [0, -1], [0, -1], [0, 0], [0, 0]])
    titles = ["Ten", "Twenty", "Thirty", LONG, "Fifty", "Sixty"]
    train = {
        "userId": [1, 1, 1, 2, 3, 3],
        "movieId": [30, 10, 50, 50, 40, 10],
        "rating": pa.array([4.0, 5.0, 2.0, 3.0, 5.0, 5.0], pa.float32()),
        "timestamp": [5, 6, 7, 8, 1, 2],
    }
    recommendations = {
        "userId": [3, 1, 1, 1, 2],
        "rank": pa.array([1, 3, 1, 2, 1], pa.int32()),
        "movieId": [30, 60, 20, 40, 20],
        "score": pa.array([0.5, 0.1, 0.75, 0.25, 0.5], pa.float32()),
    }
    there = [True] * 5 + [False]
    vectors = {"facts": vector_column(0 * text), "poster": vector_column(poster), "text": vector_column(text)}
    # In another order than the feature store: rows are found by movieId.
    movies = pa.table({"movieId": movie_ids[::-1], "title": titles[::-1]})
    enriched = pa.table({"movieId": movie_ids, "poster_path": pa.nulls(6, pa.string())})
    features = pa.table({"movieId": movie_ids} | vectors | dict.fromkeys(FLAGS.values(), there))
    return Shelves(Gallery(Path(), movies, enriched), pa.table(train), pa.table(recommendations), features)


def test_a_shelf_by_hand(shelves: Shelves) -> None:
    assert shelves.users.tolist() == [1, 2, 3]
    liked, recommended = shelves.of(1)
    assert liked == [(None, "Ten"), (None, "Thirty")], "2.0 is no like"
    assert [row[:3] for row in recommended] == [
        (None, "Twenty", 0.75),
        (None, LONG, 0.25),
        (None, "Sixty", pytest.approx(0.1)),
    ]
    # The mean of all is [0, 1/6, 0, 0], and (0.9, -0.0667, 0, 1) is near to (1, -0.1667, 0, 1).
    cosine = (0.9 + 0.0667 * 0.1667 + 1) / np.linalg.norm([0.9, -0.0667, 1]) / np.linalg.norm([1, -0.1667, 1])
    assert recommended[0][3] == f"near Ten ({cosine:.2f})"
    assert recommended[1][3].startswith("near Thirty (")
    assert recommended[2][3] == "", "what has no content is near nothing"


def test_at_most_k_of_each_best_first(shelves: Shelves) -> None:
    liked, recommended = shelves.of(1, k=1)
    assert [title for _, title in liked] == ["Ten"]
    assert [title for _, title, *_ in recommended] == ["Twenty"]
    assert recommended == shelves.of(1)[1][:1]


def test_a_like_that_is_not_shown_is_still_a_reason(shelves: Shelves) -> None:
    liked, ((*_, reason),) = shelves.of(3, k=1)
    assert [title for _, title in liked] == ["Ten"], "the later of two fives"
    assert reason.startswith("near The Englishman Who Went…"), "a long title is cut"


def test_a_user_without_likes(shelves: Shelves) -> None:
    assert shelves.of(2) == ([], [(None, "Twenty", 0.5, "")])


def test_an_unknown_user(shelves: Shelves) -> None:
    with pytest.raises(ParameterError, match=r"userId 9 has no recommendations. Choose one of the 3 of .* \[1, 2, 3\]"):
        shelves.of(9)
