"""Stage 05: one table of poster and text vectors for every movie, reduced by PCA, gaps imputed and flagged.

``reduce`` makes the vectors of one modality, ``imputation.fill`` fills their gaps, ``table`` puts them together,
and ``drift`` says whether they still fit the movies at hand.

Vectors are projected on the principal components but not centred, and scaled so that the kept
variance sums to one: an imputed mean is then a vector like any other and not a row of zeros, and
content enters a network on the scale of its embeddings. The components, the scale and the mean are
fitted on the movies that training ratings know, so adding a movie changes no other movie's vector.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from utils.features.pca import Reduction, finite, fit, project
from utils.handoff import parameters, store, vector_columns
from utils.handoff.contract import WIDEST
from utils.handoff.vector_columns import Stacked

MISSING = ("mean", "zero", "neighbour")
"""What stands in for a modality that a movie lacks; ``has_poster`` and ``has_text`` tell it apart."""


@dataclass(frozen=True)
class Vectors:
    """One modality of n movies: what imputation needs. ``vectors`` float32 [n, width], ``present`` bool [n].

    Rows that are not present are zeros until ``imputation.fill`` decides what stands in for them.
    """

    vectors: np.ndarray
    present: np.ndarray
    mean: np.ndarray
    """The mean of the fitted movies, reduced like any vector, float32 [width]."""


@dataclass(frozen=True)
class Reduced(Vectors):
    """One modality of n movies, and the reduction that made its vectors."""

    reduction: Reduction

    @property
    def explained(self) -> np.ndarray:
        """Share of the variance that each component explains, float64 [kept <= width]."""
        return self.reduction.explained

    @property
    def fitted_on(self) -> int:
        """Movies that the components were fitted on."""
        return self.reduction.fitted_on


def check_widths(poster_dim: object, text_dim: object, missing: object) -> None:
    """Raise ParameterError unless the widths fit HugeCTR's limit together and the strategy is known."""
    parameters.whole("POSTER_DIM", poster_dim, most=WIDEST - 1)
    parameters.whole("TEXT_DIM", text_dim, most=WIDEST - 1)
    assert isinstance(poster_dim, int) and isinstance(text_dim, int), "checked above"
    if poster_dim + text_dim > WIDEST:
        raise parameters.ParameterError(
            f"POSTER_DIM={poster_dim} and TEXT_DIM={text_dim} are {poster_dim + text_dim} together; "
            f"HugeCTR embeddings are at most {WIDEST} wide. Lower one of them."
        )
    parameters.choice("MISSING", missing, MISSING)


def reduce(embeddings: pa.Table, movie_ids: np.ndarray, known_ids: np.ndarray, width: int) -> Reduced:
    """Reduce one modality to ``width`` columns for all ``movie_ids`` int64 [n], sorted.

    ``embeddings`` has movieId and embedding; ``known_ids`` are the movies with training ratings, on which
    the components are fitted (on all, where fewer than two of them have this modality). Where the data
    has fewer than ``width`` directions the remaining columns are zero. Raises HandOffError for vectors that
    are not finite, come twice, or belong to no movie.
    """
    raw, raw_ids = Stacked(embeddings["embedding"]), embeddings["movieId"].to_numpy()
    rows = row_of(movie_ids, raw_ids)
    order = np.argsort(raw_ids, kind="stable")
    twice = raw_ids[order][1:][np.diff(raw_ids[order]) == 0]
    if len(twice):
        raise store.HandOffError(f"movieId {twice[0]} has two embeddings. Run 03 and 04 again.")
    _check_finite(raw, raw_ids)
    known = order[np.isin(raw_ids[order], known_ids)]
    fitted = fit(raw, known if len(known) >= 2 else order, width)
    kept = len(fitted.components)
    vectors, mean = np.zeros((len(movie_ids), width), dtype=np.float32), np.zeros(width, dtype=np.float32)
    present = np.zeros(len(movie_ids), dtype=bool)
    present[rows] = True
    vectors[rows, :kept] = project(fitted, raw)
    mean[:kept] = fitted.scale * (fitted.components @ fitted.mean)
    return Reduced(vectors, present, mean, fitted)


def _check_finite(raw: Stacked, raw_ids: np.ndarray) -> None:
    broken = raw_ids[~finite(raw)]
    if len(broken):
        raise store.HandOffError(
            f"The embeddings of movieId {broken[0]} (and {len(broken) - 1} others) hold NaN or infinity. "
            "Run 03 and 04 again, or mend the PRECOMPUTED file."
        )


def row_of(movie_ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the position in sorted, unique ``movie_ids`` of each of ``wanted``; HandOffError if one is absent."""
    rows = np.searchsorted(movie_ids, wanted)
    absent = (rows == len(movie_ids)) | (movie_ids[np.minimum(rows, len(movie_ids) - 1)] != wanted)
    if absent.any():
        raise store.HandOffError(
            f"movieId {wanted[absent][0]} (and {absent.sum() - 1} others) is not in movies_converted.parquet. "
            "Run the notebook that made these vectors again."
        )
    return rows


def table(movie_ids: np.ndarray, poster: Vectors, text: Vectors) -> pa.Table:
    """Return the feature store: movieId, poster, text, has_poster, has_text; one row a movie."""
    return pa.table(
        {
            "movieId": movie_ids,
            "poster": vector_columns.vector_column(poster.vectors),
            "text": vector_columns.vector_column(text.vectors),
            "has_poster": poster.present,
            "has_text": text.present,
        }
    )
