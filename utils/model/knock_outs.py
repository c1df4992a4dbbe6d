"""Stage 07: controls for a feature set with content: the same model on content that says nothing of its movie."""

import numpy as np

from utils.handoff import parameters

KNOCK_OUTS = ("shuffled", "random", "zeros")
"""Vectors of other movies, noise of the same widths, or nothing."""


def knocked_out(vectors: np.ndarray, features: str, movie_rows: np.ndarray, seed: int) -> np.ndarray:
    """Return the frozen table for a feature set: itself, or with the movies' rows shuffled, random or zero.

    ``vectors`` float32 [rows, width]; ``movie_rows`` are the rows of movies. Random vectors are normal with
    each column's own mean and deviation. Raises ParameterError for another knock-out.
    """
    if "(" not in features:
        return vectors
    knock_out = features.rpartition("(")[2].removesuffix(")")
    parameters.choice("FEATURES", knock_out, KNOCK_OUTS)
    generator, table = np.random.default_rng(seed), vectors.copy()
    if knock_out == "shuffled":
        table[movie_rows] = vectors[generator.permutation(movie_rows)]
    elif knock_out == "random":
        own = vectors[movie_rows]
        table[movie_rows] = generator.normal(own.mean(0), own.std(0), own.shape).astype(np.float32)
    else:
        table[movie_rows] = 0
    return table
