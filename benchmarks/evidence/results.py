"""The result files of a case, read back: the numbers that tables, figures, checks and sentences are made from."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from utils.metrics.click import METRICS_COLUMNS, summarise

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "metrics": METRICS_COLUMNS,
    "differences": ("model", "metric", "slice", "against", "features", "difference", "low", "high", "p", "p_holm",
                    "seeds", "n"),
    "tuned": ("objective", "model", "features", "learning_rate", "epochs"),
    "reliability": ("slice", "score", "share", "low", "high", "n"),
    "peers": ("model", "features", "seed", "package", "version", "settings", "tuning_ndcg@10", "seconds", "error"),
    "peers-metrics": METRICS_COLUMNS,
}  # fmt: skip
"""Result file (.csv) to the columns that it must have."""
OPTIONAL = ("peers", "peers-metrics")
ABOUT = ("dataset", "split", "stand_in", "better_ranker")
"""Keys that ``about.json`` must have; the others are printed where they are there."""
ALPHA = 0.05


class EvidenceError(ValueError):
    """Result files that no report can be made from."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, of ``n`` ratings or users and so many seeds; a difference also has Holm's p."""

    value: float
    low: float
    high: float
    n: int
    seeds: int
    p: float = math.nan
    p_holm: float = math.nan

    @property
    def sign(self) -> int:
        """1 where all of the interval is above 0, -1 where all of it is below, 0 where it includes 0."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def text(self) -> str:
        """The value with its interval, "0.7123 [0.7010, 0.7250]"."""
        return self._spelled("")

    @property
    def signed(self) -> str:
        """The same with signs, for a difference: "+0.0312 [+0.0251, +0.0374]"."""
        return self._spelled("+")

    @property
    def of(self) -> str:
        """What it was computed from, "n = 4,902, 5 seeds"."""
        return f"n = {self.n:,}, {self.seeds} seed{'s'[: self.seeds != 1]}"

    def _spelled(self, sign: str) -> str:
        value, low, high = (decimals(number, sign) for number in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]" if low and high else value


def decimals(number: float, sign: str = "") -> str:
    """Return a number with 4 decimals, never as "-0.0000"; "" for nan."""
    return "" if math.isnan(number) else f"{round(number, 4) + 0.0:{sign}.4f}"


@dataclass(frozen=True)
class Results:
    """One case: ``about``, the files as frames (empty where not there), and the names of files that are not there."""

    about: Mapping[str, Any]
    frames: Mapping[str, pd.DataFrame]
    absent: Sequence[str]

    @property
    def name(self) -> str:
        """Name of the case in file names."""
        return f"{self.about['dataset']}-{self.about['split']}"

    @property
    def content(self) -> str:
        """What posters and texts are."""
        return "stand-in posters and synopses" if self.about["stand_in"] else "real content"

    @property
    def title(self) -> str:
        """Name of the case in sentences."""
        return f"{self.about['dataset']} ({self.content}, {self.about['split']} split)"

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """All rows with a value, the peers' too."""
        own, peers = self.frames["metrics"], self.frames["peers-metrics"]
        frames = [own] if (own["trainer"] == "peer").any() or peers.empty else [own, peers]
        return pd.concat(frames, ignore_index=True).dropna(subset=["value"])

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Means over seeds (``evaluation.summarise``)."""
        return summarise(self.metrics)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """All differences that have a value and an interval."""
        return self.frames["differences"].dropna(subset=["difference", "low", "high"])

    def difference(self, features: str, against: str, slice: str, metric: str = "auc") -> Estimate | None:
        """Return how much ``features`` is above ``against``; None where that was not measured."""
        found = self.differences
        same = (found["features"] == features) & (found["against"] == against)
        return next(iter(estimates(found[same & (found["slice"] == slice) & (found["metric"] == metric)])), None)

    def cells(self, metrics: Sequence[str], slices: Sequence[str]) -> dict[tuple[str, str, str, str], dict[str, Any]]:
        """Return (slice, trainer, model, features) to metric to Estimate, in the order of ``slices``, peers last."""
        chosen = self.summary[self.summary["metric"].isin(metrics) & self.summary["slice"].isin(slices)]
        cells: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        for row, estimate in zip(chosen.itertuples(), estimates(chosen), strict=True):
            cells.setdefault((row.slice, row.trainer, row.model, row.features), {})[row.metric] = estimate
        last = {"baseline": 1, "peer": 2}
        return dict(sorted(cells.items(), key=lambda cell: (slices.index(cell[0][0]), last.get(cell[0][1], 0))))

    def value(self, model: str, features: str, slice: str, metric: str = "auc") -> Estimate | None:
        """Return the metric of a model; None where it was not measured."""
        found = self.summary
        same = (found["model"] == model) & (found["features"] == features) & (found["trainer"] != "peer")
        return next(iter(estimates(found[same & (found["slice"] == slice) & (found["metric"] == metric)])), None)


def estimates(frame: pd.DataFrame) -> list[Estimate]:
    """Return the rows of a summary or of differences as estimates."""
    value = "difference" if "difference" in frame else "value"
    columns = [value, "low", "high", "n", "seeds", *(name for name in ("p", "p_holm") if name in frame)]
    rows = frame[columns].itertuples(index=False, name=None)
    return [Estimate(v, low, high, int(n), int(seeds), *more) for v, low, high, n, seeds, *more in rows]


def read(folder: Path) -> Results:
    """Read the result files of a case.

    Files but ``about.json`` may be absent. Raises EvidenceError, naming the file, where that one is, or where a file
    is damaged or lacks columns.
    """
    frames = {name: _frame(folder / f"{name}.csv", columns) for name, columns in COLUMNS.items()}
    absent = [f"{name}.csv" for name in frames if name not in OPTIONAL and not (folder / f"{name}.csv").exists()]
    return Results(_about(folder / "about.json"), frames, absent)


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise EvidenceError(f"{path} cannot be read ({error}). Run python -m benchmarks.evidence first.") from error
    lacking = [name for name in ABOUT if name not in about]
    if lacking:
        raise EvidenceError(f"{path} does not say {lacking}. Run python -m benchmarks.evidence again.")
    return about


def _frame(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return a csv file; an empty frame where it is not there or has nothing in it."""
    try:
        frame = pd.read_csv(path, dtype={"version": str})
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame(columns=list(columns))
    except (OSError, ValueError) as error:
        raise EvidenceError(f"{path} cannot be read ({error}). Run python -m benchmarks.evidence again.") from error
    lacking = [name for name in columns if name not in frame]
    if lacking:
        raise EvidenceError(f"{path} has no columns {lacking}. Run python -m benchmarks.evidence again.")
    return frame
