"""One run at a time in a data folder: who is refused, who is let in, and that no lock outlives its process."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.places import ROOT
from utils.handoff import lock
from utils.handoff.atomic import DataFolderError
from utils.handoff.manifest import HandOffError
from utils.handoff.store import open_store

NOTEBOOK = "02-Data-Enrichment"
HOLD = (
    "import sys; from pathlib import Path; from utils.handoff import lock; lock.hold(Path(sys.argv[1]), sys.argv[2]);"
)


@pytest.fixture(autouse=True)
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    yield
    lock.free(tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock of ``tmp_path``, until it is killed."""
    code = f"{HOLD} print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path), "03-Feature-Extraction-Poster"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_another_run_is_named_and_its_death_frees_the_lock(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(HandOffError) as caught:
        lock.hold(tmp_path, NOTEBOOK)
    wanted = (
        rf"Another run is at work in {re.escape(str(tmp_path))}: 03-Feature-Extraction-Poster, process {other.pid} on "
        r"\S+, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\. Wait until it ends, or stop it \(in JupyterLab: shut down its "
        r"kernel\), then run this again\."
    )
    assert re.fullmatch(wanted, str(caught.value))
    open_store(tmp_path.parent, tmp_path.name, 42, NOTEBOOK)  # A script that only looks is not stopped.
    other.kill()
    other.wait()
    lock.hold(tmp_path, NOTEBOOK)
    lock.hold(tmp_path, NOTEBOOK)  # Once more is no harm.


def refused_elsewhere(folder: Path, **environment: str) -> bool:
    """Say whether another process is refused."""
    code = f"{HOLD.replace('lock.hold', 'lock.PATIENCE = 0; lock.hold')}"
    command = [sys.executable, "-c", code, str(folder), "other"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "Another run is at work" in done.stderr
    return done.returncode != 0


def test_a_runner_shares_its_lock_with_the_notebooks_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lock.RUNNER, "another runner")
    with lock.held_for_notebooks(tmp_path, "make run"):
        assert not refused_elsewhere(tmp_path), "its environment names the runner"
        assert refused_elsewhere(tmp_path, **{lock.RUNNER: "another runner"})
    assert not refused_elsewhere(tmp_path) and os.environ[lock.RUNNER] == "another runner"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[Any], None]]:
    """What a kernel would call before and after a cell, by event; "idle" is called when its timer ends."""
    calls: dict[str, Callable[[Any], None]] = {}
    shell = SimpleNamespace(kernel=1, events=SimpleNamespace(register=calls.__setitem__))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(lock, "_claims", {})
    monkeypatch.setattr(lock, "_busy", threading.Event())

    def timer(seconds: float, ended: Callable[[], None]) -> SimpleNamespace:
        assert seconds == lock.IDLE < 10
        calls["idle"] = lambda _: ended()
        return SimpleNamespace(start=lambda: None)

    monkeypatch.setattr(lock.threading, "Timer", timer)
    return calls


def ended(error: Exception | None = None) -> SimpleNamespace:
    return SimpleNamespace(error_before_exec=None, error_in_exec=error)


def test_a_kernel_holds_the_lock_while_cells_run(tmp_path: Path, kernel: dict[str, Callable[[Any], None]]) -> None:
    open_store(tmp_path.parent, tmp_path.name, 42, NOTEBOOK)
    assert refused_elsewhere(tmp_path)
    kernel["post_run_cell"](ended())
    assert refused_elsewhere(tmp_path), "the next cell may come at once"
    kernel["pre_run_cell"](None)
    kernel["idle"](None)
    assert refused_elsewhere(tmp_path), "the timer of an earlier cell"
    kernel["post_run_cell"](ended())
    kernel["idle"](None)
    assert not refused_elsewhere(tmp_path), "an idle kernel is in nobody's way"
    kernel["pre_run_cell"](None)
    assert refused_elsewhere(tmp_path)
    kernel["post_run_cell"](ended(ValueError()))
    assert not refused_elsewhere(tmp_path), "the remedy may be to run another notebook"


def test_a_kernel_that_comes_too_late_does_not_write(
    tmp_path: Path, kernel: dict[str, Callable[[Any], None]], request: Any
) -> None:
    store = open_store(tmp_path.parent, tmp_path.name, 42, NOTEBOOK)
    kernel["post_run_cell"](ended(ValueError()))
    request.getfixturevalue("other")
    kernel["pre_run_cell"](None)
    store.path("enriched").write_text("x")
    with pytest.raises(HandOffError, match="Another run is at work"):
        store.record("enriched", rows=1)
    with pytest.raises(HandOffError, match="Another run is at work"):
        open_store(tmp_path.parent, tmp_path.name, 42, NOTEBOOK)


def test_a_folder_in_place_of_the_lock(tmp_path: Path) -> None:
    (tmp_path / lock.FILE).mkdir()
    with pytest.raises(
        DataFolderError, match=r"Cannot write .*\.lock: Is a directory. Remove or rename what is in its"
    ):
        lock.hold(tmp_path, NOTEBOOK)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_an_owner_that_cannot_be_read(tmp_path: Path, other: subprocess.Popen[str], text: str) -> None:
    (tmp_path / lock.FILE).write_text(text)
    with pytest.raises(HandOffError, match="a notebook, process unknown, since a moment ago"):
        lock.hold(tmp_path, NOTEBOOK)
