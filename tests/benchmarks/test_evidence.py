"""The page of the study: made of its summary alone, quotable, and honest about draws."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evidence import cases, report
from benchmarks.evidence.study import CONTROLS, FULL, HIDDEN, MODEL, SETS


def result(folder: Path, draw: int, worth: float = 0.02) -> cases.Case:
    """The case of a result file in which every block of content is worth ``worth`` AUC."""
    generator = np.random.default_rng(draw)
    sets = [*SETS, *CONTROLS, *HIDDEN]
    names = {f"{MODEL} {one}": 0.7 + worth * one.count("+") * ("(shuffled)" not in one) for one in sets}
    names |= {"user+movie bias ids": 0.69, "user mean ids": 0.68}

    def values(mean: float) -> list[float]:
        return [mean, *(mean + generator.normal(0, 0.002, 200))]

    lists = {f"lists {one}": 0.2 + worth * one.count("+") for one in SETS}
    lists |= {"EASE ids": 0.19, "popularity ids": 0.1, "item-knn ids": 0.15, f"{MODEL} {FULL}": 0.1}
    ndcg = {name: {part: values(mean) for part in ("warm", "cold", "cold among all")} for name, mean in lists.items()}
    new = {name: [0.3] * 20 for name in (*report.TRAINED, "given all their ratings", "given three likes")}
    rows = {"train": 100, "valid": 20, "cold": 20}
    about = {"dataset": "toy", "split": "random", "draw": draw, "rows": rows, "cold movies": 5}
    about |= {"movies": 25, "users": 9}
    found = {
        "about": about,
        "auc": {part: {name: values(mean) for name, mean in names.items()} for part in ("warm", "cold")},
        "metrics": [[MODEL, one, "warm", "auc", names[f"{MODEL} {one}"], 20] for one in sets],
        "ndcg": ndcg,
        "new users": new | {"popularity": [0.1] * 20},
        "epochs": {f"{MODEL} ids": 3},
    }
    case = cases.Case("toy", "random", draw, {})
    case.result.parent.mkdir(parents=True, exist_ok=True)
    case.result.write_text(json.dumps(found))
    if draw == 1:
        case.peers.write_text(json.dumps({"lightfm": {"warm": values(0.1), "cold": values(0.05)}}))
    return case


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setattr(report, "SUMMARY", tmp_path / "evidence.json")
    monkeypatch.setattr(cases, "ROOT", tmp_path)
    report.summarise([result(tmp_path, draw) for draw in (1, 2, 3)])
    return json.loads((tmp_path / "evidence.json").read_text())


def test_differences_are_means_over_draws_inside_their_intervals(summary: dict) -> None:
    cell = summary["toy, random split"]["worth"]["genres"]["cold auc"]
    assert cell["value"] == pytest.approx(0.02, abs=1e-6) and len(cell["draws"]) == 3
    assert 0.01 < cell["low"] < 0.02 < cell["high"] < 0.03
    lists = summary["toy, random split"]["worth"]["genres"]["cold lists"]
    assert lists["value"] == pytest.approx(0.02, abs=1e-6)


def test_draws_that_disagree_widen_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "SUMMARY", tmp_path / "evidence.json")
    monkeypatch.setattr(cases, "ROOT", tmp_path)
    report.summarise([result(tmp_path, draw, worth) for draw, worth in ((1, 0.0), (2, 0.02), (3, 0.04))])
    cell = json.loads((tmp_path / "evidence.json").read_text())["toy, random split"]["worth"]["genres"]["cold auc"]
    assert cell["value"] == pytest.approx(0.02, abs=1e-6) and cell["high"] - cell["low"] > 0.03


def test_the_page_names_every_model_and_the_new_users(summary: dict) -> None:
    page = report.page(summary)
    assert all(
        name in page for name in (*report.WORTH, *report.LISTS, "| lightfm | 0.100 [", "| lightfm (1 draws) | +0.")
    )
    assert "1.000 of the NDCG@10 that training" in page and "+0.200 [" in page


def test_the_paragraph_can_be_quoted(summary: dict) -> None:
    assert len(report.paragraph(summary).split()) <= 120


@pytest.mark.skipif(not report.SUMMARY.exists(), reason="make evidence writes benchmarks/evidence.json")
def test_the_committed_page_is_made_of_the_committed_numbers() -> None:
    summary = json.loads(report.SUMMARY.read_text())
    assert report.PAGE.read_text() == report.page(summary), "run python -m benchmarks.evidence --page"
    assert len(report.paragraph(summary).split()) <= 120
    assert all(len(case["about"]) >= 3 for case in summary.values()), "one draw says little"


def test_cases_name_missing_files_and_draw_five_times(tmp_path: Path) -> None:
    found = cases.all_cases({})
    assert {(case.dataset, case.split) for case in found} == {("ml-100k", "random"), ("ml-100k", "temporal")}
    assert len({case.draw for case in found}) == 5 and len({case.folder for case in found}) == 10
    with pytest.raises(FileNotFoundError, match="SYNOPSES=.* is not a file"):
        cases.all_cases({"SYNOPSES": str(tmp_path / "none.parquet")})
