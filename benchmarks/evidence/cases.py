"""The data sets and splits of the study, each made ready by notebooks 01 to 06."""

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.series import runner

SPLITS = ("random", "temporal")
REAL = ("MOVIELENS_ARCHIVE", "SYNOPSES", "POSTER_EMBEDDINGS")
"""Paths in the environment: ml-latest-small.zip and its synopses (movieId, synopsis), and poster vectors, if any."""


@dataclass(frozen=True)
class Case:
    """One data set under one split; ``given`` are the parameters of the notebooks."""

    dataset: str
    split: str
    given: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the case in file names."""
        return f"{self.dataset}-{self.split}"

    @property
    def data_dir(self) -> str:
        """DATA_DIR of the case, below the project."""
        return f"data/evidence/{self.split}"

    @property
    def results(self) -> Path:
        """Folder of the case's result files."""
        return runner.ROOT / self.data_dir / self.dataset / "evidence"


def all_cases(environment: Mapping[str, str] = os.environ) -> list[Case]:
    """Return ml-100k with stand-ins and, where the environment names its files, ml-latest-small with real content.

    Raises FileNotFoundError for a path that is given and is not there.
    """
    paths = {name: Path(environment[name]).resolve() for name in REAL if environment.get(name)}
    for name, path in paths.items():
        if not path.is_file():
            raise FileNotFoundError(f"{name}={path} is not a file: name one, or unset {name}.")
    given: dict[str, dict[str, Any]] = {"ml-100k": {}}
    if "MOVIELENS_ARCHIVE" in paths and "SYNOPSES" in paths:
        given["ml-latest-small"] = _real(paths)
    return [Case(dataset, split, _of(dataset, split, more)) for dataset, more in given.items() for split in SPLITS]


def _real(paths: Mapping[str, Path]) -> dict[str, Any]:
    sources = runner.ROOT / "data" / "evidence" / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(paths["SYNOPSES"], sources / f"synopses{paths['SYNOPSES'].suffix}")
    given = {
        "ARCHIVE": str(paths["MOVIELENS_ARCHIVE"]),
        "COLD_FRACTION": 0.2,
        "ENRICHMENT": "local",
        "ENRICHMENT_DIR": str(sources.relative_to(runner.ROOT)),
    }
    if "POSTER_EMBEDDINGS" in paths:
        given["03:PRECOMPUTED"] = str(paths["POSTER_EMBEDDINGS"])
    return given


def _of(dataset: str, split: str, more: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {"DATA_DIR": f"data/evidence/{split}", "DATASET": dataset, "SPLIT": split, **more}
    if split != SPLITS[0]:  # the vectors do not depend on the split
        vectors = f"data/evidence/{SPLITS[0]}/{dataset}"
        given |= {f"{number}:PRECOMPUTED": f"{vectors}/{kind}_embeddings.parquet" for number, kind in _VECTORS.items()}
    return given


_VECTORS = {"03": "poster", "04": "text"}


def say(started: float, words: str) -> None:
    """Print a line with the minutes since ``started``, in seconds since the epoch: the clock of all processes."""
    print(f"{(time.time() - started) / 60:5.1f} min  {words}", flush=True)


def prepare(case: Case) -> None:
    """Run notebooks 00 to 06 of the case, as far as they have not run yet."""
    runner.run_all(case.given, runs=runner.ROOT / "runs" / "evidence" / case.split, until="06")
