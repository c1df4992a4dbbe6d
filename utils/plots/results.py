"""Charts of results (notebook 07): learning curves and the ablation with its intervals."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from utils.evaluation import summarise
from utils.plots.charts import COLOURS, HEIGHT, QUIET, Picture, PlotError, caption, empty, one_row, style


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


def ablation(metrics: pd.DataFrame, metric: str = "auc", stand_in: bool = False) -> Picture:
    """Draw ``metric`` of each feature set with its 95% interval, one panel a slice; a line marks ``ids``.

    ``metrics`` has the columns of ``metrics.csv`` for one trainer, model and split; seeds are averaged
    (``evaluation.summarise``). Raises PlotError for several trainers, models or splits, or no row of ``metric``.
    """
    chosen = metrics[metrics["metric"] == metric]
    if chosen.empty:
        raise PlotError(f"No row of metric {metric!r}: the frame has {sorted(metrics['metric'].unique())}.")
    for column in ("trainer", "model", "split"):
        if chosen[column].nunique() > 1:
            found = sorted(chosen[column].unique())
            raise PlotError(f"The rows mix several values of {column}: {found}. Select one before plotting.")
    summary, split = summarise(chosen), chosen["split"].iloc[0]
    features = list(dict.fromkeys(summary["features"]))
    slices = (
        list(dict.fromkeys(["warm", *summary["slice"]]))
        if "warm" in set(summary["slice"])
        else list(summary["slice"].unique())
    )
    with style():
        height = min(HEIGHT, 1.5 + 0.32 * len(features))
        figure, panels = one_row(len(slices), width=9, height=height, sharey=True)
        for axes, name in zip(panels, slices, strict=True):
            part = summary[summary["slice"] == name].set_index("features").reindex(features)
            place = np.arange(len(features))[::-1]
            if "ids" in features:
                axes.axvline(part.loc["ids", "value"], color=QUIET, lw=1, ls=(0, (4, 3)))
            for y, row in zip(place, part.itertuples(), strict=True):
                colour = QUIET if row.Index == "ids" or "(" in row.Index else COLOURS[0]
                axes.plot([row.low, row.high], [y, y], color=colour, lw=2.4, solid_capstyle="round", alpha=0.55)
                axes.plot(row.value, y, "o", ms=6, color=colour)
                axes.annotate(
                    f"{row.value:.3f}", (row.value, y), (0, 5), textcoords="offset points", ha="center", fontsize=8
                )
            axes.set(yticks=place, ylim=(-0.6, len(features) - 0.3), xlabel=metric)
            axes.set_yticklabels(features)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0)
            axes.set_title(f"{name} movies, n = {int(part['n'].max()):,}")
        seeds = int(summary["seeds"].min())
        caption(
            figure, f"{split} split · mean of {seeds} seed{'s'[: seeds > 1]} · bars: 95% intervals over users", stand_in
        )
    return figure
