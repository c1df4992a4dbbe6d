"""Bootstrap over users: resamples, intervals and p-values that every metric of notebook 07 shares.

Ratings of one user depend on each other, and so do ratings of one movie: whole users are drawn, and for the AUC whole
movies, too. The same seed gives the same resamples, so what is computed on the same rows is paired.
"""

from collections.abc import Iterator, Sequence

import numpy as np

REPLICATES = 200
PERCENTILES = (2.5, 97.5)


def resamples(users: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Yield, ``replicates`` times, how often each of ``users`` users is drawn with replacement: int64 [users].

    Efron, Bootstrap Methods, Annals of Statistics 7, 1979. One resample is in memory at a time.
    """
    generator = np.random.default_rng(seed)
    for _ in range(replicates):
        drawn = generator.integers(0, max(users, 1), users)
        yield np.bincount(drawn, minlength=users)


def two_way(users: int, movies: int, replicates: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, ``replicates`` times, how often each user and each movie is drawn: int64 [users] and int64 [movies].

    A rating counts as often as its user times as often as its movie: the pigeonhole bootstrap (Owen, Annals of Applied
    Statistics 1, 2007), whose intervals are rather too wide than too narrow.
    """
    pairs = zip(resamples(users, replicates, seed), resamples(movies, replicates, seed + 1_000_003), strict=True)
    yield from pairs


def interval(values: Sequence[float] | np.ndarray, centre: float | None = None) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of bootstrap replicates, nan ones left out; (nan, nan) when none is left.

    With ``centre``, for a metric that cannot be negative and that resampling inflates, the replicates are moved so
    that their mean is ``centre``, and cut at 0.
    """
    kept = _known(values)
    if not kept.size:
        return float("nan"), float("nan")
    if centre is not None:
        kept = np.maximum(kept - kept.mean() + centre, 0)
    low, high = np.percentile(kept, PERCENTILES)
    return float(low), float(high)


def p_value(differences: Sequence[float] | np.ndarray) -> float:
    """Return the two-sided bootstrap p-value of "no difference": twice the smaller tail beyond 0, at most 1.

    A tail of c of B replicates, 0 itself counting on both sides, is (c + 1) / (B + 1), never 0 (Davison and Hinkley,
    Bootstrap Methods and their Application, 1997, section 4.2; the inversion of the percentile interval). So the
    least p is 2 / (B + 1). nan replicates are left out; nan when none is left.
    """
    kept = _known(differences)
    if not kept.size:
        return float("nan")
    tail = min(np.count_nonzero(kept <= 0), np.count_nonzero(kept >= 0))
    return min(1.0, 2 * (tail + 1) / (len(kept) + 1))


def _known(values: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return values[~np.isnan(values)]
