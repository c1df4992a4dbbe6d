"""A notebook shows a picture once, nothing to show is said in it, and matplotlib stays as it was."""

import base64

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from tests.plots.conftest import png
from utils.plots import charts, graphs, results, walls


def test_a_notebook_shows_the_packed_picture_once():
    shell = InteractiveShell.instance()
    figure = charts.rating_histogram(np.array([3.0, 4.0]))
    with capture_output() as captured:
        formats, _ = shell.display_formatter.format(figure)
    assert formats == {}, "IPython would show it a second time"
    (shown,) = captured.outputs
    assert base64.b64decode(shown.data["image/png"]) == figure.png()
    InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: charts.rating_histogram(np.zeros(0)),
        lambda: charts.long_tail(np.zeros(3, int)),
        lambda: charts.activity_over_time(np.zeros(0, int)),
        lambda: charts.genre_counts(pd.DataFrame({"genres": []})),
        lambda: charts.explained_variance({"poster": []}),
        lambda: charts.movie_map(np.zeros((0, 2)), []),
        lambda: results.learning_curves([]),
        lambda: results.reliability({}),
        lambda: walls.poster_wall([]),
        lambda: walls.neighbours([]),
        lambda: walls.neighbours([((None, "alone"), [])]),
        lambda: walls.neighbour_columns([], {}),
        lambda: walls.neighbour_columns([(None, "alone")], {"by poster": [[]], "by text": [[]]}),
        lambda: walls.shelf([], []),
        lambda: graphs.graph_drawing([], []),
    ],
)
@pytest.mark.filterwarnings("error")
def test_nothing_to_show_is_said_in_the_picture(draw):
    before = dict(mpl.rcParams)
    png(draw())
    assert dict(mpl.rcParams) == before, "settings of matplotlib are left alone"
