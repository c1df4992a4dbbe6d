"""What the runs of a study leave: metrics, scores and curves, and the tables of notebook 07 that are made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from utils.metrics import calibration, click, significance
from utils.model.training.fit import Settings, Split
from utils.study import missing_content
from utils.study.objectives import tag


@dataclass(kw_only=True)
class Results:
    """``rows`` of metrics, ``history`` of learning, and what every run scored, with the splits that were scored.

    ``scores`` are float32 [n] by (tag, features, seed, split); ``ndcg`` are (users, NDCG@10 of each) by (tag,
    features, seed, slice). ``settings`` are by objective, ``tuned`` rows of ``tuning.tune`` by (tag, features).
    """

    settings: Mapping[str, Settings]
    raw: dict[str, pa.Table]
    splits: dict[str, Split]
    masks: dict[str, dict[str, np.ndarray]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[tuple[str, str, int, str], np.ndarray] = field(default_factory=dict)
    ndcg: dict[tuple[str, str, int, str], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    tuned: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)

    def differences(
        self,
        name: str,
        feature_sets: list[str],
        seeds: list[int],
        against: str = "ids",
        slices: Sequence[str] = ("warm", "cold"),
    ) -> pd.DataFrame:
        """Return the paired AUC differences of feature sets from ``against``, by slice, with intervals and Holm's p.

        ``name`` is the tag of the model. Differences are of the same rows, averaged over seeds; intervals resample
        users (see ``comparisons``). Slices without rows are left out.
        """
        tables = []
        for part, masks in self.masks.items():
            for slice_name in [name for name in masks if name in slices]:
                mask = masks[slice_name]
                scores = {
                    one: [self.scores[name, one, seed, part][mask] for seed in seeds]
                    for one in dict.fromkeys([against, *feature_sets])
                }
                label, user = self.splits[part].label.numpy()[mask], self.raw[part]["userId"].to_numpy()[mask]
                found = significance.paired_differences(user, label, scores, against)
                found.insert(0, "slice", slice_name)
                tables.append(found)
        return pd.concat(tables, ignore_index=True)

    def metrics(self, model: str | None = None, gaps: bool = False) -> pd.DataFrame:
        """Return the rows so far, of one ``model`` (a tag) or all; those of hidden content only where ``gaps``."""
        table = click.metrics_table(self.rows)
        wanted = [gaps or missing_content.parse(name) is None for name in table["features"]]
        return table[wanted & ((table["model"] == model) | (model is None))]

    def reliability(self, name: str, features: str, seed: int) -> dict[str, pd.DataFrame]:
        """Return the reliability curve (``calibration.reliability``) of a run by slice, warm and cold."""
        return {
            significance.SLICES[part]: calibration.reliability(
                self.raw[part]["userId"].to_numpy(),
                self.splits[part].label.numpy(),
                self.scores[name, features, seed, part],
            )
            for part in self.masks
            if self.masks[part]
        }

    def better_ranker(self, model: str, features: str) -> str:
        """Return the objective with the higher NDCG@10 on the part of train set aside; untuned, the last one given."""
        best = {one: rows[0] for one in self.settings if (rows := self.tuned.get((tag(model, one), features)))}
        if len(best) < len(self.settings):
            return list(self.settings)[-1]
        return max(best, key=lambda one: np.nan_to_num(best[one]["tuning_ndcg@10"], nan=-1.0))

    def predictions(self, model: str, features: str, seed: int, name: str) -> pa.Table:
        """Return one row a rating of split ``name``: userId, movieId, rating, label, score."""
        table = self.raw[name].select(["userId", "movieId", "rating"])
        label = self.splits[name].label.numpy()
        scores = self.scores[model, features, seed, name]
        return table.append_column("label", pa.array(label)).append_column("score", pa.array(scores))
