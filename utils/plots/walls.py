"""Pictures made of posters: walls, nearest neighbours, and the recommendation shelf.

A movie is given as its poster, an image or None, and its title. None becomes a grey card with the title.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image, ImageOps

from utils.plots.style import (
    COLOURS,
    GRID,
    HEIGHT,
    QUIET,
    STAND_IN,
    WIDTH,
    Picture,
    PlotError,
    canvas,
    printable,
    style,
)  # fmt: skip

POSTER = 1.5
"""Height of a poster over its width."""
LINE = 0.125
CHARACTER = 0.066
"""Inches of a line, and of a character, of the small text under posters."""

Poster = Image.Image | None
Shown = tuple[Poster, str]
"""A movie: its poster and its title."""
Near = tuple[Poster, str, float]
"""A movie and its cosine similarity to another."""


@dataclass(frozen=True)
class _Cell:
    """Where a movie is drawn, in inches: the top left corner, the width, and in its middle a poster of ``poster``."""

    axes: Axes
    x: float
    y: float
    width: float
    poster: float

    def draw(self, movie: Shown, framed: bool = False) -> None:
        """Draw the poster, cropped to fill its place, or a card with the title."""
        image, title = movie
        left, height = self.x + (self.width - self.poster) / 2, POSTER * self.poster
        if image is None:
            corner, inner = (left + 0.03, self.y + 0.03), (self.poster - 0.06, height - 0.06)
            card = FancyBboxPatch(corner, *inner, "round,pad=0.03", fc=GRID, ec="#c9c6bc", lw=0.8)
            self.axes.add_patch(card)
            text = _lines(title or "no title", int(self.poster / 0.075), 4)
            look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "color": QUIET, "style": "italic"}
            self.axes.text(left + self.poster / 2, self.y + height / 2, text, **look)
        else:
            pixels = max(8, round(self.poster * self.axes.figure.dpi))
            # fit crops before it scales, so that a strip a million pixels wide does not grow first.
            fitted = ImageOps.fit(image.convert("RGB"), (pixels, round(POSTER * pixels)))
            extent = (left, left + self.poster, self.y + height, self.y)
            self.axes.imshow(np.asarray(fitted), extent=extent, aspect="auto", interpolation="nearest")
        if framed:
            self.axes.add_patch(Rectangle((left, self.y), self.poster, height, fill=False, ec=COLOURS[1], lw=2.5))

    def below(self, text: str, line: int = 0, lines: int = 2, **look: Any) -> int:
        """Write ``text`` below the poster from ``line`` on, at most ``lines`` of it; return the next line."""
        wrapped = _lines(text, int(self.width / CHARACTER), lines)
        place = (self.x + self.width / 2, self.y + POSTER * self.poster + 0.04 + line * LINE)
        self.axes.text(*place, wrapped, ha="center", va="top", linespacing=1.1, **{"fontsize": 6.5} | look)
        return line + 1 + wrapped.count("\n")

    def near(self, found: Sequence[Near]) -> None:
        """Draw movies side by side from here on, each with its similarity and title below."""
        for place, (image, title, similarity) in enumerate(found):
            cell = _Cell(self.axes, self.x + place * self.width, self.y, self.width, self.poster)
            cell.draw((image, title))
            cell.below(title, cell.below(f"{similarity:.2f}", lines=1, color=COLOURS[0], weight="bold"))


def _lines(text: str, width: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(printable(text), max(6, width), max_lines=lines, placeholder="…"))


def _note(axes: Axes, stand_in: bool) -> None:
    if stand_in:
        (_, width), (height, _) = axes.get_xlim(), axes.get_ylim()
        axes.text(width - 0.1, height - 0.08, STAND_IN, ha="right", va="bottom", fontsize=8, color=COLOURS[1])


def poster_wall(movies: Sequence[Shown], columns: int = 10, stand_in: bool = False) -> Picture:
    """Draw posters in a grid, row by row, titles below."""
    gap, text, foot = 0.1, 2 * LINE + 0.12, 0.2 if stand_in else 0
    rows = max(1, math.ceil(len(movies) / columns))
    width = min((WIDTH - gap) / columns - gap, ((HEIGHT - foot - gap) / rows - text) / POSTER)
    with style():
        figure, axes = canvas(columns * (width + gap) + gap, rows * (POSTER * width + text) + gap + foot)
        for number, movie in enumerate(movies):
            row, column = divmod(number, columns)
            cell = _Cell(axes, gap + column * (width + gap), gap + row * (POSTER * width + text), width, width)
            cell.draw(movie)
            cell.below(movie[1])
        if not len(movies):
            axes.text(0.2, 0.5, "no movies", color=QUIET)
        _note(axes, stand_in)
    return figure


def neighbours(
    rows: Sequence[tuple[Shown, Sequence[Near]]], title: str = "Nearest neighbours", stand_in: bool = False
) -> Picture:
    """Draw each movie beside its nearest neighbours, nearest first, with their cosine similarities.

    ``rows`` are (movie, neighbours); more than two stand in two columns. At most six.
    """
    rows = rows[:6]
    blocks = 2 if len(rows) > 2 else 1
    lines, longest = max(1, math.ceil(len(rows) / blocks)), max([len(found) for _, found in rows], default=1)
    gap, head, text, foot, apart = 0.08, 0.32, 3 * LINE + 0.12, 0.2 if stand_in else 0, 0.2
    across = (WIDTH - gap) / blocks - apart * 2
    width = min(across / (longest + 1) - gap, ((HEIGHT - head - foot) / lines - text) / POSTER, 1.15)
    block = (longest + 1) * (width + gap) + apart * 2
    with style():
        figure, axes = canvas(max(blocks * block + gap, 4), head + lines * (POSTER * width + text) + foot)
        axes.text(gap, 0.1, printable(title), va="top", fontsize=10)
        for number, (movie, found) in enumerate(rows):
            line, column = divmod(number, blocks)
            x, y = gap + column * block, head + line * (POSTER * width + text)
            cell = _Cell(axes, x, y, width, width)
            cell.draw(movie, framed=True)
            cell.below(movie[1], lines=3, weight="bold")
            start, end = (x + width + gap, y + 0.75 * width), (x + width + gap + apart, y + 0.75 * width)
            axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": QUIET, "lw": 1})
            _Cell(axes, x + apart + width + gap, y, width + gap, width).near(found)
        _note(axes, stand_in)
    return figure


def neighbour_columns(
    queries: Sequence[Shown],
    found: Mapping[str, Sequence[Sequence[Near]]],
    title: str = "Nearest neighbours",
    stand_in: bool = False,
) -> Picture:
    """Draw each movie, framed, beside its nearest by one view, by another, and so on: a line a movie, a block a view.

    At most four ``queries`` are drawn. ``found`` names the views, such as "by poster", and has for each the neighbours
    of each query, nearest first. Raises PlotError where a view has not one list of them for each query.
    """
    for name, answers in found.items():
        if len(answers) != len(queries):
            raise PlotError(f"{name!r} has neighbours of {len(answers)} movies, but {len(queries)} were asked for.")
    queries = queries[:4]
    across = {name: max([1, *map(len, answers[:4])]) for name, answers in found.items()}
    head, text, foot, apart = 0.5, 3 * LINE + 0.12, 0.2 if stand_in else 0, 0.2
    cells, lines = 1 + sum(across.values()), max(1, len(queries))
    # Cells are wider than posters: titles need the room.
    wide = min((WIDTH - apart * (len(found) + 1)) / cells, 1.2)
    poster = min(wide - 0.08, ((HEIGHT - head - foot) / lines - text) / POSTER)
    line = POSTER * poster + text
    with style():
        figure, axes = canvas(max(cells * wide + apart * (len(found) + 1), 4), head + lines * line + foot)
        axes.text(0.1, 0.1, printable(title), va="top", fontsize=10)
        if not queries:
            axes.text(0.2, head + 0.2, "no movies", color=QUIET)
        for number, movie in enumerate(queries):
            cell = _Cell(axes, apart / 2, head + number * line, wide, poster)
            cell.draw(movie, framed=True)
            cell.below(movie[1], lines=3, weight="bold")
        x = wide + apart
        for name, answers in found.items():
            axes.text(x + 0.1, head - 0.07, printable(name), va="bottom", fontsize=9, weight="bold", color=COLOURS[0])
            axes.plot([x - apart / 4] * 2, [head - 0.2, head + lines * line - 0.05], color=GRID)
            for number, near in enumerate(answers[:4]):
                _Cell(axes, x, head + number * line, wide, poster).near(near)
            x += across[name] * wide + apart
        _note(axes, stand_in)
    return figure


def shelf(
    liked: Sequence[Shown],
    recommended: Sequence[tuple[Poster, str, float, str]],
    title: str = "A recommendation shelf",
    stand_in: bool = False,
) -> Picture:
    """Draw what a user liked above what the model recommends, best first, each at most ten.

    ``recommended`` are (poster, title, probability, reason); the reason may be "".
    """
    head, foot, poster = 0.26, 0.24 if stand_in else 0.04, 0.63
    columns = min(10, max(len(liked), len(recommended), 5))
    wide, row = min((WIDTH - 0.2) / columns, 1.5), head + POSTER * poster
    top, second = 0.28, 0.28 + row + 2 * LINE + 0.1
    with style():
        figure, axes = canvas(wide * columns + 0.2, second + row + 5.5 * LINE + foot)
        axes.text(0.1, 0.1, printable(title), va="top", fontsize=10)
        for y, heading, movies, nothing in (
            (top, "liked", liked, "nothing yet"),
            (second, "recommended", recommended, "nothing to recommend"),
        ):
            axes.text(0.1, y + 0.05, heading, va="top", fontsize=8, color=QUIET)
            axes.text(0.1, y + head + 0.2, "" if movies else nothing, color=QUIET)
        for place, movie in enumerate(islice(liked, 10)):
            cell = _Cell(axes, 0.1 + place * wide, top + head, wide, poster)
            cell.draw(movie)
            cell.below(movie[1])
        for place, (image, name, score, reason) in enumerate(islice(recommended, 10)):
            cell = _Cell(axes, 0.1 + place * wide, second + head, wide, poster)
            cell.draw((image, name))
            line = cell.below(f"{score:.2f}", lines=1, color=COLOURS[0], weight="bold", fontsize=7.5)
            cell.below(reason, cell.below(name, line), 3, color=QUIET, style="italic", fontsize=6)
        _note(axes, stand_in)
    return figure
