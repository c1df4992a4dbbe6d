"""The experiment of notebook 07: the same data, several models, feature sets and seeds, one table of metrics.

``data`` is what they share, ``tuning`` chooses settings, ``results`` keeps and compares what comes out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from utils.metrics import click, significance
from utils.model import baselines, list_model
from utils.model.architectures import MODELS
from utils.model.feature_sets import FeatureSet, parse
from utils.model.list_model import ListModel
from utils.model.training import checkpoints, fit
from utils.model.training.fit import Job, Run, Settings
from utils.study import tuning
from utils.study.data import StudyData
from utils.study.lists import Judge
from utils.study.results import Outcome

IDS = parse("ids")
LISTS = "lists"
"""How ``metrics.csv`` calls the model of ``list_model``."""


@dataclass
class Study:
    """Trains and judges models on one data set; each method returns what it made."""

    data: StudyData
    settings: Settings
    trainer: str
    fit: Callable[[Job, Path], Run]
    tuned: dict[tuple[str, FeatureSet], list[dict[str, Any]]] = field(default_factory=dict)

    def job(self, model: str, features: FeatureSet, seed: int, settings: Settings | None = None) -> Job:
        """Return what one run is trained from: the graph of ``model`` on the content of ``features``."""
        graph = MODELS[model](self.data.inputs, features)
        started = {slot.column for slot in graph.slots if not slot.frozen} if model == "multimodal" else set()
        return Job(
            graph=graph,
            train=self.data.splits["train"],
            monitor=self.data.splits["valid"],
            frozen=self.data.frozen(features, seed),
            inputs=self.data.inputs,
            settings=settings or self.settings,
            seed=seed,
            start={column: biases for column, biases in self._biases.items() if column in started},
        )

    def tune(self, model: str, sets: Sequence[FeatureSet], tries: int, seed: int) -> list[dict[str, Any]]:
        """Choose epochs and learning rate of each feature set (``tuning``); return the chosen ones, a row per set."""
        for features in sets:
            job = self.job(model, features, seed)
            name = f"tuned_{tries}_{checkpoints.name_of(self.data.store, job, str(features), self.trainer)}.json"
            kept = self.data.store.path("checkpoints") / name
            self.tuned[model, features] = tuning.tune(job, self._parts, tries, kept)
        return [{"model": model, "features": str(one)} | self.tuned[model, one][0] for one in sets]

    def settings_of(self, model: str, features: FeatureSet) -> Settings:
        """Return the tuned settings of a feature set (of the plain one, where content is hidden), else those given."""
        found = self.tuned.get((model, features.plain if features.hidden is not None else features))
        return tuning.settings_of(found[0], self.settings) if found else self.settings

    def run(self, model: str, features: FeatureSet, seed: int) -> Outcome:
        """Train (or resume) one run, and judge it on valid and cold, in clicks and in lists."""
        job = self.job(model, features, seed, self.settings_of(model, features))
        # Hidden content is content: where there is nothing to hide, the strategies share one run.
        name = str(features.plain if features.hidden is not None else features)
        run = checkpoints.fit_or_resume(self.data.store, job, name, self.trainer, self.fit)
        scores = {part: fit.score(run.twin, self.data.splits[part]) for part in significance.SLICES}
        tags = self._tags(model, features, seed, self.trainer)
        rows = [row for part, values in scores.items() for row in self._clicks(part, values, True, tags)]
        listed, ndcg = self.judge.judge(self.judge.twin_scorer(run.twin), tags)
        return Outcome(model, features, seed, scores, ndcg, rows + listed, run)

    def baselines(self) -> list[Outcome]:
        """Return what needs no training and no content: means, biases, popularity, item-kNN, EASE."""
        places, label = self.data.places("train"), self.data.splits["train"].label.numpy()
        found = []
        for name in baselines.BASELINES:
            fitted = baselines.fit(name, *places, label, len(self.data.users), len(self.data.catalogue))
            tags = self._tags(name, IDS, 0, "baseline")
            scores = {part: fitted.pairs(*self.data.places(part)) for part in significance.SLICES}
            rows = [row for part in scores for row in self._clicks(part, scores[part], fitted.probability, tags)]
            listed, ndcg = self.judge.judge(fitted.block, tags)
            found.append(Outcome(name, IDS, 0, scores, ndcg, rows + listed))
        likes = self.judge.ratings.take(self.judge.ratings.liked).matrix()
        ease = list_model.ease_alone(self.judge.ratings, self._held_out, self.data.store.seed)
        listed, ndcg = self.judge.judge(lambda users: ease.scores(likes[users]), self._tags("EASE", IDS, 0, "baseline"))
        return [*found, Outcome("EASE", IDS, 0, {}, ndcg, listed)]

    def fit_lists(self, features: FeatureSet, seed: int) -> ListModel:
        """Return the list model that knows what ``features`` say of movies."""
        return self._fitter.fit(self.data.described(features, seed))

    def lists(self, features: FeatureSet, seed: int) -> tuple[ListModel, Outcome]:
        """Fit and judge the list model; it gives no probabilities, so it has no click metrics."""
        model = self.fit_lists(features, seed)
        tags = self._tags(LISTS, features, seed, "closed form")
        rows, ndcg = self.judge.judge(self.judge.list_scorer(model), tags)
        return model, Outcome(LISTS, features, seed, {}, ndcg, rows)

    @cached_property
    def judge(self) -> Judge:
        """Judges lists."""
        return Judge(self.data, self.data.store.seed)

    @cached_property
    def _biases(self) -> dict[str, np.ndarray]:
        return self.data.biases()

    @cached_property
    def _held_out(self) -> tuple[np.ndarray, np.ndarray]:
        return tuning.held_out(self.data, self.data.store.seed)

    @cached_property
    def _fitter(self) -> list_model.Fitter:
        return list_model.Fitter(self.judge.ratings, self._held_out, self.data.store.seed)

    @cached_property
    def _parts(self) -> tuning.Parts:
        return tuning.Parts.of(self.data, self.data.store.seed)

    def _tags(self, model: str, features: FeatureSet, seed: int, trainer: str) -> dict[str, Any]:
        split = self.data.split_name
        return {"trainer": trainer, "model": model, "features": str(features), "seed": seed, "split": split}

    def _clicks(self, part: str, scores: np.ndarray, probabilities: bool, tags: dict[str, Any]) -> list[dict[str, Any]]:
        rated = self.data.rated(part)
        rows = []
        for name, mask in self.data.masks[part].items():
            rows += click.evaluate(rated.take(mask), scores[mask], tags | {"slice": name}, probabilities)
        return rows
