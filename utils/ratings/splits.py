"""Which rating goes where: a sample of users, movies held out cold, and the split into train and valid.

Every choice is made by a hash of the ids and the seed. It does not depend on the order of the rows, on a random
generator, or on the machine. Each purpose has its own salt; otherwise the users of a sample, or the movies held out,
would depend on the ratings chosen for valid.
"""

import numpy as np
import polars as pl

from utils.handoff import parameters
from utils.handoff.hashing import hashed, lowest
from utils.handoff.parameters import ParameterError
from utils.ratings.rating_table import SCHEMA

SPLITS = ("random", "temporal")


def check_parameters(split: object, valid_fraction: object, cold_fraction: object, sample_users: object) -> None:
    """Raise ParameterError for a value of SPLIT, VALID_FRACTION, COLD_FRACTION or SAMPLE_USERS that cannot be used."""
    parameters.choice("SPLIT", split, SPLITS)
    parameters.fraction("VALID_FRACTION", valid_fraction, zero=False)
    parameters.fraction("COLD_FRACTION", cold_fraction)
    parameters.whole("SAMPLE_USERS", sample_users, none=True)


def sample_users(ratings: pl.DataFrame, n: int | None, seed: int) -> pl.DataFrame:
    """Return all ratings of ``n`` users chosen by ``seed``; all ratings where ``n`` is None.

    Raises ParameterError where there are fewer users than ``n``.
    """
    parameters.whole("SAMPLE_USERS", n, none=True)
    if n is None:
        return ratings
    users = ratings["userId"].unique().sort()
    if n > users.len():
        raise ParameterError(
            f"SAMPLE_USERS={n} is more than the {users.len():,} users there are. Set it to None for all."
        )
    chosen = _lowest(users, n, seed, "sample_users")
    return ratings.filter(pl.col("userId").is_in(chosen.implode()))


def split(
    ratings: pl.DataFrame, how: str, valid_fraction: float, cold_fraction: float, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return (train, valid, cold): disjoint, together all of ``ratings`` (at most one per user and movie).

    cold: every rating of round(``cold_fraction`` * rated movies) movies. Of the n other ratings, ``how`` =
    "random" gives exactly round(``valid_fraction`` * n) to valid; "temporal" gives the latest of all users to
    valid, at most that many, the ratings of the second at the cut staying together in train.
    Each part is shuffled by a hash of its ids, because HugeCTR's parquet reader does not shuffle and MovieLens files
    are sorted by user. Raises ParameterError where train or valid would be empty.
    """
    check_parameters(how, valid_fraction, cold_fraction, None)
    movies = ratings["movieId"].unique().sort()
    chosen = _lowest(movies, round(cold_fraction * movies.len()), seed, "cold")
    held_out = ratings.select(pl.col("movieId").is_in(chosen.implode())).to_series().to_numpy()
    rows = _shuffled(ratings, seed)
    aside = held_out[rows]
    cold, warm = rows[aside], rows[~aside]
    del rows, aside
    count = round(valid_fraction * len(warm))
    if not 0 < count < len(warm):
        raise ParameterError(
            f"VALID_FRACTION={valid_fraction} of the {len(warm):,} ratings that COLD_FRACTION={cold_fraction} leaves "
            f"is {count:,}: train and valid need one at least. Change one of the two, or raise SAMPLE_USERS."
        )
    if how == "random":
        # The start of a random order is a random choice, and what is left is still in random order.
        valid, train = warm[:count], warm[count:]
    else:
        late = _late(ratings["timestamp"].to_numpy()[warm], count)
        valid, train = warm[late], warm[~late]
    return _rows(ratings, train), _rows(ratings, valid), _rows(ratings, cold)


def _rows(ratings: pl.DataFrame, rows: np.ndarray) -> pl.DataFrame:
    chosen = pl.Series(rows)
    return ratings.select(pl.col(name).gather(chosen).cast(kind) for name, kind in SCHEMA.items())  # in parallel


def _shuffled(ratings: pl.DataFrame, seed: int, bits: int | None = None) -> np.ndarray:
    """Return the numbers of all rows, uint32 [n], in the order of a hash of their ids.

    The hash, with the row's number in its lowest ``bits``, is sorted as one integer, which takes a fraction of the time
    of an argsort, and polars does it on all cores. Rows whose hashes differ only in those bits are put in order
    afterwards, as they would otherwise keep the order of the file.
    """
    ids = ratings["userId"].to_numpy(), ratings["movieId"].to_numpy()
    value = hashed(seed, "ratings", *ids)
    bits = len(value).bit_length() if bits is None else bits
    low = np.uint64((1 << bits) - 1)
    value &= ~low
    value |= np.arange(len(value), dtype=np.uint64)
    value = pl.Series(value).sort().to_numpy()
    rows = (value & low).astype(np.uint32)
    value = value >> np.uint64(bits)
    same = np.flatnonzero(value[1:] == value[:-1])
    tied = np.union1d(same, same + 1)
    whole = hashed(seed, "ratings", *(column[rows[tied]] for column in ids))
    rows[tied] = rows[tied][np.lexsort((whole, value[tied]))]
    return rows


def _lowest(ids: pl.Series, count: int, seed: int, purpose: str) -> pl.Series:
    """Choose ``count`` of the sorted ``ids``."""
    return ids.gather(lowest(count, seed, purpose, ids.to_numpy()))


def _late(timestamp: np.ndarray, count: int) -> np.ndarray:
    """Mark at most ``count`` of the latest; those of one second are marked together or not at all."""
    place = len(timestamp) - count - 1
    cut = np.partition(timestamp, place)[place]
    late = timestamp > cut
    if not timestamp.any():
        raise ParameterError("SPLIT='temporal' needs times, and the ratings have none. Use SPLIT='random'.")
    if not late.any():
        raise ParameterError(
            "SPLIT='temporal' finds no rating later than those that go to train: too many have the same timestamp, "
            f"{cut}. Use SPLIT='random', or another VALID_FRACTION."
        )
    return late


def summary(**parts: pl.DataFrame) -> pl.DataFrame:
    """Return one row per part, as in ``summary(train=train, cold=cold)``: ratings, users, movies, density, mean rating.

    ``density`` is the share of rated pairs among all pairs of the part's users and movies.
    """
    rows = []
    for name, part in parts.items():
        users, movies = part["userId"].n_unique(), part["movieId"].n_unique()
        rows.append((name, part.height, users, movies, part.height / max(users * movies, 1), part["rating"].mean()))
    columns = ("part", "ratings", "users", "movies", "density", "mean rating")
    return pl.DataFrame(rows, schema=columns, orient="row")
