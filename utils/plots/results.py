"""Charts of results (notebook 07): learning curves, the ablation, missing content and calibration, with intervals.

A ``summary`` is a frame with a row for each feature set and slice of one trainer, model, split and metric, which
columns name, and with ``value``, ``low``, ``high``, ``n`` and ``seeds`` (``metrics.click.summarise`` makes one).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from utils.plots.style import (
    COLOURS,
    HEIGHT,
    INK,
    QUIET,
    WIDTH,
    Picture,
    PlotError,
    caption,
    empty,
    one_row,
    style,
    undefined,
)

SLICES = ("warm", "cold")
"""Slices that are drawn unless others are asked for: movies with ratings in train, and movies without."""


def learning_curves(history: Sequence[Mapping[str, Any]], stand_in: bool = False) -> Picture:
    """Draw training loss and validation AUC over epochs, one colour per feature set, one line per seed.

    ``history`` rows have ``features``, ``seed``, ``epoch``, ``train_loss`` and ``valid_auc``.
    """
    frame = pd.DataFrame(history, columns=["features", "seed", "epoch", "train_loss", "valid_auc"])
    names = list(dict.fromkeys(frame["features"]))
    with style():
        figure, panels = one_row(2, width=9, height=3.2)
        for axes, column in zip(panels, ("train_loss", "valid_auc"), strict=True):
            axes.set_title({"train_loss": "training loss", "valid_auc": "validation AUC"}[column])
            axes.set(xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            for (name, _), run in frame.sort_values("epoch").groupby(["features", "seed"], sort=False):
                colour = COLOURS[names.index(name) % len(COLOURS)]
                axes.plot(run["epoch"], run[column], "o-", ms=3.5, lw=1.6, color=colour, label=name)
            if frame.empty:
                empty(axes, "no epochs")
            undefined(axes, frame[column])
        lines = {line.get_label(): line for line in panels[0].lines}
        figure.legend([lines[name] for name in names], names, loc="outside right upper", fontsize=8)
        caption(figure, stand_in=stand_in)
    return figure


def ablation(summary: pd.DataFrame, stand_in: bool = False, slices: Sequence[str] = SLICES) -> Picture:
    """Draw the metric of each feature set with its 95% interval, one panel per slice; a line marks ``ids``.

    Of ``slices`` those that the ``summary`` holds are drawn, in that order; ``ids`` and what has a bracket (controls)
    are grey. Raises PlotError for several trainers, models, splits or metrics, or where no row is of ``slices``.
    """
    summary = _one_run(summary, slices)
    features, shown = list(dict.fromkeys(summary["features"])), _present(summary, slices)
    place, size = np.arange(len(features))[::-1], min(9, 130 / len(features))
    with style():
        height = min(HEIGHT, 1.5 + 0.32 * len(features))
        figure, panels = one_row(len(shown), width=9 if len(shown) < 3 else WIDTH, height=height, sharey=True)
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
            undefined(axes, part["value"])
            axes.set(yticks=place, ylim=(-0.6, len(features) - 0.4), xlabel=summary["metric"].iloc[0])
            axes.set_yticklabels(features, fontsize=size)
            axes.xaxis.set_major_locator(MaxNLocator(5 if len(shown) < 3 else 2))
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0)
            axes.tick_params(axis="x", labelsize=9 if len(shown) < 5 else 7.5)
            axes.set_title(_title(name, part["n"].max(), wrapped=len(shown) > 2))
        caption(figure, _note(summary, "bars"), stand_in)
    return figure


def ranking(summary: pd.DataFrame, slices: Sequence[str] = SLICES) -> Picture:
    """Draw a metric of lists as bars with their 95% intervals, one panel per slice, the best model of the first on top.

    ``summary`` is of one split and metric; a bar is a model and what it was given.
    """
    if summary.empty:
        raise PlotError("There is no row to draw: judge some lists first.")
    names = [_bar(row.model, row.features) for row in summary.itertuples()]
    frame = summary.assign(name=names)
    order = frame[frame["slice"] == slices[0]].sort_values("value")["name"].tolist()
    shown = _present(summary, slices)
    with style():
        figure, panels = one_row(len(shown), width=9, height=min(HEIGHT, 1.2 + 0.26 * len(order)), sharey=True)
        for axes, name in zip(panels, shown, strict=True):
            part = frame[frame["slice"] == name].set_index("name").reindex(order)
            colours = [COLOURS[0] if "+" in one or one.startswith("lists") else QUIET for one in order]
            axes.barh(order, part["value"], color=colours, alpha=0.8, height=0.7)
            axes.hlines(order, part["low"], part["high"], color=INK, lw=1)
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0, labelsize=8.5)
            axes.set_xlabel(summary["metric"].iloc[0])
            axes.set_title(_title(name, part["n"].max(), counted="users"))
        caption(figure, _note(summary, "lines", over="users"))
    return figure


def _bar(model: str, features: str) -> str:
    return model if features == "ids" else f"{model}: {features.removeprefix('ids+')}"


def missing_sweep(summary: pd.DataFrame, content: str, stand_in: bool = False) -> Picture:
    """Draw the metric over the share of movies without ``content``, one panel per slice, one line per strategy.

    Rows of the sweep have a ``share`` in [0, 1) and a ``strategy``, null in other rows; of these ``ids+genres`` and
    ``ids``, which use no content, are drawn as horizontal lines. A band is the 95% interval. Raises PlotError where
    no row is of a sweep, or the rows are of several runs or several feature sets.
    """
    summary = _one_run(summary, SLICES)
    sweep = summary[summary["strategy"].notna()]
    if sweep.empty:
        raise PlotError("No row has a share and a strategy: train on movies whose content is hidden first.")
    if sweep.duplicated(["slice", "share", "strategy"]).any():
        raise PlotError(f"The sweep mixes several feature sets: {list(sweep['features'])}. Select one before plotting.")
    shown, strategies = _present(sweep, SLICES), list(dict.fromkeys(sweep["strategy"]))
    with style():
        figure, panels = one_row(len(shown), width=9, height=3.4)
        for axes, name in zip(panels, shown, strict=True):
            part = sweep[sweep["slice"] == name].sort_values("share")
            for strategy, line in part.groupby("strategy", sort=False):
                number, percent = strategies.index(strategy), line["share"].astype(float) * 100
                colour, mark, label = COLOURS[number], "osD^"[number % 4], f"gaps: {strategy}"
                axes.fill_between(percent, line["low"], line["high"], color=colour, alpha=0.13, lw=0)
                axes.plot(percent, line["value"], lw=1.8, ms=5, color=colour, marker=mark, label=label)
            without = summary[summary["slice"] == name].set_index("features")["value"]
            for features, dashes in (("ids+genres", (6, 3)), ("ids", (1.5, 2))):
                if features in without.index:
                    axes.axhline(without[features], color=QUIET, lw=1.4, ls=(0, dashes), label=features)
            undefined(axes, part["value"])
            ticks = sorted(set(part["share"] * 100))
            axes.set(xlabel="posters and texts hidden, %", ylabel=summary["metric"].iloc[0], xticks=ticks)
            axes.xaxis.set_major_formatter("{x:.0f}")
            axes.set_title(_title(name, part["n"].max()))
        labels = {name: line for axes in panels for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(labels.values(), labels.keys(), loc="outside right upper", fontsize=8)
        caption(figure, f"{content} · {_note(sweep, 'bands')}", stand_in)
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


def _one_run(summary: pd.DataFrame, slices: Sequence[str]) -> pd.DataFrame:
    """Return the rows of ``slices``; PlotError if there is none, or they are of several runs."""
    chosen = summary[summary["slice"].isin(slices)]
    if chosen.empty:
        found = sorted(summary["slice"].unique())
        raise PlotError(f"There is no row of the slices {list(slices)}: the frame has {found}.")
    for column in ("trainer", "model", "split", "metric"):
        if chosen[column].nunique() > 1:
            found = sorted(chosen[column].unique())
            raise PlotError(f"The rows mix several values of {column}: {found}. Select one before plotting.")
    return chosen


def _present(summary: pd.DataFrame, slices: Sequence[str]) -> list[str]:
    return [name for name in slices if (summary["slice"] == name).any()]


def _title(name: str, n: float, wrapped: bool = False, counted: str = "n") -> str:
    of = f"{name} movies" if name in SLICES else name
    return f"{of}{chr(10) if wrapped else ', '}{counted} = {int(n):,}"


def _note(summary: pd.DataFrame, drawn: str, over: str = "users and movies") -> str:
    split, seeds = summary["split"].iloc[0], int(summary["seeds"].min())
    return f"{split} split · mean of {seeds} seed{'s'[: seeds > 1]} · {drawn}: 95% intervals over {over}"
