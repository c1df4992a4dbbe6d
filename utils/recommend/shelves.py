"""Stage 07: what a user liked, what is recommended to them, and which liked movie each recommendation is nearest to.

``Shelves`` puts it together for ``plots.shelf``; ``explorer`` draws it for whichever user is chosen in a notebook.
"""

import textwrap
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from utils.content.gallery import Gallery
from utils.handoff import vector_columns
from utils.handoff.contract import BLOCKS, FLAGS
from utils.handoff.own_data import STARS, Likes
from utils.handoff.parameters import ParameterError
from utils.vectors.neighbours import directions

_TITLE = 26
"""Characters of a title in a reason: three short lines under a poster hold no more."""
Shown = tuple[Image.Image | None, str]


@dataclass(frozen=True)
class Shelves:
    """Recommendations with what they are made of.

    ``train``, ``recommendations`` and ``features`` (feature_store) are those of the contract, in any order.
    """

    gallery: Gallery
    train: pa.Table
    recommendations: pa.Table
    features: pa.Table
    likes: Likes = STARS

    @cached_property
    def users(self) -> np.ndarray:
        """The users who have recommendations, int64 [users], ascending."""
        return np.unique(self.recommendations["userId"].to_numpy())

    def of(self, user: int, k: int = 8) -> tuple[list[Shown], list[tuple[Image.Image | None, str, float, str]]]:
        """Return what ``user`` liked best in train and what is recommended: (poster, title[, score, reason]).

        At most ``k`` each, best first. The reason names the movie liked in train that is nearest by content, with the
        cosine; "" without likes or content. It tells what the movie is like, not how the model came to its score.
        Raises ParameterError for a user who has no recommendations.
        """
        if user not in self.users:
            raise ParameterError(
                f"userId {user} has no recommendations. Choose one of the {len(self.users):,} of "
                f"recommendations.parquet, such as {self.users[:3].tolist()}."
            )
        train = self.train.filter((pc.field("userId") == user) & (pc.field("rating") > self.likes.above))
        likes = train.sort_by([("rating", "descending"), ("timestamp", "descending"), ("movieId", "ascending")])
        liked = likes["movieId"].to_pylist()
        own = self.recommendations.filter(pc.field("userId") == user).sort_by("rank").slice(0, k)
        rows = zip(own["movieId"].to_pylist(), own["score"].to_pylist(), strict=True)
        recommended = [(*self.gallery(movie), score, self._reason(movie, liked)) for movie, score in rows]
        return [self.gallery(movie) for movie in liked[:k]], recommended

    def _reason(self, movie: int, liked: list[int]) -> str:
        """Return in words which of ``liked`` is nearest to ``movie``."""
        if not liked or not self._has_content[self._row[movie]]:
            return ""
        cosines = self._directions[[self._row[other] for other in liked]] @ self._directions[self._row[movie]]
        nearest = int(cosines.argmax())
        title = textwrap.shorten(self.gallery.titles[liked[nearest]], _TITLE, placeholder="…")
        return f"near {title} ({cosines[nearest]:.2f})"

    @cached_property
    def _directions(self) -> np.ndarray:
        """All blocks of every movie of the feature store around their mean, float32 [movies, width]."""
        return directions(np.hstack([vector_columns.vectors(self.features[block]) for block in BLOCKS]))

    @cached_property
    def _row(self) -> dict[int, int]:
        return {movie: row for row, movie in enumerate(self.features["movieId"].to_pylist())}

    @cached_property
    def _has_content(self) -> np.ndarray:
        return np.logical_or.reduce([self.features[flag].to_numpy() for flag in FLAGS.values()])
