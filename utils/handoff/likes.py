"""What counts as a like: decided once, in 01, and carried in the metadata of ``train.parquet`` to all who ask."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from utils.handoff.manifest import HandOffError
from utils.handoff.store import Store


@dataclass(frozen=True)
class Likes:
    """A rating above ``above`` is a like. ``feedback`` is "explicit", or "implicit", where every row is one.

    ``low`` and ``high`` are the ends of the scale, of counts the least and the most.
    """

    feedback: str = "explicit"
    low: float = 0.5
    high: float = 5.0
    above: float = 3.0

    def of(self, rating: np.ndarray) -> np.ndarray:
        """Return which ratings float [n] are likes, bool [n]."""
        return np.asarray(rating > self.above)

    def metadata(self) -> Mapping[str, Any]:
        """Return what ``train.parquet`` carries of it."""
        return {"likes": asdict(self)}

    def __str__(self) -> str:
        if self.feedback == "implicit":
            return "implicit feedback: every row is a like"
        return f"ratings from {self.low:g} to {self.high:g}; a like is above {self.above:g}"


STARS = Likes()
"""Those of MovieLens, from half a star to five: what a ``train.parquet`` means that does not say."""


def likes_of(store: Store) -> Likes:
    """Return what 01 found to be a like. Raises HandOffError where that is of another shape."""
    said = store.metadata("train").get("likes", {})
    try:
        return Likes(**said)
    except TypeError as error:
        raise HandOffError(f"{store.path('train')} does not say what a like is ({error}). Run 01 again.") from error
