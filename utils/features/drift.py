"""Whether a feature store fits the movies it meets: the same catalogue, and content of the kind it was fitted on.

A feature store is made for one catalogue, and ``check_drift`` refuses it for another. The components were fitted on
the movies with training ratings; ``report`` measures how far all other movies are from those, since a model that
learned from the former will judge the latter by the same directions.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from utils.features.feature_store import Reduced
from utils.features.reductions import AGAIN
from utils.handoff.store import HandOffError

SHIFT = 0.25
"""From this many standard deviations between two means on, ``report`` says that content drifts.

Two random halves of one catalogue differ by chance alone, the more the fewer movies: by about the square root of
1/m + 1/n for m and n movies. A drift must also be three times that.
"""


def fingerprint(movie_ids: np.ndarray) -> str:
    """Return the sha256 of the sorted movieIds as little-endian int64: one for each set of movies."""
    return hashlib.sha256(np.sort(movie_ids).astype("<i8").tobytes()).hexdigest()


def describe(
    parts: Mapping[str, Reduced], movie_ids: np.ndarray, embeddings: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what a feature store says of its catalogue and reductions, for its metadata.

    ``embeddings`` holds the metadata of the embeddings by the names of ``parts``; facts have none. The sha256 of each
    reduction tells whether ``reductions.npz`` is of the same run (``reductions.read``).
    """
    return {
        "catalogue": {"movies": len(movie_ids), "sha256": fingerprint(movie_ids)},
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


def check_drift(metadata: Mapping[str, Any], features: pa.Table, movie_ids: np.ndarray) -> None:
    """Raise HandOffError unless the feature store has one row for each of ``movie_ids``, and is as it was written.

    ``metadata`` is what the store says of itself (``Store.metadata``). ``features`` must have movieId; the width of a
    block is checked where the block was read. A store without our metadata is checked for its movies only.
    """
    found = features["movieId"].to_numpy()
    distinct = np.unique(found)
    if len(distinct) < len(found):
        raise HandOffError(f"feature_store.parquet has {len(found) - len(distinct):,} movieIds twice. {AGAIN}")
    lacking, unknown = np.setdiff1d(movie_ids, distinct), np.setdiff1d(distinct, movie_ids)
    if len(lacking) or len(unknown):
        raise HandOffError(
            f"feature_store.parquet was made from another catalogue than movies_converted.parquet of "
            f"{len(movie_ids):,} movies: {_counted(lacking)} missing from it, {_counted(unknown)} unknown to the "
            f"catalogue. {AGAIN}"
        )
    recorded = metadata.get("catalogue")
    if recorded is not None and recorded["sha256"] != fingerprint(found):
        raise HandOffError(
            f"feature_store.parquet holds {len(found):,} movies that are not the {recorded['movies']:,} it was written "
            f"for: it was changed since. {AGAIN}"
        )
    for name, reduction in metadata.get("reductions", {}).items():
        if name in features.column_names and features[name].type.list_size != reduction["width"]:
            raise HandOffError(
                f"feature_store.parquet: {name} is {features[name].type.list_size} wide, but says that it is "
                f"{reduction['width']}: it was changed since it was written. {AGAIN}"
            )


def _counted(movie_ids: np.ndarray) -> str:
    return f"{len(movie_ids):,} movies are" + (f" (first: movieId {movie_ids[0]})" if len(movie_ids) else "")


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
