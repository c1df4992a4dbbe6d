"""The data sets, splits and draws of the study, each made ready by notebooks 01 to 06."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.handoff.atomic import ROOT
from utils.series import runner

SPLITS = ("random", "temporal")
DRAWS = (42, 43, 44, 45, 46)
"""Seeds; each draws other cold movies, another validation part and other first weights."""
COLD = 0.2
REAL = ("MOVIELENS_ARCHIVE", "SYNOPSES", "POSTER_EMBEDDINGS")
"""Paths in the environment: ml-latest-small.zip, its synopses (movieId, synopsis), vectors of its posters."""


@dataclass(frozen=True)
class Case:
    """One data set under one split and draw."""

    dataset: str
    split: str
    draw: int
    given: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """DATA_DIR of the case."""
        return ROOT / "data" / "evidence" / f"{self.split}-{self.draw}"

    @property
    def result(self) -> Path:
        """The case's result file."""
        return self.folder / f"{self.dataset}.json"

    @property
    def peers(self) -> Path:
        """The result file of other libraries."""
        return self.folder / f"{self.dataset}-peers.json"

    def prepare(self) -> None:
        """Run notebooks 01 to 06, as far as they have not run yet."""
        given = dict(self.given) | {"DATASET": self.dataset, "SPLIT": self.split, "SEED": self.draw}
        given |= {"DATA_DIR": str(self.folder), "COLD_FRACTION": COLD}
        first = ROOT / "data" / "evidence" / f"{SPLITS[0]}-{DRAWS[0]}" / self.dataset
        if self.folder != first.parent:  # Vectors depend on neither split nor draw.
            given |= {f"0{number}:PRECOMPUTED": str(first / f"{kind}_embeddings.parquet") for number, kind in _MADE}
            given["MAX_MOVIES"] = 1
        for step in runner.plan(given):
            executed, data = self.folder / "runs" / self.dataset / step.path.name, self.folder / self.dataset
            if step.name < "07" and not runner.is_done(step, executed, data):
                runner.run(step, executed, data)


_MADE = ((3, "poster"), (4, "text"))


def all_cases(environment: Mapping[str, str] = os.environ) -> list[Case]:
    """Return ml-100k as it is by default and, where the environment names its files, ml-latest-small with real content.

    Raises FileNotFoundError for a path that is given and is not there.
    """
    paths = {name: Path(environment[name]).resolve() for name in REAL if environment.get(name)}
    for name, path in paths.items():
        if not path.is_file():
            raise FileNotFoundError(f"{name}={path} is not a file: name one, or unset {name}.")
    given: dict[str, dict[str, Any]] = {"ml-100k": {}}
    if "MOVIELENS_ARCHIVE" in paths and "SYNOPSES" in paths:
        sources = ROOT / "data" / "evidence" / "sources"
        sources.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(paths["SYNOPSES"], sources / f"synopses{paths['SYNOPSES'].suffix}")
        real = {"ARCHIVE": str(paths["MOVIELENS_ARCHIVE"]), "ENRICHMENT": "local", "ENRICHMENT_DIR": str(sources)}
        posters = {"03:PRECOMPUTED": str(paths["POSTER_EMBEDDINGS"])} if "POSTER_EMBEDDINGS" in paths else {}
        given["ml-latest-small"] = real | posters
    return [Case(name, split, draw, more) for name, more in given.items() for split in SPLITS for draw in DRAWS]
