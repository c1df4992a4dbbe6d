"""Seconds and peak memory of each notebook on ratings of growing number: ``python -m benchmarks.growth``.

Runs the whole series headless on ratings of MovieLens 25M's shape, with vectors that are made instead of encoded, one
feature set and one pass, and writes ``growth.json`` (notebook to points) and the table in ``docs/scaling.md``. Points
of other sizes stay. With ``--workers N`` it prints each size in one process and with N workers instead; 600 movies are
then really encoded. That the results are the same is tested: ``tests/whole/test_clusters.py``.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import nnls

from benchmarks import generator
from benchmarks.measure import Measured, run_once, timed
from benchmarks.speed import fill
from utils.handoff.atomic import writing
from utils.series import runner

GROWTH = Path(__file__).with_name("growth.json")
PAGE = runner.ROOT / "docs" / "scaling.md"
SIZES, FAR = (1_000_000, 5_000_000, 25_000_000), 100_000_000
"""Ratings that are measured, and those that the table extrapolates to."""
WIDTHS = {"03": 1280, "04": 384}
"""Widths of the vectors that the default encoders make."""
HOURS = 6
"""A notebook that takes longer has failed."""
SETTINGS: dict[str, Any] = {
    "DATASET": generator.NAME, "MAX_MOVIES": 100, "FEATURES": ["ids+genres+poster+text"],
    "SEEDS": [42], "EPOCHS": 1, "BATCH_SIZE": 16_384, "TUNING": 0, "MISSING_SHARES": [],
}  # fmt: skip
Points = dict[str, list[dict[str, float]]]


def fit(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Return constant and slope of a line, neither negative, of least squares of relative errors; and an exponent.

    That is of the power law through the points, which would promise too much of larger sizes: the constant flattens it,
    and is nothing beside a billion rows. Raises ValueError for points that no line can be put through.
    """
    sizes, values = np.asarray(x, float), np.asarray(y, float)
    if len(set(x)) < 2 or not (np.isfinite([sizes, values]).all() and min(sizes.min(), values.min()) > 0):
        raise ValueError(f"a line needs points at 2 sizes or more, all finite and more than 0, not {x} and {y}.")
    unit = sizes.max()
    (constant, slope), _ = nnls(np.stack([1 / values, sizes / unit / values], axis=1), np.ones(len(values)))
    return constant, slope / unit, np.polyfit(np.log(sizes), np.log(values), 1)[0]


def given(ratings: int, data: Path, encode: bool = False) -> dict[str, Any]:
    """Return the parameters of the series, and make what they name."""
    archive = generator.archive(ratings)
    found = SETTINGS | {"DATA_DIR": str(data), "ARCHIVE": str(archive)}
    if encode:
        return found | {"MAX_MOVIES": 600}
    movie_ids = pl.read_csv(archive / "movies.csv")["movieId"].to_numpy()
    return found | {f"{name}:PRECOMPUTED": str(generator.vectors(movie_ids, width)) for name, width in WIDTHS.items()}


def notebook(step: runner.Step, data: Path) -> Measured:
    """Run one notebook; its peak is that of its largest process."""
    with timed() as run:
        runner.run(step, data / "executed" / step.path.name, data / generator.NAME)
    return run


def series(ratings: int, parameters: Mapping[str, Any]) -> Points:
    """Run all notebooks; return the point of each. Raises RuntimeError where one fails."""
    points: Points = {}
    for step in runner.plan(parameters):
        run = run_once(partial(notebook, step, Path(parameters["DATA_DIR"])), HOURS * 3600)
        if isinstance(run, str):
            raise RuntimeError(f"{step.name} at {ratings:,} ratings: {run}")
        points[step.name] = [{"ratings": ratings, "seconds": round(run.seconds, 1), "peak_mb": round(run.peak_mb)}]
        print(f"{ratings:>11,}  {step.name}: {run.seconds:.1f} s, {run.peak_mb:,.0f} MB", flush=True)
    return points


def enter(found: Points, more: Points) -> Points:
    """Return ``found`` with the points of ``more`` in the place of those of the same size."""
    sizes = {name: {p["ratings"]: p for side in (found, more) for p in side.get(name, [])} for name in found | more}
    return {name: [by_size[size] for size in sorted(by_size)] for name, by_size in sizes.items()}


def table(points: Points) -> str:
    """Return Markdown: seconds and MB at each size, how the seconds grew, and what FAR ratings would take."""
    sizes = sorted({point["ratings"] for own in points.values() for point in own})
    heads = [
        "notebook",
        *(f"{size / 1e6:g}M ratings" for size in sizes),
        "seconds grew as",
        f"{FAR / 1e6:g}M would take",
    ]
    lines, every = [heads, ["---"] * len(heads)], []
    for size in sizes:
        here = [point for own in points.values() for point in own if point["ratings"] == size]
        most = max(point["peak_mb"] for point in here)
        every.append({"ratings": size, "seconds": sum(point["seconds"] for point in here), "peak_mb": most})
    for name, own in {**points, "all": every}.items():
        time, memory = (fit([p["ratings"] for p in own], [p[what] for p in own]) for what in ("seconds", "peak_mb"))
        cells = {p["ratings"]: f"{p['seconds']:,.1f} s, {p['peak_mb']:,.0f} MB" for p in own}
        far = f"{time[0] + time[1] * FAR:,.0f} s, {(memory[0] + memory[1] * FAR) / 1e3:,.1f} GB"
        lines.append([name, *(cells.get(size, "") for size in sizes), f"ratings^{time[2]:.2f}", far])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Measure the sizes, smallest first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--ratings", type=int, nargs="+", default=SIZES)
    parser.add_argument("--workers", type=int, help="compare one process with so many workers")
    asked = parser.parse_args(words)
    generator.CACHE.mkdir(parents=True, exist_ok=True)
    for ratings in sorted(asked.ratings):
        with tempfile.TemporaryDirectory(prefix=f"growth-{ratings}-", dir=generator.CACHE) as folder:
            if asked.workers:
                several = {"DASK_SCHEDULER": f"local:{asked.workers}", "NUM_PROCS": asked.workers}
                for name, more in (("one", {}), ("several", several)):
                    series(ratings, given(ratings, Path(folder) / name, encode=True) | more)
                continue
            points = enter(json.loads(GROWTH.read_text()), series(ratings, given(ratings, Path(folder))))
        with writing(GROWTH) as temporary:
            temporary.write_text(json.dumps(points, indent=1) + "\n")
        fill(PAGE, "growth", table(points))


if __name__ == "__main__":
    main()
