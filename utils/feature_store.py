"""Stage 05: one table of poster and text vectors for every movie, reduced by PCA, gaps imputed and flagged.

Vectors are projected on the principal components but not centred, and scaled so that the kept
variance sums to one: an imputed mean is then a vector like any other and not a row of zeros, and
content enters a network on the scale of its embeddings. The components, the scale and the mean are
fitted on the movies that training ratings know, so adding a movie changes no other movie's vector.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sklearn.decomposition import PCA

from utils import artefacts, parameters
from utils.contract import WIDEST

MISSING = ("mean", "zero")
"""What stands in for a modality that a movie lacks; ``has_poster`` and ``has_text`` tell it apart."""


@dataclass(frozen=True)
class Reduced:
    """One modality of n movies after reduction. ``vectors`` float32 [n, width], ``present`` bool [n]."""

    vectors: np.ndarray
    present: np.ndarray
    explained: np.ndarray
    """Share of the variance that each component explains, float64 [kept <= width]."""
    fitted_on: int
    """Movies that the components were fitted on."""


def check_widths(poster_dim: object, text_dim: object, missing: object) -> None:
    """Raise ParameterError unless the widths fit HugeCTR's limit together and the strategy is known."""
    parameters.whole("POSTER_DIM", poster_dim, most=WIDEST - 1)
    parameters.whole("TEXT_DIM", text_dim, most=WIDEST - 1)
    if poster_dim + text_dim > WIDEST:  # type: ignore[operator]
        raise parameters.ParameterError(
            f"POSTER_DIM={poster_dim} and TEXT_DIM={text_dim} are {poster_dim + text_dim} together; "  # type: ignore[operator]
            f"HugeCTR embeddings are at most {WIDEST} wide. Lower one of them."
        )
    parameters.choice("MISSING", missing, MISSING)


def reduce(
    embeddings: pa.Table, movie_ids: np.ndarray, known_ids: np.ndarray, width: int, missing: str, seed: int
) -> Reduced:
    """Reduce one modality to ``width`` columns for all ``movie_ids`` int64 [n].

    ``embeddings`` has movieId and embedding; ``known_ids`` are the movies with training ratings. Where
    the data has fewer than ``width`` directions the remaining columns are zero, as the projections on
    directions without variance would be.
    """
    raw = artefacts.vectors(embeddings["embedding"])
    raw_ids = embeddings["movieId"].to_numpy()
    if not np.isfinite(raw).all():
        broken = raw_ids[~np.isfinite(raw).all(axis=1)]
        raise artefacts.HandOffError(
            f"The embeddings of movieId {broken[0]} (and {len(broken) - 1} others) hold NaN or infinity. "
            "Run 03 and 04 again, or mend the PRECOMPUTED file."
        )
    rows = row_of(movie_ids, raw_ids)
    vectors = np.zeros((len(movie_ids), width), dtype=np.float32)
    present = np.zeros(len(movie_ids), dtype=bool)
    present[rows] = True
    fit = np.isin(raw_ids, known_ids)
    if fit.sum() < 2:  # Too few known movies to fit on (or no movie has this modality at all).
        fit = np.ones(len(raw_ids), dtype=bool)
    if fit.sum() < 2:
        return Reduced(vectors, present, np.zeros(0), int(fit.sum()))
    kept = min(width, raw.shape[1], int(fit.sum()))
    if not raw[fit].std(axis=0).max() > 1e-6 * np.abs(raw[fit]).max():
        return Reduced(vectors, present, np.zeros(0), int(fit.sum()))  # All vectors are one: no directions at all.
    pca = PCA(kept, random_state=seed).fit(raw[fit])
    scale = 1 / np.sqrt(pca.explained_variance_.sum())
    vectors[rows, :kept] = scale * (raw @ pca.components_.T.astype(np.float32))
    if missing == "mean":
        vectors[~present, :kept] = scale * (raw[fit].mean(axis=0) @ pca.components_.T)
    return Reduced(vectors, present, pca.explained_variance_ratio_, int(fit.sum()))


def row_of(movie_ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the position in sorted, unique ``movie_ids`` of each of ``wanted``; HandOffError if one is absent."""
    rows = np.searchsorted(movie_ids, wanted)
    absent = (rows == len(movie_ids)) | (movie_ids[np.minimum(rows, len(movie_ids) - 1)] != wanted)
    if absent.any():
        raise artefacts.HandOffError(
            f"movieId {wanted[absent][0]} (and {absent.sum() - 1} others) is not in movies_converted.parquet. "
            "Run the notebook that made these vectors again."
        )
    return rows


def table(movie_ids: np.ndarray, poster: Reduced, text: Reduced) -> pa.Table:
    """Return the feature store: movieId, poster, text, has_poster, has_text; one row a movie."""
    return pa.table(
        {
            "movieId": movie_ids,
            "poster": artefacts.vector_column(poster.vectors),
            "text": artefacts.vector_column(text.vectors),
            "has_poster": poster.present,
            "has_text": text.present,
        }
    )
