"""Exact PCA of a large array of vectors, block by block: 62,423 movies of 3,072 numbers without a second copy.

scikit-learn's ``PCA(svd_solver="covariance_eigh")`` is the same computation, but it wants a writable array of
the fitted movies alone, which is a copy, and sums squares in float32 before it takes the mean off: where the
mean is large against the spread its components were off by 3e-3. In float64 it needs a copy twice as large.
``IncrementalPCA`` keeps only the leading directions from batch to batch, so its result is approximate and
depends on the batches; ``svd_solver="auto"`` chooses a randomised solver at these sizes, off by 1e-2.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from sklearn.utils.extmath import svd_flip

from utils.handoff.vector_columns import Stacked

Rows = np.ndarray | Stacked
"""Vectors, float32 [n, d], of which blocks are copied."""
_BLOCK = 4096
"""Rows in float64 at a time: 100 MB at 3,072 columns."""
_NEGLIGIBLE = 1e-10
"""A direction with less than this share of the widest one's variance is the rounding of float32, not content."""


@dataclass(frozen=True)
class Reduction:
    """How one modality of raw width d becomes k columns: ``scale * components @ vector``, not centred."""

    mean: np.ndarray
    """Mean of the fitted movies, float64 [d]."""
    components: np.ndarray
    """Orthonormal principal directions, widest first, float64 [k, d]."""
    explained: np.ndarray
    """Share of the variance that each component explains, float64 [k]."""
    scale: float
    """Makes the kept variance of the fitted movies sum to one."""
    fitted_on: int
    """Movies that the components were fitted on."""

    def sha256(self) -> str:
        """Return the sha256 of mean, components and scale as little-endian float64."""
        parts = (self.mean, self.components, np.array([self.scale]))
        return hashlib.sha256(b"".join(part.astype("<f8").tobytes() for part in parts)).hexdigest()


def fit(raw: Rows, rows: np.ndarray, width: int) -> Reduction:
    """Fit at most ``width`` principal directions on those ``rows`` int64 [m] of ``raw`` float32 [n, d].

    The covariance is summed in float64 over blocks of rows, after the mean is known, so that nothing
    cancels. Signs are scikit-learn's: the entry of a direction that is largest in size is positive. Fewer
    directions come back where the data has fewer, and none where no two of the rows differ.
    """
    raw_width = raw.shape[1]
    mean, largest = np.zeros(raw_width), 0.0
    for block in _blocks(raw, rows):
        mean += block.sum(axis=0)
        largest = max(largest, np.abs(block).max())
    mean /= max(len(rows), 1)
    covariance = np.zeros((raw_width, raw_width))
    for block in _blocks(raw, rows):
        block -= mean
        covariance += block.T @ block
    covariance /= max(len(rows) - 1, 1)
    total, widest = np.trace(covariance), covariance.diagonal().max()
    kept = min(width, raw_width, len(rows) - 1)
    if kept < 1 or np.sqrt(widest) <= 1e-6 * largest:
        return Reduction(mean, np.zeros((0, raw_width)), np.zeros(0), 1.0, len(rows))
    variances, directions = eigh(covariance, subset_by_index=[raw_width - kept, raw_width - 1], overwrite_a=True)
    real = (variances > _NEGLIGIBLE * variances[-1])[::-1]
    variances, directions = variances[::-1][real], directions.T[::-1][real]
    _, directions = svd_flip(None, directions, u_based_decision=False)
    return Reduction(mean, directions, variances / total, float(1 / np.sqrt(variances.sum())), len(rows))


def project(reduction: Reduction, raw: Rows) -> np.ndarray:
    """Return ``raw`` float32 [n, d] reduced to float32 [n, k].

    Computed in float64 and then rounded, so that a movie's vector does not show which block it was in.
    """
    projected = np.empty((len(raw), len(reduction.components)), dtype=np.float32)
    for start in range(0, len(raw), _BLOCK):
        rows = slice(start, start + _BLOCK)
        projected[rows] = reduction.scale * (raw[rows].astype(np.float64) @ reduction.components.T)
    return projected


def finite(raw: Rows) -> np.ndarray:
    """Return which rows of ``raw`` float32 [n, d] hold neither NaN nor infinity, bool [n]."""
    # A sum is NaN or infinite where one of its numbers is; it needs no second array of the same size.
    with np.errstate(invalid="ignore", over="ignore"):
        starts = range(0, len(raw), _BLOCK)
        sums = [raw[start : start + _BLOCK].sum(axis=1, dtype=np.float64) for start in starts]
    return np.isfinite(np.concatenate([*sums, np.zeros(0)]))


def _blocks(raw: Rows, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield those rows as float64 [at most _BLOCK, d], in the order given."""
    for start in range(0, len(rows), _BLOCK):
        yield raw[rows[start : start + _BLOCK]].astype(np.float64)
