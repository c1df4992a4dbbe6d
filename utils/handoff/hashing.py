"""Random choices by hash: the same for any order of rows, on any machine, with any version of a random generator."""

import hashlib

import numpy as np

_CHUNK = 1 << 15
"""Rows hashed at a time: few enough for the arrays to stay in the processor's cache."""


def hashed(seed: int, purpose: str, *columns: np.ndarray) -> np.ndarray:
    """Return a uint64 for each row [n] of integer ``columns`` [n], evenly spread, by splitmix64's finaliser.

    Source: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    salt = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=8).digest()
    result = np.full(len(columns[0]), np.frombuffer(salt, "<u8")[0], dtype=np.uint64)
    for start in range(0, len(result), _CHUNK):
        z = result[start : start + _CHUNK]
        for column in columns:
            z ^= column[start : start + _CHUNK].astype(np.int64).view(np.uint64)
            z += np.uint64(0x9E3779B97F4A7C15)
            z ^= z >> np.uint64(30)
            z *= np.uint64(0xBF58476D1CE4E5B9)
            z ^= z >> np.uint64(27)
            z *= np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
    return result


def drawn(share: float, seed: int, purpose: str, *columns: np.ndarray) -> np.ndarray:
    """Return, as bool [n], about a ``share`` of the rows of integer ``columns`` [n], chosen by their hash.

    The choice does not depend on the order of rows, and a larger share contains the smaller ones.
    """
    return hashed(seed, purpose, *columns) < np.uint64(share * 2**64)


def lowest(count: int, seed: int, purpose: str, ids: np.ndarray) -> np.ndarray:
    """Return where the ``count`` of ``ids`` (int64 [n], all different) with the lowest hash are, lowest first."""
    return np.argsort(hashed(seed, purpose, ids), kind="stable")[:count]
