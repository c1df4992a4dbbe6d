"""What would the feature store look like if a share of movies had no poster or text? (notebook 07)"""

import numpy as np
import pandas as pd
import pyarrow as pa

from utils.features import feature_store, imputation
from utils.features.feature_store import Vectors
from utils.handoff import hashing, vector_columns
from utils.handoff.contract import BLOCKS, FLAGS
from utils.model.feature_sets import FeatureSet, parse


def hide(features: pa.Table, known_ids: np.ndarray, what: FeatureSet, seed: int) -> pa.Table:
    """Return the feature store as if ``what.hidden`` percent of the posters, and of the texts, were missing.

    Which are hidden is a hash of ``seed`` and movieId: what is missing at a smaller share is missing at a larger one.
    All gaps, hidden or not, are filled by ``what.strategy`` (``imputation.fill``) from the vectors still present among
    ``known_ids`` int64 [m], the movies with training ratings (for the mean: from all present, where fewer than two of
    those are). The flags tell what is left; vectors that are left do not change, and neither do the facts.

    It works from the reduced vectors: PCA is not fitted again on the movies that are left, so that shares differ in
    what is missing alone.
    """
    assert what.hidden is not None and what.strategy is not None, f"{what} hides nothing"
    movie_ids = features["movieId"].to_numpy()
    known, facts = np.isin(movie_ids, known_ids), vector_columns.vectors(features["facts"])
    parts = {"facts": Vectors(facts, features[FLAGS["facts"]].to_numpy(), np.zeros(facts.shape[1], np.float32))}
    for block in BLOCKS[1:]:
        hidden = hashing.drawn(what.hidden / 100, seed, f"missing {block}", movie_ids)
        parts[block] = _without(features, block, known, ~hidden)
    return feature_store.table(movie_ids, imputation.fill(parts, movie_ids, known_ids, what.strategy))


def with_shares(summary: pd.DataFrame, full: FeatureSet) -> pd.DataFrame:
    """Return a summary (see ``click.summarise``) without its controls, as ``plots.missing_sweep`` reads it.

    ``share`` is what was hidden of ``full``, 0 to 1, and ``strategy`` how its gaps were filled; None for other sets.
    """
    parsed = [parse(name) for name in summary["features"]]
    own = [one.plain == full for one in parsed]
    share = [(one.hidden or 0) / 100 if mine else None for one, mine in zip(parsed, own, strict=True)]
    strategy = [(one.strategy or "mean") if mine else None for one, mine in zip(parsed, own, strict=True)]
    return summary.assign(share=share, strategy=strategy)[[one.control is None for one in parsed]]


def _without(features: pa.Table, block: str, known: np.ndarray, kept: np.ndarray) -> Vectors:
    """Return the vectors of ``block`` where the store has them and ``kept`` bool [n] holds, zeros elsewhere."""
    present = features[FLAGS[block]].to_numpy() & kept
    vectors = np.where(present[:, None], vector_columns.vectors(features[block]), np.float32(0))
    fitted = present & known if (present & known).sum() >= 2 else present
    mean = vectors[fitted].mean(axis=0, dtype=np.float64) if fitted.any() else np.zeros(vectors.shape[1])
    return Vectors(vectors, present, mean.astype(np.float32))
