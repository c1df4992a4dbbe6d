"""The experiment of notebook 07: the same data, several feature sets, objectives and seeds, one table of metrics.

A study holds what all runs share (splits, content table, catalogue) and proves on opening that encoded
rows are the raw rows they claim to be. ``tuning`` chooses its settings, ``metrics.significance`` compares its runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from utils.etl import workflow
from utils.handoff.store import Store
from utils.metrics import click, ranking, significance
from utils.model import baselines, knock_outs
from utils.model.architectures import MODELS, Inputs
from utils.model.frozen_table import ContentTable, content_table
from utils.model.training import checkpoints
from utils.model.training import fit as training
from utils.model.training.fit import Run, Settings, Split
from utils.study import missing_content, tuning
from utils.study.catalogue import Catalogue, check_alignment, check_codes, look_up
from utils.study.objectives import ROWS, tag
from utils.study.recommender import Recommender, among, judged, positions
from utils.study.results import Results

K = 10


@dataclass(kw_only=True)
class Study(Results):
    """Runs of one data set, with what all of them share; what they leave is added to its ``Results``."""

    store: Store
    inputs: Inputs
    features: pa.Table
    codes: pa.Table
    content: ContentTable
    trainer: str
    split_name: str
    half_life: float | None
    catalogue: Catalogue
    users: np.ndarray
    user_codes: np.ndarray
    recommender: Recommender
    judged: np.ndarray
    """Places of the users whose lists are judged (``recommendation.judged``)."""
    fit: Callable[[training.Job, Path], Run]

    @classmethod
    def open(
        cls, store: Store, movies: pa.Table, features: pa.Table, codes: pa.Table, content: ContentTable,
        settings: Mapping[str, Settings], trainer: str, fit: Callable[[training.Job, Path], Run],
    ) -> "Study":  # fmt: skip
        """Read the splits of 06 and check each encoded row against the raw row that it stands for.

        ``settings`` names the objectives; "rank" needs the rank-hugectr of 06.
        """
        layout = store.metadata("movie_codes")
        rows, most = layout["rows"], layout["most_genres"]
        inputs = Inputs(
            users=rows["userId"],
            movies=rows["movieId"],
            genres=rows["genres"],
            most_genres=most,
            content_rows=len(content.vectors),
            content_columns=content.columns,
        )
        raw = {name: store.read(name) for name in ("train", "valid", "cold")}
        wanted = [*raw, *(ROWS[name] for name in settings if ROWS[name] not in raw)]
        known, splits = workflow.vocabulary(store, "userId"), {}
        for name in wanted:
            columns = workflow.read_encoded(store, f"{name}-hugectr", most)
            if name in raw:
                check_alignment(name, raw[name], columns, codes, known)
            splits[name] = Split.of(columns)
            check_codes(name, splits[name], inputs)
        users = np.unique(np.concatenate([table["userId"].to_numpy() for table in raw.values()]))
        catalogue, user_codes = Catalogue.of(store, movies, codes, most), look_up(known, users).astype(np.int32)
        half_life = layout.get("half_life")
        return cls(
            store=store,
            inputs=inputs,
            features=features,
            codes=codes,
            content=content,
            settings=settings,
            trainer=trainer,
            fit=fit,
            split_name=workflow.how_split(store),
            half_life=half_life,
            raw=raw,
            splits=splits,
            masks={part: significance.part_masks(part, raw, features) for part in significance.SLICES},
            catalogue=catalogue,
            users=users,
            user_codes=user_codes,
            recommender=Recommender.of(users, user_codes, catalogue, raw["train"], half_life),
            judged=judged(users, store.seed),
        )

    @property
    def objectives(self) -> dict[str, str]:
        """The objectives of this study, each with the name of its encoded rows."""
        return {name: ROWS[name] for name in self.settings}

    def job(self, model: str, features: str, seed: int, objective: str, settings: Settings) -> training.Job:
        """Return what one run is trained from; its content is that of the feature set, its knock-out or its gaps."""
        source = ROWS[objective]
        return training.Job(
            graph=MODELS[model](self.inputs, features),
            train=self.splits[source],
            monitor=self.splits["valid"],
            frozen=self._frozen(features, seed),
            inputs=self.inputs,
            settings=settings,
            seed=seed,
            source=f"{source}-hugectr",
        )

    def name_of(self, job: training.Job, features: str) -> str:
        """Return the name that a job's finished work is kept under."""
        return checkpoints.name_of(self.store, job, features, self.trainer)

    def _frozen(self, features: str, seed: int) -> np.ndarray:
        gaps = missing_content.parse(features)
        if gaps is None:
            return knock_outs.knocked_out(
                self.content.vectors, features, self.catalogue.codes["movieId_duplicate"], seed
            )
        known = np.unique(self.raw["train"]["movieId"].to_numpy())
        return content_table(missing_content.hide(self.features, known, *gaps, seed), self.codes).vectors

    def tune(self, model: str, feature_sets: Sequence[str], objective: str, tries: int, seed: int) -> None:
        """Choose epochs and learning rate of each feature set on a part of train (``utils.study.tuning``)."""
        parts = tuning.carve(self, seed)
        for features in feature_sets:
            found = tuning.tune(self, parts, model, features, objective, tries, seed)
            self.tuned[tag(model, objective), features] = found

    def settings_of(self, model: str, features: str, objective: str) -> Settings:
        """Return the tuned settings of a feature set (of the full one, for one with gaps), else those given."""
        name = tag(model, objective)
        found = self.tuned.get((name, _base(features) if missing_content.parse(features) else features))
        return tuning.settings_of(found[0], self.settings[objective]) if found else self.settings[objective]

    def run(self, model: str, features: str, seed: int, objective: str = "like") -> Run:
        """Train (or resume) one run, score valid and cold, and add its metrics; return it."""
        job = self.job(model, features, seed, objective, self.settings_of(model, features, objective))
        # Content with gaps is content: where there is nothing to hide, the strategies share one run.
        kept_as = _base(features) if missing_content.parse(features) else features
        run = checkpoints.fit_or_resume(self.store, job, kept_as, self.trainer, self.fit)
        name = tag(model, objective)
        tags = {"model": name, "features": features, "seed": seed}
        self.history += [tags | epoch for epoch in run.history]
        tags |= {"trainer": self.trainer, "split": self.split_name}
        for part in significance.SLICES:
            scores = training.score(run.twin, self.splits[part])
            self.scores[name, features, seed, part] = scores
            self._evaluate(part, scores, objective == "like", tags)
        self._rank(lambda pool: self._judging.lists(run.twin, K, pool)[0], tags)
        return run

    def run_baselines(self) -> None:
        """Add the metrics of what needs no training: means, biases, popularity, item-kNN, fitted on train alone.

        "recent popularity" counts likes by age (``negatives.weights``); it is there where likes age at all.
        """
        train, label = self._pairs("train"), self.splits["train"].label.numpy()
        sizes = len(self.users), len(self.catalogue)
        fitted: dict[str, baselines.Fitted] = {
            name: baselines.fit(name, *train, label, *sizes) for name in baselines.BASELINES
        }
        if self.half_life is not None:
            fitted["recent popularity"] = baselines.Additive(np.zeros(sizes[0]), self.recommender.lately, False)
        for name, one in fitted.items():
            tags = {"trainer": "baseline", "model": name, "features": "ids", "seed": 0, "split": self.split_name}
            for part in significance.SLICES:
                self._evaluate(part, one.pairs(*self._pairs(part)), one.probability, tags)
            self._rank(partial(self._lists_of, one), tags)

    def _lists_of(self, one: baselines.Fitted, pool: np.ndarray | None) -> np.ndarray:
        """Return a baseline's lists for the users who are judged."""
        return self._judging.ranked(lambda start, stop: one.block(self.judged[start:stop]), K, pool)[0]

    @cached_property
    def _judging(self) -> Recommender:
        """The recommender of the users who are judged."""
        return self.recommender.of_some(self.judged)

    def _evaluate(self, part: str, scores: np.ndarray, probabilities: bool, tags: Mapping[str, Any]) -> None:
        label, user = self.splits[part].label.numpy(), self.raw[part]["userId"].to_numpy()
        for name, mask in self.masks[part].items():
            self.rows += click.evaluate(
                user[mask], label[mask], scores[mask], probabilities=probabilities, **tags, slice=name
            )

    def _rank(self, lists: Callable[[np.ndarray | None], np.ndarray], tags: Mapping[str, Any]) -> None:
        """Judge lists of all movies by likes of valid and, "cold among all", of cold, and lists of the cold movies.

        ``lists`` gives one for each of ``judged``.
        """
        everything = lists(None)
        judged = {name: (everything, "valid", mask) for name, mask in self.masks["valid"].items()}
        if len(self.splits["cold"]):
            whole = self.masks["cold"]["cold"]
            pool = np.isin(self.catalogue.movie_ids, self.raw["cold"]["movieId"].to_numpy())
            judged |= {"cold among all": (everything, "cold", whole), "cold": (lists(pool), "cold", whole)}
        for name, (items, part, mask) in judged.items():
            liked = mask & (self.splits[part].label.numpy() == 1)
            wanted = among(self.judged, *(places[liked] for places in self._pairs(part)))
            self.rows += click.ranking_rows(items, *wanted, **tags, slice=name, k=K)
            users, _, ndcg = ranking.recall_ndcg(items, *wanted, K)
            self.ndcg[tags["model"], tags["features"], tags["seed"], name] = users, ndcg

    def _pairs(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        return positions(self.users, self.catalogue, self.raw[part])


def _base(features: str) -> str:
    return features.partition("(")[0]


def fullest(feature_sets: list[str]) -> str:
    """Return the feature set with most content among those trained, controls left out."""
    real = [name for name in feature_sets if "(" not in name] or feature_sets
    return max(real, key=lambda name: name.count("+"))
