"""How every picture of the series looks: its size, colours and letters."""

import base64
import contextlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType
from PIL import Image

FILLS = ("#dbe7f1", "#f8e4d0", "#dcecdf", "#f3dbe4", "#e5dff2", "#efe9cf", "#d9eeed", "#ecdfd6")

WIDTH, HEIGHT = 10.0, 4.0
"""Inches no figure exceeds."""
CARD, INK, QUIET, GRID = "#fbfaf7", "#22272e", "#6b7280", "#e2e0d9"
COLOURS = ("#2f6f9f", "#d9772b", "#3c8d5a", "#b2456e", "#7b62b3", "#a08a2c", "#4aa3a2", "#8c5a3c")
STAND_IN = "made from stand-in posters"


class PlotError(ValueError):
    """Data that a plot cannot be drawn from."""


class Picture(Figure):
    """A Figure that a notebook stores with a palette of 128 colours: a quarter of the bytes, to the eye the same."""

    def png(self) -> bytes:
        """Return the picture as an 8-bit PNG."""
        drawn, packed = BytesIO(), BytesIO()
        with plt.rc_context({"text.parse_math": False}):  # Labels of ticks are made only now.
            self.savefig(drawn, format="png")
        with Image.open(drawn) as image:
            image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        return packed.getvalue()

    def _ipython_display_(self) -> None:
        # IPython prefers matplotlib's own formatter to a mime bundle, but not to this method, which only it calls.
        from IPython.display import display

        display({"image/png": base64.b64encode(self.png()).decode("ascii"), "text/plain": repr(self)}, raw=True)


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Use the series' look inside the block only; matplotlib's own settings come back after it."""
    look: dict[RcKeyType, Any] = {
        "figure.facecolor": CARD,
        "axes.facecolor": CARD,
        "savefig.facecolor": CARD,
        "figure.dpi": 96,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": QUIET,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": GRID,
        "xtick.color": QUIET,
        "ytick.color": QUIET,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "axes.prop_cycle": plt.cycler(color=COLOURS),
        # Titles come from outside: "$9.99 (2008)" is a film, not a formula.
        "text.parse_math": False,
    }
    with plt.rc_context(look):
        yield


def printable(text: str) -> str:
    """Return ``text`` on one line, with a question mark for each character the plot font lacks."""
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "".join(c if font.get_char_index(ord(c)) else "?" for c in line)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return how many inches wide ``text`` is when set in ``size`` points."""
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans:bold" if bold else "DejaVu Sans"))
    font.set_size(100, 72)
    font.set_text(text)
    return font.get_width_height()[0] / 64 / 100 * size / 72


def caption(figure: Figure, note: str = "", stand_in: bool = False) -> None:
    """Write a note below the figure; ``stand_in`` adds that its content is made from stand-ins."""
    parts = [note] * bool(note) + [STAND_IN] * stand_in
    if parts:
        figure.supxlabel(" · ".join(parts), x=0.99, ha="right", fontsize=8, color=COLOURS[1] if stand_in else QUIET)


def one_row(columns: int = 1, width: float = 7.0, height: float = 3.2, **options: Any) -> tuple[Picture, list[Axes]]:
    """Return a figure (closed, so that a notebook shows it once) with ``columns`` panels side by side, in inches."""
    figure, axes = plt.subplots(
        1, columns, FigureClass=Picture, figsize=(width, height), layout="constrained", squeeze=False, **options
    )
    plt.close(figure)
    return figure, list(axes[0])


def canvas(width: float, height: float) -> tuple[Picture, Axes]:
    """Return a figure with one axes over all of it, whose units are inches from the top left corner."""
    figure = plt.figure(FigureClass=Picture, figsize=(width, height))
    assert isinstance(figure, Picture), "pyplot makes what it is asked for"
    plt.close(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    return figure, axes


UNDEFINED = "undefined: it takes likes and dislikes"
"""What is written where an AUC would be."""


def undefined(axes: Axes, values: Any) -> None:
    """Say so where none of the ``values`` that are drawn is a number."""
    if len(values) and not np.isfinite(np.asarray(values, float)).any():
        axes.text(0.5, 0.5, UNDEFINED, transform=axes.transAxes, ha="center", va="center", color=QUIET)


def empty(axes: Axes, text: str) -> None:
    """Write ``text`` where there is nothing to plot."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=QUIET)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
