"""Charts of results (notebook 07): learning curves, the ablation, missing content and calibration, with intervals."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from utils.metrics.click import summarise
from utils.plots.style import COLOURS, HEIGHT, INK, QUIET, WIDTH, Picture, PlotError, caption, empty, one_row, style
from utils.study import missing_content

SLICES = ("warm", "cold")
"""Slices that are drawn unless others are asked for: movies with ratings in train, and movies without."""


def learning_curves(history: Sequence[Mapping[str, Any]], stand_in: bool = False) -> Picture:
    """Draw training loss and validation AUC over epochs, one colour a feature set, one line a seed.

    ``history`` rows have ``features``, ``epoch``, ``train_loss``, ``valid_auc`` and, with several runs, ``seed``.
    """
    curves: dict[str, dict[Any, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in history:
        curves[row["features"]][row.get("seed")].append(row)
    with style():
        figure, panels = one_row(2, width=9, height=3.2)
        for axes, column, name in zip(
            panels, ("train_loss", "valid_auc"), ("training loss", "validation AUC"), strict=True
        ):
            axes.set_title(name)
            if not curves:
                empty(axes, "no epochs")
                continue
            for number, (features, seeds) in enumerate(curves.items()):
                for first, rows in zip([True] + [False] * len(seeds), seeds.values(), strict=False):
                    rows = sorted(rows, key=lambda row: row["epoch"])
                    epochs, values = [row["epoch"] for row in rows], [row[column] for row in rows]
                    colour, label = COLOURS[number % len(COLOURS)], features if first else None
                    axes.plot(epochs, values, "o-", ms=3.5, lw=1.6, color=colour, label=label)
            axes.set(xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if curves:
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
        caption(figure, stand_in=stand_in)
    return figure


def ablation(
    metrics: pd.DataFrame, metric: str = "auc", stand_in: bool = False, slices: Sequence[str] = SLICES
) -> Picture:
    """Draw ``metric`` of each feature set with its 95% interval, one panel a slice; a line marks ``ids``.

    ``metrics`` has the columns of ``metrics.csv`` for one trainer, model and split; seeds are averaged
    (``evaluation.summarise``). Of ``slices`` those that the frame holds are drawn, in that order. Raises PlotError for
    several trainers, models or splits, or where no row of ``metric`` or of ``slices`` is there.
    """
    summary = _one_run(metrics, metric, slices)
    features, shown = list(dict.fromkeys(summary["features"])), _present(summary, slices)
    with style():
        height = min(HEIGHT, 1.5 + 0.32 * len(features))
        figure, panels = one_row(len(shown), width=9 if len(shown) < 3 else WIDTH, height=height, sharey=True)
        place, size = np.arange(len(features))[::-1], min(9, 130 / len(features))
        for axes, name in zip(panels, shown, strict=True):
            part = summary[summary["slice"] == name].set_index("features").reindex(features)
            if "ids" in features:
                axes.axvline(part.loc["ids", "value"], color=QUIET, lw=1, ls=(0, (4, 3)))
            for y, row in zip(place, part.itertuples(), strict=True):
                colour = QUIET if row.Index == "ids" or "(" in row.Index else COLOURS[0]
                axes.plot([row.low, row.high], [y, y], color=colour, lw=2.4, solid_capstyle="round", alpha=0.55)
                axes.plot(row.value, y, "o", ms=6, color=colour)
                if np.isfinite(row.value):
                    # In a column beside the panel, where neither a line nor another value can cross it.
                    beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
                    axes.annotate(f"{row.value:.3f}", (1, y), (4, 0), va="center", fontsize=size, color=INK, **beside)
            axes.set(yticks=place, ylim=(-0.6, len(features) - 0.4), xlabel=metric)
            axes.set_yticklabels(features, fontsize=size)
            axes.xaxis.set_major_locator(MaxNLocator(5 if len(shown) < 3 else 2))
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0)
            axes.tick_params(axis="x", labelsize=9 if len(shown) < 5 else 7.5)
            axes.set_title(_title(name, part["n"].max(), wrapped=len(shown) > 2))
        caption(figure, _note(summary, "bars"), stand_in)
    return figure


def missing_sweep(metrics: pd.DataFrame, metric: str = "auc", stand_in: bool = False) -> Picture:
    """Draw ``metric`` over the share of movies without a poster or text, one panel a slice, one line a strategy.

    ``metrics`` is as for ``ablation``; the rows of the sweep are those whose features are a ``missing.name``. A band is
    the 95% interval. Horizontal lines mark ``ids+genres`` and ``ids``, which use no content, where their rows are
    there. Raises PlotError where no row is of a sweep, or the rows are of several runs or several feature sets.
    """
    summary = _one_run(metrics, metric, SLICES)
    parsed = [missing_content.parse(features) for features in summary["features"]]
    sweep = summary[[found is not None for found in parsed]].copy()
    if sweep.empty:
        wanted = missing_content.name("ids+genres+poster+text", 0.3, missing_content.STRATEGIES[0])
        raise PlotError(f"No row has features such as {wanted!r}: train on what missing.hide returns first.")
    sweep["share"], sweep["strategy"] = zip(*(found for found in parsed if found is not None), strict=True)
    full = sorted({features.rpartition("(")[0] for features in sweep["features"]})
    if len(full) > 1:
        raise PlotError(f"The sweep mixes several feature sets: {full}. Select one before plotting.")
    shown = _present(sweep, SLICES)
    with style():
        figure, panels = one_row(len(shown), width=9, height=3.4)
        for axes, name in zip(panels, shown, strict=True):
            part = sweep[sweep["slice"] == name]
            for strategy, colour, mark in zip(missing_content.STRATEGIES, COLOURS, "osD", strict=False):
                line = part[part["strategy"] == strategy].sort_values("share")
                if len(line):
                    percent, label = line["share"] * 100, f"gaps: {strategy}"
                    axes.fill_between(percent, line["low"], line["high"], color=colour, alpha=0.13, lw=0)
                    axes.plot(percent, line["value"], lw=1.8, ms=5, color=colour, marker=mark, label=label)
            without = summary[summary["slice"] == name].set_index("features")["value"]
            for features, dashes in (("ids+genres", (6, 3)), ("ids", (1.5, 2))):
                if features in without.index:
                    axes.axhline(without[features], color=QUIET, lw=1.4, ls=(0, dashes), label=features)
            axes.set(xlabel="posters and texts hidden, %", ylabel=metric, xticks=sorted(set(part["share"] * 100)))
            axes.xaxis.set_major_formatter("{x:.0f}")
            axes.set_title(_title(name, part["n"].max()))
        labels = {name: line for axes in panels for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(labels.values(), labels.keys(), loc="outside right upper", fontsize=8)
        caption(figure, f"{full[0]} · {_note(sweep, 'bands')}", stand_in)
    return figure


def reliability(curve: Mapping[str, pd.DataFrame], stand_in: bool = False) -> Picture:
    """Draw a reliability diagram for each of ``curve``, a slice's name to its ``calibration.reliability``.

    Dots on the diagonal are probabilities that can be believed; above it there are more likes than predicted, below
    fewer. Bars are 95% intervals over users.
    """
    with style():
        count = max(len(curve), 1)
        side = min(2.7, WIDTH / count - 0.5)
        width = float(np.clip(0.7 + count * (side + 0.3), 6.6, WIDTH))  # The caption needs the room of two panels.
        figure, panels = one_row(count, width=width, height=side + 1.2, sharex=True, sharey=True)
        for axes, (name, frame) in zip(panels, curve.items(), strict=False):
            axes.plot([0, 1], [0, 1], color=QUIET, lw=1, ls=(0, (4, 3)))
            axes.vlines(frame["score"], frame["low"], frame["high"], color=COLOURS[0], lw=2.4, alpha=0.55)
            axes.plot(frame["score"], frame["share"], "o", ms=5, color=COLOURS[0])
            axes.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1, xlabel="predicted probability of a like")
            axes.tick_params(labelsize=8)
            axes.set_title(_title(name, frame["n"].sum(), wrapped=count > 2))
        if curve:
            panels[0].set_ylabel("share of likes")
            caption(figure, "bins of equal count · bars: 95% intervals over users", stand_in)
        else:
            empty(panels[0], "no predictions")
    return figure


def _one_run(metrics: pd.DataFrame, metric: str, slices: Sequence[str]) -> pd.DataFrame:
    """Return ``evaluation.summarise`` of the rows of ``metric`` and ``slices``; PlotError if of no or several runs."""
    chosen = metrics[metrics["metric"] == metric]
    if chosen.empty:
        raise PlotError(f"No row of metric {metric!r}: the frame has {sorted(metrics['metric'].unique())}.")
    found = sorted(chosen["slice"].unique())
    chosen = chosen[chosen["slice"].isin(slices)]
    if chosen.empty:
        raise PlotError(f"No row of {metric!r} is of the slices {list(slices)}: the frame has {found}.")
    for column in ("trainer", "model", "split"):
        if chosen[column].nunique() > 1:
            found = sorted(chosen[column].unique())
            raise PlotError(f"The rows mix several values of {column}: {found}. Select one before plotting.")
    return summarise(chosen)


def _present(summary: pd.DataFrame, slices: Sequence[str]) -> list[str]:
    return [name for name in slices if (summary["slice"] == name).any()]


def _title(name: str, n: float, wrapped: bool = False) -> str:
    of = f"{name} movies" if name in SLICES else name
    return f"{of}{chr(10) if wrapped else ', '}n = {int(n):,}"


def _note(summary: pd.DataFrame, drawn: str) -> str:
    split, seeds = summary["split"].iloc[0], int(summary["seeds"].min())
    return f"{split} split · mean of {seeds} seed{'s'[: seeds > 1]} · {drawn}: 95% intervals over users"
