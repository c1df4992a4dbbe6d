"""Recommendation lists (notebooks 06 and 07): the best k movies of every user, and how good such lists are.

Ranking is full: every movie of the catalogue competes, none is sampled (Krichene and Rendle, On Sampled
Metrics for Item Recommendation, KDD 2020), and movies the user has in train are never recommended.
"""

from collections.abc import Callable

import numpy as np

from utils.handoff import parameters
from utils.handoff.hashing import hashed
from utils.machine import memory
from utils.metrics.checks import EvaluationError


@memory.kept()
def top_k(
    score_block: Callable[[int, int], np.ndarray],
    n_users: int,
    seen: tuple[np.ndarray, np.ndarray],
    k: int,
    block: int = 256,
    candidates: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (items int64 [n_users, k], scores float32 [n_users, k]), best first.

    Equal scores fall at random, by a hash of ``seed``, user and movie: in order of ids the oldest movies would win.

    ``score_block(start, stop)`` returns float32 [stop - start, movies], which is not changed. ``seen`` is
    (indptr [n_users + 1], indices) as in scipy's csr: the movies of user u are
    ``indices[indptr[u]:indptr[u + 1]]`` and are never returned. ``candidates`` is a bool mask [movies] of what may
    be recommended. Where fewer than k are left, the item is -1 and its score -inf.
    Memory is about 16 bytes x block x movies. Raises EvaluationError for scores that are nan or misshapen.
    """
    parameters.whole("k", k)
    parameters.whole("block", block)
    indptr, indices = (np.asarray(part) for part in seen)
    if indptr.shape != (n_users + 1,) or (n_users and indptr[-1] != len(indices)):
        raise EvaluationError(
            f"seen has indptr {indptr.shape} for {n_users} users and {len(indices)} indices: build it as a csr matrix, "
            "users by movies."
        )
    items, scores = np.full((n_users, k), -1, np.int64), np.full((n_users, k), -np.inf, np.float32)
    for start in range(0, n_users, block):
        stop = min(start + block, n_users)
        # A copy, because the caller may hand out a view of a table it keeps.
        part = np.array(score_block(start, stop), np.float32)
        counts, known = np.diff(indptr[start : stop + 1]), indices[indptr[start] : indptr[stop]]
        _check_block(part, known, start, stop)
        part[np.repeat(np.arange(stop - start), counts), known] = -np.inf
        if candidates is not None:
            part[:, ~np.asarray(candidates, bool)] = -np.inf
        best = _best(part, min(k, part.shape[1]), start, seed)
        values = np.take_along_axis(part, best, 1)
        items[start:stop, : best.shape[1]] = np.where(values == -np.inf, -1, best)
        scores[start:stop, : best.shape[1]] = values
    return items, scores


def _check_block(scores: np.ndarray, known: np.ndarray, start: int, stop: int) -> None:
    if scores.ndim != 2 or len(scores) != stop - start or np.isnan(scores).any():
        raise EvaluationError(
            f"Scores of users {start} to {stop - 1} have shape {scores.shape} or hold nan: expected "
            f"[{stop - start}, movies] numbers. Check the model's output, or train with a lower learning rate."
        )
    if known.min(initial=0) < 0 or known.max(initial=-1) >= scores.shape[1]:
        raise EvaluationError(
            f"seen holds movies {known.min()} to {known.max()}, but scores have {scores.shape[1]} columns: "
            "give column numbers, not movieIds."
        )


def _best(scores: np.ndarray, k: int, first: int, seed: int) -> np.ndarray:
    """Return the columns of the k best of each row, best first; ``first`` is the number of the first row's user."""
    import torch  # here, because 06 imports this module and needs no torch

    values, best = (found.numpy() for found in torch.from_numpy(scores).topk(min(k + 1, scores.shape[1])))
    # Among scores equal to the k-th, topk keeps any: choose again where there are more than fit.
    worst = values[:, k - 1 : k]
    crowded = np.flatnonzero((values[:, k:] == worst).any(1) & (worst > -np.inf).all(1))
    best = best[:, :k].copy()
    for row in crowded:
        above, equal = np.flatnonzero(scores[row] > worst[row]), np.flatnonzero(scores[row] == worst[row])
        lots = _lots(np.full(len(equal), first + row), equal, seed)
        best[row] = np.concatenate([above, equal[np.argsort(lots)[: k - len(above)]]])
    users = np.repeat(np.arange(first, first + len(best)), best.shape[1])
    lots = _lots(users, best.reshape(-1), seed).reshape(best.shape)
    order = np.lexsort((lots, -np.take_along_axis(scores, best, 1)), axis=1)
    return np.take_along_axis(best, order, 1)


def _lots(user: np.ndarray, movie: np.ndarray, seed: int) -> np.ndarray:
    return hashed(seed, "ties", user, movie)


def recall_ndcg(
    recommended: np.ndarray, user_index: np.ndarray, movie_index: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (users, recall@k, ndcg@k), each [users with a relevant movie], users ascending.

    ``recommended`` int [n_users, at least k], best first, -1 for none. ``user_index`` and ``movie_index``, [pairs],
    are the liked held-out ratings: user_index counts rows of ``recommended``.
    Recall is hits / all relevant movies, also where these are more than k. NDCG discounts rank r by
    1 / log2(r + 1) and divides by the best value that min(k, relevant) hits could reach (Järvelin and Kekäläinen,
    ACM TOIS 20, 2002, with binary gains). Raises EvaluationError for a movie twice in a list or users out of range.
    """
    parameters.whole("k", k)
    recommended, user_index, movie_index = (np.asarray(a) for a in (recommended, user_index, movie_index))
    _check_lists(recommended, user_index, movie_index, k)
    top = recommended[:, :k].astype(np.int64)
    movies = int(max(top.max(initial=-1), movie_index.max(initial=-1))) + 1
    relevant = np.unique(user_index.astype(np.int64) * movies + movie_index)
    users, counts = np.unique(relevant // max(movies, 1), return_counts=True)
    asked = np.where(top[users] < 0, -1, users[:, None] * movies + top[users])
    hit = np.isin(asked, relevant)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(counts, k) - 1]
    return users, hit.sum(1) / counts, hit @ discount / ideal


def _check_lists(recommended: np.ndarray, user_index: np.ndarray, movie_index: np.ndarray, k: int) -> None:
    if recommended.ndim != 2 or recommended.shape[1] < k:
        raise EvaluationError(f"recommended has shape {recommended.shape}: expected [users, at least k={k}].")
    if user_index.shape != movie_index.shape or user_index.ndim != 1:
        raise EvaluationError(
            f"user_index {user_index.shape} and movie_index {movie_index.shape} must be [pairs] both."
        )
    if user_index.size and not (user_index.min() >= 0 and user_index.max() < len(recommended)):
        raise EvaluationError(
            f"user_index is from {user_index.min()} to {user_index.max()}, recommended has {len(recommended)} rows."
        )
    if movie_index.min(initial=0) < 0:
        raise EvaluationError("movie_index holds negative numbers: give indices of the columns that were ranked.")
    ordered = np.sort(recommended[:, :k], axis=1)
    twice = np.flatnonzero(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(1))
    if twice.size:
        raise EvaluationError(f"recommended[{twice[0]}] holds a movie twice: a list must not repeat a movie.")
