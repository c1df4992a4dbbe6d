"""Data of one's own at the end of 07: when it is left out, what the series is given, and that it keeps quiet."""

import os
from pathlib import Path
from typing import Any

import pytest
from papermill import PapermillExecutionError

from utils.series import own_data, runner


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / own_data.SOURCE
    (folder / "content").mkdir(parents=True)
    for name in ("plays.csv", "games.csv"):
        (folder / name).write_text("movieId\n")
    return folder


def test_it_runs_where_the_source_is(source: Path) -> None:
    assert own_data.why_not(True, source.parent, "ml-100k") == ""


def test_it_can_be_turned_off(source: Path) -> None:
    assert "OWN_DATA is off" in own_data.why_not(False, source.parent, "ml-100k")


def test_it_does_not_run_inside_itself(source: Path) -> None:
    assert "This run is of board-games itself" in own_data.why_not(True, source.parent, "board-games")


@pytest.mark.parametrize("name", ["plays.csv", "games.csv"])
def test_a_missing_file_is_named_with_the_notebooks_to_run(source: Path, name: str) -> None:
    (source / name).unlink()
    found = own_data.why_not(True, source.parent, "ml-100k")
    assert f"has no {name}: run notebooks 01 and 02" in found and "\n" not in found


def test_a_missing_folder_is_named_whole(tmp_path: Path) -> None:
    assert "no plays.csv and no games.csv and no content" in own_data.why_not(True, tmp_path, "ml-100k")


def test_each_parameter_is_one_that_a_notebook_declares(source: Path) -> None:
    given = own_data.parameters(source.parent, 7)
    steps = {step.name[:2]: step.given for step in runner.plan(given)}
    assert steps["01"]["RATINGS"] == str(source / "plays.csv") and steps["01"]["MOVIES"] == str(source / "games.csv")
    assert steps["02"]["ENRICHMENT_DIR"] == str(source / "content") and steps["02"]["ENRICHMENT"] == "local"
    assert steps["06"]["OBJECTIVE"] == "like" and "OBJECTIVE" not in steps["07"]
    assert {given["SEED"] for number, given in steps.items() if number > "00"} == {7}


def runs(monkeypatch: pytest.MonkeyPatch, count: int = 7, error: Exception | None = None) -> list[Any]:
    """Put a run of the series in place that prints as the real one does; return what it was called with."""
    called: list[Any] = []

    def run_all(given: Any, root: Path = runner.ROOT, runs: Path | None = None, until: str = "07") -> int:
        called.append((given, runs, until))
        print("[3/7] 02-Data-Enrichment ...")
        os.write(2, b"as a kernel does\n")
        if error:
            raise error
        return count

    monkeypatch.setattr(runner, "run_all", run_all)
    return called


def test_the_series_runs_up_to_06_and_keeps_quiet(
    source: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    called, given = runs(monkeypatch), own_data.parameters(source.parent, 42)
    assert own_data.run_series(given).startswith("board-games, 00 to 06: 7 notebooks run in ")
    assert called == [(given, source.parent / "notebooks", "06")]
    os.write(2, b"heard again\n")
    assert capfd.readouterr() == ("", "heard again\n")


def test_a_second_run_says_so(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, count=0)
    assert "nothing has changed since the last run" in own_data.run_series(own_data.parameters(source.parent, 42))


def test_a_failure_names_the_notebook_and_its_error(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, error=PapermillExecutionError(3, 3, "", "ParameterError", "MOVIES is empty.", []))
    with pytest.raises(
        own_data.OwnDataError, match="02-Data-Enrichment failed on board-games: ParameterError: MOVIES is empty"
    ):
        own_data.run_series(own_data.parameters(source.parent, 42))
