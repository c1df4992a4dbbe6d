"""Charts of results: every number drawn is that of the table, and rows of several runs are refused."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.plots.conftest import png, words
from utils.plots import results, style
from utils.plots.style import PlotError

SIX = ("warm", "few-shot", "new users", "cold", "cold with poster", "cold with text")
FULL = "ids+genres+poster+text"
STRATEGIES = ("mean", "zero", "neighbour")
WARM_AND_COLD = ["warm movies, n = 100", "cold movies, n = 100"]


def table(features=("ids", "ids+genres", "ids+genres (shuffled)"), slices=("cold", "warm"), **tags) -> pd.DataFrame:
    """A summary in which the first of ``features`` has 0.70, the next 0.71, and so on."""
    common = {"trainer": "torch", "model": "original", "split": "random", "metric": "auc"} | tags
    common |= {"low": 0.69, "high": 0.75, "n": 100, "seeds": 2}
    rows = [{"features": name, "value": 0.7 + place / 100} for place, name in enumerate(features)]
    return pd.DataFrame([common | {"slice": part} | row for part in slices for row in rows])


def sweep(shares=(0.5, 0.0, 0.9), full=FULL, **tags) -> pd.DataFrame:
    hidden = {f"{full}({share}, {strategy})": (share, strategy) for strategy in STRATEGIES for share in shares}
    frame = table(("ids", "ids+genres", FULL, *hidden), **tags)
    frame[["share", "strategy"]] = [hidden.get(name, (None, None)) for name in frame["features"]]
    return frame


def curve(bins: int) -> pd.DataFrame:
    """As ``calibration.reliability`` gives it."""
    score = np.linspace(0.05, 0.95, bins)
    return pd.DataFrame({"score": score, "share": score**2, "low": score**2 - 0.1, "high": score**2 + 0.1, "n": 90})


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_learning_curves_draw_a_line_a_seed():
    row = {"train_loss": 0.6, "valid_auc": 0.7}
    runs = [{"features": name, "seed": seed} for name in ("ids", "ids+genres") for seed in (1, 2, 3)]
    figure = results.learning_curves([run | row | {"epoch": epoch} for run in runs for epoch in (2, 1)])
    png(figure)
    loss, auc = figure.axes
    assert len(loss.lines) == len(auc.lines) == 6
    assert list(loss.lines[0].get_xdata()) == [1, 2] and list(auc.lines[0].get_ydata()) == [0.7, 0.7]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ids", "ids+genres"]


def test_ablation_has_warm_then_cold_with_split_seeds_and_n_and_quiet_controls():
    figure = results.ablation(table(), stand_in=True)
    png(figure)
    assert titles(figure) == WARM_AND_COLD
    assert "random split · mean of 2 seeds" in words(figure) and style.STAND_IN in words(figure)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([0.70, 0.71, 0.72])
    assert [dot.get_color() for dot in dots] == [style.QUIET, style.COLOURS[0], style.QUIET]


def test_ablation_draws_the_slices_it_is_asked_for_in_that_order_and_bears_nan():
    frame = table(features=("ids+genres",), slices=SIX)
    frame.loc[frame["slice"] == "few-shot", ["value", "low", "high"]] = np.nan
    figure = results.ablation(frame, slices=("cold with text", "unknown", "few-shot"))
    png(figure)
    assert titles(figure) == ["cold with text, n = 100", "few-shot, n = 100"]


@pytest.mark.parametrize("slices", [("warm", "cold"), SIX])
def test_values_of_ten_feature_sets_lie_on_nothing(slices):
    real = ("ids", "ids+genres", "ids+genres+poster", "ids+genres+text", FULL)
    figure = results.ablation(table((*real, *(f"{name}(shuffled)" for name in real)), slices), slices=slices)
    png(figure)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
    assert len(boxes) == 10 * len(slices)
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
        assert box.x1 <= figure.bbox.x1
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(a.y0 > b.y1 for a, b in pairwise(labels)) and min(box.x0 for box in labels) >= 0


def test_missing_sweep_has_a_line_a_strategy_with_its_band():
    figure = results.missing_sweep(sweep(slices=("cold", "few-shot", "warm")), FULL, stand_in=True)
    png(figure)
    assert titles(figure) == WARM_AND_COLD
    assert all(text in words(figure) for text in (style.STAND_IN, FULL, "random split · mean of 2 seeds"))
    for axes in figure.axes:
        lines = {line.get_label(): line for line in axes.lines}
        assert len(lines) == 5 and len({lines[f"gaps: {strategy}"].get_color() for strategy in STRATEGIES}) == 3
        # The frame has 0.5, 0.0, 0.9 for mean, then for zero: values 0.73, 0.74, 0.75, then 0.76 on.
        assert list(lines["gaps: zero"].get_xdata()) == [0, 50, 90]
        assert lines["gaps: zero"].get_ydata() == pytest.approx([0.77, 0.76, 0.78])
        assert [lines[name].get_ydata()[0] for name in ("ids+genres", "ids")] == pytest.approx([0.71, 0.70])
        corners = axes.collections[0].get_paths()[0].vertices
        assert len(axes.collections) == 3 and (corners[:, 1].min(), corners[:, 1].max()) == (0.69, 0.75)
    cold = sweep(slices=("cold",))
    alone = results.missing_sweep(cold[cold["strategy"] == "zero"], FULL)
    assert [line.get_label() for line in alone.axes[0].lines] == ["gaps: zero"]


@pytest.mark.parametrize(
    ("draw", "frame", "message"),
    [
        (results.ablation, table(slices=SIX[1:3]), r"no row of .*\['warm', 'cold'\]: the frame has \['few-shot', 'new"),
        (results.ablation, pd.concat([table(), table(split="new")]), r"values of split: \['new', 'random'\]. Select"),
        (results.ablation, pd.concat([table(), table(metric="gauc")]), r"values of metric: \['auc', 'gauc'\]. Select"),
        (results.missing_sweep, sweep(shares=()), "No row has a share and a strategy"),
        (results.missing_sweep, pd.concat([sweep(), sweep(full="ids")]), r"several feature sets: .*'ids\(0.5, mean\)'"),
        (results.missing_sweep, pd.concat([sweep(), sweep(model="other")]), "mix several values of model: .* Select"),
    ],
)
def test_refusals(draw, frame, message):
    with pytest.raises(PlotError, match=message):
        draw(frame, FULL)


def test_reliability_draws_dots_with_bars_beside_the_diagonal_and_fits_the_page():
    curves = {"warm": curve(10), "cold with text": curve(3)}
    figure = results.reliability(curves, stand_in=True)
    assert titles(figure) == ["warm movies, n = 900", "cold with text, n = 270"]
    assert style.STAND_IN in words(figure) and words(figure).count("predicted probability of a like") == 2
    for axes, frame in zip(figure.axes, curves.values(), strict=True):
        diagonal, dots = axes.lines
        assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
        assert np.column_stack(dots.get_data()).tolist() == frame[["score", "share"]].to_numpy().tolist()
        bars = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
        assert bars == frame[["low", "high"]].to_numpy().tolist()
    for shown in (figure, results.reliability({f"slice {number}": curve(10) for number in range(4)})):
        png(shown)
        shown.draw_without_rendering()
        for box in (axes.get_tightbbox() for axes in shown.axes):
            assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= shown.bbox.x1 + 1 and box.y1 <= shown.bbox.y1 + 1
