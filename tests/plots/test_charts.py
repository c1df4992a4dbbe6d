"""Charts of data: what their titles and labels say is so."""

import numpy as np
import pandas as pd

from tests.plots.conftest import png, words
from utils.plots import charts, style


def test_rating_histogram_colours_likes():
    figure = charts.rating_histogram(np.array([1, 3, 3, 3.5, 4, 5], np.float32))
    png(figure)
    colours = [bar.get_facecolor() for bar in figure.axes[0].patches]
    assert len(colours) == 5 and colours[0] == colours[1] != colours[2] == colours[4]
    assert "6 ratings, 50% liked" in words(figure)


def test_long_tail_counts_the_head_and_marks_cold_movies():
    ratings, cold = np.r_[90, np.ones(89, int), np.zeros(10, int)], np.isin(np.arange(100), [3, 50])
    figure = charts.long_tail(ratings, cold)
    png(figure)
    assert "1 of 90 rated movies have half of the 179 ratings" in words(figure) and "2 cold movies" in words(figure)
    assert [len(drawn.axes[0].lines) for drawn in (figure, charts.long_tail(ratings))] == [2, 1]


def test_activity_over_time():
    figure = charts.activity_over_time(np.arange(874_724_710, 893_286_638, 40_000))
    png(figure)
    assert "Ratings from 1997-09-20 to 1998-04-22" in words(figure)


def test_a_genre_is_never_read_as_tex():
    genres = ["under $10_$20", "$x^{$"]
    for figure in (
        charts.genre_counts(pd.DataFrame({"genres": [genres]})),
        charts.movie_map(np.random.default_rng(0).normal(size=(40, 2)), genres * 20, top=2),
    ):
        png(figure)
        assert all(genre in words(figure) for genre in genres)


def test_genre_counts_shows_movies_without_genre():
    figure = charts.genre_counts(pd.DataFrame({"genres": [np.array(["Drama", "War"]), np.array(["Drama"]), []]}))
    png(figure)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1, 1, 2] and "(none listed)" in words(figure)


def test_explained_variance_with_one_block_missing():
    figure = charts.explained_variance({"poster": [], "text": np.array([0.5, 0.25])}, stand_in=True)
    png(figure)
    assert "text 75%" in words(figure) and "poster 0%" not in words(figure) and style.STAND_IN in words(figure)


def test_movie_map_gives_colours_to_the_most_frequent_genres():
    genres = ["Drama"] * 300 + ["Comedy"] * 200 + ["War"] * 5 + [""] * 10
    figure = charts.movie_map(np.random.default_rng(0).normal(size=(515, 2)), genres, top=2)
    png(figure)
    assert all(label in words(figure) for label in ("Drama (300)", "Comedy (200)", "other (15)"))
    assert "War" not in words(figure)
