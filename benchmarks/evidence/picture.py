"""The README's picture of the study, from ``evidence.json``: what each kind of content is worth, with real content."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.evidence.report import SUMMARY
from utils.handoff.atomic import ROOT, writing
from utils.plots.style import COLOURS, INK, QUIET, Picture, caption, one_row, style

PICTURE = ROOT / "docs" / "images" / "worth.png"
PANELS = {
    "cold auc": "movies nobody has rated\nclicks: AUC",
    "cold lists": "movies nobody has rated\nlists: NDCG@10",
    "warm auc": "movies with ratings\nclicks: AUC",
}


def case_with_real_content(summary: Mapping[str, Any]) -> str:
    """Return the name of the last random split: the one of real texts and posters."""
    return [name for name in summary if "random" in name][-1]


def draw(summary: Mapping[str, Any]) -> Picture:
    """Return a panel for each of PANELS, a line for each kind of content: its worth and the 95% interval."""
    name = case_with_real_content(summary)
    worth = summary[name]["worth"]
    labels = [kind.split(":")[0] for kind in worth]
    with style():
        figure, panels = one_row(len(PANELS), width=9, height=2.5, sharey=True)
        for axes, (column, title) in zip(panels, PANELS.items(), strict=True):
            axes.axvline(0, color=QUIET, lw=1, ls=(0, (4, 3)))
            for y, cell in enumerate(one[column] for one in worth.values()):
                sure = cell["low"] > 0 or cell["high"] < 0
                colour = COLOURS[0] if sure else QUIET
                axes.plot([cell["low"], cell["high"]], [y, y], color=colour, lw=2.4, solid_capstyle="round", alpha=0.55)
                axes.plot(cell["value"], y, "o", ms=6, color=colour)
                axes.annotate(
                    f"{cell['value']:+.3f}", (1, y), (4, 0), va="center", color=INK, fontsize=9,
                    xycoords=("axes fraction", "data"), textcoords="offset points",
                )  # fmt: skip
            axes.set(yticks=range(len(labels)), ylim=(len(labels) - 0.5, -0.5), title=title)
            axes.set_yticklabels(labels)
            axes.locator_params(axis="x", nbins=4)
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0)
        draws = len(summary[name]["about"])
        caption(
            figure, f"{name}, mean of {draws} draws · bars: 95% intervals over draws, users and movies · grey: may be 0"
        )
    return figure


def write() -> None:
    """Write the picture of ``evidence.json`` to PICTURE."""
    with writing(PICTURE) as temporary:
        temporary.write_bytes(draw(json.loads(SUMMARY.read_text())).png())
