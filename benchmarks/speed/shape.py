"""The shape of MovieLens 25M: who rates how much, how often each movie is rated, and what the ratings are.

Users and movies meet by successive sampling: a user takes movies one after the other, each with a chance
proportional to its weight among those not taken yet. So no pair comes twice, and the most popular movies saturate.
Sources of the numbers: the README of ml-25m, and its ratings.csv as described there.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

RATINGS, USERS, MOVIES, RATED = 25_000_000, 162_541, 62_423, 59_047
LEAST, MEDIAN = 20, 71
"""Ratings of the least active and of the median user."""
SHARES = (0.016, 0.031, 0.016, 0.066, 0.050, 0.196, 0.127, 0.266, 0.088, 0.144)
"""Of the ratings 0.5, 1, ..., 5."""
_RANKS = (1, 10, 100, 1_000, 3_000, 10_000, 15_000, 30_000, 44_000, 59_047)
_COUNTS = (81_000, 67_000, 35_500, 6_350, 1_450, 135, 42, 6, 2, 1)
"""How often the movie of that rank is rated."""
_FEW = 300


@dataclass(frozen=True)
class Shape:
    """What a data set of so many ratings looks like: ratings of each user, and weight of each movie that is rated."""

    per_user: np.ndarray
    """int64 [users], sums to the number of ratings."""
    movies: int
    """Movies of the catalogue, rated or not."""
    weight: np.ndarray
    """float64 [rated], the most popular first, sums to 1."""


def shape(ratings: int, generator: np.random.Generator) -> Shape:
    """Return the shape of ``ratings`` ratings: users in proportion, movies by the root of it, as in the real series.

    ml-latest-small has 610 users and 9,724 movies: a catalogue shrinks more slowly than its audience.
    """
    share = ratings / RATINGS
    users = max(20, round(USERS * share))
    movies = max(_FEW, round(MOVIES * share**0.5))
    rated = round(movies * RATED / MOVIES)
    per_user = _per_user(ratings, users, rated // 2, generator)
    return Shape(per_user, movies, _weights(_per_movie(ratings, users, rated), per_user))


def _per_user(ratings: int, users: int, most: int, generator: np.random.Generator) -> np.ndarray:
    """At least LEAST each, the rest log-normal with that median and mean, in random order."""
    beyond = np.log(MEDIAN - LEAST)
    spread = np.sqrt(2 * (np.log(ratings / users - LEAST) - beyond))
    # Stratified, so that the longest tail does not hang on one draw.
    extra = np.exp(beyond + spread * ndtri((np.arange(users) + 0.5) / users))
    for _ in range(20):
        extra = np.minimum(extra * (ratings - LEAST * users) / extra.sum(), most - LEAST)
    ends = np.rint(np.cumsum(generator.permutation(extra))).astype(np.int64)
    ends[-1] = ratings - LEAST * users
    return LEAST + np.diff(ends, prepend=0)


def _per_movie(ratings: int, users: int, rated: int) -> np.ndarray:
    """How often each movie should be rated, most popular first: the real curve, bent until the sum is right."""
    place = (np.arange(rated) + 0.5) / rated * RATED
    curve = np.interp(np.log(np.maximum(place, 1)), np.log(_RANKS), np.log(_COUNTS)) - np.log(_COUNTS[0])
    top, low, high = np.log(users * _COUNTS[0] / USERS), 0.01, 3.0
    for _ in range(50):
        bend = (low + high) / 2
        counts = np.maximum(np.exp(top + bend * curve), 1)
        low, high = (bend, high) if counts.sum() > ratings else (low, bend)
    return counts


def _weights(per_movie: np.ndarray, per_user: np.ndarray) -> np.ndarray:
    """The weights by which successive sampling gives those counts.

    A user who takes movies until time t has taken one of weight w with probability 1 - exp(-t w); times and weights
    are fitted in turn, users and movies in groups of equals. Source: B. Rosén, "Asymptotic theory for successive
    sampling with varying probabilities without replacement", Ann. Math. Stat. 43, 1972.
    """
    users = np.array([part.mean() for part in np.array_split(np.sort(per_user), min(100, len(per_user)))])
    many = len(per_user) / len(users)
    edges = np.unique(np.rint(np.geomspace(1, len(per_movie) + 1, 300)).astype(np.int64)) - 1
    sizes = np.diff(edges)
    wanted = np.add.reduceat(per_movie, edges[:-1]) / sizes
    weight, time = wanted / wanted.sum(), users.copy()
    for _ in range(300):
        taken = -np.expm1(-np.outer(time, weight))
        time *= users / (taken @ sizes)
        taken = -np.expm1(-np.outer(time, weight))
        weight *= wanted / (taken.sum(axis=0) * many)
    middle = (edges[:-1] + edges[1:] - 1) / 2
    result = np.exp(np.interp(np.log1p(np.arange(len(per_movie))), np.log1p(middle), np.log(weight)))
    return result / result.sum()


def choose(per_user: np.ndarray, weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Choose ``per_user`` [n] different movies for each user; return user * len(weight) + movie, ascending, int64."""
    heavy = per_user > max(50, len(weight) // 60)
    parts = [_light(np.flatnonzero(~heavy), per_user, weight, generator)]
    for user in np.flatnonzero(heavy):
        # The first arrivals of independent exponential clocks are the choices of successive sampling.
        arrival = generator.standard_exponential(len(weight)) / weight
        parts.append(user * len(weight) + np.argpartition(arrival, per_user[user])[: per_user[user]])
    return np.sort(np.concatenate(parts))


def _light(users: np.ndarray, per_user: np.ndarray, weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw as many as are missing, keep what is new, until none is missing: never one too many to be cut."""
    cumulated = np.cumsum(weight)
    found = np.empty(0, np.int64)
    missing = per_user[users]
    while missing.any():
        drawn = np.searchsorted(cumulated, generator.random(missing.sum()) * cumulated[-1], side="right")
        pairs = np.repeat(users, missing) * len(weight) + np.minimum(drawn, len(weight) - 1)
        found = np.sort(np.concatenate([found, pairs]))
        found = found[np.diff(found, prepend=-1) > 0]
        missing = per_user[users] - np.bincount(found // len(weight), minlength=len(per_user))[users]
    return found
