"""Nearest neighbours of movies by their content vectors, for a look with one's own eyes."""

import numpy as np


def nearest(
    ids: np.ndarray, vectors: np.ndarray, queries: np.ndarray, k: int
) -> list[tuple[int, list[tuple[int, float]]]]:
    """For each of ``queries`` (movieIds among ``ids`` int64 [n]) the ``k`` other movies of largest cosine similarity.

    ``vectors`` float32 [n, d] are centred first: encoders give vectors that all point one way, which
    would make every similarity close to 1. Returns [(query, [(movieId, similarity), …]), …].
    """
    centred = vectors - vectors.mean(axis=0)
    units = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    found = []
    for query in queries:
        row = int(np.flatnonzero(ids == query)[0])
        similarity = units @ units[row]
        similarity[row] = -np.inf
        best = np.argsort(-similarity, kind="stable")[: min(k, len(ids) - 1)]
        found.append((int(query), [(int(ids[other]), float(similarity[other])) for other in best]))
    return found
