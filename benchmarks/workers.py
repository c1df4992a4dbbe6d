"""The series in one process and with two workers: ``python -m benchmarks.workers --ratings 5000000``.

Runs all notebooks headless on a generated archive of MovieLens 25M's shape, twice: in one process, and with 03, 04 and
06 on a Dask cluster of two local processes and 07 in two processes under torchrun. Posters and synopses of a part of
the movies are really encoded. Prints seconds and peak memory of each notebook, and how far the results are apart.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks import growth
from benchmarks.speed import generator
from utils.etl import workflow
from utils.handoff.store import open_store

TWO: dict[str, Any] = {"DASK_SCHEDULER": "local:2", "NUM_PROCS": 2}
KEYS = ["trainer", "model", "features", "seed", "split", "slice", "metric"]
CLOSE, SAME_AUC = 1e-4, 0.003
"""Numbers of a vector may differ by CLOSE; an AUC by SAME_AUC, as gradients are summed in another order."""


class DifferentError(AssertionError):
    """Two workers gave another result than one process."""


def compare(one: Path, two: Path, same_auc: float = SAME_AUC) -> dict[str, float]:
    """Return the largest differences of two folders of the series: of vectors, and of a model's AUC, warm and cold.

    Codes may be permuted, one to one. Raises DifferentError for anything else, and for differences beyond rounding.
    """
    found = {}
    for name in ("poster_embeddings", "text_embeddings"):
        tables = [pq.read_table(folder / f"{name}.parquet").to_pandas() for folder in (one, two)]
        if tables[0]["movieId"].tolist() != tables[1]["movieId"].tolist():
            raise DifferentError(f"{name}: other movies have a vector")
        vectors = [np.stack(table["embedding"]) for table in tables]
        found[name] = float(np.abs(vectors[0] - vectors[1]).max())
    for part in ("train", "valid", "cold"):
        _same_rows(part, *(_encoded(folder, part) for folder in (one, two)))
    metrics = [pd.read_csv(folder / "metrics.csv") for folder in (one, two)]
    both = metrics[0].merge(metrics[1], on=KEYS, how="outer", suffixes=("", "_two"), validate="1:1")
    if both[["n", "n_two"]].isna().any().any() or (both["n"] != both["n_two"]).any():
        raise DifferentError("metrics.csv: other rows, or other numbers of ratings or users")
    for model, rows in both[(both["metric"] == "auc") & both["slice"].isin(["warm", "cold"])].groupby("model"):
        found[f"AUC, {model}"] = float((rows["value"] - rows["value_two"]).abs().max())
    wrong = {name: gap for name, gap in found.items() if not gap <= (same_auc if "AUC" in name else CLOSE)}
    if wrong:
        raise DifferentError(f"two workers differ from one process: {wrong}")
    return found


def _encoded(folder: Path, part: str) -> dict[str, np.ndarray]:
    store = open_store(folder.parent, folder.name, 42, "07-Training-with-HugeCTR")
    return workflow.read_encoded(store, f"{part}-hugectr", store.metadata("movie_codes")["most_genres"])


def _same_rows(part: str, one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
    for column in ("label", "movieId_duplicate"):
        if not np.array_equal(one[column], two[column]):
            raise DifferentError(f"{part}: {column} differs")
    for column in ("userId", "movieId"):
        pairs = np.unique(np.stack([one[column], two[column]]), axis=1)
        unknown = pairs == workflow.OUT_OF_VOCABULARY
        if any(len(np.unique(side)) != pairs.shape[1] for side in pairs) or not np.array_equal(*unknown):
            raise DifferentError(f"{part}: the codes of {column} are no permutation of known ones")
    if not np.array_equal(*((side["genres"] > 0).sum(axis=1) for side in (one, two))):
        raise DifferentError(f"{part}: rows have another number of genres")


def main(words: Sequence[str] | None = None) -> None:
    """Run the series twice and compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--ratings", type=int, default=5_000_000)
    parser.add_argument("--encoded", type=int, default=600, help="movies whose poster and synopsis are encoded")
    asked = parser.parse_args(words)
    generator.CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="workers-", dir=generator.CACHE))
    try:
        points, archive = {}, generator.archived(asked.ratings, 0)
        given = growth.SETTINGS | {"DATASET": generator.NAME, "ARCHIVE": str(archive), "MAX_MOVIES": asked.encoded}
        for name, more in (("one", {}), ("two", TWO)):
            points[name] = growth.measure(asked.ratings, given | {"DATA_DIR": str(folder / name)} | more, folder / name)
        for name, gap in compare(*(folder / name / generator.NAME for name in points)).items():
            print(f"{name}: largest difference {gap:.2g}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
