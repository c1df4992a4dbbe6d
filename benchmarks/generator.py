"""Ratings of MovieLens 25M's shape, made from a seed: who rates how much, and how often each movie is rated.

Users and movies meet by successive sampling: a user takes movies one after the other, each with a chance proportional
to its weight among those not taken yet. So no pair comes twice, and the most popular movies saturate. Users and movies
have biases that can be learned; titles, genres and vectors only look like the real ones. The numbers are those of the
README and the ratings.csv of ml-25m.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.optimize import brentq
from scipy.special import ndtri

from utils.handoff.atomic import ROOT, writing
from utils.handoff.store import group_rows
from utils.handoff.vector_columns import vector_column

NAME = "ml-25m-shaped"
CACHE = Path(os.environ.get("SPEED_DATA") or ROOT / "data" / ".speed")
"""Where all that is made is kept; set SPEED_DATA for another disk."""
RATINGS, USERS, MOVIES, RATED = 25_000_000, 162_541, 62_423, 59_047
FEWEST, LEAST, MEDIAN = 5_000, 20, 71
"""Ratings of an archive at least; ratings of the least active and of the median user."""
SHARES = (0.016, 0.031, 0.016, 0.066, 0.050, 0.196, 0.127, 0.266, 0.088, 0.144)
"""Of the ratings 0.5, 1, ..., 5."""
GENRES = (
    "Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir",
    "Horror", "IMAX", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
RANKS = (1, 10, 100, 1_000, 3_000, 10_000, 15_000, 30_000, 44_000, 59_047)
COUNTS = (81_000, 67_000, 35_500, 6_350, 1_450, 135, 42, 6, 2, 1)
"""How often the movie of that rank is rated."""
FIRST, LAST = 789_652_009, 1_574_327_703
"""Seconds of the first and last rating: January 1995 and November 2019."""
PIECE = 1_000_000
"""Ratings that are made at a time, about."""


def per_user(ratings: int, users: int, most: int, draw: np.random.Generator) -> np.ndarray:
    """Return the ratings of each user, int64 [users], LEAST to ``most``: log-normal, of the real median and mean."""
    beyond = np.log(MEDIAN - LEAST)
    spread = np.sqrt(2 * (np.log(ratings / users - LEAST) - beyond))
    # At even steps of the distribution, so that the longest tail does not hang on one draw.
    extra = np.exp(beyond + spread * ndtri((np.arange(users) + 0.5) / users))
    for _ in range(20):
        extra = np.minimum(extra * (ratings - LEAST * users) / extra.sum(), most - LEAST)
    ends = np.rint(np.cumsum(draw.permutation(extra))).astype(np.int64)
    ends[-1] = ratings - LEAST * users
    return LEAST + np.diff(ends, prepend=0)


def weights(ratings: int, users: int, rated: int) -> np.ndarray:
    """Return the chances of the rated movies, float64 [rated], the most popular first.

    The real curve of counts, bent until its sum is right. Of a movie that a share s of the users rate, the weight is
    s / (1 - s) ** 1.5: active users have it all, so that it has to weigh more. That keeps counts within 10%.
    """
    place = np.maximum((np.arange(rated) + 0.5) / rated * RATED, 1)
    curve = np.interp(np.log(place), np.log(RANKS), np.log(COUNTS)) - np.log(COUNTS[0])

    def counts(bend: float) -> np.ndarray:
        return np.maximum(users * COUNTS[0] / USERS * np.exp(bend * curve), 1)

    share = counts(brentq(lambda bend: counts(bend).sum() - ratings, 0.01, 3.0)) / users
    return share / (1 - np.minimum(share, 0.9)) ** 1.5


def choose(wanted: np.ndarray, weight: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Choose ``wanted`` [n] movies for each of n users; return user * len(weight) + movie, int64, ascending, unique."""
    heavy = wanted > max(50, len(weight) // 60)
    parts, cumulated = [], np.cumsum(weight)
    for user in np.flatnonzero(heavy):
        # The first arrivals of independent exponential clocks are the choices of successive sampling.
        arrival = draw.standard_exponential(len(weight)) / weight
        parts.append(user * len(weight) + np.argpartition(arrival, wanted[user])[: wanted[user]])
    # For the many others: draw as many as are missing, keep what is new, until none is missing.
    found, missing = np.empty(0, np.int64), np.where(heavy, 0, wanted)
    while missing.any():
        drawn = np.searchsorted(cumulated, draw.random(missing.sum()) * cumulated[-1], side="right")
        pairs = np.repeat(np.arange(len(wanted)), missing) * len(weight) + np.minimum(drawn, len(weight) - 1)
        found = np.unique(np.concatenate([found, pairs]))
        missing = np.where(heavy, 0, wanted) - np.bincount(found // len(weight), minlength=len(wanted))
    return np.sort(np.concatenate([*parts, found]))


def _catalogue(movies: int, draw: np.random.Generator) -> pl.DataFrame:
    """Return movies.csv, sorted by movieId; movies have 1.7 genres in the mean, some have none."""
    ids, years = np.sort(draw.choice(3 * movies, movies, replace=False)) + 1, draw.integers(1900, 2020, movies)
    titles = [f"Story {movie}, The ({year})" for movie, year in zip(ids, years, strict=True)]
    flags = draw.random((movies, len(GENRES))) < 1.7 / len(GENRES)
    genres = ["|".join(np.array(GENRES)[row]) or "(no genres listed)" for row in flags]
    return pl.DataFrame({"movieId": ids, "title": titles, "genres": genres})


def _ratings(
    wanted: np.ndarray, weight: np.ndarray, movie_ids: np.ndarray, draw: np.random.Generator
) -> Iterator[pl.DataFrame]:
    """Yield the ratings of some users at a time; a score of variance 1 is cut so that SHARES come out."""
    own, of_movie = 0.4 * draw.standard_normal(len(wanted)), 0.5 * draw.standard_normal(len(weight))
    cuts = ndtri(np.cumsum(SHARES)[:-1] / sum(SHARES))
    started, ends = draw.integers(FIRST, LAST - 86_400, len(wanted)), np.cumsum(wanted)
    pieces = np.linspace(0, ends[-1], max(1, round(ends[-1] / PIECE)) + 1)[1:-1]
    for users in np.split(np.arange(len(ends)), np.searchsorted(ends, pieces)):
        pairs = choose(wanted[users], weight, draw)
        user, movie = users[0] + pairs // len(weight), pairs % len(weight)
        score = own[user] + of_movie[movie] + np.sqrt(1 - 0.4**2 - 0.5**2) * draw.standard_normal(len(pairs))
        stars = (1 + np.searchsorted(cuts, score)) / 2
        # Most ratings of a user come within an hour, some years later.
        after = draw.exponential(np.where(draw.random(len(pairs)) < 0.7, 1_800, 2e7)).astype(np.int64)
        columns = {"userId": user + 1, "movieId": movie_ids[movie], "rating": stars}
        columns["timestamp"] = np.minimum(started[user] + after, LAST)
        yield pl.DataFrame(columns).sort("userId", "movieId")


def archive(ratings: int = RATINGS, seed: int = 0) -> Path:
    """Return a folder with ratings.csv and movies.csv like those of ml-25m, of so many ``ratings``; made once.

    The same for the same seed, sorted by user and movie as the original. Users are in proportion to the ratings, movies
    to their root: a catalogue shrinks more slowly than its audience. Raises ValueError for fewer ratings than FEWEST.
    """
    if ratings < FEWEST:
        raise ValueError(f"ratings={ratings} is too few for a long tail. Ask for {FEWEST:,} or more.")
    path, draw, share = CACHE / f"{NAME}-{ratings}-{seed}", np.random.default_rng(seed), ratings / RATINGS
    if path.exists():
        return path
    users, movies = max(20, round(USERS * share)), max(300, round(MOVIES * share**0.5))
    rated = round(movies * RATED / MOVIES)
    catalogue, wanted = _catalogue(movies, draw), per_user(ratings, users, rated // 2, draw)
    movie_ids = draw.permutation(catalogue["movieId"].to_numpy())
    with writing(path) as folder:
        folder.mkdir(parents=True)
        catalogue.write_csv(folder / "movies.csv")
        with (folder / "ratings.csv").open("wb") as stream:
            for number, frame in enumerate(_ratings(wanted, weights(ratings, users, rated), movie_ids, draw)):
                frame.write_csv(stream, include_header=number == 0, float_precision=1)
    return path


def vectors(movie_ids: np.ndarray, width: int) -> Path:
    """Return a file of vectors float32 [n, width] for ``movie_ids`` int64 [n], as PRECOMPUTED reads it, made once.

    Their variance falls from direction to direction, as that of encoders does.
    """
    path = CACHE / f"vectors-{len(movie_ids)}-{movie_ids.sum()}-{width}.parquet"
    if not path.exists():
        found = np.random.default_rng(width).standard_normal((len(movie_ids), width), np.float32)
        found = found / np.sqrt(1 + np.arange(width, dtype=np.float32)) + np.float32(0.5)
        CACHE.mkdir(parents=True, exist_ok=True)
        with writing(path) as temporary:
            table = pa.table({"movieId": movie_ids, "embedding": vector_column(found)})
            pq.write_table(table, temporary, compression="zstd", row_group_size=group_rows(table.schema))
    return path
