"""What every peer is given: the hand-offs as numbered likes, the movies to rank, and what each user has seen."""

import argparse
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from utils.handoff.contract import LIKED


class PeerError(ValueError):
    """Hand-offs or lists of recommendations that no peer can be trained on or judged by."""


@dataclass(frozen=True)
class Problem:
    """One data set. Users and movies are positions in ``user_ids`` and ``movie_ids``, both ascending and complete.

    ``user``, ``movie`` int32 [n] and ``rating`` float32 [n] are train; ``cold`` is a bool mask [movies] of the
    held-out movies; ``content`` float32 [movies, poster + text] are the vectors of the feature store.
    """

    user_ids: np.ndarray
    movie_ids: np.ndarray
    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    cold: np.ndarray
    content: np.ndarray
    digest: str

    @property
    def liked(self) -> np.ndarray:
        """Return a bool mask [n] of the likes of train."""
        return self.rating > LIKED

    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (indptr [users + 1], movies [n]) of what each user has rated in train, as ``ranking.top_k`` asks."""
        counts = np.bincount(self.user, minlength=len(self.user_ids))
        return np.concatenate([[0], np.cumsum(counts)]), self.movie[np.argsort(self.user, kind="stable")]

    def set_aside(self, fraction: float, seed: int) -> tuple["Problem", np.ndarray, np.ndarray]:
        """Return the problem without a ``fraction`` of its likes (at least one), and their users and movies."""
        likes = np.flatnonzero(self.liked)
        taken = np.random.default_rng(seed).choice(likes, max(1, round(fraction * len(likes))), replace=False)
        kept = np.ones(len(self.user), bool)
        kept[taken] = False
        rest = replace(self, user=self.user[kept], movie=self.movie[kept], rating=self.rating[kept])
        return rest, self.user[taken], self.movie[taken]


def read_problem(folder: Path) -> Problem:
    """Read train, valid, cold, movies and feature store of a data set's folder. Raises PeerError saying what to run."""
    ratings = {name: read_table(folder, name, ["userId", "movieId", "rating"]) for name in ("train", "valid", "cold")}
    movies = read_table(folder, "movies_converted", ["movieId"])
    store = read_table(folder, "feature_store", ["movieId", "poster", "text"]).sort_by("movieId")
    movie_ids = np.sort(movies["movieId"].to_numpy())
    if not np.array_equal(store["movieId"].to_numpy(), movie_ids):
        raise PeerError(f"{folder}/feature_store.parquet has other movies than movies_converted. Run 05 again.")
    user_ids = np.unique(np.concatenate([table["userId"].to_numpy() for table in ratings.values()]))
    train, cold = ratings["train"], ratings["cold"]
    if not np.isin(train["movieId"].to_numpy(), movie_ids).all():
        raise PeerError(f"{folder}/train.parquet rates movies that movies_converted does not have. Run 01 again.")
    if not (train["rating"].to_numpy() > LIKED).any():
        raise PeerError(f"{folder}/train.parquet has no rating above {LIKED:g}: there is nothing to learn from.")
    return Problem(
        user_ids=user_ids,
        movie_ids=movie_ids,
        user=np.searchsorted(user_ids, train["userId"].to_numpy()).astype(np.int32),
        movie=np.searchsorted(movie_ids, train["movieId"].to_numpy()).astype(np.int32),
        rating=train["rating"].to_numpy().astype(np.float32),
        cold=np.isin(movie_ids, cold["movieId"].to_numpy()),
        content=np.hstack([_vectors(store[name]) for name in ("poster", "text")]),
        digest=digest(folder),
    )


def digest(folder: Path) -> str:
    """Return the sha256 of ``train.parquet``: lists made from one train must not be judged with another."""
    return hashlib.sha256((folder / "train.parquet").read_bytes()).hexdigest()


def read_table(folder: Path, name: str, columns: list[str]) -> pa.Table:
    """Return columns of the hand-off ``name``. Raises PeerError for a file that is missing, damaged or another."""
    path = folder / f"{name}.parquet"
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise PeerError(f"{path} cannot be read ({error}). Run notebooks 01 to 05 first, or mend --data.") from error


def _vectors(column: pa.ChunkedArray) -> np.ndarray:
    flat = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    return flat.to_numpy().reshape(-1, column.type.list_size)


def arguments(description: str, *others: str) -> argparse.ArgumentParser:
    """Return a parser of --data, --out and the ``others``, all of them paths and required."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    for name in ("--data", "--out", *others):
        parser.add_argument(name, type=Path, required=True)
    return parser
