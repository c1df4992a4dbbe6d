"""Shelves: what a user liked, what is recommended, the liked movie nearest to each, and a dropdown that redraws."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from utils import plots
from utils.handoff.parameters import ParameterError
from utils.handoff.vector_columns import vector_column
from utils.plots.explorer import NO_WIDGETS, Explorer
from utils.recommend.shelves import Shelves

FOLDER = Path("folder")
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
    vectors = {"poster": vector_column(poster), "text": vector_column(text)}
    return Shelves(
        FOLDER,
        pa.table(train),
        pa.table(recommendations),
        pa.table({"movieId": movie_ids, "poster_path": ["posters/10.png", None, "posters/30.png", None, None, None]}),
        # In another order than the feature store: rows are found by movieId.
        pa.table({"movieId": movie_ids[::-1], "title": titles[::-1]}),
        pa.table({"movieId": movie_ids} | vectors | {"has_poster": there, "has_text": there}),
    )


def test_a_shelf_by_hand(shelves: Shelves) -> None:
    assert shelves.users.tolist() == [1, 2, 3]
    liked, recommended = shelves.of(1)
    assert liked == [(FOLDER / "posters/10.png", "Ten"), (FOLDER / "posters/30.png", "Thirty")], "2.0 is no like"
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


def explorer(shelves: Shelves, users: Sequence[int]) -> Explorer:
    return Explorer(users, lambda user: plots.shelf(*shelves.of(user), title=f"For user {user}", stand_in=True))


def test_the_explorer_redraws_for_the_chosen_user(shelves: Shelves) -> None:
    found = explorer(shelves, [3, 1])
    assert found.dropdown.options == (3, 1) and found.children == (found.dropdown, found.picture)
    first = found.picture.value
    assert first == plots.shelf(*shelves.of(3), title="For user 3", stand_in=True).png()
    assert Image.open(BytesIO(first)).format == "PNG"
    found.dropdown.value = 1
    assert found.picture.value == plots.shelf(*shelves.of(1), title="For user 1", stand_in=True).png() != first


def test_a_file_without_widgets_says_what_was_there(shelves: Shelves) -> None:
    found = explorer(shelves, shelves.users)
    data, _ = DisplayFormatter().format(found)
    assert data["text/plain"] == NO_WIDGETS
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == found.model_id


def test_an_explorer_needs_users_with_recommendations(shelves: Shelves) -> None:
    with pytest.raises(ParameterError, match="no user to choose from"):
        explorer(shelves, [])
    with pytest.raises(ParameterError, match="userId 9 has no recommendations"):
        explorer(shelves, [9, 1])
