"""Feature sets against each other (notebook 07): is a difference more than luck, and for which ratings is it there?

All sets are judged on the same rows and the same resamples of users, which removes what they have in common.
Several sets against one are several chances to be lucky: ``holm`` takes that back.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from utils.handoff import parameters
from utils.handoff.contract import FLAGS
from utils.metrics.bootstrap import interval, p_value, two_way
from utils.metrics.checks import EvaluationError, checked
from utils.metrics.click import Pairs, Rated

COLUMNS = ("features", "difference", "low", "high", "p", "p_holm", "seeds", "n")
"""Columns of ``paired_differences``, in order."""
REPLICATES = 1000
"""More than for an interval: the least p-value is 2 / (replicates + 1), before Holm multiplies it."""
FEW = 5
SLICES = {"valid": "warm", "cold": "cold"}
"""Part of the data to the slice of all its rows: validation movies are known, cold ones were never rated in train."""


def paired_differences(
    rated: Rated,
    scores: Mapping[str, Sequence[np.ndarray]],
    against: str = "ids",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return COLUMNS, one row for each feature set but ``against``: how much higher its AUC is, averaged over seeds.

    ``scores`` gives for each feature set one [n] per seed of training, the seeds in the same order. ``difference``
    is the mean over seeds of AUC(features) - AUC(against), ``low`` and ``high`` its 95% interval, ``p`` its two-sided
    p-value (``bootstrap.p_value``) over resamples of users and movies, each used for all seeds and sets at once;
    ``p_holm`` is corrected for the number of rows. Seeds are not resampled: their noise is averaged. Raises
    EvaluationError where a set is missing, has another number of seeds, or has scores that do not fit the rows.
    """
    parameters.whole("replicates", replicates)
    averages = replicated_auc(rated, scores, against, replicates, seed)
    rows: list[dict[str, Any]] = []
    for name, average in averages.items():
        if name == against:
            continue
        difference = average - averages[against]
        low, high = interval(difference[1:])
        p = p_value(difference[1:])
        values = {"features": name, "difference": difference[0], "low": low, "high": high, "p": p}
        rows.append(values | {"seeds": len(scores[name]), "n": len(rated.label)})
    corrected = holm([row["p"] for row in rows])
    return pd.DataFrame([row | {"p_holm": p} for row, p in zip(rows, corrected, strict=True)], columns=list(COLUMNS))


def replicated_auc(
    rated: Rated, scores: Mapping[str, Sequence[np.ndarray]], against: str, replicates: int, seed: int
) -> dict[str, np.ndarray]:
    """Return for each set the AUC averaged over its seeds, float64 [1 + replicates]: of all rows, then of resamples.

    The resamples of users and movies are the same for all sets, so their differences are paired.
    """
    _check_sets(scores, against)
    users, user = np.unique(rated.user, return_inverse=True)
    movies, movie = np.unique(rated.movie, return_inverse=True)
    averages = {}
    for name, of_seeds in scores.items():
        total = np.zeros(1 + replicates)
        for number, score in enumerate(of_seeds):
            try:
                pairs = Pairs.of(*checked(rated.label, score, rated.user))
            except EvaluationError as error:
                raise EvaluationError(f"Scores {number} of {name!r}: {error}") from error
            total[0] += pairs.auc(np.ones(len(score), np.int64))
            # Drawn again rather than kept: the seed makes them the same, and one set of scores is in memory at a time.
            drawn = two_way(len(users), len(movies), replicates, seed)
            total[1:] += [pairs.auc(of_user[user] * of_movie[movie]) for of_user, of_movie in drawn]
        averages[name] = total / len(of_seeds)
    return averages


def _check_sets(scores: Mapping[str, Sequence[Any]], against: str) -> None:
    if against not in scores:
        raise EvaluationError(f"against={against!r} is not among the feature sets {sorted(scores)}: train it too.")
    seeds = {name: len(of_seeds) for name, of_seeds in scores.items()}
    if set(seeds.values()) != {seeds[against] or 1}:
        raise EvaluationError(f"Seeds by feature set are {seeds}: give each set the same seeds, one at least.")


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the p-values, float64 [m], corrected so that the chance of any false claim among them stays below alpha.

    The i-th smallest, counting from 0, is multiplied by m - i, made at least as large as those before, and at most 1
    (Holm, Scandinavian Journal of Statistics 6, 1979). nan stays nan and does not count in m.
    Raises EvaluationError for a value outside [0, 1].
    """
    p = np.asarray(p_values, np.float64)
    known = np.flatnonzero(~np.isnan(p))
    wrong = known[(p[known] < 0) | (p[known] > 1)]
    if wrong.size:
        raise EvaluationError(f"p_values[{wrong[0]}] is {p[wrong[0]]}: a p-value is between 0 and 1.")
    order = known[np.argsort(p[known], kind="stable")]
    corrected = np.full(p.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def part_masks(part: str, raw: Mapping[str, Any], features: Any, few: int = FEW) -> dict[str, np.ndarray]:
    """Return the slices of a part of the data, "valid" or "cold", as bool masks [rows]; those without rows left out.

    Of valid: "warm", all rows; "few-shot", the movie has 1 to ``few`` ratings in train; "new users", the user has none
    (many under the temporal split, hardly any under the random one). Of cold: "cold", all rows; "cold with poster" and
    "cold with text", where only some of the movies have one. ``raw`` are the parts by name, with raw userId and
    movieId; ``features`` is the feature store.
    """
    parameters.whole("few", few)
    rows = raw[part]
    masks = {SLICES[part]: np.ones(len(rows), bool)}
    if part == "valid":
        shots = _train_ratings(raw["train"], rows, "movieId")
        masks["few-shot"] = (shots >= 1) & (shots <= few)
        masks["new users"] = _train_ratings(raw["train"], rows, "userId") == 0
    else:
        movie = np.asarray(rows["movieId"])
        for content in ("poster", "text"):
            having = np.asarray(features["movieId"])[np.asarray(features[FLAGS[content]])]
            mask = np.isin(movie, having)
            if not mask.all():
                masks[f"cold with {content}"] = mask
    return {name: mask for name, mask in masks.items() if mask.any()}


def _train_ratings(train: Any, rows: Any, column: str) -> np.ndarray:
    """Return how many ratings in train the user or movie of each row has, int64 [rows]."""
    known, counts = np.unique(np.asarray(train[column]), return_counts=True)
    asked = np.asarray(rows[column])
    if not known.size:
        return np.zeros(len(asked), np.int64)
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.where(known[place] == asked, counts[place], 0)
