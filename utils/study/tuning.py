"""Stage 07: epochs and learning rate of each feature set, with the same budget for all, on a part of train alone.

A tenth of the movies of train is held out whole ("cold") and a tenth of the other ratings is set aside ("warm"): at
random, or the latest, as valid was. Each setting trains once on the rest; the epoch with the best score is taken.
``valid`` and ``cold``, whose metrics are reported, are never looked at.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from utils.etl.workflow import OUT_OF_VOCABULARY
from utils.handoff import parameters, store
from utils.handoff.contract import LIKED
from utils.handoff.hashing import drawn
from utils.metrics import ranking
from utils.metrics.click import auc
from utils.model.torch_model import Twin
from utils.model.training import fit as training
from utils.model.training.fit import Settings, Split
from utils.study.catalogue import Catalogue
from utils.study.recommender import Recommender, among, positions

if TYPE_CHECKING:
    from utils.study.study import Study

SHARE = 0.1
RATES = (1.0, 0.5, 2.0)
"""Learning rates tried, as multiples of the one given: the first so many."""
SCORES = {"like": "tuning_auc", "rank": "tuning_ndcg@10"}
"""Objective to the score its epoch is chosen by: the mean of warm and cold AUC, or NDCG@10 among all movies."""


def check_tries(tries: object) -> None:
    """Raise ParameterError unless TUNING is 0, for none, or a number of settings there is."""
    parameters.whole("TUNING", tries, least=0, most=len(RATES))


@dataclass(frozen=True)
class Parts:
    """Train, cut: what is trained on by objective, the rows to judge by, and the lists' users and likes."""

    fit: Mapping[str, Split]
    warm: Split
    cold: Split
    recommender: Recommender
    likes: tuple[np.ndarray, np.ndarray]

    def watch(self, twin: Twin) -> dict[str, float]:
        """Return the scores of a twin on the parts set aside; nan where a part has no like or nothing else."""
        warm, cold = (auc(part.label.numpy(), training.score(twin, part)) for part in (self.warm, self.cold))
        known = [value for value in (warm, cold) if not np.isnan(value)]
        ndcg = float("nan")
        if len(self.likes[0]):
            items, _ = self.recommender.lists(twin, 10)
            ndcg = float(ranking.recall_ndcg(items, *self.likes, 10)[2].mean())
        return {"tuning_auc": float(np.mean(known)) if known else float("nan"), "tuning_ndcg@10": ndcg}


def carve(study: "Study", seed: int) -> Parts:
    """Cut the training rows of every objective of ``study``."""
    raw, train = study.raw["train"], study.splits["train"]
    user, movie = (train.codes[name].numpy().astype(np.int64) for name in ("userId", "movieId_duplicate"))
    cold = drawn(SHARE, seed, "tuning movies", movie)
    time = raw["timestamp"].to_numpy()
    temporal = study.split_name == "temporal"
    late = time > np.quantile(time, 1 - SHARE) if temporal else drawn(SHARE, seed, "tuning ratings", user, movie)
    held = cold | late
    catalogue = _without(study.catalogue, np.unique(movie[~held]))
    held_pairs = np.unique(user[held] * study.inputs.content_rows + movie[held])
    fit = {}
    for objective, name in study.objectives.items():
        rows = study.splits[name]
        users, movies = (rows.codes[column].numpy().astype(np.int64) for column in ("userId", "movieId_duplicate"))
        gone = np.isin(users * study.inputs.content_rows + movies, held_pairs)
        fit[objective] = rows.take(~gone & ~drawn(SHARE, seed, "tuning movies", movies))
    known = np.isin(study.user_codes, np.unique(user[~held]))
    codes = np.where(known, study.user_codes, OUT_OF_VOCABULARY).astype(np.int32)
    recommender = Recommender.of(study.users, codes, catalogue, raw.filter(~held), study.half_life)
    warm = late & ~cold
    likes = positions(study.users, catalogue, raw.filter(warm & (raw["rating"].to_numpy() > LIKED)))
    recommender, likes = recommender.of_some(study.judged), among(study.judged, *likes)
    return Parts(fit, _as_new(train.take(warm), catalogue), _as_new(train.take(cold), catalogue), recommender, likes)


def _without(catalogue: Catalogue, fitted: np.ndarray) -> Catalogue:
    """Return the catalogue in which movies that are not ``fitted`` (content codes) have no id of their own."""
    known = np.isin(catalogue.codes["movieId_duplicate"], fitted)
    code = np.where(known, catalogue.codes["movieId"], OUT_OF_VOCABULARY).astype(np.int32)
    return Catalogue(catalogue.movie_ids, dict(catalogue.codes) | {"movieId": code})


def _as_new(rows: Split, catalogue: Catalogue) -> Split:
    """Give rows of train, in which some ids are hidden, the ids that ``catalogue`` has."""
    places = catalogue.positions(rows.codes["movieId_duplicate"].numpy())
    return Split(dict(rows.codes) | {"movieId": torch.from_numpy(catalogue.codes["movieId"][places])}, rows.label)


def tune(
    study: "Study", parts: Parts, model: str, features: str, objective: str, tries: int, seed: int
) -> list[dict[str, Any]]:
    """Try ``tries`` learning rates; return a row each, best first: objective, features, learning_rate, epochs, scores.

    A search that is finished is kept in ``checkpoints/``.
    """
    given = study.settings[objective]
    job = study.job(model, features, seed, objective, given)
    job = replace(job, train=parts.fit[objective], monitor=parts.warm)

    def search() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for factor in RATES[:tries]:
            settings = replace(given, learning_rate=given.learning_rate * factor)
            history = training.fit(replace(job, settings=settings), watch=parts.watch).history
            reached = [row[SCORES[objective]] for row in history]
            best = history[int(np.nanargmax(reached)) if not np.isnan(reached).all() else -1]
            chosen = {"learning_rate": settings.learning_rate, "epochs": best["epoch"]}
            scores = {name: best[name] for name in SCORES.values()}
            rows.append({"objective": objective, "model": model, "features": features, **chosen, **scores})
        return sorted(rows, key=lambda row: -np.nan_to_num(row[SCORES[objective]], nan=-1))

    return _kept(study.store.path("checkpoints") / f"tuned_{tries}_{study.name_of(job, features)}.json", search)


def settings_of(row: Mapping[str, Any], given: Settings) -> Settings:
    """Return the settings that a row of ``tune`` stands for."""
    return replace(given, epochs=int(row["epochs"]), learning_rate=float(row["learning_rate"]))


def _kept(path: Path, search: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    if path.exists():
        return json.loads(path.read_text())
    rows = search()
    path.parent.mkdir(exist_ok=True)
    with store.writing(path) as temporary:
        temporary.write_text(json.dumps(rows))
    return rows
