"""01: read the ratings, split them, write the parts. Both read the same unpacked ratings.csv.

Unpacked, because pandas reads a member of a zip through Python, which would only slow it down. Ours does more with it:
it checks each row, finds duplicates, holds movies out and hands over what later notebooks verify.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.speed import generator
from benchmarks.speed.child import timed
from benchmarks.speed.harness import Case

SPLIT = {"valid_fraction": 0.2, "seed": 42}
_COLD = 0.05
_PARTS = ("train", "valid", "cold")


def prepare(ratings: int, seed: int) -> None:
    """Make the archive that both read."""
    generator.unpacked(ratings, seed)


def convert(archive: Path, folder: Path) -> dict[str, Path]:
    """Do what notebook 01 does, by the functions that it calls; return where train, valid and cold are."""
    from utils.handoff.store import open_store
    from utils.ratings import movielens, splits

    store = open_store(folder, generator.NAME, SPLIT["seed"], "01-Download-Convert", ARCHIVE=archive.name)
    converted = movielens.convert(movielens.locate(generator.NAME, folder, archive))
    rated = splits.sample_users(converted.ratings, None, SPLIT["seed"])
    parts = splits.split(rated, "random", SPLIT["valid_fraction"], _COLD, SPLIT["seed"])
    store.write("movies_converted", converted.movies.to_arrow())
    store.write("rejected", converted.rejected.to_arrow())
    return {name: store.write(name, part.to_arrow()) for name, part in zip(_PARTS, parts, strict=True)}


def ours(ratings: int, seed: int) -> dict[str, Any]:
    """Notebook 01."""
    from utils import artefacts, movielens, splits  # noqa: F401  loaded before the clock starts

    archive = generator.unpacked(ratings, seed)
    with scratch() as folder:
        with timed() as clock:
            files = convert(archive, folder)
        return clock.told() | _answer(files, archive)


def pandas_way(ratings: int, seed: int) -> dict[str, Any]:
    """What a user would write: read_csv, train_test_split, to_parquet."""
    import pandas as pd
    from sklearn.model_selection import train_test_split

    archive = generator.unpacked(ratings, seed)
    with scratch() as folder:
        files = {name: folder / f"{name}.parquet" for name in ("train", "valid")}
        with timed() as clock:
            rated = pd.read_csv(archive / "ratings.csv")
            train, valid = train_test_split(rated, test_size=SPLIT["valid_fraction"], random_state=SPLIT["seed"])
            train.to_parquet(files["train"], index=False)
            valid.to_parquet(files["valid"], index=False)
        return clock.told() | _answer(files, archive)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk of the data."""
    with tempfile.TemporaryDirectory(dir=generator.CACHE) as folder:
        yield Path(folder)


def _answer(files: Mapping[str, Path], archive: Path) -> dict[str, Any]:
    """What the files hold, read back after the clock has stopped, a column at a time."""
    import polars as pl

    names = ("userId", "movieId", "rating", "timestamp")
    scans = {name: pl.scan_parquet(file) for name, file in files.items()}
    rows = {name: scan.select(pl.len()).collect().item() for name, scan in scans.items()}
    every = pl.concat([scan.select(pl.col(names).cast(pl.Float64)) for scan in scans.values()])
    sums = every.sum().collect(engine="streaming").row(0, named=True)
    size = sum(file.stat().st_size for file in files.values()) + (archive / "ratings.csv").stat().st_size
    answer = {"rows": sum(rows.values()), "valid share": rows["valid"] / (rows["train"] + rows["valid"])} | sums
    return {"answer": answer, "bytes_on_disk": size, "count": answer["rows"]}


def agree(case: Case, ours: Mapping[str, float], other: Mapping[str, float]) -> str | None:
    """The same rows, by their number and by the sum of each column; a fifth of what is not held out in valid.

    Sums are exact up to 2**53, which those of 25 million timestamps pass: hence 1e-13 of the value.
    """
    for name, value in ours.items():
        allowed = {"abs_tol": 1e-3} if name == "valid share" else {"rel_tol": 1e-13}
        if not math.isclose(value, other[name], **allowed):
            return f"{name} is {value:,} in ours and {other[name]:,} in the other"
    return None


def _case(ratings: int, **more: Any) -> Case:
    return Case(
        stage="01 read, check, split, write",
        against="pandas read_csv, scikit-learn train_test_split, to_parquet; of an unpacked csv",
        ours="benchmarks.speed.ratings:ours",
        other="benchmarks.speed.ratings:pandas_way",
        at_least=3.0,
        memory_at_most=0.5,
        arguments={"ratings": ratings, "seed": 0},
        limit="disk",
        checked="rows of all parts and the sum of each column are equal; the share of valid is",
        **more,
    )


CASES = (_case(25_000_000),)
SMALL = (_case(20_000, repeats=1),)
