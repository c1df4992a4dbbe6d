"""The speed benchmarks' harness and table, on toys, and the small cases of stages 01, 05 and 06."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed import __main__ as command
from benchmarks.speed import etl, feature_store, generator, harness, limits, ratings, table
from benchmarks.speed.harness import Case, run_case, run_once

LIMITS = {"matmul": 100.0, "memory": 10.0, "disk": 500.0}


def toy(**changes: Any) -> Case:
    here = "tests.speed_toys"
    case = Case("07 toy", "a slow way", f"{here}:quick", f"{here}:slow", 3.0, repeats=2, checked="by the sum")
    return replace(case, **changes)


def cells(record: Mapping[str, Any], reasons: Mapping[str, str] | None = None) -> dict[str, str]:
    return dict(zip(table.HEADER, table.row(record, LIMITS, reasons or {}), strict=True))


def test_runs_alternate_and_medians_decide() -> None:
    lines: list[str] = []
    record = run_case(toy(), say=lines.append)
    assert [line.split(": ")[1] for line in lines] == ["ours 1/2", "other 1/2", "ours 2/2", "other 2/2"]
    found = table.summary(record, LIMITS)
    assert found["seconds"] == {"ours": 0.5, "other": 2.0} and found["faster"] == 4.0 and found["memory"] == 0.25
    assert found["met"] and found["error"] is None
    row = cells(record)
    assert row["targets"] == "met" and row["faster: reached"] == "4 times" and row["ours"] == "0.5 s, 100 MB"
    assert row["runs of ours, other"] == "2, 2"
    record["runs"]["ours"] += [{"seconds": 9.0, "peak_mb": 900.0, "answer": {}}]
    found = table.summary(record, LIMITS)
    assert found["seconds"]["ours"] == 0.5 and found["peak_mb"]["ours"] == 900.0  # the median, and the largest


@pytest.mark.parametrize(
    "missed", [{"at_least": 4.1}, {"memory_at_most": 0.2}, {"peak_mb_at_most": 99.0}, {"arguments": {"sum": 2.0}}]
)
def test_a_target_that_is_not_reached_is_a_miss_with_its_reason(missed: dict[str, Any]) -> None:
    record = run_case(toy(repeats=1, **missed), say=lambda _: None)
    assert not table.summary(record, LIMITS)["met"]
    assert cells(record)["targets"].startswith("**missed**")
    assert cells(record, {"07 toy|a slow way": "it is small"})["targets"].endswith("it is small")
    text = table.markdown({"cases": [record], "machine": {"processor": "p", "cores": 2, "memory_gb": 4},
                           "versions": {}, "date": "2026-01-01", "limits": LIMITS}, {})  # fmt: skip
    assert text.startswith("0 of 1 cases meet all their targets")


def test_an_answer_that_differs_is_said() -> None:
    record = run_case(toy(repeats=1, arguments={"sum": 2.0}), say=lambda _: None)
    assert "the answers differ: {'sum': 1.0} is not {'sum': 2.0}" in cells(record)["targets"]


@pytest.mark.parametrize("total", [1.0, 2.0])
def test_long_answers_are_compared_and_then_left_out(total: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "LONGEST_ANSWER", 5)
    case = toy(arguments={"sum": total})
    record = run_case(case, say=lambda _: None)
    assert [run["answer"] for side in harness.SIDES for run in record["runs"][side]] == [None] * 4
    assert (record["difference"] is None) == (total == 1.0)
    again = run_case(case, record, say=lambda line: pytest.fail(line))
    assert again["difference"] == record["difference"]
    more = run_case(replace(case, repeats=3), record, say=lambda _: None)
    assert more["difference"] == record["difference"] and len(more["runs"]["ours"]) == 3


def test_a_rival_that_fails_is_a_row_with_its_error() -> None:
    record = run_case(toy(other="tests.speed_toys:broken"), say=lambda _: None)
    assert [len(record["runs"][side]) for side in harness.SIDES] == [2, 1]  # once is enough to know
    row = cells(record)
    assert row["runs of ours, other"] == "2, 0"
    assert row["other"] == "failed" and row["faster: reached"] == "not measured"
    assert row["targets"] == "**missed**: other: ValueError: no such thing"


def test_a_run_that_does_not_end_is_ended() -> None:
    started = time.monotonic()
    found = run_once("tests.speed_toys:endless", {}, timeout=3)
    assert found["error"] == "not done after 3 s" and time.monotonic() - started < 30


def test_memory_of_preparation_does_not_count_and_that_of_children_does() -> None:
    size = 200_000_000
    peak = run_once("tests.speed_toys:large_then_small", {"size": size})["peak_mb"]
    alone = run_once("tests.speed_toys:large_then_small", {"size": 8})["peak_mb"]
    assert 20 < peak - alone < 120
    held = run_once("tests.speed_toys:with_child", {"size": 200_000_000})["peak_mb"]
    assert held - alone > 190


def test_runs_are_taken_over_until_code_or_arguments_change() -> None:
    lines: list[str] = []
    kept: list[dict[str, Any]] = []
    first = json.loads(json.dumps(run_case(toy(repeats=1), say=lines.append, keep=kept.append)))
    assert len(lines) == 2 and len(kept) == 3
    assert "tests/speed_toys.py" in first["runs"]["ours"][0]["code"]
    assert run_case(toy(repeats=1), first, say=lines.append) == first and len(lines) == 2
    run_case(toy(repeats=2), first, say=lines.append)
    assert len(lines) == 4  # only the second of each
    run_case(toy(repeats=1, arguments={"seconds": 3.0}), first, say=lines.append)
    assert len(lines) == 6
    first["runs"]["other"][0]["code"]["tests/speed_toys.py"] = "older"
    run_case(toy(repeats=1), first, say=lines.append)
    assert len(lines) == 7 and ": other 1/1" in lines[-1]


def test_the_share_of_the_limit_is_the_rate_over_the_machines() -> None:
    record = run_case(toy(repeats=1, limit="memory"), say=lambda _: None)
    assert table.summary(record, LIMITS)["share"] == pytest.approx(1e9 / 0.5 / 10e9)
    assert cells(record)["share of the machine's limit"] == "20% (memory)"


def test_limits_are_measured(tmp_path: Path) -> None:
    found = limits.measure(tmp_path, share=0.02)["answer"]
    assert set(found) == {*limits.UNITS, "disk read"} and min(found.values()) > 0
    assert not list(tmp_path.iterdir())


def test_the_table_replaces_itself_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Title\n\nBefore.\n")
    table.write(path, "one\n")
    path.write_text(path.read_text() + "After.\n")
    table.write(path, "two\n")
    assert path.read_text() == f"# Title\n\nBefore.\n\n{table.BEGIN}\ntwo\n{table.END}\nAfter.\n"


def test_a_module_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command.MODULES, "03", ("absent", "03"))
    cases, missing = command.cases_of(["03", "05"], "full")
    assert cases == list(feature_store.CASES)
    assert missing[0].startswith("03: benchmarks.speed.absent cannot be loaded")


def test_the_command_measures_writes_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(feature_store, "SMALL", (toy(stage="05 toy", repeats=1),))
    words = ["--only", "05", "--out", str(tmp_path)]
    assert command.main(words) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["cases"][0]["runs"]["ours"][0]["seconds"] == 0.5 and set(results["limits"]) >= set(limits.UNITS)
    assert "| 05 toy | a slow way | 0.5 s, 100 MB |" in (tmp_path / "README.md").read_text()
    capsys.readouterr()
    assert command.main(words) == 0
    assert "1/1" not in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text()) == results


@pytest.mark.parametrize("module", [ratings, feature_store, etl])
def test_small_cases_run_and_agree(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEED_DATA", str(tmp_path))
    for case in module.SMALL:
        record = run_case(case, say=lambda _: None)
        errors = [run["error"] for side in harness.SIDES for run in record["runs"][side] if "error" in run]
        assert not errors
        assert record["difference"] is None
        (answer,) = (run["answer"] for run in record["runs"]["ours"])
        name = next(iter(answer))
        assert name in (module.agree(case, answer, answer | {name: answer[name] + 1}) or "")


def test_cases_are_of_the_size_of_movielens_25m() -> None:
    assert ratings.CASES[0].arguments["ratings"] == etl.CASES[0].arguments["count"] == generator.RATINGS
    assert feature_store.CASES[0].peak_mb_at_most == pytest.approx(2 * 62_423 * 3_072 * 4 / 1e6)
