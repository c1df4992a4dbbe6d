"""Stage 07: lists of movies for every user, from a trained model; a user nobody knows gets what was liked lately."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from utils import negatives, ranking, training
from utils.catalogue import Catalogue
from utils.contract import LIKED
from utils.etl import OUT_OF_VOCABULARY
from utils.twin import Twin


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
        """``half_life`` in days, None where likes do not age (see ``utils.negatives``)."""
        user, movie = positions(users, catalogue, train)
        order = np.argsort(user, kind="stable")
        counts = np.bincount(user, minlength=len(users))
        weight = negatives.weights(train["timestamp"].to_numpy(), half_life) * (train["rating"].to_numpy() > LIKED)
        lately = np.bincount(movie, weight, minlength=len(catalogue))
        return cls(users, user_codes, catalogue, (np.concatenate([[0], np.cumsum(counts)]), movie[order]), lately)

    def lists(self, twin: Twin, k: int, candidates: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the ``k`` best movies of every user: positions in the catalogue int64 [users, k] and scores.

        Movies the user has in train are left out. ``candidates`` bool [movies] restricts the pool. Scores are
        probabilities; for users without a rating in train see ``_known_or_lately``.
        """

        scores_of = training.catalogue_scorer(twin, self.catalogue.codes)

        def block(start: int, stop: int) -> np.ndarray:
            codes = self.user_codes[start:stop]
            return self._known_or_lately(codes, scores_of(codes))

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


def positions(users: np.ndarray, catalogue: Catalogue, ratings: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each rating's user in ``users`` and of its movie in the catalogue, int64 [ratings] each."""
    user = np.searchsorted(users, ratings["userId"].to_numpy())
    return user, np.searchsorted(catalogue.movie_ids, ratings["movieId"].to_numpy())


def shelf(
    folder: Path,
    train: pa.Table,
    recommendations: pa.Table,
    enriched: pa.Table,
    movies: pa.Table,
    user: int,
    k: int = 8,
) -> tuple[list[tuple[Any, str]], list[tuple[Any, str, float, str]]]:
    """Return the best liked of ``user``'s train, (poster, title), and the recommended, with score and genres.

    ``enriched`` and ``movies`` are in ascending movieId; posters are below the data ``folder``.
    """
    posters = [path and folder / path for path in enriched["poster_path"].to_pylist()]
    titles, genres = movies["title"].to_pylist(), movies["genres"].to_pylist()
    train = train.filter(pc.equal(train["userId"], user))
    train = train.sort_by([("rating", "descending"), ("timestamp", "descending"), ("movieId", "ascending")])
    own = recommendations.filter(pc.equal(recommendations["userId"], user)).slice(0, k)
    at: Mapping[int, int] = {movie: row for row, movie in enumerate(movies["movieId"].to_pylist())}
    liked = [(posters[at[movie]], titles[at[movie]]) for movie in train["movieId"].to_pylist()[:k]]
    scored = zip(own["movieId"].to_pylist(), own["score"].to_pylist(), strict=True)
    shown = [(posters[at[m]], titles[at[m]], score, ", ".join(genres[at[m]][:2])) for m, score in scored]
    return liked, shown
