"""The board games of 01 and 02: tables as someone's own would be, content that tells the themes, nothing rewritten."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from tests.conftest import Open
from utils.handoff.contract import ARTEFACTS
from utils.ratings import movielens, splits
from utils.series import board_games
from utils.series.board_games import KINDS, SETTINGS


@pytest.fixture(scope="module")
def games() -> pl.DataFrame:
    return board_games.games()


def test_forty_games_each_with_one_kind_and_one_setting(games: pl.DataFrame) -> None:
    assert games.height == 40 and games["movieId"].is_unique().all() and games["title"].is_unique().all()
    themes = [genres.split("|") for genres in games["genres"]]
    assert {kind for kind, _ in themes} == set(KINDS) and {setting for _, setting in themes} == set(SETTINGS)
    assert games["year"].is_between(1990, 2024).all()


def test_the_csv_files_are_read_as_any_of_a_users_own(games: pl.DataFrame, tmp_path: Path) -> None:
    plays, paths = board_games.plays(games), (tmp_path / "plays.csv", tmp_path / "games.csv")
    for path, table in zip(paths, (plays, games), strict=True):
        board_games.keep(path, table.write_csv().encode())
    found = movielens.convert(movielens.locate(board_games.DATASET, tmp_path, None, *paths))
    assert found.counts["lines"] == plays.height and found.counts["users"] == board_games.PLAYERS
    # The header is line 1; the last four lines are those that cannot be used.
    assert found.rejected["row"].to_list() == list(range(plays.height - 2, plays.height + 2))
    assert found.rejected["reason"].n_unique() == 4
    parts = splits.split(found.ratings, "random", 0.2, 0.2, 42)
    assert parts[2]["movieId"].n_unique() == 8 and all(part.height > 200 for part in parts)


def test_likes_depend_on_the_themes(games: pl.DataFrame) -> None:
    rated = board_games.plays(games)[:-4].with_columns(pl.all().cast(pl.Int64)).join(games, on="movieId")
    rated = rated.with_columns(pl.col("genres").str.split("|").list.last().alias("setting"))
    of_setting = rated.group_by("userId", "setting").agg(pl.col("rating").mean(), pl.len()).filter(pl.col("len") >= 4)
    # Means of four ratings or more that did not depend on the setting would spread by half a star at most.
    assert of_setting["rating"].std() > 0.7


def test_everything_is_the_same_each_time(games: pl.DataFrame) -> None:
    assert board_games.plays(games).equals(board_games.plays(board_games.games()))
    first = ("Orbit Tactics", "strategy", "space")
    assert board_games.rules(*first) == board_games.rules(*first)
    assert board_games.box(*first) == board_games.box(*first)


def test_rules_tell_kind_and_setting() -> None:
    text = board_games.rules("Coral Friends", "family", "sea")
    assert sum(piece in text for piece in SETTINGS["sea"][2].split(";")) == 2
    assert all(piece in text for piece in KINDS["family"][2].split(";"))
    assert not any(piece in text for piece in SETTINGS["city"][2].split(";"))


def pixels(title: str, kind: str, setting: str) -> np.ndarray:
    with Image.open(BytesIO(board_games.box(title, kind, setting, (64, 96)))) as image:
        assert image.format == "PNG" and image.size == (64, 96)
        return np.asarray(image.convert("RGB"))


def test_boxes_tell_the_kind_by_the_rim_and_the_setting_by_the_ground() -> None:
    for kind, (_, rim, _) in KINDS.items():
        for setting, (words, (ground, _), _) in SETTINGS.items():
            found = pixels(words.split()[0], kind, setting)
            assert "#{:02x}{:02x}{:02x}".format(*found[50, 0]) == rim
            colours, counts = np.unique(found[5:-5, 5:-5].reshape(-1, 3), axis=0, return_counts=True)
            common = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in colours[np.argsort(-counts)[:2]]]
            assert ground in common


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "posters" / "1.png"
    board_games.keep(path, b"one")
    os.utime(path, (1, 1))
    board_games.keep(path, b"one")
    assert path.stat().st_mtime == 1
    board_games.keep(path, b"two")
    assert path.read_bytes() == b"two" and path.stat().st_mtime > 1
    assert [file.name for file in path.parent.iterdir()] == ["1.png"]


def test_the_games_are_left_out_in_their_own_run_and_where_01_was_not_run(open_for: Open) -> None:
    assert board_games.why_not("ml-100k") == ""
    assert "This run is of board-games itself" in board_games.why_not("board-games")
    store = open_for("enriched", dataset="board-games")
    assert "Run 01-Download-Convert.ipynb first" in board_games.why_not("ml-100k", store)
    columns = ARTEFACTS["movies_converted"].columns
    assert columns is not None
    empty = pa.schema(list(columns.items())).empty_table()
    open_for("movies_converted", dataset="board-games", seed=7).write("movies_converted", empty)
    assert "written for SEED=7, not 42" in board_games.why_not("ml-100k", store)
    open_for("movies_converted", dataset="board-games").write("movies_converted", empty)
    assert board_games.why_not("ml-100k", store) == ""
