"""Pictures of the notebooks. Every function returns a figure that a notebook shows as the value of its cell."""

from utils.plots.charts import (
    activity_over_time,
    explained_variance,
    genre_counts,
    long_tail,
    movie_map,
    rating_histogram,
)
from utils.plots.graphs import data_flow_map, graph_drawing
from utils.plots.results import ablation, learning_curves, missing_sweep, ranking, reliability
from utils.plots.walls import neighbour_columns, neighbours, poster_wall, shelf

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
    "ranking",
    "rating_histogram",
    "reliability",
    "shelf",
]
