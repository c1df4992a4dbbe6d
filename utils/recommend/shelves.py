"""Stage 07: what a user liked, what is recommended to them, and what of the one comes nearest to the other.

``Shelves`` puts it together for ``plots.shelf``; ``explorer`` draws it for whichever user is chosen in a notebook.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from utils.handoff import vector_columns
from utils.handoff.contract import LIKED
from utils.handoff.parameters import ParameterError
from utils.vectors.neighbours import directions

_TITLE = 26
"""Characters of a title in a reason: three short lines under a poster hold no more."""


@dataclass(frozen=True)
class Shelves:
    """Recommendations with what they are made of; posters are below the data ``folder``.

    ``train``, ``recommendations``, ``enriched``, ``movies`` (movies_converted) and ``features`` (feature_store) are
    those of the contract, in any order.
    """

    folder: Path
    train: pa.Table
    recommendations: pa.Table
    enriched: pa.Table
    movies: pa.Table
    features: pa.Table

    @cached_property
    def users(self) -> np.ndarray:
        """The users who have recommendations, int64 [users], ascending."""
        return np.unique(self.recommendations["userId"].to_numpy())

    def of(self, user: int, k: int = 8) -> tuple[list[tuple[Any, str]], list[tuple[Any, str, float, str]]]:
        """Return ``user``'s best liked of train, (poster, title), and the recommended, (poster, title, score, reason).

        At most ``k`` each, best first. The reason names what the user liked in train that is nearest by poster and
        text, with the cosine; "" without likes or content. It tells what the movie is like, not how the model came to
        its score. Raises ParameterError for a user who has no recommendations.
        """
        if user not in self.users:
            raise ParameterError(
                f"userId {user} has no recommendations. Choose one of the {len(self.users):,} of "
                f"recommendations.parquet, such as {self.users[:3].tolist()}."
            )
        train = self.train.filter(pc.equal(self.train["userId"], user))
        train = train.sort_by([("rating", "descending"), ("timestamp", "descending"), ("movieId", "ascending")])
        likes = train.filter(pc.greater(train["rating"], LIKED))["movieId"].to_numpy()
        own = self.recommendations.filter(pc.equal(self.recommendations["userId"], user))
        own = own.sort_by("rank").slice(0, k)
        liked = [(self._poster[movie], self._title[movie]) for movie in likes[:k].tolist()]
        movie_ids = own["movieId"].to_numpy()
        shown = zip(movie_ids.tolist(), own["score"].to_pylist(), self._reasons(movie_ids, likes), strict=True)
        return liked, [(self._poster[movie], self._title[movie], score, reason) for movie, score, reason in shown]

    def _reasons(self, movie_ids: np.ndarray, likes: np.ndarray) -> list[str]:
        """Return for each of ``movie_ids`` the nearest of ``likes``, both int64, in words."""
        if not len(likes):
            return [""] * len(movie_ids)
        cosines = self._directions[self._rows(movie_ids)] @ self._directions[self._rows(likes)].T
        nearest = cosines.argmax(axis=1)
        reasons = []
        for movie, place, cosine in zip(movie_ids.tolist(), nearest, cosines.max(axis=1).tolist(), strict=True):
            title = textwrap.shorten(self._title[int(likes[place])], _TITLE, placeholder="…")
            reasons.append(f"near {title} ({cosine:.2f})" if movie in self._has_content else "")
        return reasons

    def _rows(self, movie_ids: np.ndarray) -> np.ndarray:
        return np.array([self._row[movie] for movie in movie_ids.tolist()], dtype=np.int64)

    @cached_property
    def _directions(self) -> np.ndarray:
        """Poster and text of every movie of the feature store around their mean, float32 [movies, width]."""
        return directions(np.hstack([vector_columns.vectors(self.features[name]) for name in ("poster", "text")]))

    @cached_property
    def _row(self) -> dict[int, int]:
        return {movie: row for row, movie in enumerate(self.features["movieId"].to_pylist())}

    @cached_property
    def _has_content(self) -> set[int]:
        there = self.features.filter(pc.or_(self.features["has_poster"], self.features["has_text"]))
        return set(there["movieId"].to_pylist())

    @cached_property
    def _title(self) -> Mapping[int, str]:
        return dict(zip(self.movies["movieId"].to_pylist(), self.movies["title"].to_pylist(), strict=True))

    @cached_property
    def _poster(self) -> Mapping[int, Path | None]:
        rows = zip(self.enriched["movieId"].to_pylist(), self.enriched["poster_path"].to_pylist(), strict=True)
        return {movie: path and self.folder / path for movie, path in rows}
