"""What runs leave, and the tables of notebook 07 that are made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from utils.handoff.own_data import with_originals
from utils.metrics import calibration, click, significance
from utils.model.feature_sets import FeatureSet
from utils.model.training.fit import Run
from utils.study.data import StudyData


@dataclass(frozen=True)
class Outcome:
    """One model, trained or not, and what it came to.

    ``scores`` float32 [n] are by part ("valid", "cold"), ``ndcg`` (users, NDCG@10 of each) by slice; ``rows`` belong to
    ``metrics.csv``. ``run`` is None for what needs no training.
    """

    model: str
    features: FeatureSet
    seed: int
    scores: Mapping[str, np.ndarray]
    ndcg: Mapping[str, tuple[np.ndarray, np.ndarray]]
    rows: list[dict[str, Any]]
    run: Run | None = None


@dataclass
class Results:
    """The outcomes of a study, in the order in which they were added."""

    data: StudyData
    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, *outcomes: Outcome) -> None:
        """Keep outcomes."""
        self.outcomes += outcomes

    def of(self, model: str, features: FeatureSet, seed: int | None = None) -> Outcome:
        """Return the (first) outcome of a model and feature set, of one seed or any. Raises KeyError."""
        for one in self.outcomes:
            if (one.model, one.features) == (model, features) and seed in (None, one.seed):
                return one
        raise KeyError(f"There is no run of {model}, {features}, seed {seed}.")

    def metrics(self, model: str | None = None, hidden: bool = False) -> pd.DataFrame:
        """Return the rows of ``metrics.csv``, of one ``model`` or all; those of hidden content only if ``hidden``."""
        kept = [one for one in self.outcomes if model in (None, one.model) and (hidden or one.features.hidden is None)]
        return click.metrics_table([row for one in kept for row in one.rows])

    def curves(self, model: str, seed: int) -> list[dict[str, Any]]:
        """Return an epoch's measures per row, of the plain feature sets of one model and seed."""
        kept = [one for one in self.outcomes if (one.model, one.seed) == (model, seed) and one.features.is_plain]
        return [
            {"features": str(one.features), "seed": seed} | dict(row)
            for one in kept
            if one.run
            for row in one.run.history
        ]

    def differences(
        self, model: str, sets: Sequence[FeatureSet], against: FeatureSet, slices: Sequence[str] = ("warm", "cold")
    ) -> pd.DataFrame:
        """Return the paired AUC differences of feature sets from ``against``, by slice, with intervals and Holm's p.

        Differences are of the same rows, averaged over the seeds that all sets have; intervals resample users and
        movies (``significance.paired_differences``). Slices without rows, or with one class alone, are left out.
        """
        wanted = list(dict.fromkeys([against, *sets]))
        seeds = [one.seed for one in self.outcomes if (one.model, one.features) == (model, against)]
        tables = [pd.DataFrame(columns=["slice", *significance.COLUMNS])]
        for part, masks in self.data.masks.items():
            rated = self.data.rated(part)
            for name, mask in masks.items():
                if name not in slices or name in self.data.one_class:
                    continue
                scores = {str(one): [self.of(model, one, seed).scores[part][mask] for seed in seeds] for one in wanted}
                found = significance.paired_differences(rated.take(mask), scores, str(against))
                found.insert(0, "slice", name)
                tables.append(found)
        return pd.concat(tables, ignore_index=True)

    def reliability(self, outcome: Outcome) -> dict[str, pd.DataFrame]:
        """Return the reliability curve (``calibration.reliability``) of an outcome by slice, warm and cold."""
        data = self.data
        return {
            significance.SLICES[part]: calibration.reliability(
                data.raw[part]["userId"].to_numpy(), data.splits[part].label.numpy(), outcome.scores[part]
            )
            for part in data.masks
            if data.masks[part]
        }

    def predictions(self, outcome: Outcome, part: str) -> pa.Table:
        """Return userId, movieId, rating of each row of ``part`` with its label, its score and the original ids."""
        raw = self.data.raw[part].select(["userId", "movieId", "rating"])
        label = pa.array(self.data.splits[part].label.numpy())
        scored = raw.append_column("label", label).append_column("score", pa.array(outcome.scores[part]))
        return with_originals(scored, self.data.store)
