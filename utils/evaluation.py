"""Evaluation of click predictions (notebook 07): AUC, logloss, GAUC, and intervals over users.

Scores are compared exactly: equal scores are ties and count half. Intervals are 95% percentile
bootstrap intervals that resample users, not ratings, because the ratings of one user are not
independent. The same seed gives the same resamples, so models scored on the same rows share them.
Lists of recommendations are judged in ``utils.ranking``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from utils import parameters

METRICS_COLUMNS = ("trainer", "model", "features", "seed", "split", "slice", "metric", "value", "low", "high", "n")
"""Columns of ``metrics.csv``, in order."""
CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1 in the logloss."""
REPLICATES = 200
PERCENTILES = (2.5, 97.5)


class EvaluationError(ValueError):
    """Labels, scores or lists that no metric can be computed from."""


def _checked(label: np.ndarray, score: np.ndarray, user: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    label, score = np.asarray(label), np.asarray(score)
    shapes = {"label": label.shape, "score": score.shape} | ({} if user is None else {"user": np.shape(user)})
    if label.ndim != 1 or len(set(shapes.values())) != 1:
        raise EvaluationError(f"Shapes {shapes} differ: give one-dimensional arrays of one length, one entry a rating.")
    liked = label == 1
    if not (liked | (label == 0)).all():
        row = int(np.flatnonzero(~(liked | (label == 0)))[0])
        raise EvaluationError(f"label[{row}] is {label[row]!r}: labels must be 0 or 1 (1 where rating > 3).")
    if not np.isfinite(score).all():
        row = int(np.flatnonzero(~np.isfinite(score))[0])
        raise EvaluationError(
            f"score[{row}] is {score[row]!r}: the model diverged; lower its learning rate, train again."
        )
    return liked, score


@dataclass(frozen=True)
class _Pairs:
    """Everything about one set of scores that does not change from one resample of users to the next.

    ``liked`` and ``other`` are the user codes of rows with label 1 and 0, in order of score;
    ``below`` and ``up_to`` count, for each liked row, the other rows with a lower, and with a lower or equal, score.
    """

    liked: np.ndarray
    other: np.ndarray
    below: np.ndarray
    up_to: np.ndarray

    @classmethod
    def of(cls, code: np.ndarray, liked: np.ndarray, score: np.ndarray) -> "_Pairs":
        rows, others = np.flatnonzero(liked), np.flatnonzero(~liked)
        rows, others = rows[np.argsort(score[rows])], others[np.argsort(score[others])]
        below = np.searchsorted(score[others], score[rows], "left")
        up_to = np.searchsorted(score[others], score[rows], "right")
        return cls(code[rows], code[others], below, up_to)

    def auc(self, counts: np.ndarray) -> float:
        """Return the AUC when the rows of user u are there ``counts[u]`` times; nan when one class is missing."""
        weight, cumulated = counts[self.liked], np.zeros(len(self.other) + 1, np.int64)
        np.cumsum(counts[self.other], out=cumulated[1:])
        pairs = float(weight.sum()) * float(cumulated[-1])
        if pairs == 0:
            return float("nan")
        # Twice the number of won pairs stays a whole number, so the sum is exact.
        won = np.dot(weight, cumulated[self.below] + cumulated[self.up_to])
        return float(won) / 2 / pairs


def auc(label: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a liked row scores above another, ties counting half.

    ``label`` [n] of 0 and 1, ``score`` [n] float32 or float64 on any scale. This is the Mann-Whitney
    statistic with mid-ranks, U / (n1 n0) (Hanley and McNeil, Radiology 143, 1982). nan when only
    one class is present. Raises EvaluationError for labels or scores that are none.
    """
    liked, score = _checked(label, score)
    return _Pairs.of(np.zeros(len(score), np.int64), liked, score).auc(np.ones(1, np.int64))


def _losses(liked: np.ndarray, score: np.ndarray) -> np.ndarray:
    outside = (score < 0) | (score > 1)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise EvaluationError(f"score[{row}] is {score[row]!r}: logloss needs probabilities; apply the sigmoid first.")
    probability = np.clip(score.astype(np.float64), CLIP, 1 - CLIP)
    return -np.log(np.where(liked, probability, 1 - probability))


def logloss(label: np.ndarray, score: np.ndarray) -> float:
    """Return the mean of -log p(label) in nats (binary cross-entropy; Good, J. R. Stat. Soc. B 14, 1952).

    ``score`` [n] are probabilities of label 1, clipped to [1e-7, 1 - 1e-7]. nan for no rows.
    """
    losses = _losses(*_checked(label, score))
    return float(losses.mean()) if losses.size else float("nan")


def _user_auc(user: np.ndarray, liked: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each distinct user, ascending: the AUC over the user's own rows (nan with one class), and the rows."""
    n = len(score)
    if n == 0:
        return np.zeros(0), np.zeros(0, np.int64)
    order = np.lexsort((score, user))
    user, score, liked = user[order], score[order], liked[order]
    new_user = np.r_[True, user[1:] != user[:-1]]
    first = np.flatnonzero(new_user)
    tie = np.flatnonzero(new_user | np.r_[True, score[1:] != score[:-1]])
    # Ranks count from 1 in the whole array; ties share the mean of their first and last rank.
    middle = np.repeat((tie + np.r_[tie[1:], n] + 1) / 2, np.diff(np.r_[tie, n]))
    rows = np.diff(np.r_[first, n])
    within = middle - np.repeat(first, rows)
    positive = np.add.reduceat(liked, first, dtype=np.int64)
    ranks = np.add.reduceat(np.where(liked, within, 0.0), first)
    pairs = positive * (rows - positive)
    won = ranks - positive * (positive + 1) / 2
    return np.divide(won, pairs, out=np.full(len(first), np.nan), where=pairs > 0), rows


def gauc(user: np.ndarray, label: np.ndarray, score: np.ndarray) -> tuple[float, int, int]:
    """Return (GAUC, users used, users left out): the AUC within each user, weighted by the user's rows.

    Sum of n_u AUC_u over sum of n_u (Zhu et al., Optimized Cost per Click in Taobao, KDD 2017, eq. 10;
    impressions are the rows). Users whose rows are all liked or all not have no AUC and are left out.
    """
    liked, score = _checked(label, score, user)
    values, rows = _user_auc(np.asarray(user), liked, score)
    used = ~np.isnan(values)
    return _ratio(values[used] @ rows[used], rows[used].sum()), int(used.sum()), int((~used).sum())


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")


def resamples(users: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Yield, ``replicates`` times, how often each of ``users`` users is drawn with replacement: int64 [users].

    Efron, Bootstrap Methods, Annals of Statistics 7, 1979. One resample is in memory at a time.
    """
    generator = np.random.default_rng(seed)
    for _ in range(replicates):
        drawn = generator.integers(0, max(users, 1), users)
        yield np.bincount(drawn, minlength=users)


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of bootstrap replicates, nan ones left out; (nan, nan) when none is left."""
    kept = np.asarray(values, np.float64)
    kept = kept[~np.isnan(kept)]
    low, high = np.percentile(kept, PERCENTILES) if kept.size else (np.nan, np.nan)
    return float(low), float(high)


def metric_row(metric: str, value: float, bounds: tuple[float, float], n: int, **tags: Any) -> dict[str, Any]:
    """Return one row of ``metrics.csv``; ``tags`` are the first six of METRICS_COLUMNS.

    Raises EvaluationError when a tag is missing or unknown.
    """
    row = tags | {"metric": metric, "value": float(value), "low": bounds[0], "high": bounds[1], "n": int(n)}
    if set(row) != set(METRICS_COLUMNS):
        raise EvaluationError(f"A metrics row needs {METRICS_COLUMNS}, not {tuple(row)}.")
    return {column: row[column] for column in METRICS_COLUMNS}


def evaluate(
    user: np.ndarray,
    label: np.ndarray,
    score: np.ndarray,
    *,
    trainer: str,
    model: str,
    features: str,
    seed: int,
    split: str,
    slice: str,
    replicates: int = REPLICATES,
    bootstrap_seed: int = 0,
) -> list[dict[str, Any]]:
    """Return rows for auc, logloss and gauc with 95% intervals over users.

    ``user``, ``label``, ``score`` are [n]; scores are probabilities. ``seed`` is the seed of the training.
    n is the number of rows, for gauc the number of users used. An empty slice gives nan and n = 0.
    """
    parameters.whole("replicates", replicates)
    liked, score = _checked(label, score, user)
    users, code = np.unique(user, return_inverse=True)
    pairs = _Pairs.of(code, liked, score)
    lost = np.bincount(code, _losses(liked, score), minlength=len(users))
    within, rows = _user_auc(code, liked, score)
    used = ~np.isnan(within)
    won, impressions = np.where(used, within, 0) * rows, np.where(used, rows, 0)

    def metrics(counts: np.ndarray) -> tuple[float, float, float]:
        return pairs.auc(counts), _ratio(counts @ lost, counts @ rows), _ratio(counts @ won, counts @ impressions)

    values = metrics(np.ones(len(users), np.int64))
    replicated = np.array([metrics(counts) for counts in resamples(len(users), replicates, bootstrap_seed)])
    tags = {"trainer": trainer, "model": model, "features": features, "seed": seed, "split": split, "slice": slice}
    sizes = (len(score), len(score), int(used.sum()))
    return [
        metric_row(name, value, interval(column), n, **tags)
        for name, value, column, n in zip(("auc", "logloss", "gauc"), values, replicated.T, sizes, strict=True)
    ]


def paired_auc_difference(
    user: np.ndarray,
    label: np.ndarray,
    score_a: np.ndarray,
    score_b: np.ndarray,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return (difference, low, high) of AUC(a) - AUC(b) on the same rows, each resample of users used for both.

    All arrays are [n], row i of each being the same rating.
    """
    parameters.whole("replicates", replicates)
    liked, score_a = _checked(label, score_a, user)
    _, score_b = _checked(label, score_b, user)
    users, code = np.unique(user, return_inverse=True)
    a, b = _Pairs.of(code, liked, score_a), _Pairs.of(code, liked, score_b)
    everyone = np.ones(len(users), np.int64)
    differences = [a.auc(counts) - b.auc(counts) for counts in resamples(len(users), replicates, seed)]
    return a.auc(everyone) - b.auc(everyone), *interval(differences)


def metrics_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as a frame with the columns METRICS_COLUMNS."""
    return pd.DataFrame(list(rows), columns=list(METRICS_COLUMNS))


def summarise(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each features, slice and metric (of one trainer, model and split): the mean over seeds.

    ``low`` is the lowest low and ``high`` the highest high of the seeds, a cautious interval; ``seeds`` counts them;
    ``n`` is the smallest. Rows keep their order of appearance.
    """
    keys = ["trainer", "model", "split", "features", "slice", "metric"]
    groups = metrics.groupby(keys, sort=False, as_index=False)
    return groups.agg(
        value=("value", "mean"), low=("low", "min"), high=("high", "max"), n=("n", "min"), seeds=("seed", "nunique")
    )
