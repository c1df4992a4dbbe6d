"""PRECOMPUTED: ready-made vectors from a file, in place of an encoder, for 03 and 04.

For those who have vectors of posters or texts but may not, or cannot, have the posters and texts.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from utils.handoff.parameters import ParameterError
from utils.handoff.store import sha256
from utils.vectors.shards import Embeddings
from utils.vectors.vector_files import VectorFileError, read_any


def read_vectors(path: str | Path, catalogue_ids: Iterable[int]) -> Embeddings:
    """Return the vectors of a file or folder (any layout of ``vector_files``) of those movies that the catalogue has.

    They may be of any width and float type, and are given as float32 [n, d] in ascending movieId. Vectors of
    unknown movies are left out, and counted in the metadata. Raises ParameterError for a file that is
    missing or in another layout, vectors that are not finite or of unequal width, a movie that comes twice,
    ids that are no movieIds, and a file without any movie of the catalogue.
    """
    path = Path(path).expanduser()
    try:
        ids, found = read_any(path)
    except VectorFileError as error:
        raise _error(path, str(error)) from error
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < len(ids):
        raise _error(path, f"movieId {distinct[counts > 1][0]} comes {counts.max()} times. Keep one vector a movie.")
    finite = np.isfinite(found).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise _error(
            path,
            f"{np.count_nonzero(~finite):,} vectors hold NaN or infinity as float32, the first in row {row} "
            f"(movieId {ids[row]}). Leave such movies out of the file.",
        )
    catalogue = np.fromiter(catalogue_ids, "int64")
    known = np.isin(ids, catalogue)
    if 0 not in catalogue and len(ids) and np.array_equal(distinct, np.arange(len(ids))):
        raise _error(
            path,
            f"its ids are 0 to {len(ids) - 1:,}: numbers of rows, not movieIds. Give each row its movieId.",
        )
    if not known.any():
        raise _error(
            path,
            f"none of its {len(ids):,} movieIds (first: {ids[:3].tolist()}) is in the catalogue of {len(catalogue):,} "
            f"movies (first: {catalogue[:3].tolist()}). movieId must be MovieLens's, and of the same DATASET.",
        )
    order = np.flatnonzero(known)[np.argsort(ids[known], kind="stable")]
    unknown = int(np.count_nonzero(~known))
    print(f"{path.name}: {len(order):,} vectors, {found.shape[1]} wide; {unknown:,} of unknown movies left out.")
    metadata = {
        "encoder": "precomputed",
        "weights_sha256": None,
        "width": found.shape[1],
        "preprocessing": f"vectors of {path.name}",
        "file_sha256": sha256(path),
        "source": {"precomputed": len(order)},
        "unknown": unknown,
    }
    return Embeddings(ids[order], found[order], (), metadata)


def _error(path: Path, message: str) -> ParameterError:
    return ParameterError(f"PRECOMPUTED={str(path)!r}: {message}")
