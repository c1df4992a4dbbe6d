"""The rows that a model learns ranking from: likes of train, and movies that their users have not rated.

A like is an implicit positive: this user picked this movie. What else they could have picked is sampled. Everything is
made from train alone. Likes may age, and how fast is chosen on a part of train.
"""

import numpy as np
import polars as pl
import pyarrow as pa

from utils.handoff import parameters
from utils.handoff.contract import ARTEFACTS, LIKED
from utils.handoff.parameters import ParameterError
from utils.metrics import ranking
from utils.ratings import splits

OBJECTIVES = ("like", "rank", "both")
HALF_LIVES = (None, 2000.0, 1000.0, 365.0, 180.0, 90.0, 30.0, 14.0, 7.0)
"""Half-lives to choose from, in days; None: likes do not age."""
SHARE = 0.1
"""Share of train on which half-lives are compared."""
K = 10
_ROUNDS = 30
"""Rounds of exchanging movies, and then of drawing at random."""
_SECONDS = 86_400


def check_parameters(objective: object, negatives: object, half_life: object) -> None:
    """Raise ParameterError unless OBJECTIVE, NEGATIVES and HALF_LIFE can be used."""
    parameters.choice("OBJECTIVE", objective, OBJECTIVES)
    parameters.whole("NEGATIVES", negatives)
    if half_life in (None, "auto"):
        return
    if isinstance(half_life, bool) or not isinstance(half_life, (int, float)) or not 0 < half_life < float("inf"):
        raise ParameterError(
            f'HALF_LIFE={half_life!r} must be "auto", None (likes do not age) or a number of days above 0.'
        )


def weights(timestamp: np.ndarray, half_life: float | None) -> np.ndarray:
    """Return 0.5 ** (age / half_life), float64 [n], where age is counted back from the last ``timestamp``, seconds [n].

    ``half_life`` is in days; None gives every like the weight 1.
    """
    if half_life is None or len(timestamp) == 0:
        return np.ones(len(timestamp))
    return 0.5 ** ((timestamp.max() - timestamp) / (half_life * _SECONDS))


def half_life(train: pa.Table, how: str, seed: int) -> float | None:
    """Return the half-life, in days, whose weighted likes predict best what comes next; None: likes do not age.

    ``train`` is split nine to one in the way that valid was split off (``how``: "random" or "temporal"). Each of
    HALF_LIVES orders the movies by their weighted likes in the first part. The order with the highest mean NDCG@10 on
    the likes of the second part, without movies rated in the first, wins; among equals the slower ageing. The result is
    also None where train is too small to split or the second part has no like. Raises ParameterError for another
    ``how``.
    """
    parameters.choice("SPLIT", how, splits.SPLITS)
    try:
        first, second, _ = splits.split(pl.DataFrame(train), how, SHARE, 0.0, seed)
    except ParameterError:
        return None
    second = second.filter(pl.col("rating") > LIKED)
    if second.is_empty():
        return None
    movies, users = np.unique(train["movieId"].to_numpy()), second["userId"].unique().sort()

    def places(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        return np.searchsorted(users, rows["userId"].to_numpy()), np.searchsorted(movies, rows["movieId"].to_numpy())

    asked, seen = places(second), places(first.filter(pl.col("userId").is_in(users.implode())))
    movie = np.searchsorted(movies, first["movieId"].to_numpy())
    liked, timestamp = first["rating"].to_numpy() > LIKED, first["timestamp"].to_numpy()
    best, found = -1.0, None
    for candidate in HALF_LIVES:
        scores = np.bincount(movie, weights(timestamp, candidate) * liked, minlength=len(movies))
        ndcg = ranking.recall_ndcg(_best_unseen(scores, *seen, len(users), K), *asked, K)[2].mean()
        if ndcg > best:
            best, found = ndcg, candidate
    return found


def _best_unseen(scores: np.ndarray, user: np.ndarray, movie: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """Return the k best movies of each user, int64 [n_users, k], -1 for none, where all users share one order.

    ``scores`` are float64 [movies]; the pairs of ``user`` and ``movie`` are left out. ``ranking.top_k`` gives the same
    for scores of every user and movie; here no such table is needed, only the places of seen movies in the order.
    """
    order = np.argsort(-scores, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    user, place = np.divmod(np.sort(user * len(order) + place[movie]), len(order))
    number = np.arange(len(user)) - np.searchsorted(user, np.arange(n_users))[user]
    unseen = place - number  # how many unseen movies are better than this seen one
    near = unseen < k
    seen = np.bincount(user[near] * k + unseen[near], minlength=n_users * k).reshape(n_users, k).cumsum(axis=1)
    places = np.arange(k) + seen
    return np.where(places < len(order), order[np.minimum(places, len(order) - 1)], -1)


def rank_rows(train: pa.Table, negatives: int, half_life: float | None, seed: int) -> pa.Table:
    """Return the drawn likes of ``train`` and ``negatives`` unrated movies for each, shuffled; columns as in train.

    As many likes as train has are drawn by their ``weights``, each with its own rating. A negative has the user and the
    timestamp of its like, rating 0, and a movie of train that this user has not rated. All movies become negatives
    equally often, so that how often says nothing about a movie. A user who has rated nearly every movie gets fewer.

    The order of ``train`` does not matter. Memory: about 75 bytes per returned row at the peak, 28 in the table.
    """
    parameters.whole("NEGATIVES", negatives)
    declared = ARTEFACTS["train"].columns
    assert declared is not None, "train is a parquet file"
    schema = pa.schema(list(declared.items()))
    likes = _draw_likes(train, half_life)
    if len(likes) == 0:
        return schema.empty_table()
    generator = np.random.default_rng(seed)
    users, user = np.unique(train["userId"].to_numpy(), return_inverse=True)
    movies, movie = np.unique(train["movieId"].to_numpy(), return_inverse=True)
    likes = likes[np.argsort(user[likes], kind="stable")]  # so that looking up their pairs is fast
    asked = np.repeat(likes, negatives)
    unrated = _deal(user[asked], len(movies), np.sort(user * len(movies) + movie), generator)
    asked, unrated = asked[unrated >= 0], unrated[unrated >= 0]
    order = generator.permutation(len(likes) + len(asked))
    row = np.concatenate([likes, asked])[order]
    ratings = np.concatenate([train["rating"].to_numpy()[likes], np.zeros(len(asked), np.float32)])
    columns = {
        "userId": users[user[row]],
        "movieId": movies[np.concatenate([movie[likes], unrated])[order]],
        "rating": ratings[order],
        "timestamp": train["timestamp"].to_numpy()[row],
    }
    return pa.table(columns, schema=schema)


def _draw_likes(train: pa.Table, half_life: float | None) -> np.ndarray:
    """Return the drawn rows of ``train``, int64 [likes], in order of movie, time and user.

    Systematic resampling: weights that sum to the number of likes are cumulated to c, and like i is drawn as often as
    there are points k + 1/2 between c[i - 1] and c[i]. So a movie's share of the draws is its share of the weights.
    Source: G. Kitagawa, "Monte Carlo Filter and Smoother", J. Comp. Graph. Stat. 5, 1996.
    """
    columns = {name: train[name].to_numpy() for name in ("userId", "movieId", "rating", "timestamp")}
    rows = np.flatnonzero(columns["rating"] > LIKED)
    rows = rows[np.lexsort([columns[name][rows] for name in ("userId", "timestamp", "movieId")])]
    cumulated = np.cumsum(weights(columns["timestamp"][rows], half_life))
    points = np.floor(cumulated / cumulated[-1:] * len(rows) + 0.5).astype(np.int64)
    return np.repeat(rows, np.diff(points, prepend=0))


def _deal(user: np.ndarray, n_movies: int, rated: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return for each of ``user`` [n] a movie that they have not rated, int64 [n]; -1 where none was found.

    Each movie is dealt n / n_movies times, rounded up or down. A row that got a rated movie exchanges it with a row
    chosen at random if that helps both, which keeps the counts; the few that are left draw at random. ``rated`` holds
    user * n_movies + movie, ascending.
    """

    def taken(rows: np.ndarray, movies: np.ndarray) -> np.ndarray:
        pairs = user[rows] * n_movies + movies
        return rated[np.minimum(np.searchsorted(rated, pairs), len(rated) - 1)] == pairs

    movie = generator.permutation(n_movies)[np.arange(len(user)) % n_movies]
    generator.shuffle(movie)
    wrong = np.flatnonzero(taken(np.arange(len(user)), movie))
    for _ in range(_ROUNDS):
        others, at = np.unique(generator.integers(len(user), size=len(wrong)), return_index=True)
        free = ~np.isin(others, wrong)
        ours, others = wrong[at[free]], others[free]
        better = ~taken(ours, movie[others]) & ~taken(others, movie[ours])
        ours, others = ours[better], others[better]
        movie[ours], movie[others] = movie[others], movie[ours]
        wrong = wrong[taken(wrong, movie[wrong])]
    for _ in range(_ROUNDS):
        movie[wrong] = generator.integers(n_movies, size=len(wrong))
        wrong = wrong[taken(wrong, movie[wrong])]
    movie[wrong] = -1
    return movie
