"""HugeCTR's own file formats (25.03), read and written.

A sparse model is a folder with ``key`` (int64) and ``emb_vector`` (float32, row-major), little-endian.
"""

from pathlib import Path

import numpy as np

from utils import artefacts
from utils.artefacts import HandOffError


def write_sparse(folder: Path, keys: np.ndarray, vectors: np.ndarray) -> None:
    """Write a sparse model folder: ``keys`` int64 [n], ``vectors`` float32 [n, width]. Atomic."""
    with artefacts.writing(folder) as temporary:
        temporary.mkdir()
        keys.astype("<i8").tofile(temporary / "key")
        vectors.astype("<f4").tofile(temporary / "emb_vector")


def read_sparse(folder: Path, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a sparse model folder: keys int64 [n] and vectors float32 [n, width].

    Raises HandOffError where the files' sizes do not fit the width.
    """
    keys = np.fromfile(folder / "key", dtype="<i8")
    vectors = np.fromfile(folder / "emb_vector", dtype="<f4")
    if vectors.size != keys.size * width:
        raise HandOffError(
            f"{folder}: {keys.size} keys of width {width} need {keys.size * width} numbers, not {vectors.size}"
        )
    return keys, vectors.reshape(-1, width)
