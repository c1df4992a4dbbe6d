"""Run a case: ours and the other way in turn, each run in a process of its own; keep every run.

A measured function returns ``{"seconds": float, "answer": {...}}`` and may add ``flop``, ``bytes_moved`` or
``bytes_on_disk``, what the work needs at least, and ``count``, the things done. A case module has ``CASES``, ``SMALL``
and ``agree``, and may have ``prepare(**arguments)``, which is called once before, in a process of its own.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.speed import ROOT
from benchmarks.speed.child import Children, digest

TIMEOUT = 3600.0
"""Seconds after which a run is ended and counts as failed."""
SIDES = ("ours", "other")
LONGEST_ANSWER = 1_000
"""Characters of JSON."""
_POLL = 0.1
_TAIL = 400
Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """What is measured against what, and the target. ``ours`` and ``other`` are "module:function"."""

    stage: str
    against: str
    ours: str
    other: str
    at_least: float
    """Target for seconds(other) / seconds(ours)."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able, the same for both."""
    repeats: int = 5
    """Runs of each, in turn; medians are reported."""
    memory_at_most: float | None = None
    """Target for peak(ours) / peak(other)."""
    peak_mb_at_most: float | None = None
    """Target for the peak of ours in MB."""
    limit: str | None = None
    """The limit of the machine that bounds the work: "matmul", "memory", "disk" or None."""
    checked: str = ""
    """How it is made sure that both do the same work."""

    @property
    def key(self) -> str:
        """The name of the case in files."""
        return f"{self.stage}|{self.against}"


def run_once(target: str, arguments: Mapping[str, Any], timeout: float = TIMEOUT) -> dict[str, Any]:
    """Call ``target`` in a fresh process; return what it returned, with ``peak_mb``, or {"error": text}.

    ``peak_mb`` is the peak of the process and the largest sum of the peaks of its own children alive at a time.
    ``code`` maps the project's modules that the run used to their digests.
    """
    module = Path(*target.partition(":")[0].split(".")).with_suffix(".py")
    code = {module.as_posix(): digest(ROOT / module)} if (ROOT / module).exists() else {}
    with tempfile.TemporaryDirectory(prefix="speed-") as scratch:
        out, log = Path(scratch) / "result.json", Path(scratch) / "log"
        command = [sys.executable, "-m", "benchmarks.speed.child", target, json.dumps(dict(arguments)), str(out)]
        with log.open("wb") as stream:
            process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream, start_new_session=True)
        try:
            children = _watch(process, timeout)
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {timeout:.0f} s", "code": code}
        finally:
            _end_group(process)
        if process.returncode != 0 or not out.exists():
            words = log.read_text(errors="replace").strip().splitlines()
            last = words[-1][-_TAIL:] if words else "nothing was printed"
            return {"error": f"exit code {process.returncode}: {last}", "code": code}
        result = json.loads(out.read_text())
        result["peak_mb"] += children
        return result


def _watch(process: subprocess.Popen[bytes], timeout: float) -> float:
    """Wait for the end; return the largest sum of peaks of the children seen at a time, in MB."""
    end, children = time.monotonic() + timeout, Children(psutil.Process(process.pid))
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL)
            return children.largest
        if time.monotonic() > end:
            raise subprocess.TimeoutExpired(process.args, timeout)
        children.look()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the session that the process began, workers of its own included."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def is_current(run: Mapping[str, Any]) -> bool:
    """Whether every module that the run used is still as it was."""
    code = run.get("code", {})
    return bool(code) and all((ROOT / path).exists() and digest(ROOT / path) == was for path, was in code.items())


def run_case(
    case: Case,
    earlier: Mapping[str, Any] | None = None,
    say: Say = print,
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """Measure ``case``; return its record: the case, ``runs`` of both sides, and ``difference``.

    ``earlier`` is a record of the same case, whose runs are taken where code and arguments are unchanged. ``keep`` is
    called with the record after every run. One failed run ends that side: a side that fails is a result.
    """
    record: dict[str, Any] = {"case": as_json(case), "runs": {side: [] for side in SIDES}, "difference": None}
    if earlier and earlier["case"]["arguments"] == record["case"]["arguments"]:
        for side in SIDES:
            if earlier["case"][side] == record["case"][side]:
                record["runs"][side] = [run for run in earlier["runs"][side] if is_current(run)][: case.repeats]
    module = importlib.import_module(case.ours.partition(":")[0])
    waiting = any(_unfinished(record["runs"][side], case.repeats) for side in SIDES)
    if waiting and hasattr(module, "prepare"):
        say(f"{case.key}: preparing")
        prepared = run_once(f"{module.__name__}:prepare", case.arguments, timeout)
        if "error" in prepared:
            say(f"{case.key}: {prepared['error']}")
            failed = {"error": f"preparing failed: {prepared['error']}", "code": {}}
            return record | {"runs": {side: [failed] for side in SIDES}}
    for number in range(case.repeats):
        for side in SIDES:
            runs = record["runs"][side]
            if len(runs) > number or not _unfinished(runs, case.repeats):
                continue
            runs.append(run_once(getattr(case, side), case.arguments, timeout))
            say(f"{case.key}: {side} {len(runs)}/{case.repeats}: {_in_words(runs[-1])}")
            keep(record)
    record["difference"] = _difference(case, record["runs"], module.agree)
    if earlier and any("error" not in run and run.get("answer") is None for run in _runs(record)):
        # Of runs that were taken over without their answers holds what was found then.
        record["difference"] = record["difference"] or earlier["difference"]
    without_long_answers(record)
    keep(record)
    return record


def without_long_answers(record: dict[str, Any]) -> None:
    """Set answers to None that are compared and too long for a file that is committed."""
    for run in _runs(record):
        if len(json.dumps(run.get("answer"))) > LONGEST_ANSWER:
            run["answer"] = None


def _runs(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [run for side in SIDES for run in record["runs"][side]]


def as_json(case: Case) -> dict[str, Any]:
    """Return the case as it reads after a way through JSON."""
    return json.loads(json.dumps(asdict(case)))


def _unfinished(runs: list[dict[str, Any]], repeats: int) -> bool:
    return len(runs) < repeats and not any("error" in run for run in runs)


def _difference(case: Case, runs: Mapping[str, list[dict[str, Any]]], agree: Callable[..., str | None]) -> str | None:
    """The first difference between the answers of any pair of runs."""
    pairs = zip(*(runs[side] for side in SIDES), strict=False)
    answers = ((ours.get("answer"), other.get("answer")) for ours, other in pairs)
    there = (pair for pair in answers if None not in pair)
    return next((found for pair in there if (found := agree(case, *pair)) is not None), None)


def _in_words(run: Mapping[str, Any]) -> str:
    return run["error"] if "error" in run else f"{run['seconds']:.3g} s, {run['peak_mb']:,.0f} MB"
