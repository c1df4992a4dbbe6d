"""Stage 05: one table of content for every movie: facts as columns, vectors reduced by PCA, gaps imputed and flagged.

``reduce_facts`` makes the columns of the facts, ``reduce`` those of posters or texts, ``imputation.fill`` fills the
gaps of these two, ``table`` puts the blocks together, and ``drift`` says whether they still fit the movies at hand. All
is fitted on the movies with training ratings, so adding a movie changes no other movie's row.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from utils.features import facts, pca
from utils.features.reductions import BLOCK_ROWS, AnyReduction, Rows
from utils.handoff import parameters, vector_columns
from utils.handoff.contract import BLOCKS, FLAGS, WIDEST
from utils.handoff.store import HandOffError
from utils.handoff.vector_columns import Stacked

MISSING = ("mean", "zero", "neighbour")
"""What stands in for a block that a movie lacks; the flags (``has_poster``, …) tell it apart."""


@dataclass(frozen=True)
class Vectors:
    """One block of n movies: what imputation needs. ``vectors`` float32 [n, width], ``present`` bool [n].

    Rows that are not present are zeros until ``imputation.fill`` decides what stands in for them.
    """

    vectors: np.ndarray
    present: np.ndarray
    mean: np.ndarray
    """The mean of the fitted movies, reduced like any vector, float32 [width]."""


@dataclass(frozen=True)
class Reduced(Vectors):
    """One block of n movies, and the reduction that made its vectors."""

    reduction: AnyReduction


def check_widths(widths: Mapping[str, object], missing: object) -> None:
    """Raise ParameterError unless the ``widths`` (parameter to columns of a block) fit HugeCTR's limit together.

    ``missing`` must be a known strategy.
    """
    for name, width in widths.items():
        parameters.whole(name, width, most=WIDEST + 1 - len(widths))
    together = sum(width for width in widths.values() if isinstance(width, int))
    if together > WIDEST:
        raise parameters.ParameterError(
            f"{' and '.join(f'{name}={width}' for name, width in widths.items())} are {together} together; "
            f"HugeCTR embeddings are at most {WIDEST} wide. Lower one of them."
        )
    parameters.choice("MISSING", missing, MISSING)


def reduce(embeddings: pa.Table, movie_ids: np.ndarray, known_ids: np.ndarray, width: int) -> Reduced:
    """Reduce one block to ``width`` columns for all ``movie_ids`` int64 [n], sorted.

    ``embeddings`` has movieId and embedding; ``known_ids`` are the movies with training ratings, on which
    the components are fitted (on all, where fewer than two of them have this block). Where the data
    has fewer than ``width`` directions the remaining columns are zero. Raises HandOffError for vectors that
    are not finite, come twice, or belong to no movie.
    """
    raw, raw_ids = Stacked(embeddings["embedding"]), embeddings["movieId"].to_numpy()
    rows = row_of(movie_ids, raw_ids)
    order = np.argsort(raw_ids, kind="stable")
    twice = raw_ids[order][1:][np.diff(raw_ids[order]) == 0]
    if len(twice):
        raise HandOffError(f"movieId {twice[0]} has two embeddings. Run 03 and 04 again.")
    broken = raw_ids[~finite(raw)]
    if len(broken):
        raise HandOffError(
            f"The embeddings of movieId {broken[0]} (and {len(broken) - 1} others) hold NaN or infinity. "
            "Run 03 and 04 again, or mend the PRECOMPUTED file."
        )
    known = order[np.isin(raw_ids[order], known_ids)]
    reduction = pca.fit(raw, known if len(known) >= 2 else order, width)
    vectors, present = np.zeros((len(movie_ids), width), np.float32), np.zeros(len(movie_ids), bool)
    vectors[rows], present[rows] = reduction.project(raw), True
    return Reduced(vectors, present, reduction.centre, reduction)


def reduce_facts(movie_facts: pa.Table, known_ids: np.ndarray, width: int) -> Reduced:
    """Return the block of facts of all movies, in ascending movieId; people get ``width`` columns.

    ``known_ids`` are the movies with training ratings, on which the columns are fitted. A movie of which nothing is
    known is not present, and has only the flags that say so. Raises HandOffError for a movie that comes twice.
    """
    movie_facts = movie_facts.sort_by("movieId")
    twice = np.flatnonzero(np.diff(movie_facts["movieId"].to_numpy()) == 0)
    if len(twice):
        movie = movie_facts["movieId"][int(twice[0])]
        raise HandOffError(f"movie_facts.parquet: movieId {movie} is there twice. Run 02-Data-Enrichment.ipynb again.")
    reduction = facts.fit(movie_facts, known_ids, width)
    nothing = np.zeros(reduction.width, np.float32)
    return Reduced(reduction.project(movie_facts), facts.known(movie_facts), nothing, reduction)


def finite(raw: Rows) -> np.ndarray:
    """Return which rows of ``raw`` float32 [n, d] hold neither NaN nor infinity, bool [n]."""
    # A sum is NaN or infinite where one of its numbers is; it needs no second array of the same size.
    with np.errstate(invalid="ignore", over="ignore"):
        starts = range(0, len(raw), BLOCK_ROWS)
        sums = [raw[start : start + BLOCK_ROWS].sum(axis=1, dtype=np.float64) for start in starts]
    return np.isfinite(np.concatenate([*sums, np.zeros(0)]))


def row_of(movie_ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the position in sorted, unique ``movie_ids`` of each of ``wanted``; HandOffError if one is absent."""
    rows = np.searchsorted(movie_ids, wanted)
    absent = (rows == len(movie_ids)) | (movie_ids[np.minimum(rows, len(movie_ids) - 1)] != wanted)
    if absent.any():
        raise HandOffError(
            f"movieId {wanted[absent][0]} (and {absent.sum() - 1} others) is not in movies_converted.parquet. "
            "Run the notebook that made these vectors again."
        )
    return rows


def table(movie_ids: np.ndarray, parts: Mapping[str, Vectors]) -> pa.Table:
    """Return the feature store: movieId, a column for each of ``BLOCKS``, then their flags; one row per movie.

    Raises ParameterError where the blocks are too wide together.
    """
    widths = {block: parts[block].vectors.shape[1] for block in BLOCKS}
    if sum(widths.values()) > WIDEST:
        listed = ", ".join(f"{block} {width}" for block, width in widths.items())
        raise parameters.ParameterError(
            f"The columns of content are {sum(widths.values()):,} together ({listed}); HugeCTR embeddings are at most "
            f"{WIDEST:,} wide. Lower FACTS_DIM, POSTER_DIM or TEXT_DIM."
        )
    vectors = {block: vector_columns.vector_column(parts[block].vectors) for block in BLOCKS}
    flags = {FLAGS[block]: parts[block].present for block in BLOCKS}
    return pa.table({"movieId": movie_ids} | vectors | flags)
