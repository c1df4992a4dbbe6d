"""Figures of the report: the pictures of notebook 07, as files."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

from benchmarks.evidence.results import Results
from benchmarks.evidence.study import MODEL
from benchmarks.evidence.tables import FURTHER_SLICES
from utils import plots
from utils.handoff.store import writing
from utils.metrics.click import summarise
from utils.model.architectures import FEATURE_SETS
from utils.plots.style import Picture
from utils.study import missing_content

DPI = 110


def ablation(case: Results) -> Picture | None:
    """Draw AUC by feature set, warm and cold, with knock-outs."""
    metrics = case.metrics[(case.metrics["model"] == MODEL) & (case.metrics["metric"] == "auc")]
    metrics = metrics[metrics["features"].map(missing_content.parse).isna()]
    drawn = metrics["slice"].isin(("warm", "cold")).any()
    return plots.ablation(summarise(metrics), stand_in=case.about["stand_in"]) if drawn else None


def slices(case: Results) -> Picture | None:
    """Draw AUC by feature set on the further slices."""
    metrics = case.metrics[(case.metrics["model"] == MODEL) & case.metrics["features"].isin(FEATURE_SETS)]
    metrics = metrics[(metrics["metric"] == "auc") & metrics["slice"].isin(FURTHER_SLICES)]
    if metrics.empty:
        return None
    return plots.ablation(summarise(metrics), stand_in=case.about["stand_in"], slices=FURTHER_SLICES)


def missing_sweep(case: Results) -> Picture | None:
    """Draw AUC over the share of movies without content."""
    metrics = case.metrics[(case.metrics["model"] == MODEL) & (case.metrics["metric"] == "auc")]
    swept = [name for name in metrics["features"] if missing_content.parse(name)]
    if not swept:
        return None
    summary = summarise(metrics)
    summary[["share", "strategy"]] = [missing_content.parse(name) or (None, None) for name in summary["features"]]
    return plots.missing_sweep(summary, swept[0].partition("(")[0], stand_in=case.about["stand_in"])


def reliability(case: Results) -> Picture | None:
    """Draw predicted against observed likes."""
    curves = dict(list(case.frames["reliability"].groupby("slice", sort=False)))
    return plots.reliability(curves, stand_in=case.about["stand_in"]) if curves else None


FIGURES: dict[str, tuple[str, Callable[[Results], Picture | None]]] = {
    "ablation": ("AUC of each feature set on warm and cold movies", ablation),
    "slices": ("AUC of each feature set on further slices", slices),
    "missing": ("AUC over the share of movies whose posters and texts are hidden", missing_sweep),
    "reliability": ("Predicted probability against the share of likes", reliability),
}
"""Last part of the file's name to what the figure shows and who draws it."""


def save(case: Results, name: str, folder: Path) -> tuple[str, Path] | None:
    """Write the figure ``name`` of a case to ``folder``; return what it shows and its path, None where it is empty."""
    shows, draw = FIGURES[name]
    picture = draw(case)
    if picture is None:
        return None
    target = folder / f"{case.name}-{name}.png"
    with writing(target) as path, mpl.rc_context({"savefig.dpi": DPI}):
        path.write_bytes(picture.png())
    return f"{shows}, {case.title}", target
