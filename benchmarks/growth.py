"""Seconds and peak memory of each notebook on archives of growing size: ``python -m benchmarks.growth``.

Runs the whole series headless on generated archives of MovieLens 25M's shape, with vectors that are made instead of
encoded and one feature set, and writes ``growth.json`` (stage to points), which ``benchmarks.sizing`` extrapolates.
Points of sizes measured earlier stay. Each size has its own folder below ``generator.CACHE``; it is started anew.
"""

import argparse
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow.csv

from benchmarks.sizing import GROWTH
from benchmarks.speed import generator
from benchmarks.speed.child import Children
from utils.fetching import archives
from utils.handoff.store import writing
from utils.series import runner

SIZES = (1_000_000, 5_000_000, 25_000_000)
WIDTHS = {"03": 1280, "04": 384}
"""Widths of the vectors that the default encoders of 03 and 04 make."""
FULL = "ids+genres+poster+text"
SETTINGS: dict[str, Any] = {
    "MAX_MOVIES": 100,
    "OBJECTIVE": "like",
    "FEATURES": [FULL],
    "SEEDS": [42],
    "EPOCHS": 1,
    "BATCH_SIZE": 16_384,
    "TUNING": 0,
    "MISSING_SHARES": [],
}
"""One feature set, one seed, one pass; posters of a hundred movies are drawn, vectors are there for all."""
_POLL = 0.2


@contextmanager
def watched() -> Iterator[Children]:
    """Watch this process's children while the block runs: a notebook's kernel and the workers that it started."""
    done, children = threading.Event(), Children(psutil.Process())

    def watch() -> None:
        while not done.wait(_POLL):
            children.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield children
    finally:
        done.set()
        thread.join()


def prepare(ratings: int, seed: int, folder: Path) -> dict[str, Any]:
    """Make the archive and the vectors where they are not there; return the parameters of the series."""
    archive = generator.archived(ratings, seed)
    with archives.open_archive(archive) as opened:
        table = pyarrow.csv.read_csv(opened.take(("movies.csv",))["movies.csv"])
    movie_ids = table["movieId"].to_numpy()
    given = SETTINGS | {"DATASET": generator.NAME, "DATA_DIR": str(folder), "ARCHIVE": str(archive)}
    for notebook, width in WIDTHS.items():
        path = generator.CACHE / f"vectors-of-{archive.stem}-{width}.parquet"
        if not path.exists():
            generator.vectors(path, movie_ids, width, seed)
        given[f"{notebook}:PRECOMPUTED"] = str(path)
    return given


def measure(ratings: int, given: dict[str, Any], folder: Path) -> dict[str, dict[str, float]]:
    """Run the series; return a point for each stage, named by its notebook."""
    points = {}
    executed = folder / "executed"
    for step in runner.plan(given):
        start = time.perf_counter()
        with watched() as children:
            runner.run(step, executed / step.path.name, folder / generator.NAME)
        points[step.name] = {
            "ratings": ratings,
            "seconds": round(time.perf_counter() - start, 2),
            "peak_mb": round(children.largest, 1),
        }
        seconds = points[step.name]["seconds"]
        print(f"{ratings:>11,}  {step.name}: {seconds:.1f} s, {children.largest:,.0f} MB", flush=True)
    return points


def enter(path: Path, ratings: int, points: dict[str, dict[str, float]]) -> None:
    """Put the points of one size into ``path``, in place of earlier ones of that size."""
    found = json.loads(path.read_text()) if path.exists() else {}
    for stage, point in points.items():
        kept = [old for old in found.get(stage, []) if old["ratings"] != ratings]
        found[stage] = sorted([*kept, point], key=lambda one: one["ratings"])
    with writing(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")


def main(words: Sequence[str] | None = None) -> None:
    """Measure the sizes, smallest first, and write their points."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--ratings", default=",".join(map(str, SIZES)), help="sizes, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=GROWTH)
    asked = parser.parse_args(words)
    for ratings in sorted(int(size) for size in asked.ratings.split(",")):
        generator.CACHE.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"growth-{ratings}-", dir=generator.CACHE))
        try:
            given = prepare(ratings, asked.seed, folder)
            enter(asked.out, ratings, measure(ratings, given, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
