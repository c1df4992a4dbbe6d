"""Calibration (notebook 07): does a like that is predicted with probability 0.7 happen in 7 of 10 cases?

Rows are sorted by score and cut into bins of equal count. ``reliability`` compares predicted and observed likes in
each bin, ``calibration_error`` is their mean distance in one number.
"""

import numpy as np
import pandas as pd

from utils.handoff import parameters
from utils.metrics.bootstrap import REPLICATES, interval, resamples
from utils.metrics.checks import as_probabilities, checked, ratio

BINS = 10
"""Groups of rows of like score in the calibration error."""
COLUMNS = ("score", "share", "low", "high", "n")
"""Columns of ``reliability``, in order."""


def equal_count_bins(score: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin, 0 to ``bins`` - 1, of each row: by rank, equal scores together in the bin of their middle."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    twice_middle = 2 * np.cumsum(counts) - counts
    return (twice_middle * bins // (2 * max(len(score), 1)))[inverse]


def calibration_error(label: np.ndarray, score: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean over rows of |mean score - share of likes| in the row's bin.

    Sum over bins of n_b / n |mean score - mean label|, rows sorted by score and cut into ``bins`` groups (Naeini,
    Cooper and Hauskrecht, AAAI 2015) of equal count (Nguyen and O'Connor, EMNLP 2015); equal scores share a group.
    0 is perfect; a perfect model shows about 0.4 sqrt(bins / n), for each bin has noise. nan for no rows.
    """
    parameters.whole("bins", bins)
    liked, score = checked(label, score)
    excess = np.bincount(equal_count_bins(score, bins), as_probabilities(score) - liked, minlength=bins)
    return ratio(np.abs(excess).sum(), len(score))


def reliability(
    user: np.ndarray,
    label: np.ndarray,
    score: np.ndarray,
    bins: int = BINS,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return COLUMNS, by ascending score: one row a bin of ``calibration_error`` that is not empty.

    ``user``, ``label`` and ``score`` are [n]. ``score`` is the mean probability of the bin's ``n`` rows and ``share``
    the share of likes among them (DeGroot and Fienberg, The Statistician 32, 1983); ``low`` and ``high`` are its 95%
    interval over resamples of users, while the bins stay. Of a perfect model, score and share differ by chance only.
    No rows for no ratings. Raises EvaluationError for scores that are no probabilities or labels that are not 0 or 1.
    """
    parameters.whole("bins", bins)
    parameters.whole("replicates", replicates)
    liked, score = checked(label, score, user)
    probability, place = as_probabilities(score), equal_count_bins(score, bins)
    users, code = np.unique(user, return_inverse=True)
    cell, shape = code * bins + place, (len(users), bins)
    likes = np.bincount(cell, liked, minlength=len(users) * bins).reshape(shape)
    rows = np.bincount(cell, minlength=len(users) * bins).reshape(shape)
    drawn = []
    for counts in resamples(len(users), replicates, seed):
        there = counts @ rows
        drawn.append(np.divide(counts @ likes, there, out=np.full(bins, np.nan), where=there > 0))
    count = rows.sum(axis=0)
    total, liked_rows = np.bincount(place, probability, minlength=bins), likes.sum(axis=0)
    shares = np.array(drawn)
    return pd.DataFrame(
        [
            (total[b] / count[b], liked_rows[b] / count[b], *interval(shares[:, b]), count[b])
            for b in np.flatnonzero(count)
        ],
        columns=list(COLUMNS),
    )
