"""Stage 07: epochs and learning rate of each feature set, with the same budget for all, on a part of train alone.

A tenth of the movies of train is held out whole ("cold") and a tenth of the other ratings is set aside ("warm"): at
random, or the latest, as valid was. Each setting trains once on the rest; the epoch with the best mean of the warm and
the cold AUC is taken. ``valid`` and ``cold``, whose metrics are reported, are never looked at.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.etl.workflow import OUT_OF_VOCABULARY
from utils.handoff import parameters
from utils.handoff.atomic import make_folder, writing
from utils.handoff.hashing import drawn
from utils.metrics.click import auc
from utils.model.torch_model import Twin
from utils.model.training import fit
from utils.model.training.fit import Job, Settings, Split
from utils.study.data import StudyData

SHARE = 0.1
RATES = (1.0, 0.5, 2.0)
"""Learning rates tried, as multiples of the one given: the first so many."""


def check_tries(tries: object) -> None:
    """Raise ParameterError unless TUNING is 0, for none, or a number of settings there is."""
    parameters.whole("TUNING", tries, least=0, most=len(RATES))


def held_out(data: StudyData, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which ratings of train are set aside, bool [n] each: "warm" ones, and all of a tenth of the movies."""
    raw = data.raw["train"]
    user, movie, time = (raw[name].to_numpy() for name in ("userId", "movieId", "timestamp"))
    cold = drawn(SHARE, seed, "tuning movies", movie)
    temporal = data.split_name == "temporal"
    late = time > np.quantile(time, 1 - SHARE) if temporal else drawn(SHARE, seed, "tuning ratings", user, movie)
    return late & ~cold, cold


@dataclass(frozen=True)
class Parts:
    """Train, cut: what is trained on and its biases, and the rows to judge by."""

    fit: Split
    warm: Split
    cold: Split
    start: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, data: StudyData, seed: int) -> "Parts":
        """Cut the training rows of a study."""
        warm, cold = held_out(data, seed)
        train, kept = data.splits["train"], ~(warm | cold)
        fitted = np.unique(train.codes["movieId_duplicate"].numpy()[kept])
        # Rows of train, some with a hidden id, get the ids that a model of the rest would know.
        own = data.catalogue.codes
        known = np.isin(own["movieId_duplicate"], fitted)
        code = torch.from_numpy(np.where(known, own["movieId"], OUT_OF_VOCABULARY).astype(np.int32))

        places = data.places("train")[1]

        def judged(rows: np.ndarray) -> Split:
            part = train.take(rows)
            return Split(dict(part.codes) | {"movieId": code[places[rows]]}, part.label)

        return cls(train.take(kept), judged(warm), judged(cold), data.biases(kept))

    def watch(self, twin: Twin) -> dict[str, float]:
        """Return the mean AUC of a twin on the parts set aside; nan where neither has both classes."""
        values = [auc(part.label.numpy(), fit.score(twin, part)) for part in (self.warm, self.cold)]
        known = [value for value in values if not np.isnan(value)]
        return {"tuning_auc": float(np.mean(known)) if known else float("nan")}


def tune(job: Job, parts: Parts, tries: int, kept: Path) -> list[dict[str, Any]]:
    """Try ``tries`` learning rates on ``parts``; return one row each, best first: learning_rate, epochs, tuning_auc.

    A search that is finished is kept in the file ``kept``.
    """
    if kept.exists():
        try:
            return json.loads(kept.read_text())
        except ValueError as error:
            print(f"{kept} is damaged and is made again: {error}")
    rows: list[dict[str, Any]] = []
    start = {column: parts.start[column] for column in job.start}
    for factor in RATES[:tries]:
        settings = replace(job.settings, learning_rate=job.settings.learning_rate * factor)
        trial = replace(job, train=parts.fit, monitor=parts.warm, start=start, settings=settings)
        history = fit.fit(trial, watch=parts.watch).history
        reached = [row["tuning_auc"] for row in history]
        best = history[int(np.nanargmax(reached)) if not np.isnan(reached).all() else -1]
        rows.append({"learning_rate": settings.learning_rate} | {name: best[name] for name in ("epoch", "tuning_auc")})
    rows.sort(key=lambda row: -np.nan_to_num(row["tuning_auc"], nan=-1))
    make_folder(kept.parent)
    with writing(kept) as temporary:
        temporary.write_text(json.dumps(rows))
    return rows


def settings_of(row: Mapping[str, Any], given: Settings) -> Settings:
    """Return the settings that a row of ``tune`` stands for."""
    return replace(given, epochs=int(row["epoch"]), learning_rate=float(row["learning_rate"]))
