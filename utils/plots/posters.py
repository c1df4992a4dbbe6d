"""Pictures made of posters: walls, nearest neighbours, and the recommendation shelf.

A poster that is missing or cannot be read becomes a grey card with the title, so that no picture fails for one file.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import ImageOps

from utils.content.images import ImageRefused, decode
from utils.plots.boxes import canvas
from utils.plots.style import COLOURS, GRID, HEIGHT, QUIET, STAND_IN, WIDTH, Picture, PlotError, printable, style

POSTER = 1.5
"""Height of a poster over its width."""
LINE = 0.125
CHARACTER = 0.066
"""Inches of a line, and of a character, of the small text under posters."""
ARROW = {"arrowstyle": "-|>", "color": QUIET, "lw": 1}

Poster = str | Path | None


def thumbnail(path: Poster, width: int) -> np.ndarray | None:
    """Return the poster as uint8 [1.5 width, width, 3], cropped to fill; None when it is missing or unreadable."""
    if path is None:
        return None
    size = (width, round(POSTER * width))
    try:
        image = decode(Path(path), target=size)
    except ImageRefused:
        return None
    # fit crops before it scales, so that a strip a million pixels wide does not grow first.
    return np.asarray(ImageOps.fit(image, size))


def _poster(axes: Axes, path: Poster, title: str, x: float, y: float, width: float) -> None:
    pixels = thumbnail(path, max(8, round(width * axes.figure.dpi)))
    if pixels is None:
        text_card(axes, title, x, y, width)
    else:
        extent = (x, x + width, y + POSTER * width, y)
        axes.imshow(pixels, extent=extent, aspect="auto", interpolation="nearest")


def text_card(axes: Axes, title: str, x: float, y: float, width: float) -> None:
    """Draw a grey card with ``title`` where a poster of ``width`` inches would be, its top left corner at (x, y)."""
    height = POSTER * width
    axes.add_patch(
        FancyBboxPatch(
            (x + 0.03, y + 0.03), width - 0.06, height - 0.06, "round,pad=0.03", fc=GRID, ec="#c9c6bc", lw=0.8
        )
    )
    text = _lines(title or "no title", max(6, int(width / 0.075)), 4)
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=7, color=QUIET, style="italic")


def _lines(text: str, width: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(printable(text), width, max_lines=lines, placeholder="…"))


def _under(axes: Axes, text: str, x: float, y: float, width: float, lines: int = 2, **look: Any) -> None:
    """Write ``text`` centred below a poster of ``width`` inches, at most ``lines`` lines."""
    wrapped = _lines(text, max(6, int(width / CHARACTER)), lines)
    axes.text(x + width / 2, y + 0.04, wrapped, ha="center", va="top", linespacing=1.1, **{"fontsize": 6.5} | look)


def _note(axes: Axes, stand_in: bool) -> None:
    if stand_in:
        (_, width), (height, _) = axes.get_xlim(), axes.get_ylim()
        axes.text(width - 0.1, height - 0.08, STAND_IN, ha="right", va="bottom", fontsize=8, color=COLOURS[1])


def poster_wall(paths: Sequence[Poster], titles: Sequence[str], columns: int = 10, stand_in: bool = False) -> Picture:
    """Draw posters in a grid, row by row, titles below. ``paths`` and ``titles`` are [movies]; None: no poster."""
    with style():
        gap, text, foot = 0.1, 2 * LINE + 0.12, 0.2 if stand_in else 0
        rows = max(1, math.ceil(len(paths) / columns))
        width = min((WIDTH - gap) / columns - gap, ((HEIGHT - foot - gap) / rows - text) / POSTER)
        row_height = POSTER * width + text
        figure, axes = canvas(columns * (width + gap) + gap, rows * row_height + gap + foot)
        for number, (path, title) in enumerate(zip(paths, titles, strict=True)):
            row, column = divmod(number, columns)
            x, y = gap + column * (width + gap), gap + row * row_height
            _poster(axes, path, title, x, y, width)
            _under(axes, title, x, y + POSTER * width, width)
        if not len(paths):
            axes.text(0.2, 0.5, "no movies", color=QUIET)
        _note(axes, stand_in)
    return figure


def neighbours(
    rows: Sequence[tuple[tuple[Poster, str], Sequence[tuple[Poster, str, float]]]],
    title: str = "Nearest neighbours",
    stand_in: bool = False,
) -> Picture:
    """Draw each movie beside its nearest neighbours, nearest first, with their cosine similarities.

    ``rows`` are ((path, title), [(path, title, similarity), …]); more than two stand in two columns. At most six.
    """
    rows = list(rows)[:6]
    blocks = 2 if len(rows) > 2 else 1
    lines, longest = max(1, math.ceil(len(rows) / blocks)), max([len(found) for _, found in rows], default=1)
    gap, head, text, foot, apart = 0.08, 0.32, 3 * LINE + 0.12, 0.2 if stand_in else 0, 0.2
    with style():
        across = (WIDTH - gap) / blocks - apart * 2
        high = ((HEIGHT - head - foot) / lines - text) / POSTER
        width = min(across / (longest + 1) - gap, high, 1.15)
        block = (longest + 1) * (width + gap) + apart * 2
        figure, axes = canvas(max(blocks * block + gap, 4), head + lines * (POSTER * width + text) + foot)
        axes.text(gap, 0.1, title, va="top", fontsize=10)
        for number, ((path, name), found) in enumerate(rows):
            line, column = divmod(number, blocks)
            x, y = gap + column * block, head + line * (POSTER * width + text)
            _poster(axes, path, name, x, y, width)
            _frame(axes, x, y, width)
            _under(axes, name, x, y + POSTER * width, width, 3, weight="bold")
            axes.annotate(
                "", (x + width + gap + apart, y + 0.75 * width), (x + width + gap, y + 0.75 * width), arrowprops=ARROW
            )
            _near(axes, found, x + apart + width + 1.5 * gap, y, width, width + gap)
        _note(axes, stand_in)
    return figure


def _frame(axes: Axes, x: float, y: float, width: float) -> None:
    axes.add_patch(Rectangle((x, y), width, POSTER * width, fill=False, ec=COLOURS[1], lw=2.5))


def neighbour_columns(
    queries: Sequence[tuple[Poster, str]],
    found: Mapping[str, Sequence[Sequence[tuple[Poster, str, float]]]],
    title: str = "Nearest neighbours",
    stand_in: bool = False,
) -> Picture:
    """Draw each movie, framed, beside its nearest by one view, by another, and so on: a line a movie, a block a view.

    ``queries`` are (path, title), at most four are drawn. ``found`` names the views, such as "by poster", and has for
    each a list a query of (path, title, similarity), nearest first. Raises PlotError where a view has not one a query.
    """
    for name, answers in found.items():
        if len(answers) != len(queries):
            raise PlotError(f"{name!r} has neighbours of {len(answers)} movies, but {len(queries)} were asked for.")
    queries = list(queries)[:4]
    across = {name: max([1, *map(len, answers[:4])]) for name, answers in found.items()}
    head, text, foot, apart = 0.5, 3 * LINE + 0.12, 0.2 if stand_in else 0, 0.2
    cells, lines = 1 + sum(across.values()), max(1, len(queries))
    with style():
        # Cells are wider than posters: titles need the room.
        cell = min((WIDTH - apart * (len(found) + 1)) / cells, 1.2)
        width = min(cell - 0.08, ((HEIGHT - head - foot) / lines - text) / POSTER)
        line = POSTER * width + text
        figure, axes = canvas(max(cells * cell + apart * (len(found) + 1), 4), head + lines * line + foot)
        axes.text(0.1, 0.1, printable(title), va="top", fontsize=10)
        if not queries:
            axes.text(0.2, head + 0.2, "no movies", color=QUIET)
        for number, (path, name) in enumerate(queries):
            left, top = apart / 2 + (cell - width) / 2, head + number * line
            _poster(axes, path, name, left, top, width)
            _frame(axes, left, top, width)
            _under(axes, name, apart / 2, top + POSTER * width, cell, 3, weight="bold")
        x = cell + apart
        for name, answers in found.items():
            axes.text(x + 0.1, head - 0.07, printable(name), va="bottom", fontsize=9, weight="bold", color=COLOURS[0])
            axes.plot([x - apart / 4] * 2, [head - 0.2, head + lines * line - 0.05], color=GRID)
            for number, near in enumerate(answers[:4]):
                _near(axes, near, x, head + number * line, width, cell)
            x += across[name] * cell + apart
        _note(axes, stand_in)
    return figure


def _near(
    axes: Axes, found: Sequence[tuple[Poster, str, float]], x: float, y: float, width: float, cell: float
) -> None:
    """Draw neighbours side by side from (x, y) on, each in a cell, its similarity and title below."""
    for place, (path, name, similarity) in enumerate(found):
        left = x + place * cell
        _poster(axes, path, name, left + (cell - width) / 2, y, width)
        _under(axes, f"{similarity:.2f}", left, y + POSTER * width, cell, 1, color=COLOURS[0], weight="bold")
        _under(axes, name, left, y + POSTER * width + LINE, cell)


def shelf(
    liked: Sequence[tuple[Poster, str]],
    recommended: Sequence[tuple[Poster, str, float, str]],
    title: str = "A recommendation shelf",
    stand_in: bool = False,
) -> Picture:
    """Draw what a user liked above what the model recommends, best first, each at most ten.

    ``liked`` are (path, title); ``recommended`` are (path, title, probability, reason), the reason may be "".
    """
    liked, recommended = list(liked)[:10], list(recommended)[:10]
    head, foot, width = 0.26, 0.24 if stand_in else 0.04, 0.63
    cell = min((WIDTH - 0.2) / max(len(liked), len(recommended), 5), 1.5)
    row = head + POSTER * width
    second = 0.28 + row + 2 * LINE + 0.1
    with style():
        figure, axes = canvas(cell * max(len(liked), len(recommended), 5) + 0.2, second + row + 5.5 * LINE + foot)
        axes.text(0.1, 0.1, printable(title), va="top", fontsize=10)
        for top, heading in ((0.28, "liked"), (second, "recommended")):
            axes.text(0.1, top + 0.05, heading, va="top", fontsize=8, color=QUIET)
        if not liked:
            axes.text(0.1, 0.28 + head + 0.2, "nothing yet", color=QUIET)
        if not recommended:
            axes.text(0.1, second + head + 0.2, "nothing to recommend", color=QUIET)
        for place, (path, name) in enumerate(liked):
            left = 0.1 + place * cell
            _poster(axes, path, name, left + (cell - width) / 2, 0.28 + head, width)
            _under(axes, name, left, 0.28 + row, cell)
        for place, (path, name, score, reason) in enumerate(recommended):
            left = 0.1 + place * cell
            _poster(axes, path, name, left + (cell - width) / 2, second + head, width)
            _under(axes, f"{score:.2f}", left, second + row, cell, 1, color=COLOURS[0], weight="bold", fontsize=7.5)
            _under(axes, name, left, second + row + LINE, cell)
            below = second + row + LINE * (1 + len(_lines(name, max(6, int(cell / CHARACTER)), 2).split("\n")))
            _under(axes, reason, left, below, cell, 3, color=QUIET, style="italic", fontsize=6)
        _note(axes, stand_in)
    return figure
