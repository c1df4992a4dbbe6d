"""Charts of the notebooks: each function takes arrays or frames and returns a matplotlib Figure (``Picture``).

A figure is returned closed, so a notebook shows it once, as the value of its cell. Figures have a light card
behind them (legible on GitHub's light and dark pages) and are at most 10 x 4 inches. Charts of results are in
``results``, posters in ``walls``, boxes and arrows in ``graphs``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from utils.plots.style import COLOURS, HEIGHT, INK, Picture, caption, empty, one_row, printable, style

BARS = 30
COLOURED = (COLOURS[0], "#b9bec6")
"""Of likes and of the rest."""


def _plain(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def rating_histogram(ratings: np.ndarray, liked: float = 3.0) -> Picture:
    """Draw the share of each value of ``ratings`` [n], likes (above ``liked``) coloured; of many values in 30 steps."""
    with style():
        figure, (axes,) = one_row()
        values, counts = np.unique(np.asarray(ratings, np.float64), return_counts=True)
        if not counts.size:
            empty(axes, "no ratings")
            return figure
        share = counts[values > liked].sum() / counts.sum()
        ticks = values if len(values) <= BARS else None
        if ticks is None:  # Plays, or points on a line: as many bars as can be told apart, the last for all above.
            edges = np.linspace(values[0], np.quantile(ratings, 0.99), BARS + 1)
            place = np.clip(np.searchsorted(edges, values, "right") - 1, 0, BARS - 1)
            values, counts = edges[:-1], np.bincount(place, counts, BARS).astype(np.int64)
        step = np.diff(values).min() if len(values) > 1 else 1
        bars = axes.bar(values, counts / counts.sum() * 100, 0.85 * step, color=np.where(values > liked, *COLOURED))
        if ticks is not None:
            axes.bar_label(bars, [f"{count / counts.sum():.0%}" for count in counts], color=INK, fontsize=8)
            axes.set(xticks=ticks)
        axes.set(xlabel="rating", ylabel="share of ratings, %")
        axes.grid(False, axis="x")
        axes.set_title(f"{counts.sum():,} ratings, {share:.0%} liked (blue: above {liked:g}, the label 1)")
    return figure


def long_tail(ratings_per_movie: np.ndarray, cold: np.ndarray | None = None) -> Picture:
    """Draw ``ratings_per_movie`` [movies] over rank, both logarithmic; ``cold`` bool [movies] marks held-out movies."""
    with style():
        figure, (axes,) = one_row()
        counts = np.asarray(ratings_per_movie, np.int64)
        order = np.argsort(-counts, kind="stable")
        counts, rated = counts[order], int((counts > 0).sum())
        if not rated:
            empty(axes, "no rated movies")
            return figure
        rank = np.arange(1, rated + 1)
        axes.plot(rank, counts[:rated], color=COLOURS[0], lw=2)
        if cold is not None and np.any(cold):
            held = np.flatnonzero(np.asarray(cold, bool)[order][:rated])
            label = f"{len(held):,} cold movies: all their ratings are held out"
            axes.plot(rank[held], counts[held], "o", ms=3.5, color=COLOURS[1], alpha=0.7, mew=0, label=label)
            axes.legend(loc="lower left")
        axes.set(xscale="log", yscale="log", xlabel="movies by popularity (rank)", ylabel="ratings of the movie")
        _plain(axes.xaxis)
        _plain(axes.yaxis)
        half = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)) + 1
        axes.set_title(f"{half:,} of {rated:,} rated movies have half of the {counts.sum():,} ratings")
    return figure


def activity_over_time(timestamps: np.ndarray, bins: int = 60) -> Picture:
    """Draw ratings over time. ``timestamps`` int64 [n], seconds since 1970, UTC."""
    with style():
        figure, (axes,) = one_row(height=2.4)
        if not len(timestamps):
            empty(axes, "no ratings")
            return figure
        if not np.any(timestamps):
            empty(axes, "the ratings have no times")
            return figure
        counts, edges = np.histogram(np.asarray(timestamps, np.int64), bins)
        days = edges.astype("datetime64[s]")
        axes.fill_between(days[:-1], counts, step="post", color=COLOURS[0], alpha=0.85, lw=0)
        axes.set(ylabel="ratings", ylim=(0, None), xlim=(days[0], days[-1]))
        _plain(axes.yaxis)
        axes.set_title(f"Ratings from {days[0].astype('datetime64[D]')} to {days[-1].astype('datetime64[D]')}")
    return figure


def genre_counts(movies: pd.DataFrame) -> Picture:
    """Draw how many movies have each genre. ``movies`` has a column ``genres`` of lists of str."""
    counts = Counter(genre for genres in movies["genres"] for genre in (genres if len(genres) else ["(none listed)"]))
    with style():
        figure, (axes,) = one_row(height=min(HEIGHT, 0.9 + 0.19 * max(len(counts), 4)))
        if not counts:
            empty(axes, "no movies")
            return figure
        names, values = zip(*reversed(counts.most_common(20)), strict=True)
        bars = axes.barh([printable(name) for name in names], values, color=COLOURS[0])
        axes.bar_label(bars, [f"{value:,}" for value in values], padding=3, fontsize=8)
        axes.tick_params(axis="y", labelsize=8, length=0)
        axes.grid(False, axis="y")
        axes.set(xlabel="movies")
        axes.set_title(f"Genres of {len(movies):,} movies")
    return figure


def explained_variance(ratios: Mapping[str, Sequence[float]], stand_in: bool = False) -> Picture:
    """Draw the cumulated share of variance that the reduction of each block keeps, from its ``ratios`` [width]."""
    with style():
        figure, (axes,) = one_row()
        ends = []
        for (name, ratio), colour in zip(ratios.items(), COLOURS, strict=False):
            if len(ratio):
                kept = np.cumsum(ratio) * 100
                axes.plot(np.arange(1, len(kept) + 1), kept, color=colour, lw=2, label=f"{name}, {len(kept)} wide")
                ends.append(f"{name} {kept[-1]:.0f}%")
        if not ends:
            empty(axes, "no movie has content")
            return figure
        axes.set(xlabel="principal components", ylabel="variance kept, %", ylim=(0, 102), xlim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower right")
        axes.set_title("Variance kept by the feature store: " + ", ".join(ends))
        caption(figure, stand_in=stand_in)
    return figure


def movie_map(
    xy: np.ndarray, genres: Sequence[str], top: int = 7, title: str = "Movies by content", stand_in: bool = False
) -> Picture:
    """Draw one dot per movie at ``xy`` float [movies, 2], coloured by its first genre ``genres`` [movies], "" for none.

    The ``top`` most frequent genres, at most 8, have a colour each, the rest is grey.
    """
    with style():
        figure, (axes,) = one_row(width=8, height=HEIGHT)
        if not len(xy):
            empty(axes, "no movies")
            return figure
        labels = np.array([printable(genre) for genre in genres])
        common = [genre for genre, _ in Counter(labels[labels != ""]).most_common(min(top, len(COLOURS)))]
        size = float(np.clip(12_000 / len(xy), 3, 18))
        layers = [("other", ~np.isin(labels, common), "#c3c7cd")]
        layers += [(genre, labels == genre, colour) for genre, colour in zip(common, COLOURS, strict=False)]
        for name, mask, colour in layers:
            shown = f"{name} ({mask.sum():,})"
            x, y = np.asarray(xy)[mask].T
            axes.scatter(x, y, s=size, color=colour, alpha=0.75, lw=0, label=shown, rasterized=True)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
        figure.legend(loc="outside right upper", markerscale=(30 / size) ** 0.5, title="first genre", fontsize=8)
        axes.set_title(title)
        caption(figure, stand_in=stand_in)
    return figure
