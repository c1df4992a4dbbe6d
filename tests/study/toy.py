"""A data set of 20 users and 30 movies, six of them cold, as notebooks 01 to 06 leave it, made without them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from utils.handoff.contract import BLOCKS, FLAGS
from utils.handoff.store import Store
from utils.handoff.vector_columns import vector_column
from utils.model.frozen_table import content_table
from utils.model.training import fit
from utils.model.training.fit import Settings
from utils.study.data import StudyData
from utils.study.study import Study

MOVIES = np.arange(1, 31)
GENRES = [[["Drama"], ["Comedy", "War"], []][movie % 3] for movie in MOVIES.tolist()]
COLD = np.arange(25, 31)
NAMES = ["Drama", "Comedy", "War"]
SETTINGS = Settings(epochs=1, batch_size=64, learning_rate=0.01)
Opened = Callable[[str], Store]


def rated(seed: int, movies: np.ndarray, each: int) -> pa.Table:
    """Ratings of ``each`` of ``movies`` by users 1 to 20, who like movies of their own parity four times of five."""
    generator = np.random.default_rng(seed)
    pairs = np.array([(user, movie) for user in range(1, 21) for movie in generator.permutation(movies)[:each]])
    user, movie = generator.permutation(pairs.reshape(-1, 2)).T
    rating = (generator.integers(1, 11, len(user)) / 2 + np.where(user % 2 == movie % 2, 2, -1)).clip(0.5, 5)
    columns = {"userId": user, "movieId": movie, "rating": rating.astype(np.float32)}
    return pa.table(columns | {"timestamp": np.arange(len(user))})


def encode(store: Store, name: str, table: pa.Table) -> None:
    """Write a split as notebook 06 does, without NVTabular."""
    folder = store.path(f"{name}-hugectr")
    folder.mkdir(exist_ok=True)
    users, movies = (table[name].to_numpy().astype(np.int64) for name in ("userId", "movieId"))  # also without rows
    genres = [[NAMES.index(genre) + 3 for genre in GENRES[movie - 1]] for movie in movies]
    columns = {
        "userId": users + 2,
        "movieId": np.where(np.isin(movies, COLD), 2, movies + 2),
        "genres": pa.array(genres, pa.list_(pa.int64())),
        "movieId_duplicate": movies + 2,
        "rating": (table["rating"].to_numpy() > 3).astype(np.float32),
    }
    pq.write_table(pa.table(columns), folder / "part_0.parquet")
    (folder / "_file_list.txt").write_text(f"1\n{name}-hugectr/part_0.parquet\n")
    store.record(f"{name}-hugectr", rows=table.num_rows)


def ratings(cold: int = 3) -> dict[str, pa.Table]:
    """Train, valid and cold, with ``cold`` ratings of cold movies for each user."""
    known = rated(0, MOVIES[:24], 15)
    return {"train": known.slice(60), "valid": known.slice(0, 60), "cold": rated(1, COLD, cold)}


def write(opened: Opened, parts: dict[str, pa.Table]) -> None:
    """Write what 01 and 06 leave."""
    none = pa.nulls(len(MOVIES), pa.string())
    movies = {"movieId": MOVIES, "title": [f"Movie {m}" for m in MOVIES], "genres": GENRES, "imdbId": none}
    movies["originalId"] = [f"tt{m:07d}" for m in MOVIES.tolist()]
    movies |= {"year": pa.array([1970 + m for m in MOVIES.tolist()], pa.int16()), "tmdbId": pa.nulls(30, pa.int64())}
    opened("train").write("movies_converted", pa.table(movies))
    users = pa.table({"userId": range(1, 21), "originalId": pa.nulls(20, pa.string())})
    opened("train").write("users", users)
    for name, table in parts.items():
        opened("train").write(name, table)
        encode(opened("movie_codes"), name, table)
    codes = pa.table({"movieId": MOVIES, "code": np.where(MOVIES < 25, MOVIES + 2, 2), "content_code": MOVIES + 2})
    rows = {"userId": 23, "movieId": 27, "genres": 6, "movieId_duplicate": 33}
    most = max(1, *map(len, GENRES))
    opened("movie_codes").write("movie_codes", codes, metadata={"rows": rows, "most_genres": most})
    categories = opened("movie_codes").path("workflow-hugectr") / "categories"
    categories.mkdir(parents=True)
    for column, values in {"userId": list(range(1, 21)), "genres": NAMES}.items():
        pq.write_table(pa.table({column: values}), categories / f"unique.{column}.parquet")


def features() -> pa.Table:
    """A feature store of random vectors; a quarter of the movies lacks the first block."""
    generator = np.random.default_rng(3)
    columns: dict[str, Any] = {"movieId": MOVIES}
    columns |= {block: vector_column(generator.normal(size=(30, 4 - at))) for at, block in enumerate(BLOCKS)}
    return pa.table(columns | dict.fromkeys(FLAGS.values(), MOVIES > 0) | {FLAGS[BLOCKS[0]]: MOVIES % 4 > 0})


def fit_here(job: fit.Job, _: Path) -> fit.Run:
    return fit.fit(job)


def open_data(store: Store, table: pa.Table | None = None) -> StudyData:
    """Open what ``write`` wrote, with the feature store ``table``."""
    table, codes = features() if table is None else table, store.read("movie_codes")
    return StudyData.open(store, table, codes, content_table(table, codes))


def open_study(opened: Opened, cold: int = 3, **settings: Any) -> Study:
    """Write a data set and open a study of it."""
    write(opened, ratings(cold))
    return Study(open_data(opened("metrics")), replace(SETTINGS, **settings), "torch", fit_here)
