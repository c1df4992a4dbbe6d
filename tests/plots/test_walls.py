"""Walls of posters: each movie has its poster or a card with its title, and nothing is too wide."""

import pytest
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from tests.plots.conftest import png, words
from utils.plots import style, walls
from utils.plots.style import PlotError

TITLES = ["Toy Story (1995)", "$9.99 (2008)", "千と千尋 (2001)", "A\x00broken\ntitle", "", "Amélie $x^{$", "x" * 90]


@pytest.fixture(scope="module")
def movies() -> list[walls.Shown]:
    """Posters that are fine, missing, wide, one grey pixel wide, half transparent; titles of all kinds."""
    fine = Image.linear_gradient("L").resize((342, 513)).convert("RGB")
    posters = [fine, None, fine.resize((900, 300)), Image.new("L", (1, 400)), fine.convert("RGBA"), None, None]
    return list(zip(posters, TITLES, strict=True))


def test_a_wall_has_a_poster_or_a_card_for_each_movie(movies):
    figure = walls.poster_wall(movies, columns=4, stand_in=True)
    png(figure)
    images, cards = figure.axes[0].images, figure.findobj(FancyBboxPatch)
    assert (len(images), len(cards)) == (4, 3)
    assert len({image.get_array().shape for image in images}) == 1, "all are cropped to the same size"
    assert style.STAND_IN in words(figure)
    png(walls.poster_wall(movies * 6, columns=14))


@pytest.mark.filterwarnings("error")
def test_titles_from_outside_are_no_formulas_and_warn_of_no_glyphs():
    figure = walls.poster_wall([(None, title) for title in TITLES])
    png(figure)
    assert "A broken title" in words(figure).replace("\n", " ")
    assert style.printable("千\x00 $x$\n") == "? $x$"


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_neighbours(movies, rows):
    found = [(*movie, 0.5) for movie in movies[:5]]
    figure = walls.neighbours([((movies[0][0], "query"), found)] * rows, "By poster", stand_in=True)
    png(figure)
    assert words(figure).count("0.50") == 5 * rows and words(figure).count("query") == rows


@pytest.mark.parametrize(("queries", "views", "each"), [(1, 1, 1), (4, 2, 5), (6, 3, 4)])
def test_neighbour_columns(movies, queries, views, each):
    near, names = [(*movie, 0.5) for movie in movies[:each]], ["by poster", "by text", "by both"][:views]
    asked, lines = [(movies[0][0], "query")] * queries, min(queries, 4)
    figure = walls.neighbour_columns(asked, {name: [near] * queries for name in names}, stand_in=True)
    png(figure)
    assert words(figure).count("0.50") == lines * views * each and words(figure).count("query") == lines
    assert all(name in words(figure) for name in names) and style.STAND_IN in words(figure)
    with pytest.raises(PlotError, match=f"'by text' has neighbours of 0 movies, but {queries} were asked for"):
        walls.neighbour_columns(asked, {"by text": []})


def test_shelf(movies):
    recommended = [(*movie, 0.9, "near Toy Story by synopsis") for movie in movies]
    figure = walls.shelf(movies, recommended * 2, "For user 7", stand_in=True)
    png(figure)
    assert words(figure).count("0.90") == 10 and words(figure).count("near") == 10
    assert style.STAND_IN in words(figure)
