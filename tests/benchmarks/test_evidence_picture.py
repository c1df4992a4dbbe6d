"""What the README shows of the study is what ``evidence.json`` holds: its table, its picture, its sentences."""

import json

import numpy as np
import pytest

from benchmarks.evidence import picture, report
from tests.places import ROOT

COLUMNS = ("cold auc", "warm auc", "cold lists")


@pytest.fixture(scope="module")
def summary() -> dict:
    return json.loads(report.SUMMARY.read_text())


def test_the_picture_has_the_numbers_of_the_study(summary: dict) -> None:
    worth = summary[picture.case_with_real_content(summary)]["worth"]
    figure = picture.draw(summary)
    assert len(figure.axes) == len(picture.PANELS)
    for axes, column in zip(figure.axes, picture.PANELS, strict=True):
        cells = [kind[column] for kind in worth.values()]
        assert [text.get_text() for text in axes.texts] == [f"{cell['value']:+.3f}" for cell in cells]
        bars, dots = axes.lines[1::2], axes.lines[2::2]
        assert [list(bar.get_xdata()) for bar in bars] == [[cell["low"], cell["high"]] for cell in cells]
        assert [float(dot.get_xdata()[0]) for dot in dots] == [cell["value"] for cell in cells]
        grey = [bar.get_color() == picture.QUIET for bar in bars]
        assert grey == [cell["low"] <= 0 <= cell["high"] for cell in cells]


def test_the_committed_picture_is_of_the_committed_numbers(summary: dict) -> None:
    assert picture.draw(summary).png() == picture.PICTURE.read_bytes(), "python -m benchmarks.evidence --page draws it"


def test_the_table_of_the_readme_is_the_one_of_the_study(summary: dict) -> None:
    readme, name = (ROOT / "README.md").read_text(), picture.case_with_real_content(summary)
    for kind, cells in summary[name]["worth"].items():
        shown = [f"{one['value']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]" for one in map(cells.get, COLUMNS)]
        assert f"| {kind} | {' | '.join(shown)} |\n" in readme, (
            "copy the table of benchmarks/evidence.md into README.md"
        )
    case = summary[name]
    ours, cold = case["lists"]["warm"], case["lists"]["cold"]
    full = report.LISTS[-1]
    sentence = (
        f"NDCG@10 {ours[full]['value']:.3f} among all movies (plain EASE {ours['EASE']['value']:.3f}, item-kNN "
        f"{ours['item-knn']['value']:.3f}, popularity {ours['popularity']['value']:.3f}), "
        f"{cold[full]['value']:.3f} among cold ones (by lot {cold['popularity']['value']:.3f})"
    )
    new, three = case["new users"], case["new users"]["three"]
    kept, equal = (np.mean([one[0] / one[place] for one in new["kept"]]) for place in (1, 2))
    words = " ".join(readme.split())
    assert sentence in words and f"given all their ratings, {kept:.2f} of the NDCG@10 that training on them" in words
    assert f"({equal:.2f} with as many other users left out)" in words
    assert f"likes, {three['value']:+.3f} [{three['low']:+.3f}, {three['high']:+.3f}] over popularity" in words
    assert (
        f"irspack's iALS with content {ours['irspack-ials-content']['value']:.3f} and "
        f"{cold['irspack-ials-content']['value']:.3f}, DropoutNet {ours['dropoutnet']['value']:.3f} and "
        f"{cold['dropoutnet']['value']:.3f}"
    ) in words
