"""How lists of recommendations are judged: by what users liked in valid and cold, among all movies or the new ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from utils.handoff.hashing import lowest
from utils.metrics import click, ranking
from utils.model import list_model
from utils.model.list_model import JUDGED, K
from utils.model.torch_model import Twin
from utils.model.training.fit import catalogue_scorer
from utils.study.data import StudyData

Scorer = Callable[[np.ndarray], np.ndarray]
"""Places of users int64 [m] to scores float32 [m, movies]."""


@dataclass(frozen=True)
class Judge:
    """Lists of a study's users: all of them compete for places, and what a user has in train is left out."""

    data: StudyData
    seed: int

    @cached_property
    def users(self) -> np.ndarray:
        """Places of the users whose lists are judged, int64 ascending: JUDGED of them by a hash, or all."""
        return np.sort(lowest(JUDGED, self.seed, "judged", self.data.users))

    @cached_property
    def ratings(self) -> list_model.Ratings:
        """Train, as list models read it."""
        return self.data.ratings()

    @cached_property
    def _rated(self) -> Any:
        return self.ratings.matrix()

    def lists(
        self, scorer: Scorer, users: np.ndarray, k: int, pool: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the ``k`` best movies of ``users`` (places), int64 [m, k], and their scores; ties fall at random."""
        mine = self._rated[users]

        def block(start: int, stop: int) -> np.ndarray:
            return scorer(users[start:stop])

        return ranking.top_k(block, len(users), (mine.indptr, mine.indices), k, candidates=pool, seed=self.seed)

    def judge(self, scorer: Scorer, tags: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return rows of ``metrics.csv`` and each slice's (users, NDCG@10 of each).

        Slices of valid and "cold among all" are judged on lists of all movies, "cold" on lists of the cold ones alone.
        """
        data, users = self.data, self.users
        everything = self.lists(scorer, users, K)[0]
        judged = {name: (everything, "valid", mask) for name, mask in data.masks["valid"].items()}
        if len(data.splits["cold"]):
            whole = data.masks["cold"]["cold"]
            pool = np.isin(data.catalogue.movie_ids, data.raw["cold"]["movieId"].to_numpy())
            judged["cold among all"] = everything, "cold", whole
            judged["cold"] = self.lists(scorer, users, K, pool)[0], "cold", whole
        rows, ndcg = [], {}
        for name, (items, part, mask) in judged.items():
            wanted = self._liked(part, mask)
            rows += click.ranking_rows(items, *wanted, tags=dict(tags) | {"slice": name}, k=K)
            of_users = ranking.recall_ndcg(items, *wanted, K)
            ndcg[name] = of_users[0], of_users[2]
        return rows, ndcg

    def _liked(self, part: str, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the likes of ``part`` where ``mask``, by judged users: places among ``users``, and of the movie."""
        liked = mask & (self.data.splits[part].label.numpy() == 1)
        user, movie = (places[liked] for places in self.data.places(part))
        place = np.minimum(np.searchsorted(self.users, user), len(self.users) - 1)
        kept = self.users[place] == user
        return place[kept], movie[kept]

    def twin_scorer(self, twin: Twin) -> Scorer:
        """Return the scores of a click model: the probability of a like."""
        scores_of = catalogue_scorer(twin, self.data.catalogue.codes)
        return lambda users: scores_of(self.data.user_codes[users])

    def list_scorer(self, model: list_model.ListModel) -> Scorer:
        """Return the scores of a list model, from what users rated in train."""
        return lambda users: model.scores(self._rated[users])
