"""05: vectors of posters and texts, 2,048 + 1,024 wide, for every movie of the catalogue.

Reducing them is compared with scikit-learn's exact PCA. Laying them out by code, which is what the model looks up, is
compared with the original series, whose loop took one row of the feature store at a time; its memory is that of the
vectors given and the table made.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.speed import generator
from benchmarks.speed.child import timed
from benchmarks.speed.harness import Case
from utils.handoff import contract, store, vector_columns

_MOVIES = 62_423
_RAW = (2048, 1024)
_RESERVED = 3
_KEPT = 64
_KNOWN = 0.9
"""Share of the movies that have training ratings, on which components are fitted."""


def _files(movies: int, poster: int, text: int) -> dict[str, Path]:
    widths = {"poster": poster, "text": text}
    return {name: generator.CACHE / f"vectors-{movies}-{width}.parquet" for name, width in widths.items()}


def prepare(movies: int, poster: int, text: int) -> None:
    """Make the files of vectors that both read."""
    for file, width in zip(_files(movies, poster, text).values(), (poster, text), strict=True):
        if not file.exists():
            generator.vectors(file, np.arange(1, movies + 1), width)


def _known(movies: int) -> np.ndarray:
    return np.arange(1, int(_KNOWN * movies) + 1)


def reduced(movies: int, poster: int, text: int) -> dict[str, Any]:
    """What notebook 05 does: read the vectors, reduce them by components of known movies, one table of all."""
    from utils.features import feature_store, imputation

    files, movie_ids = _files(movies, poster, text), np.arange(1, movies + 1)
    with timed() as clock:
        parts = {
            name: feature_store.reduce(store.read_parquet(file), movie_ids, _known(movies), _KEPT)
            for name, file in files.items()
        }
        filled = imputation.fill(parts, movie_ids, _known(movies), "mean")
        table = feature_store.table(movie_ids, filled)
    sizes = {name: float(np.abs(vector_columns.vectors(table[name])).sum(dtype=np.float64)) for name in parts}
    explained = {f"{name} explained": float(part.reduction.explained.sum()) for name, part in parts.items()}
    # Two passes of n rows: the covariance of the known ones, the projection of all.
    flop = sum(2 * width * (len(_known(movies)) * width + movies * _KEPT) for width in (poster, text))
    return clock.told() | {"answer": sizes | explained, "flop": flop, "count": movies}


def sklearn_pca(movies: int, poster: int, text: int) -> dict[str, Any]:
    """The same by pandas and scikit-learn's PCA by covariance, in float64: float32 is off (``utils.features.pca``)."""
    import pandas as pd
    from sklearn.decomposition import PCA

    answer: dict[str, float] = {}
    with timed() as clock:
        for name, file in _files(movies, poster, text).items():
            frame = pd.read_parquet(file).set_index("movieId")
            raw = np.stack(frame["embedding"].to_numpy()).astype(np.float64)
            pca = PCA(_KEPT, svd_solver="covariance_eigh").fit(raw[: len(_known(movies))])
            vectors = (raw @ pca.components_.T / np.sqrt(pca.explained_variance_.sum())).astype(np.float32)
            answer |= {name: float(np.abs(vectors).sum(dtype=np.float64))}
            answer |= {f"{name} explained": float(pca.explained_variance_ratio_.sum())}
    return clock.told() | {"answer": answer}


def _raw(movies: int, poster: int, text: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the vectors of each modality, and a code for each movie, in some order above the reserved ones."""
    files = _files(movies, poster, text)
    raw = {name: vector_columns.vectors(pq.read_table(file)["embedding"]) for name, file in files.items()}
    return raw, np.random.default_rng(0).permutation(movies) + _RESERVED


def laid_out(movies: int, poster: int, text: int) -> dict[str, Any]:
    """The table that the model looks up, as notebook 07 makes it."""
    from utils.model import frozen_table

    raw, codes = _raw(movies, poster, text)
    movie_ids = np.arange(1, movies + 1)
    columns = {name: vector_columns.vector_column(values) for name, values in raw.items()}
    flags = dict.fromkeys(contract.FLAGS.values(), np.ones(movies, bool))
    features = pa.table({"movieId": movie_ids} | columns | flags)
    coded = pa.table({"movieId": movie_ids, "content_code": codes})
    with timed() as clock:
        found = frozen_table.content_table(features, coded)
    return clock.told() | _laid_out(found.vectors[_RESERVED:, : poster + text], movies)


def row_loop(movies: int, poster: int, text: int) -> dict[str, Any]:
    """The loop of the original series: iterrows over the codes, a row of the feature store looked up for each."""
    import pandas as pd

    raw, codes = _raw(movies, poster, text)
    ids = pd.Index(np.arange(1, movies + 1), name="movieId")
    features = pd.DataFrame(np.hstack(list(raw.values())), index=ids)
    mapping = pd.DataFrame({"movieId": ids[np.argsort(codes)]})
    with timed() as clock:
        matrix = np.zeros((movies, poster + text))
        for i, row in mapping.iterrows():
            movie = row["movieId"]
            if movie in features.index:
                matrix[i] = features.loc[movie]
    return clock.told() | _laid_out(matrix, movies)


def _laid_out(matrix: np.ndarray, movies: int) -> dict[str, Any]:
    """A number that depends on the place of every row, and what has to be read and written at least, as float32."""
    places = np.arange(1, movies + 1) / movies
    sums = matrix.sum(axis=1, dtype=np.float64)
    answer = {"rows": len(matrix), "sum": float(sums.sum()), "sum by place": float(sums @ places)}
    return {"answer": answer, "bytes_moved": 2 * 4 * matrix.size, "count": movies}


def agree(case: Case, ours: Mapping[str, float], other: Mapping[str, float]) -> str | None:
    """Every number of the answers, to 1e-5 of its size: sums of float32 in another order."""
    for name, value in ours.items():
        if not np.isclose(value, other[name], rtol=1e-5):
            return f"{name} is {value:.8g} in ours and {other[name]:.8g} in the other"
    return None


def _cases(movies: int, poster: int, text: int, **more: Any) -> tuple[Case, Case]:
    arguments = {"movies": movies, "poster": poster, "text": text}
    reduce = Case(
        stage="05 reduce the vectors",
        against="pandas, scikit-learn's PCA by covariance in float64, which is as exact",
        ours="benchmarks.speed.feature_store:reduced",
        other="benchmarks.speed.feature_store:sklearn_pca",
        at_least=1.0,
        peak_mb_at_most=2 * 4 * movies * (poster + text) / 1e6,
        arguments=arguments,
        limit="matmul",
        checked="explained variance and the sum of all sizes agree to 1e-5; both use float64, the limit is float32",
        **more,
    )
    lay_out = Case(
        stage="05 lay the vectors out by code",
        against="the original series' loop over rows (iterrows, then .loc)",
        ours="benchmarks.speed.feature_store:laid_out",
        other="benchmarks.speed.feature_store:row_loop",
        at_least=100.0,
        memory_at_most=1.0,
        arguments=arguments,
        limit="memory",
        checked="the table's sum, and the sum weighted by place of the row, agree to 1e-5; the loop takes all rows",
        **more,
    )
    return reduce, lay_out


CASES = _cases(_MOVIES, *_RAW)
SMALL = _cases(600, 128, 96, repeats=1)
