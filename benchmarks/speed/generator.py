"""Archives of MovieLens 25M's shape, made from a seed: ``python -m benchmarks.speed.generator OUT.zip --ratings N``.

The layout is that of ml-25m.zip, so that notebook 01 reads it by ``ARCHIVE=OUT.zip DATASET=ml-25m-shaped``. Ratings
have structure that can be learned (users' and movies' biases, tastes of low rank); the rest is noise. The shape
(``benchmarks.speed.shape``) is measured; titles, links and vectors only look like the real ones.
"""

import argparse
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import ndtri

from benchmarks.speed import ROOT
from benchmarks.speed.shape import RATINGS, SHARES, Shape, choose, shape
from utils.fetching import archives
from utils.handoff import store, vector_columns
from utils.handoff.store import writing

NAME = "ml-25m-shaped"
CACHE = Path(os.environ.get("SPEED_DATA", ROOT / "data" / ".speed"))
"""Where the cases keep what they have generated; set SPEED_DATA for another disk."""
GENRES = (
    "Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir",
    "Horror", "IMAX", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
NO_GENRES = "(no genres listed)"
_GENRE_SHARES = (12, 7, 5, 5, 27, 9, 9, 41, 5, 1, 10, 1, 2, 5, 12, 6, 14, 3, 2)
"""Percent of the movies that have each genre."""
_FIRST, _LAST = 789_652_009, 1_574_327_703
"""Seconds of the first and last rating: January 1995 and November 2019."""
_ROWS = 1_000_000
_TASTES = 8
_PARTS = {"user": 0.35, "movie": 0.40, "taste": 0.45}
"""Standard deviations within a score of standard deviation 1; what is left is noise."""


@dataclass(frozen=True)
class People:
    """What the ratings are made of: biases float32 [n] and tastes float32 [n, _TASTES] of users and of movies."""

    user_bias: np.ndarray
    user_taste: np.ndarray
    user_start: np.ndarray
    movie_bias: np.ndarray
    movie_taste: np.ndarray
    movie_ids: np.ndarray
    """Of the movies that are rated, int64 [rated], in the order of ``Shape.weight``."""


def generate(path: Path, ratings: int = RATINGS, seed: int = 0) -> Path:
    """Write an archive with exactly that many ``ratings``; the same ones for the same seed. Return ``path``.

    Rows are sorted by user and movie, as in the original, and are made in pieces of a million. Raises ValueError for
    fewer ratings than 5,000, which have no long tail.
    """
    if ratings < 5_000:
        raise ValueError(f"ratings={ratings} is too few for a long tail. Ask for 5,000 or more.")
    generator = np.random.default_rng(seed)
    plan = shape(ratings, generator)
    catalogue, genre_flags = _catalogue(plan.movies, generator)
    people = _people(plan, catalogue["movieId"].to_numpy(), genre_flags, generator)
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, columns in (("movies", ("movieId", "title", "genres")), ("links", ("movieId", "imdbId", "tmdbId"))):
            with archive.open(f"{NAME}/{name}.csv", "w") as stream:
                stream.write(catalogue.select(columns).write_csv().encode())
        with archive.open(f"{NAME}/ratings.csv", "w", force_zip64=True) as stream:
            for number, frame in enumerate(_ratings(plan, people, seed)):
                piece = io.BytesIO()
                frame.write_csv(piece, include_header=number == 0, float_precision=1)
                stream.write(piece.getbuffer())
    return path


def _catalogue(movies: int, generator: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
    """Return movies with their links, sorted by movieId, and which has which genre, bool [movies, genres]."""
    ids = np.sort(generator.choice(np.arange(1, 3 * movies + 1), movies, replace=False))
    years = 2019 - np.minimum(generator.exponential(22, movies).astype(int), 120)
    flags = generator.random((movies, len(GENRES))) < np.array(_GENRE_SHARES) / 100
    genres = ["|".join(genre for genre, has in zip(GENRES, row, strict=True) if has) or NO_GENRES for row in flags]
    forms = ("Story {}, The", "Tale {}", "Return of {}", "Night {}, A")
    titles = [f"{forms[movie % 4].format(movie)} ({year})" for movie, year in zip(ids, years, strict=True)]
    imdb = np.sort(generator.choice(np.arange(1, 160 * movies), movies, replace=False))
    tmdb = pl.Series(generator.permutation(8 * movies)[:movies] + 1).set(
        pl.Series(generator.random(movies) < 0.002), None
    )
    columns = {"movieId": ids, "title": titles, "genres": genres, "imdbId": [f"{i:07d}" for i in imdb], "tmdbId": tmdb}
    return pl.DataFrame(columns), flags


def _people(plan: Shape, movie_ids: np.ndarray, genres: np.ndarray, generator: np.random.Generator) -> People:
    users, rated = len(plan.per_user), len(plan.weight)
    rows = generator.permutation(plan.movies)[:rated]
    taste = genres[rows] @ generator.standard_normal((len(GENRES), _TASTES)) + generator.standard_normal(
        (rated, _TASTES)
    )
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    return People(
        user_bias=(_PARTS["user"] * generator.standard_normal(users)).astype(np.float32),
        user_taste=(_PARTS["taste"] * generator.standard_normal((users, _TASTES))).astype(np.float32),
        user_start=generator.integers(_FIRST, _LAST - 86_400, users),
        movie_bias=(_PARTS["movie"] * generator.standard_normal(rated)).astype(np.float32),
        movie_taste=taste.astype(np.float32),
        movie_ids=movie_ids[rows],
    )


def _ratings(plan: Shape, people: People, seed: int) -> Iterator[pl.DataFrame]:
    """Yield the ratings of some users at a time, about _ROWS rows."""
    ends = np.cumsum(plan.per_user)
    pieces = max(1, round(ends[-1] / _ROWS))
    cuts = np.searchsorted(ends, np.linspace(0, ends[-1], pieces + 1)[1:-1])
    for number, users in enumerate(np.split(np.arange(len(ends)), cuts)):
        generator = np.random.default_rng([seed, number])
        pairs = choose(plan.per_user[users], plan.weight, generator)
        user, movie = users[0] + pairs // len(plan.weight), pairs % len(plan.weight)
        columns = {
            "userId": user + 1,
            "movieId": people.movie_ids[movie],
            "rating": _stars(people, user, movie, generator),
            "timestamp": _seconds(people.user_start[user], generator),
        }
        yield pl.DataFrame(columns).sort("userId", "movieId")


def _stars(people: People, user: np.ndarray, movie: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Ratings of 0.5 to 5, float64 [n]: scores cut where the normal distribution gives MovieLens's shares."""
    score = people.user_bias[user] + people.movie_bias[movie]
    score += np.einsum("ij,ij->i", people.user_taste[user], people.movie_taste[movie])
    noise = np.sqrt(1 - sum(part**2 for part in _PARTS.values()))
    score += noise * generator.standard_normal(len(user), dtype=np.float32)
    return (1 + np.searchsorted(ndtri(np.cumsum(SHARES)[:-1] / sum(SHARES)), score)) / 2


def _seconds(start: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Most ratings of a user come within an hour, some years later."""
    after = generator.exponential(np.where(generator.random(len(start)) < 0.7, 1_800, 2e7))
    return np.minimum(start + after.astype(np.int64), _LAST)


def vectors(path: Path, movie_ids: np.ndarray, width: int, seed: int = 0) -> Path:
    """Write vectors for ``movie_ids`` int64 [n] as 03 and 04 do and read by PRECOMPUTED; return ``path``.

    float32 [n, width], directions of falling variance, as encoders give them: of 64 hidden numbers, and some noise.
    """
    generator = np.random.default_rng([seed, width])
    hidden = generator.standard_normal((len(movie_ids), 64), dtype=np.float32) / np.sqrt(
        1 + np.arange(64, dtype=np.float32)
    )
    found = hidden @ generator.standard_normal((64, width), dtype=np.float32)
    found += 0.1 * generator.standard_normal(found.shape, dtype=np.float32) + 0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as temporary:
        table = pa.table({"movieId": movie_ids, "embedding": vector_columns.vector_column(found)})
        pq.write_table(table, temporary, compression="zstd", row_group_size=store.group_rows(table.schema))
    return path


def archived(ratings: int, seed: int) -> Path:
    """Return a generated archive in the cache, made where it is not there yet."""
    archive = CACHE / f"{NAME}-{ratings}-{seed}.zip"
    return archive if archive.exists() else generate(archive, ratings, seed)


def unpacked(ratings: int, seed: int) -> Path:
    """Return the folder of a generated archive's files in the cache, made where it is not there yet."""
    folder = CACHE / f"{NAME}-{ratings}-{seed}"
    if not folder.exists():
        with writing(folder) as temporary, archives.open_archive(archived(ratings, seed)) as opened:
            temporary.mkdir(exist_ok=True)
            for name, file in opened.take(("ratings.csv", "movies.csv", "links.csv")).items():
                file.rename(temporary / name)
    return folder


def main(words: list[str] | None = None) -> None:
    """Write an archive and say what is in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.generator", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ratings", type=int, default=RATINGS)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    path = generate(asked.out, asked.ratings, asked.seed)
    print(f"{path}: {asked.ratings:,} ratings, {path.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
