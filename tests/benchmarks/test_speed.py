"""The harness and its verdicts, on toys; and at toy scale both sides of every stage give the same answer."""

import json
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import cases, generator, speed
from benchmarks.measure import Measured, Row, Stage, run_once
from benchmarks.stages import stages
from tests.benchmarks.toys import broken, large_then_small

LIMITS = {"disk": 100.0}
ROW = Row("ours", "other", 3.0, why="it is small")


def measured(seconds: float, answer: float = 1.0, peak: float = 100.0) -> Measured:
    return Measured(seconds, peak, {"sum": answer}, "disk", 20.0)


def verdict(row: Row = ROW, **runs: Any) -> str:
    sides = {"ours": [measured(1.0)], "other": [measured(4.0)]} | runs
    return speed.judge("07 toy", row, sides, LIMITS)["met, or why not"]


def test_medians_and_the_largest_peak_make_a_row() -> None:
    ours, other = [measured(9.0, peak=300), measured(1.0), measured(1.0)], [measured(4.0, peak=400)] * 3
    found = speed.judge("07 toy", ROW, {"ours": ours, "other": other}, LIMITS)
    cells = "07 toy | ours: 1 s | other: 4 s | 4 (at least 3) | 300 of 400 MB | 20% of disk | met"
    assert list(found) == list(speed.COLUMNS) and " | ".join(found.values()) == cells


def test_a_target_that_is_not_reached_is_missed_for_its_reason() -> None:
    for missed in ({"faster": 4.1}, {"memory": 0.9}, {"peak_mb": 99.0}):
        assert verdict(replace(ROW, **missed)) == "**no**: it is small"


def test_a_side_that_fails_or_answers_otherwise_is_wrong() -> None:
    assert verdict() == verdict(replace(ROW, tolerance={"sum": 0.3}), other=[measured(4.0, 1.25)]) == "met"
    assert verdict(other=["ValueError: a | b\nc"]) == "**wrong**: ValueError: a / b c"
    assert verdict(other=[measured(4.0, 1.25)]) == "**wrong**: sum differ by 0.2"
    named = replace(measured(4.0), answer={"mean": 1.0})
    assert verdict(other=[named]) == "**wrong**: the answers are ['sum'] and ['mean']"


def test_how_far_answers_are_apart() -> None:
    assert speed.gap("rows", 3, 4) == 0.25 and speed.gap("rows", [1, 2], [1, 2, 3]) == np.inf
    assert speed.gap("vectors", [[3.0, 4.0], [1.0, 0.0]], [[6.0, 8.0], [0.6, 0.8]]) == pytest.approx(0.4)
    assert speed.gap("lists", [[1, 2], [3, 4]], [[2, 1], [3, 5]]) == 0.25


def test_a_run_has_a_process_of_its_own() -> None:
    assert run_once(os.getpid) != os.getpid()
    assert run_once(broken) == "ValueError: no such thing"
    assert run_once(partial(os._exit, 3)) == "ended with exit code 3"
    assert run_once(partial(time.sleep, 60), timeout=2) == "not done after 2 s"
    large, small = (run_once(partial(large_then_small, size)).peak_mb for size in (400_000_000, 8))
    assert 40 < large - small < 200, "memory outside the block does not count"


def test_sides_take_turns_until_the_time_is_up_and_a_failed_one_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(speed, "run_once", lambda side, *_: side())
    sides = {"ours": lambda: ran.append("ours") or measured(1.0), "other": lambda: ran.append("other") or "no"}
    stage = Stage("07 toy", sides, [ROW])
    runs = speed.measure(stage, rounds=3)
    assert ran == ["ours", "other", "ours", "ours"] and runs["other"] == ["no"]
    assert len(speed.measure(stage, seconds=0)["ours"]) == 1
    assert speed.measure(replace(stage, prepare=lambda: "no disk"))["ours"] == ["preparing: no disk"]


def test_the_command_keeps_rows_of_other_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "OUT", {"small": tmp_path})
    monkeypatch.setattr(speed, "run_once", lambda side, *_: side())
    monkeypatch.setattr(speed, "limits", lambda *_: LIMITS)
    sides = {"ours": partial(measured, 1.0), "other": partial(measured, 4.0)}
    monkeypatch.setattr(speed, "stages", lambda _: [Stage(name, sides, [ROW]) for name in ("02 toy", "07 other")])
    (tmp_path / "README.md").write_text("# Title\n")
    assert speed.main(["--only", "toy"]) == speed.main(["--only", "07"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["stage"] for row in results["rows"]] == ["02 toy", "07 other"]
    assert results["runs"]["02 toy"]["other"] == [[4.0, 100]]
    page = (tmp_path / "README.md").read_text()
    assert page.startswith("# Title\n") and page.count("| 07 other | ours: 1 s | other: 4 s |") == 1
    sides["other"] = partial(measured, 4.0, 2.0)
    assert speed.main(["--only", "07"]) == 1


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speed")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("stage", stages("small"), ids=lambda stage: stage.name)
def test_both_sides_give_the_same_answer_and_another_is_noticed(
    stage: Stage, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "CACHE", cache)
    runs = {name: side() for name, side in stage.sides.items()}
    for row in stage.rows:
        ours, other = runs[row.ours], runs[row.other]
        assert speed.difference(row, ours, other) is None
        assert ours.seconds > 0 and ours.peak_mb > 50 and (ours.work > 0) == (ours.limit is not None)
        for name, value in ours.answer.items():
            changed = np.roll(value, 1, axis=0) if np.ndim(value) > 1 else np.multiply(value, 1.01)
            assert name in (speed.difference(row, replace(ours, answer=ours.answer | {name: changed}), other) or "")


@pytest.mark.usefixtures("one_thread")
def test_operations_are_those_that_pytorch_counts_and_limits_are_measured(tmp_path: Path) -> None:
    from utils.vectors import posters, texts

    picture = posters.load_encoder(posters.DEFAULT, "cpu", cases.WEIGHTS, "float32").module
    text = texts.load_encoder(texts.DEFAULT, "cpu", cases.WEIGHTS, "float32").module
    text.set_attn_implementation("eager")  # PyTorch does not count the fused one on a CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        picture(torch.zeros(1, 3, 224, 224))
        assert (of_picture := counter.get_total_flops()) == pytest.approx(cases.PICTURE_FLOP, rel=0.01)
        text(torch.ones(1, 120, dtype=torch.long))
    assert counter.get_total_flops() - of_picture == pytest.approx(120 * cases.TOKEN_FLOP, rel=0.08)
    found = speed.limits(tmp_path, 0.02)
    assert set(found) == {"matmul float32", "matmul bfloat16", "matmul int8", "disk"} and min(found.values()) > 0
