"""Drawings of boxes and arrows: the way of the data (00). Graphs of any shape are in ``utils.plots.graphs``."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from utils.handoff.contract import ARTEFACTS
from utils.plots.style import COLOURS, FILLS, QUIET, WIDTH, Picture, style


def canvas(width: float, height: float) -> tuple[Picture, Axes]:
    """Return a figure with one axes over all of it, whose units are inches from the top left corner."""
    figure = plt.figure(FigureClass=Picture, figsize=(width, height))
    assert isinstance(figure, Picture), "pyplot makes what it is asked for"
    plt.close(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    return figure, axes


def draw_box(axes: Axes, x: float, y: float, width: float, height: float, fill: str, edge: str) -> None:
    """Draw a rounded box whose top left corner is (x, y)."""
    shape = FancyBboxPatch(
        (x + 0.04, y + 0.04), width - 0.08, height - 0.08, "round,pad=0.04", fc=fill, ec=edge, lw=1.1, zorder=2
    )
    axes.add_patch(shape)


def data_flow_map() -> Picture:
    """Draw the way of the data: each notebook, the files it writes, and who reads them."""
    places = {
        "01": (0, 1.3),
        "02": (1, 0.85),
        "03": (2, 0.42),
        "04": (2, 1.38),
        "05": (3, 0.98),
        "06": (4, 1.75),
        "07": (5, 0.8),
    }
    colours = dict(zip(places, (0, 1, 3, 4, 2, 5, 6), strict=True))
    reads = ["01-02", "02-03", "02-04", "03-05", "04-05", "05-06", "01-06", "05-07", "06-07"]
    via = {"01-06": [(1.9, 2.72, 4.3, 0.0)], "05-07": [(6.76, 1.5, 1.38, 0.0)]}
    step, width, line = 1.66, 1.38, 0.135
    written: dict[str, list[str]] = {number: [] for number in places}
    titles: dict[str, str] = {}
    for artefact in ARTEFACTS.values():
        number, title = artefact.notebook.split("-", 1)
        titles[number] = title.replace("-", " ")
        suffix = "" if "." in artefact.path else "/"
        written[number] += _split(artefact.path.removesuffix(".parquet") + suffix, 21)
    with style():
        figure, axes = canvas(WIDTH, 3.25)
        axes.text(0.12, 0.12, "The way of the data", va="top", fontsize=11, weight="bold")
        note = "Each notebook reads only what earlier ones wrote. A file without an ending is .parquet."
        axes.text(WIDTH - 0.12, 3.15, note, ha="right", va="bottom", fontsize=7.5, color=QUIET)
        boxes = {}
        for number, (column, y) in places.items():
            heading = textwrap.wrap(f"{number} {titles[number]}", 19)
            height = 0.16 + line * (len(heading) + len(written[number]))
            x = 0.12 + column * step
            boxes[number] = (x, y, width, height)
            draw_box(axes, *boxes[number], FILLS[colours[number]], COLOURS[colours[number]])
            axes.text(x + 0.07, y + 0.06, "\n".join(heading), va="top", fontsize=7.5, weight="bold", zorder=3)
            files, below = "\n".join(written[number]), y + 0.09 + line * len(heading)
            axes.text(
                x + 0.07, below, files, va="top", fontsize=6.6, family="DejaVu Sans Mono", zorder=3, linespacing=1.25
            )
        axes.text(4.05, 2.67, "ratings and genres", ha="center", va="bottom", fontsize=7.5, color=QUIET)
        for pair in reads:
            draw_link(axes, [boxes[pair[:2]], *via.get(pair, []), boxes[pair[3:]]], across=True)
    return figure


def _split(name: str, width: int) -> list[str]:
    """Break a file name after an underscore so that each piece has at most ``width`` characters."""
    if len(name) <= width or "_" not in name[:width]:
        return [name]
    cut = name.rindex("_", 0, width) + 1
    return [name[:cut], *(" " + piece for piece in _split(name[cut:], width - 1))]


def draw_link(axes: Axes, boxes: Sequence[tuple[float, float, float, float]], across: bool) -> None:
    """Draw an arrow from the first box to the last, straight through those between; ``across``: left to right."""
    leave, enter = [], []
    for x, y, width, height in boxes:
        enter.append((x, y + height / 2) if across else (x + width / 2, y))
        leave.append((x + width, y + height / 2) if across else (x + width / 2, y + height))
    points, codes = [leave[0]], [Path.MOVETO]
    for place in range(1, len(boxes)):
        (x0, y0), (x1, y1) = points[-1], enter[place]
        bend = [((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1)] if across else [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2)]
        points += [*bend, (x1, y1)]
        codes += [Path.CURVE4] * 3
        if place < len(boxes) - 1:
            points.append(leave[place])
            codes.append(Path.LINETO)
    arrow = FancyArrowPatch(
        path=Path(points, codes), arrowstyle="-|>", mutation_scale=8, lw=1, color=QUIET, fc=QUIET, zorder=1
    )
    axes.add_patch(arrow)
