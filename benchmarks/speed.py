"""Measure each stage against what one would do instead: ``python -m benchmarks.speed --only 01,lists --scale small``.

Every run has a process of its own and the sides take turns, so that imports, caches and noisy neighbours favour
nobody. Both sides of a row must give the same answer. ``benchmarks.stages`` says what is compared.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import generator
from benchmarks.measure import Measured, Row, Stage, run_once
from benchmarks.stages import stages
from utils.handoff.atomic import writing

HERE = Path(__file__).parent
OUT = {"full": HERE, "small": HERE.parent / "runs" / "speed"}
ROUNDS, SECONDS = 5, 120.0
"""Most rounds of a stage; after so many seconds no other is begun, which keeps ``make bench`` under 30 minutes."""
SLOW = 5e9
"""Operations a second below which arithmetic is emulated: a product of the full size would take half a minute."""
PACKAGES = ("numpy", "pandas", "pyarrow", "polars", "scikit-learn", "torch", "nvtabular", "dask")
COLUMNS = ("stage", "ours", "other", "ratio", "memory", "share of the limit", "met, or why not")


def limits(folder: Path, share: float = 1.0) -> dict[str, float]:
    """Return the most operations or bytes a second of this machine; the disk is that of ``folder``, written to.

    ``share`` makes matrices and file smaller. A product of two matrices [n, n] takes 2 n**3 operations. Arithmetic that
    a processor emulates is measured on small ones.
    """
    import torch

    blocks, found = max(1, int(share * 128)), {}
    for precision, multiply in (("int8", torch._int_mm), ("float32", torch.mm), ("bfloat16", torch.mm)):
        for size in (256, int(share * 4096)):
            left, right = torch.randint(-9, 9, (2, size, size), dtype=torch.int8).to(getattr(torch, precision))
            speed = 2 * size**3 / _best(partial(multiply, left, right))
            found[f"matmul {precision}"] = speed
            if speed < SLOW:
                break
    folder.mkdir(parents=True, exist_ok=True)
    path, block, start = folder / f".{os.getpid()}.disk", bytes(1 << 23), time.perf_counter()
    with path.open("wb", buffering=0) as stream:
        for _ in range(blocks):
            stream.write(block)
        os.fsync(stream.fileno())
    found["disk"] = blocks * len(block) / (time.perf_counter() - start)
    path.unlink()
    return found


def _best(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of five rounds, after one to warm up."""
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def measure(stage: Stage, rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, list[Measured | str]]:
    """Return the runs of each side, by turns; a side that fails once is not run again."""
    prepared = run_once(stage.prepare) if stage.prepare else None
    if isinstance(prepared, str):
        return {name: [f"preparing: {prepared}"] for name in stage.sides}
    runs: dict[str, list[Measured | str]] = {name: [] for name in stage.sides}
    end = time.monotonic() + seconds
    for number in range(rounds):
        if number and time.monotonic() > end:
            break
        for name, side in stage.sides.items():
            if not any(isinstance(run, str) for run in runs[name]):
                runs[name].append(found := run_once(side))
                said = found if isinstance(found, str) else f"{found.seconds:.3g} s, {found.peak_mb:,.0f} MB"
                print(f"{stage.name}, {name}: {said}", flush=True)
    return runs


def gap(name: str, ours: Any, other: Any) -> float:
    """Return how far two answers are apart.

    1 - the least cosine for "vectors" [n, d], 1 - the share of equal items for "lists" [n, k], and for all others the
    largest difference as a share of the largest number.
    """
    one, two = np.asarray(ours, np.float64), np.asarray(other, np.float64)
    if one.shape != two.shape:
        return float("inf")
    if name == "vectors":
        return float(1 - ((one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)).min())
    if name == "lists":
        return float(1 - np.mean([len(np.intersect1d(*pair)) / one.shape[1] for pair in zip(one, two, strict=True)]))
    return float(np.abs(one - two).max() / max(np.abs(two).max(), 1e-300))


def difference(row: Row, ours: Measured, other: Measured) -> str | None:
    """Return in what the answers differ by more than ``row`` allows, None where they agree."""
    if ours.answer.keys() != other.answer.keys():
        return f"the answers are {sorted(ours.answer)} and {sorted(other.answer)}"
    gaps = {name: gap(name, value, other.answer[name]) for name, value in ours.answer.items()}
    far = [f"{name} differ by {size:.2g}" for name, size in gaps.items() if not size <= row.tolerance.get(name, 0)]
    return "; ".join(far) or None


def judge(stage: str, row: Row, runs: Mapping[str, Sequence[Any]], best: Mapping[str, float]) -> dict[str, str]:
    """Return a row of the table, column to text: medians of seconds, the largest peaks, shares of limits ``best``."""
    cells = dict.fromkeys(COLUMNS, "") | {"stage": stage, "ours": row.ours, "other": row.other}
    ours, other = runs[row.ours], runs[row.other]
    wrong = [run for run in (*ours, *other) if isinstance(run, str)]
    if not wrong:
        seconds, others = (statistics.median(run.seconds for run in side) for side in (ours, other))
        peak, peaks = (max(run.peak_mb for run in side) for side in (ours, other))
        ratio, limit = others / seconds, ours[0].limit
        met = ratio >= row.faster and peak <= min(row.peak_mb, row.memory * peaks)
        cells |= {
            "ours": f"{row.ours}: {seconds:.3g} s",
            "other": f"{row.other}: {others:.3g} s",
            "ratio": f"{ratio:.3g} (at least {row.faster:.3g})",
            "memory": f"{peak:,.0f} of {peaks:,.0f} MB",
            "share of the limit": f"{ours[0].work / seconds / best[limit]:.0%} of {limit}" if limit else "",
            "met, or why not": "met" if met else f"**no**: {row.why}",
        }
        wrong = list(filter(None, (difference(row, *pair) for pair in zip(ours, other, strict=True))))
    cells |= {"met, or why not": f"**wrong**: {wrong[0]}"} if wrong else {}
    return {name: " ".join(cell.replace("|", "/").split()) for name, cell in cells.items()}


def table(results: Mapping[str, Any]) -> str:
    """Return the rows of ``results.json`` as Markdown, with a paragraph on the machine and its limits."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([row[name] for name in COLUMNS] for row in results["rows"])]
    met = sum(cells[-1] == "met" for cells in lines)
    best = ", ".join(f"{name} {value / 1e9:,.3g}" for name, value in results["limits"].items())
    said = [
        f"{met} of {len(results['rows'])} rows meet their targets. Measured {results['date']}: {results['machine']};",
        f"{results['versions']}. Its limits, in billions of operations or bytes a second: {best}.",
    ]
    return "\n".join([*said, "", *(f"| {' | '.join(cells)} |" for cells in lines), ""])


def fill(path: Path, mark: str, text: str) -> None:
    """Put ``text`` between the comments "mark: begin" and "mark: end" of a page, or at its end where it has none."""
    begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->\n"
    before, _, rest = (path.read_text() if path.exists() else "").partition(begin)
    with writing(path) as temporary:
        temporary.write_text(f"{before}{begin}{text}{end}{rest.partition(end)[2]}")


def machine() -> dict[str, str]:
    """Return the machine and the versions of what is measured: results of others cannot stand beside its own."""
    from utils.vectors.encoders.precision import processor  # here, or PyTorch would be in the memory of 01

    memory = psutil.virtual_memory().total / 1e9
    versions = ["python " + platform.python_version(), *(f"{name} {metadata.version(name)}" for name in PACKAGES)]
    return {"machine": f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GB", "versions": ", ".join(versions)}


def main(words: Sequence[str] | None = None) -> int:
    """Measure, write ``results.json`` and the table; return 1 where a side failed or answers differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--only", help="words of the stages' names with commas between: 03,lists")
    parser.add_argument("--scale", choices=tuple(OUT), default="small", help="small: one round, to try the stages")
    asked = parser.parse_args(words)
    every, folder, here, full = stages(asked.scale), OUT[asked.scale], machine(), asked.scale == "full"
    wanted = [stage for stage in every if not asked.only or set(asked.only.split(",")) & set(stage.name.split())]
    if not wanted:
        parser.error(f"--only {asked.only} names none of the stages {', '.join(stage.name for stage in every)}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    results = {"rows": [], "runs": {}} | (kept if here.items() <= kept.items() else {}) | here
    results["date"] = datetime.date.today().isoformat()
    results["limits"] = run_once(partial(limits, generator.CACHE, 1.0 if full else 0.1))
    if isinstance(results["limits"], str):
        raise RuntimeError(f"The limits of this machine cannot be measured: {results['limits']}")
    for stage in wanted:
        runs = measure(stage, ROUNDS if full else 1)
        rows = [judge(stage.name, row, runs, results["limits"]) for row in stage.rows]
        rows += [row for row in results["rows"] if row["stage"] != stage.name]
        results["rows"] = sorted(rows, key=lambda row: row["stage"])
        results["runs"][stage.name] = {
            name: [run if isinstance(run, str) else [round(run.seconds, 4), round(run.peak_mb)] for run in side]
            for name, side in runs.items()
        }
        with writing(path) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n")
        fill(folder / "README.md", "speed", table(results))
    print(table(results))
    return int(any(row["met, or why not"].startswith("**wrong**") for row in results["rows"]))


if __name__ == "__main__":
    sys.exit(main())
