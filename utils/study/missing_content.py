"""What would the feature store look like if a share of movies had no poster or text? (notebook 07)

``hide`` takes content away and fills the gaps as notebook 05 fills real ones; by ``name`` and ``parse`` the rows of
such runs are told apart in ``metrics.csv``.
"""

import re

import numpy as np
import pyarrow as pa

from utils.features import feature_store, imputation
from utils.features.feature_store import Vectors
from utils.handoff import hashing, parameters, vector_columns

STRATEGIES = feature_store.MISSING
SHARES = (0.0, 0.1, 0.3, 0.5, 0.9)
"""Shares of the movies with a poster, and of those with a text, that lose it."""
_NAME = re.compile(rf".+\((\d\d?)% missing, ({'|'.join(STRATEGIES)})\)")


def check_shares(shares: object) -> None:
    """Raise ParameterError unless MISSING_SHARES is a list of shares in whole percent."""
    if not isinstance(shares, (list, tuple)):
        raise parameters.ParameterError(f"MISSING_SHARES={shares!r} must be a list of shares, such as [0.5], or [].")
    for share in shares:
        parameters.fraction("MISSING_SHARES", share)
        _percent(share)


def hide(features: pa.Table, known_ids: np.ndarray, share: float, strategy: str, seed: int) -> pa.Table:
    """Return the feature store as if each poster, and independently each text, were missing with probability ``share``.

    ``features`` has one row a movie: movieId, poster, text, has_poster, has_text. Which are hidden is a hash of
    ``seed`` and movieId: what is missing at a smaller share is missing at a larger one. All gaps, hidden or not, are
    filled by ``strategy`` (``imputation.fill``) from the vectors still present among ``known_ids`` int64 [m], the
    movies with training ratings (for the mean: from all present, where fewer than two of those are). The flags tell
    what is left; vectors that are left do not change.

    It works from the reduced vectors: PCA is not fitted again on the movies that are left, so that shares differ in
    what is missing alone. A store made from so few posters would have somewhat other directions.
    Raises ParameterError for a ``share`` outside [0, 1) or an unknown ``strategy``.
    """
    parameters.fraction("share", share)
    parameters.choice("strategy", strategy, STRATEGIES)
    movie_ids = features["movieId"].to_numpy()
    known = np.isin(movie_ids, known_ids)
    hidden = {part: hashing.drawn(share, seed, f"missing {part}", movie_ids) for part in ("poster", "text")}
    parts = {part: _without(features, part, known, ~hidden[part]) for part in hidden}
    filled = imputation.fill(parts, movie_ids, known_ids, strategy)
    return feature_store.table(movie_ids, filled)


def _without(features: pa.Table, part: str, known: np.ndarray, kept: np.ndarray) -> Vectors:
    """Return the vectors of ``part`` where the store has them and ``kept`` bool [n] holds, zeros elsewhere."""
    present = features[f"has_{part}"].to_numpy() & kept
    vectors = np.where(present[:, None], vector_columns.vectors(features[part]), np.float32(0))
    fitted = present & known if (present & known).sum() >= 2 else present
    mean = vectors[fitted].mean(axis=0, dtype=np.float64) if fitted.any() else np.zeros(vectors.shape[1])
    return Vectors(vectors, present, mean.astype(np.float32))


def name(features: str, share: float, strategy: str) -> str:
    """Return how a run without a ``share`` of content is called, such as "ids+genres+poster(30% missing, mean)".

    Raises ParameterError for a ``share`` outside [0, 1) or not in whole percent, or an unknown ``strategy``.
    """
    parameters.fraction("share", share)
    parameters.choice("strategy", strategy, STRATEGIES)
    return f"{features}({_percent(share)}% missing, {strategy})"


def _percent(share: float) -> int:
    percent = round(share * 100)
    if abs(share * 100 - percent) > 1e-9:
        raise parameters.ParameterError(f"share={share!r} is not a whole percent, such as 0.3. Round it.")
    return percent


def parse(features: str) -> tuple[float, str] | None:
    """Return (share, strategy) of a ``name``; None for the name of any other feature set."""
    found = _NAME.fullmatch(features)
    return (int(found[1]) / 100, found[2]) if found else None
