"""Movies by their content vectors: the nearest of a movie, and a map of all, for a look with one's own eyes."""

import numpy as np
from sklearn.manifold import TSNE

PERPLEXITY = 30.0
"""Neighbours that t-SNE tries to keep beside each movie: scikit-learn's default."""


def directions(vectors: np.ndarray, centre: np.ndarray | None = None) -> np.ndarray:
    """Return ``vectors`` float32 [n, d] seen from ``centre`` [d] (their own mean), each at length one.

    The product of two is then their cosine. Vectors are centred because encoders give such that all point one way,
    which would make every cosine close to 1. A vector at the centre stays zero: it is near nothing.
    """
    if centre is None:
        centre = vectors.mean(axis=0) if len(vectors) else np.zeros(vectors.shape[1], vectors.dtype)
    centred = vectors - centre
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def nearest(
    ids: np.ndarray, vectors: np.ndarray, queries: np.ndarray, k: int
) -> list[tuple[int, list[tuple[int, float]]]]:
    """For each of ``queries`` (movieIds among ``ids`` int64 [n]) the ``k`` other movies of largest cosine similarity.

    ``vectors`` float32 [n, d] are centred first (see ``directions``).
    Returns [(query, [(movieId, similarity), …]), …].
    """
    units = directions(vectors)
    found = []
    for query in queries:
        row = int(np.flatnonzero(ids == query)[0])
        similarity = units @ units[row]
        similarity[row] = -np.inf
        best = np.argsort(-similarity, kind="stable")[: min(k, len(ids) - 1)]
        found.append((int(query), [(int(ids[other]), float(similarity[other])) for other in best]))
    return found


def layout(vectors: np.ndarray, seed: int, at_most: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Lay movies out on a sheet so that those near each other in ``vectors`` float32 [n, d] stay near each other.

    Returns their rows int64 [m], ascending, and places float32 [m, 2]. Above ``at_most`` movies it shows that many,
    drawn by ``seed``: t-SNE takes minutes for more. Distances between groups of a t-SNE mean nothing.
    Fewer than three movies, or such that do not differ, are put in a row without it.
    Source: van der Maaten and Hinton, 2008, by scikit-learn's TSNE, started from the first two principal components.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:at_most])
    shown = vectors[rows]
    if len(rows) < 3 or not (shown != shown[0]).any():
        places = np.arange(len(rows), dtype=np.float32)
        return rows, np.stack([places, np.zeros_like(places)], axis=1)
    if shown.shape[1] < 2:  # Two principal components need two columns.
        shown = np.pad(shown, ((0, 0), (0, 1)))
    # scikit-learn demands fewer neighbours than movies, and t-SNE about three movies for each.
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    sheet = TSNE(perplexity=max(perplexity, 1.0), init="pca", random_state=seed)
    return rows, sheet.fit_transform(shown).astype(np.float32)
