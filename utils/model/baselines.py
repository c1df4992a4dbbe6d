"""What a model must beat (notebook 07): means, popularity and neighbours, fitted on the ratings of train alone.

Users and movies are rows and columns, counted from 0, of the whole grid, so that those without a rating in train
have a place too: a mean falls back to the mean of all, popularity and neighbours to 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from utils.handoff import parameters
from utils.metrics import ranking

SHRINKAGE = 5.0
NEIGHBOURS = 100
_SWEEPS = 1000
_TOLERANCE = 1e-7
_BLOCK = 256
FULL_FROM, _FULL_USERS = 20, 2048
"""From a 20th of all movies on, a user costs less in a full matrix than in a sparse one; how many are in one."""
_PRODUCTS = 1 << 22
"""Likes looked at together when pairs are scored by neighbours: about 50 MB."""


class BaselineError(ValueError):
    """Ratings that no baseline can be fitted on, or users and movies outside its grid."""


class Fitted(Protocol):
    """A baseline after ``fit``."""

    @property
    def probability(self) -> bool:
        """Whether scores are estimates of P(like), in [0, 1]; if not, only their order means something."""

    def pairs(self, user_index: np.ndarray, movie_index: np.ndarray) -> np.ndarray:
        """Return the score of each pair, float32 [n], of int [n] and [n]."""

    def block(self, users: np.ndarray) -> np.ndarray:
        """Return the scores of all movies for ``users`` int [n], float32 [n, movies]."""


@dataclass(frozen=True)
class Ratings:
    """Checked ratings of train: int64, int64 and bool [n], and the size of the grid."""

    user: np.ndarray
    movie: np.ndarray
    liked: np.ndarray
    n_users: int
    n_movies: int

    def likes(self) -> sparse.csr_matrix:
        """Return 1 where a user likes a movie, float32 [users, movies]."""
        places = self.user[self.liked], self.movie[self.liked]
        matrix = sparse.csr_matrix((np.ones(len(places[0]), np.float32), places), shape=(self.n_users, self.n_movies))
        matrix.data[:] = 1
        return matrix


@dataclass(frozen=True)
class Additive:
    """A score that is a part of the user, float64 [users], plus one of the movie, float64 [movies]."""

    user: np.ndarray
    movie: np.ndarray
    probability: bool = True

    def pairs(self, user_index: np.ndarray, movie_index: np.ndarray) -> np.ndarray:
        """As in ``Fitted``."""
        user_index, movie_index = _checked_pairs(user_index, movie_index, len(self.user), len(self.movie))
        return self._scores(self.user[user_index] + self.movie[movie_index])

    def block(self, users: np.ndarray) -> np.ndarray:
        """As in ``Fitted``."""
        return self._scores(self.user[users, None] + self.movie)

    def _scores(self, scores: np.ndarray) -> np.ndarray:
        return (scores.clip(0, 1) if self.probability else scores).astype(np.float32)


@dataclass(frozen=True)
class Neighbours:
    """A score that sums, over the movies a user likes, how near each is to the scored movie.

    ``likes`` [users, movies] and ``near`` [movies liked, movies scored] are float32.
    """

    likes: sparse.csr_matrix
    near: sparse.csr_matrix
    probability: bool = False

    def pairs(self, user_index: np.ndarray, movie_index: np.ndarray) -> np.ndarray:
        """As in ``Fitted``."""
        user_index, movie_index = _checked_pairs(user_index, movie_index, *self.likes.shape)
        scores = np.zeros(len(user_index), np.float32)
        towards = self.near.T.tocsr()
        looked_at = np.cumsum(np.diff(self.likes.indptr)[user_index] + np.diff(towards.indptr)[movie_index])
        cuts = np.flatnonzero(np.diff(looked_at // _PRODUCTS)) + 1
        for rows in np.split(np.arange(len(user_index)), cuts):
            products = self.likes[user_index[rows]].multiply(towards[movie_index[rows]])
            scores[rows] = np.asarray(products.sum(axis=1)).ravel()
        return scores

    def block(self, users: np.ndarray) -> np.ndarray:
        """As in ``Fitted``."""
        return (self.likes[users] @ self.near).toarray()


def global_mean(train: Ratings, shrinkage: float) -> Additive:
    """P(like) is the share of likes in train."""
    return Additive(np.full(train.n_users, train.liked.mean()), np.zeros(train.n_movies))


def user_mean(train: Ratings, shrinkage: float) -> Additive:
    """P(like) is the user's share of likes, pulled to the mean of all by ``shrinkage`` ratings at that mean."""
    return Additive(_shrunk(train, train.user, train.n_users, shrinkage), np.zeros(train.n_movies))


def movie_mean(train: Ratings, shrinkage: float) -> Additive:
    """P(like) is the movie's share of likes, pulled to the mean of all by ``shrinkage`` ratings at that mean."""
    return Additive(np.zeros(train.n_users), _shrunk(train, train.movie, train.n_movies, shrinkage))


def _shrunk(train: Ratings, index: np.ndarray, size: int, shrinkage: float) -> np.ndarray:
    mean = train.liked.mean()
    return mean + _effect(index, train.liked - mean, np.bincount(index, minlength=size), shrinkage)


def _effect(index: np.ndarray, residual: np.ndarray, counts: np.ndarray, shrinkage: float) -> np.ndarray:
    """Return sum of residuals / (count + shrinkage) for each index, 0 where both are 0."""
    sums = np.bincount(index, residual, minlength=len(counts))
    return np.divide(sums, counts + shrinkage, out=np.zeros(len(counts)), where=counts > 0)


def user_movie_bias(train: Ratings, shrinkage: float) -> Additive:
    """P(like) is mean + b_user + b_movie, clipped to [0, 1], of least squares with a ridge of ``shrinkage``.

    Minimises sum (label - mean - b_u - b_m)^2 + shrinkage (sum b_u^2 + sum b_m^2) (Koren, Bell and Volinsky, Matrix
    Factorization Techniques, Computer 42, 2009, eq. 4 and 5 without factors) by turns: each half has a closed form,
    and the sum is convex, so the turns end at its only minimum.
    """
    mean = train.liked.mean()
    users = np.bincount(train.user, minlength=train.n_users)
    movies = np.bincount(train.movie, minlength=train.n_movies)
    by_user, by_movie = np.zeros(train.n_users), np.zeros(train.n_movies)
    residual = train.liked - mean
    for _ in range(_SWEEPS):
        before = by_movie
        by_user = _effect(train.user, residual - by_movie[train.movie], users, shrinkage)
        by_movie = _effect(train.movie, residual - by_user[train.user], movies, shrinkage)
        if np.abs(by_movie - before).max(initial=0) < _TOLERANCE:
            break
    return Additive(mean + by_user, by_movie)


def popularity(train: Ratings, shrinkage: float) -> Additive:
    """Every user's score of a movie is its number of likes in train."""
    likes = np.bincount(train.movie[train.liked], minlength=train.n_movies)
    return Additive(np.zeros(train.n_users), likes.astype(np.float64), probability=False)


def item_neighbours(train: Ratings, neighbours: int) -> Neighbours:
    """Sum of the cosines of the scored movie to its ``neighbours`` nearest, over those that the user likes.

    The cosine of movies a and b is |users who like both| / sqrt(|likes of a| |likes of b|). Neighbours belong to the
    scored movie (Sarwar et al., Item-based Collaborative Filtering, WWW 2001); the sum is not divided by all cosines,
    which ranks better (Cremonesi, Koren and Turrin, Performance of Recommender Algorithms, RecSys 2010, section 3.2).
    Holds ``neighbours`` numbers a movie, and ``_BLOCK`` x movies while it fits.
    """
    likes = train.likes()
    lengths = np.sqrt(np.asarray(likes.sum(axis=0)).ravel())
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    units = (likes @ sparse.diags_array(scale, dtype=np.float32)).tocsr()
    transposed = units.T.tocsr()

    def cosines(start: int, stop: int) -> np.ndarray:
        return (transposed[start:stop] @ units).toarray()

    every = np.arange(train.n_movies + 1)
    itself = every, every[:-1]
    nearest, cosine = ranking.top_k(cosines, train.n_movies, itself, neighbours, _BLOCK)
    kept = cosine > 0
    scored = np.repeat(every[:-1], kept.sum(axis=1))
    near = sparse.csr_matrix((cosine[kept], (nearest[kept], scored)), shape=(train.n_movies, train.n_movies))
    return Neighbours(likes, near)


def gram(rated: sparse.csr_matrix) -> np.ndarray:
    """Return X'X of X [users, movies], float32 [movies, movies]: all that ``ease`` reads of ratings.

    Users of many ratings, whose squares are most of the work, are multiplied as full matrices.
    """
    many = np.diff(rated.indptr) * FULL_FROM > rated.shape[1]
    few = rated[~many]
    products = np.asarray((few.T @ few).todense(), np.float32)
    for some in np.split(np.flatnonzero(many), range(_FULL_USERS, np.count_nonzero(many), _FULL_USERS)):
        block = rated[some].toarray().astype(np.float32, copy=False)
        products += block.T @ block
    return products


def ease(products: np.ndarray, penalty: float) -> np.ndarray:
    """Return B float32 [movies, movies] of zero diagonal: -P / diag(P), P the inverse of X'X + penalty (``gram``)."""
    matrix = np.array(products, order="F")
    matrix[np.diag_indices(len(matrix))] += penalty
    factor, failed = lapack.spotrf(matrix, lower=1, overwrite_a=1)
    if not failed:
        inverse, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise BaselineError(f"EASE cannot invert the likes of {len(matrix):,} movies with a penalty of {penalty}.")
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


_ADDITIVE: dict[str, Callable[[Ratings, float], Additive]] = {
    "global mean": global_mean,
    "user mean": user_mean,
    "movie mean": movie_mean,
    "user+movie bias": user_movie_bias,
    "popularity": popularity,
}
BASELINES = (*_ADDITIVE, "item-knn")


def fit(
    name: str,
    user_index: np.ndarray,
    movie_index: np.ndarray,
    label: np.ndarray,
    n_users: int,
    n_movies: int,
    *,
    shrinkage: float = SHRINKAGE,
    neighbours: int = NEIGHBOURS,
) -> Fitted:
    """Return the baseline ``name`` of BASELINES, fitted on ratings of train: int, int and 0 or 1, each [n].

    ``shrinkage``, in ratings, is for the means and biases; ``neighbours`` for item-knn. Tune both on a part of train.
    Raises ParameterError for an unknown name, BaselineError for ratings it cannot be fitted on.
    """
    parameters.choice("name", name, BASELINES)
    parameters.whole("neighbours", neighbours)
    if not 0 <= shrinkage < np.inf:
        raise parameters.ParameterError(f"shrinkage={shrinkage!r} must be a number of 0 or more.")
    user, movie = _checked_pairs(user_index, movie_index, n_users, n_movies)
    label = np.asarray(label)
    if label.shape != user.shape or not len(label):
        raise BaselineError(
            f"label has shape {label.shape} for {len(user)} pairs: give one label a rating, one rating at least."
        )
    wrong = np.flatnonzero((label != 0) & (label != 1))
    if wrong.size:
        raise BaselineError(f"label[{wrong[0]}] is {label[wrong[0]]}: labels must be 0 or 1 (1 for a like).")
    train = Ratings(user, movie, label == 1, n_users, n_movies)
    return item_neighbours(train, neighbours) if name == "item-knn" else _ADDITIVE[name](train, shrinkage)


def _checked_pairs(
    user_index: np.ndarray, movie_index: np.ndarray, n_users: int, n_movies: int
) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.asarray(user_index), np.asarray(movie_index)
    if pairs[0].ndim != 1 or pairs[0].shape != pairs[1].shape:
        raise BaselineError(f"user_index {pairs[0].shape} and movie_index {pairs[1].shape} must be [pairs] both.")
    for what, index, size in zip(("user_index", "movie_index"), pairs, (n_users, n_movies), strict=True):
        if index.min(initial=0) < 0 or index.max(initial=-1) >= size:
            raise BaselineError(
                f"{what} is from {index.min()} to {index.max()}, but there are {size}: give places counted from 0, "
                "not ids."
            )
    return pairs[0].astype(np.int64), pairs[1].astype(np.int64)
