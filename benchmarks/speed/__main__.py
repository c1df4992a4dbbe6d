"""``python -m benchmarks.speed --only 01,05 --scale small|full``: measure the stages, write the results and the table.

Goes on where it was stopped: runs whose code and arguments are unchanged are taken from ``results.json``.
"""

import argparse
import datetime
import importlib
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from benchmarks.speed import ROOT, harness, table
from utils.handoff.store import writing

MODULES = {
    "01": ("ratings", "01"),
    "03": ("posters", "03"),
    "04": ("synopses", "04"),
    "05": ("feature_store", "05"),
    "06": ("etl", "06"),
    "07": ("training", "07"),
    "evaluation": ("judging", "07 metrics"),
    "ranking": ("judging", "07 recommendations"),
}
"""What ``--only`` may name: its module in ``benchmarks.speed``, and how the stages of its cases begin."""
PACKAGES = ("python", "numpy", "pandas", "pyarrow", "polars", "scikit-learn", "torch", "nvtabular", "dask")
REASONS = ROOT / "benchmarks" / "speed" / "reasons.json"
"""Why a target is missed: {"stage|against": text}. It may be absent."""
OUT = {"full": ROOT / "benchmarks", "small": ROOT / "runs" / "speed"}
STARTED = time.monotonic()


def say(words: str) -> None:
    """Print a line with the minutes since the start."""
    print(f"{(time.monotonic() - STARTED) / 60:5.1f} min  {words}", flush=True)


def cases_of(names: list[str], scale: str) -> tuple[list[harness.Case], list[str]]:
    """Return the cases of the stages ``names``, and one line for each module that is missing."""
    cases, missing = [], []
    for name in names:
        module, stage = f"benchmarks.speed.{MODULES[name][0]}", MODULES[name][1]
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing.append(f"{name}: {module} cannot be loaded ({error}); its cases are left out.")
            continue
        found = loaded.SMALL if scale == "small" else loaded.CASES
        cases += (own := [case for case in found if case.stage.startswith(stage)])
        if not own:
            missing.append(f"{name}: {module} has no case whose stage begins with {stage!r}.")
    twice = [key for key, count in Counter(case.key for case in cases).items() if count > 1]
    assert not twice, f"two cases have the same stage and rival: {twice}"
    return cases, missing


def machine() -> dict[str, Any]:
    """Return processor, cores and memory of this machine."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    named = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), "")
    memory = round(psutil.virtual_memory().total / 1e9)
    return {"processor": named or platform.machine(), "cores": os.cpu_count(), "memory_gb": memory}


def versions() -> dict[str, str]:
    """Return the version of Python and of the packages that are measured."""
    return {name: platform.python_version() if name == "python" else metadata.version(name) for name in PACKAGES}


def open_results(path: Path) -> dict[str, Any]:
    """Return what ``path`` holds, or no case where it is of another machine or other versions."""
    here = {"machine": machine(), "versions": versions()}
    found = json.loads(path.read_text()) if path.exists() else {}
    if found and any(found.get(name) != value for name, value in here.items()):
        say(f"{path.name} was measured on another machine or with other versions: starting anew")
        found = {}
    return here | {"date": datetime.date.today().isoformat(), "limits": {}, "cases": []} | found


def save(path: Path, results: Mapping[str, Any]) -> None:
    """Write ``results`` as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")


def measure(results: dict[str, Any], cases: list[harness.Case], path: Path, *, again: bool, timeout: float) -> None:
    """Run ``cases``, entering each into ``results["cases"]`` and saving after every run."""
    for case in cases:
        place = {table.key(record): number for number, record in enumerate(results["cases"])}
        number = place.get(case.key, len(results["cases"]))
        earlier = results["cases"][number] if number < len(results["cases"]) else None

        def keep(record: dict[str, Any], number: int = number) -> None:
            results["cases"][number : number + 1] = [record]
            save(path, results)

        keep(harness.run_case(case, None if again else earlier, say, keep, timeout))
    results["cases"].sort(key=lambda record: record["case"]["stage"])


def main(words: list[str] | None = None) -> int:
    """Measure and write; return 1 where a module is missing, ours failed or the answers differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--only", default=",".join(MODULES), help=f"some of {','.join(MODULES)}")
    parser.add_argument("--scale", choices=tuple(OUT), default="small", help="small: seconds, to try the cases")
    parser.add_argument("--again", action="store_true", help="measure what is in results.json already, too")
    parser.add_argument("--timeout", type=float, default=harness.TIMEOUT, help="seconds for one run")
    parser.add_argument("--out", type=Path, help="folder for results.json and README.md")
    asked = parser.parse_args(words)
    names = [name.strip() for name in asked.only.split(",")]
    if unknown := [name for name in names if name not in MODULES]:
        parser.error(f"--only: {', '.join(unknown)} is not known; choose from {', '.join(MODULES)}")
    folder = asked.out or OUT[asked.scale]
    path = folder / "results.json"
    cases, missing = cases_of(names, asked.scale)
    results = open_results(path)
    if asked.again or not results["limits"]:
        say("measuring the limits of the machine")
        share = 1.0 if asked.scale == "full" else 0.125
        measured = harness.run_once("benchmarks.speed.limits:measure", {"share": share})
        results["limits"] = measured.get("answer", {})
    measure(results, cases, path, again=asked.again, timeout=asked.timeout)
    results["date"] = datetime.date.today().isoformat()
    save(path, results)
    reasons = json.loads(REASONS.read_text()) if REASONS.exists() else {}
    text = table.markdown(results, reasons)
    table.write(folder / "README.md", text)
    print(text, *missing, sep="\n")
    ours = [record for record in results["cases"] if any("error" in run for run in record["runs"]["ours"])]
    return int(bool(missing or ours or any(record["difference"] for record in results["cases"])))


if __name__ == "__main__":
    sys.exit(main())
