"""Whether a feature store fits the movies it meets: content of the kind it was fitted on.

The components were fitted on the movies with training ratings; ``report`` measures how far all other movies are from
those, since a model that learned from the former will judge the latter by the same directions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from utils.features.feature_store import Reduced

SHIFT = 0.25
"""From this many standard deviations between two means on, ``report`` says that content drifts.

Two random halves of one catalogue differ by chance alone, the more the fewer movies: by about the square root of
1/m + 1/n for m and n movies. A drift must also be three times that.
"""


def describe(parts: Mapping[str, Reduced], embeddings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a feature store says of its reductions, for its metadata.

    ``embeddings`` holds the metadata of the embeddings by the names of ``parts``; facts have none. The sha256 of each
    reduction tells whether ``reductions.npz`` is of the same run (``reductions.read``).
    """
    return {
        "reductions": {
            name: {
                "encoder": embeddings.get(name, {}).get("encoder"),
                "weights_sha256": embeddings.get(name, {}).get("weights_sha256"),
                **part.reduction.about(),
                "sha256": part.reduction.sha256(),
            }
            for name, part in parts.items()
        },
    }


def report(parts: Mapping[str, Reduced], old: np.ndarray) -> pd.DataFrame:
    """Compare movies that are ``old`` bool [n] with all others, one row per block; imputed vectors are left out.

    Columns: ``old`` and ``new`` count movies with the block; ``share_new`` is new / (old + new); ``shift`` is
    the distance of the two means over the standard deviation of the old ones, the root of their summed
    variances; ``by_chance`` is the shift expected of as many movies of one kind, sqrt(1/old + 1/new);
    ``cosine_old`` and ``cosine_new`` are mean cosines to the mean of the old; ``drifts`` is whether shift is at
    least ``SHIFT`` and three times by_chance. NaN (and False) where either side has fewer than two movies.
    """
    return pd.DataFrame.from_dict({name: _compare(part, old) for name, part in parts.items()}, orient="index")


def _compare(part: Reduced, old: np.ndarray) -> dict[str, Any]:
    before, after = (part.vectors[part.present & side].astype(np.float64) for side in (old, ~old))
    counts = {"old": len(before), "new": len(after), "share_new": len(after) / max(1, len(before) + len(after))}
    spread = np.sqrt(before.var(axis=0, ddof=1).sum()) if len(before) > 1 else 0.0
    if len(after) < 2 or spread == 0:
        nothing = dict.fromkeys(("shift", "by_chance", "cosine_old", "cosine_new"), float("nan"))
        return counts | nothing | {"drifts": False}
    centre = before.mean(axis=0)
    shift = np.linalg.norm(after.mean(axis=0) - centre) / spread
    by_chance = np.sqrt(1 / len(before) + 1 / len(after))
    return counts | {
        "shift": shift,
        "by_chance": by_chance,
        "cosine_old": _cosine(before, centre),
        "cosine_new": _cosine(after, centre),
        "drifts": bool(shift >= max(SHIFT, 3 * by_chance)),
    }


def _cosine(vectors: np.ndarray, centre: np.ndarray) -> float:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(centre)
    return float((vectors @ centre / np.where(lengths > 0, lengths, 1)).mean())
