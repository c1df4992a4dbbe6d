"""Pictures of the notebooks. Every function returns a figure that a notebook shows as the value of its cell."""

from utils.plots.boxes import data_flow_map
from utils.plots.charts import (
    activity_over_time,
    explained_variance,
    genre_counts,
    long_tail,
    movie_map,
    rating_histogram,
)
from utils.plots.graphs import graph_drawing
from utils.plots.posters import neighbour_columns, neighbours, poster_wall, shelf
from utils.plots.results import ablation, learning_curves, missing_sweep, reliability

__all__ = [
    "ablation",
    "activity_over_time",
    "data_flow_map",
    "explained_variance",
    "genre_counts",
    "graph_drawing",
    "learning_curves",
    "long_tail",
    "missing_sweep",
    "movie_map",
    "neighbour_columns",
    "neighbours",
    "poster_wall",
    "rating_histogram",
    "reliability",
    "shelf",
]
