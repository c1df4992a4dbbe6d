"""Stage 07: lists of movies for every user, from a trained model; a user nobody knows gets what was liked lately."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from utils.etl import negative_sampling
from utils.etl.workflow import OUT_OF_VOCABULARY
from utils.handoff.contract import LIKED
from utils.handoff.hashing import lowest
from utils.metrics import ranking
from utils.model.torch_model import Twin
from utils.model.training import fit
from utils.study.catalogue import Catalogue

JUDGED = 2_500
"""Most users whose lists are judged: the metrics are means over users, and lists of all take users times movies."""


@dataclass(frozen=True)
class Recommender:
    """What lists of recommendations need beside a model.

    ``users`` raw ids, ascending, and ``user_codes`` int32, both [users]; ``seen`` is (indptr, positions in the
    catalogue) of what each has rated in train; ``lately`` float64 [movies] are the likes of train, weighted by age.
    """

    users: np.ndarray
    user_codes: np.ndarray
    catalogue: Catalogue
    seen: tuple[np.ndarray, np.ndarray]
    lately: np.ndarray

    @classmethod
    def of(
        cls, users: np.ndarray, user_codes: np.ndarray, catalogue: Catalogue, train: pa.Table, half_life: float | None
    ) -> "Recommender":
        """``half_life`` in days, None where likes do not age (see ``utils.etl.negative_sampling``)."""
        user, movie = positions(users, catalogue, train)
        order = np.argsort(user, kind="stable")
        counts = np.bincount(user, minlength=len(users))
        weight = negative_sampling.weights(train["timestamp"].to_numpy(), half_life) * (
            train["rating"].to_numpy() > LIKED
        )
        lately = np.bincount(movie, weight, minlength=len(catalogue))
        return cls(users, user_codes, catalogue, (np.concatenate([[0], np.cumsum(counts)]), movie[order]), lately)

    def of_some(self, rows: np.ndarray) -> "Recommender":
        """Return what lists need for some of the users alone: places int [m], ascending; row i is of ``rows[i]``."""
        indptr, movies = self.seen
        counts = np.diff(indptr)[rows]
        ends = np.cumsum(counts)
        places = np.repeat(indptr[rows] - ends + counts, counts) + np.arange(counts.sum())
        seen = np.concatenate([[0], ends]), movies[places]
        return replace(self, users=self.users[rows], user_codes=self.user_codes[rows], seen=seen)

    def lists(self, twin: Twin, k: int, candidates: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the ``k`` best movies of every user: positions in the catalogue int64 [users, k] and scores.

        Movies the user has in train are left out. ``candidates`` bool [movies] restricts the pool; no other movie is
        scored. Scores are probabilities; for users without a rating in train see ``_known_or_lately``.
        """
        codes = self.catalogue.codes
        pool = codes if candidates is None else {name: values[candidates] for name, values in codes.items()}
        scores_of = fit.catalogue_scorer(twin, pool)

        def block(start: int, stop: int) -> np.ndarray:
            users = self.user_codes[start:stop]
            scores = scores_of(users)
            if candidates is not None:
                whole = np.full((len(users), len(self.catalogue)), -np.inf, np.float32)
                whole[:, candidates] = scores
                scores = whole
            return self._known_or_lately(users, scores)

        return self.ranked(block, k, candidates)

    def ranked(
        self, block: Callable[[int, int], np.ndarray], k: int, candidates: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the lists by what ``block(start, stop)`` scores, float32 [users, movies]; see ``ranking.top_k``."""
        return ranking.top_k(block, len(self.users), self.seen, k, candidates=candidates)

    def _known_or_lately(self, codes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Order by recent likes for users the model has never met; the model orders movies without likes, below.

        Nothing is known of such a user, and the list of what was liked lately is hard to beat. The score of a liked
        movie is (1 + its share of the most liked movie's likes) / 2, of another half its probability.
        """
        new = codes == OUT_OF_VOCABULARY
        if new.any():
            share = (1 + self.lately / max(self.lately.max(), 1e-12)) / 2
            scores[new] = np.where(self.lately > 0, share, scores[new] / 2)
        return scores

    def table(self, twin: Twin, k: int = 20) -> pa.Table:
        """Return userId, rank (1..k), movieId, score for every user."""
        items, scores = self.lists(twin, k)
        kept = items >= 0
        rank = np.broadcast_to(np.arange(1, k + 1, dtype=np.int32), items.shape)
        return pa.table(
            {
                "userId": np.repeat(self.users, kept.sum(1)),
                "rank": rank[kept],
                "movieId": self.catalogue.movie_ids[items[kept]],
                "score": scores[kept],
            }
        )


def judged(users: np.ndarray, seed: int) -> np.ndarray:
    """Return the places of the users whose lists are judged, int64 ascending: JUDGED of them by a hash, or all."""
    return np.sort(lowest(JUDGED, seed, "judged", users))


def among(rows: np.ndarray, user: np.ndarray, movie: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs whose user is one of ``rows`` (places, ascending), the user as a place in ``rows``."""
    place = np.minimum(np.searchsorted(rows, user), len(rows) - 1)
    kept = rows[place] == user if len(rows) else np.zeros(len(user), bool)
    return place[kept], movie[kept]


def positions(users: np.ndarray, catalogue: Catalogue, ratings: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each rating's user in ``users`` and of its movie in the catalogue, int64 [ratings] each."""
    user = np.searchsorted(users, ratings["userId"].to_numpy())
    return user, np.searchsorted(catalogue.movie_ids, ratings["movieId"].to_numpy())
