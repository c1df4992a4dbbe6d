"""Evaluation of click predictions (notebook 07): AUC, logloss, GAUC, and the rows of ``metrics.csv`` with intervals.

Scores are compared exactly: equal scores are ties and count half. Intervals are 95% percentile
bootstrap intervals that resample users and movies, not ratings, because the ratings of one user are not
independent (``bootstrap``). Models scored on the same rows share the resamples. ``calibration`` asks whether
probabilities can be believed, ``ranking`` judges lists of recommendations, ``significance`` one model against another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from utils.handoff import parameters
from utils.metrics import ranking
from utils.metrics.bootstrap import REPLICATES, interval, resamples, two_way
from utils.metrics.calibration import BINS, equal_count_bins
from utils.metrics.checks import EvaluationError, as_probabilities, checked, ratio

METRICS_COLUMNS = ("trainer", "model", "features", "seed", "split", "slice", "metric", "value", "low", "high", "n")
"""Columns of ``metrics.csv``, in order."""
MANY = 1_000_000
"""Rows from which fewer resamples do: intervals are narrow then."""
CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1 in the logloss."""


@dataclass(frozen=True)
class Pairs:
    """Everything about one set of scores that does not change from one resample to the next.

    ``liked`` and ``other`` are the rows with label 1 and 0, in order of score; ``below`` and ``up_to`` count, for each
    liked row, the other rows with a lower, and with a lower or equal, score.
    """

    liked: np.ndarray
    other: np.ndarray
    below: np.ndarray
    up_to: np.ndarray

    @classmethod
    def of(cls, liked: np.ndarray, score: np.ndarray) -> "Pairs":
        rows, others = np.flatnonzero(liked), np.flatnonzero(~liked)
        rows, others = rows[np.argsort(score[rows])], others[np.argsort(score[others])]
        below = np.searchsorted(score[others], score[rows], "left")
        up_to = np.searchsorted(score[others], score[rows], "right")
        return cls(rows, others, below, up_to)

    def auc(self, counts: np.ndarray) -> float:
        """Return the AUC when row r is there ``counts[r]`` times, int64 [n]; nan when one class is missing."""
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
    liked, score = checked(label, score)
    return Pairs.of(liked, score).auc(np.ones(len(score), np.int64))


def _losses(liked: np.ndarray, score: np.ndarray) -> np.ndarray:
    probability = np.clip(as_probabilities(score), CLIP, 1 - CLIP)
    return -np.log(np.where(liked, probability, 1 - probability))


def logloss(label: np.ndarray, score: np.ndarray) -> float:
    """Return the mean of -log p(label) in nats (binary cross-entropy; Good, J. R. Stat. Soc. B 14, 1952).

    ``score`` [n] are probabilities of label 1, clipped to [1e-7, 1 - 1e-7]. nan for no rows.
    """
    losses = _losses(*checked(label, score))
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
    within: np.ndarray = middle - np.repeat(first, rows)
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
    liked, score = checked(label, score, user)
    values, rows = _user_auc(np.asarray(user), liked, score)
    used = ~np.isnan(values)
    return ratio(values[used] @ rows[used], rows[used].sum()), int(used.sum()), int((~used).sum())


def metric_row(
    metric: str, value: float, bounds: tuple[float, float], n: int, tags: Mapping[str, Any]
) -> dict[str, Any]:
    """Return one row of ``metrics.csv``; ``tags`` are the first six of METRICS_COLUMNS.

    Raises EvaluationError when a tag is missing or unknown.
    """
    row = dict(tags) | {"metric": metric, "value": float(value), "low": bounds[0], "high": bounds[1], "n": int(n)}
    if set(row) != set(METRICS_COLUMNS):
        raise EvaluationError(f"A metrics row needs {METRICS_COLUMNS}, not {tuple(row)}.")
    return {column: row[column] for column in METRICS_COLUMNS}


@dataclass(frozen=True)
class Rated:
    """The rows that scores are judged on: ``user``, ``movie`` (ids of any kind) and ``label`` (0 or 1), each [n]."""

    user: np.ndarray
    movie: np.ndarray
    label: np.ndarray

    def take(self, mask: np.ndarray) -> "Rated":
        """Return the rows of a mask bool [n]."""
        return Rated(self.user[mask], self.movie[mask], self.label[mask])


def evaluate(
    rated: Rated,
    score: np.ndarray,
    tags: Mapping[str, Any],
    probabilities: bool = True,
    replicates: int | None = None,
) -> list[dict[str, Any]]:
    """Return rows for auc, logloss, gauc and ece (``calibration_error``) with 95% intervals.

    ``score`` is [n]; without ``probabilities`` it may be on any scale, and there are no rows for logloss and ece.
    The interval of auc resamples users and movies, the others users (``bootstrap``): REPLICATES times by default, a
    quarter of that from MANY rows on. n is the number of rows, for gauc that of users used. An empty slice gives nan.
    """
    if replicates is None:
        replicates = REPLICATES if len(score) < MANY else REPLICATES // 4
    parameters.whole("replicates", replicates)
    liked, score = checked(rated.label, score, rated.user)
    users, user = np.unique(rated.user, return_inverse=True)
    movies, movie = np.unique(rated.movie, return_inverse=True)
    of_users = _user_auc(user, liked, score)
    pairs, metrics = Pairs.of(liked, score), _by_user(user, liked, score, of_users, probabilities)
    values = {"auc": pairs.auc(np.ones(len(score), np.int64))} | metrics(np.ones(len(users), np.int64))
    replicated = [
        {"auc": pairs.auc(of_user[user] * of_movie[movie])} | metrics(of_user)
        for of_user, of_movie in two_way(len(users), len(movies), replicates, 0)
    ]
    gauc_users = np.count_nonzero(~np.isnan(of_users[0]))
    rows = []
    for name, value in values.items():
        bounds = interval([replicate[name] for replicate in replicated], centre=value if name == "ece" else None)
        rows.append(metric_row(name, value, bounds, gauc_users if name == "gauc" else len(score), tags))
    return rows


def _by_user(
    code: np.ndarray, liked: np.ndarray, score: np.ndarray, of_users: tuple[np.ndarray, np.ndarray], probabilities: bool
) -> Callable[[np.ndarray], dict[str, float]]:
    """Return gauc, logloss and ece as a function of how often each user is there; ``of_users`` is ``_user_auc``'s."""
    within, rows = of_users
    used = ~np.isnan(within)
    won, impressions = np.where(used, within, 0) * rows, np.where(used, rows, 0)
    if not probabilities:
        return lambda counts: {"gauc": ratio(counts @ won, counts @ impressions)}
    # The bins stay those of all rows, so that a resample only adds up what each user adds to each bin.
    cell = code * BINS + equal_count_bins(score, BINS)
    excess = np.bincount(cell, score.astype(np.float64) - liked, minlength=len(rows) * BINS).reshape(len(rows), BINS)
    lost = np.bincount(code, _losses(liked, score), minlength=len(rows))
    added = np.column_stack([rows, lost, won, impressions, excess])

    def metrics(counts: np.ndarray) -> dict[str, float]:
        whole, loss, within_won, within_rows, *gaps = counts.astype(np.float64) @ added
        return {
            "logloss": ratio(loss, whole), "gauc": ratio(within_won, within_rows),
            "ece": ratio(float(np.abs(gaps).sum()), whole),
        }  # fmt: skip

    return metrics


def ranking_rows(
    recommended: np.ndarray,
    user_index: np.ndarray,
    movie_index: np.ndarray,
    tags: Mapping[str, Any],
    k: int = 10,
    replicates: int = REPLICATES,
) -> list[dict[str, Any]]:
    """Return the rows of ``metrics.csv`` for recall@k and ndcg@k: means over users with 95% intervals over users.

    Arguments as in ``ranking.recall_ndcg`` and ``evaluate``. n is the number of users with a relevant movie.
    """
    users, recall, ndcg = ranking.recall_ndcg(recommended, user_index, movie_index, k)
    values = np.stack([recall, ndcg])
    n = len(users)
    means = values.mean(1) if n else np.full(2, np.nan)
    replicated = [values @ counts / n for counts in resamples(n, replicates, 0)] if n else [means]
    return [
        metric_row(name, mean, interval(column), n, tags)
        for name, mean, column in zip((f"recall@{k}", f"ndcg@{k}"), means, np.transpose(replicated), strict=True)
    ]


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


def spread(summary: pd.DataFrame, metrics: Sequence[str], one_class: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return a summary (see ``summarise``) to be read by people: a row a model, a column a slice and metric.

    A cell is the value with its 95% interval, or why there is none: ``one_class`` says by slice which labels it lacks.
    A column names its n.
    """
    chosen = summary[summary["metric"].isin(metrics)]
    why = [(one_class or {}).get(name, "no user has likes and dislikes") for name in chosen["slice"]]
    numbers = zip(chosen["value"], chosen["low"], chosen["high"], why, strict=True)
    cell = [f"undefined: {no}" if np.isnan(v) else f"{v:.4f} [{low:.4f}, {high:.4f}]" for v, low, high, no in numbers]
    column = [f"{s} {m} (n={n:,})" for s, m, n in zip(chosen["slice"], chosen["metric"], chosen["n"], strict=True)]
    named = chosen.assign(cell=cell, column=column)
    table = named.pivot(index=["model", "features", "split", "seeds"], columns="column", values="cell")
    return table.reindex(columns=list(dict.fromkeys(column))).fillna("")
