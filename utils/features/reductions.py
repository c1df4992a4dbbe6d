"""How each block of content is made from what is known: fitted once by 05, kept in ``reductions.npz`` for new movies.

Facts become columns by ``facts.FactReduction``, vectors of posters and texts by ``Reduction``, a linear projection.
These are not centred, so that an imputed mean is a vector like any other and not a row of zeros.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from utils.features.facts import FactReduction
from utils.handoff.atomic import writing
from utils.handoff.contract import BLOCKS
from utils.handoff.store import HandOffError, Store
from utils.handoff.vector_columns import Stacked

Rows = np.ndarray | Stacked
"""Vectors, float32 [n, d], of which blocks of rows are copied."""
BLOCK_ROWS = 4096
"""Rows in float64 at a time: 100 MB at 3,072 columns."""
AGAIN = "Run 05-Create-Feature-Store.ipynb again, and those after it."
"""What to do about a feature store that does not fit."""


@dataclass(frozen=True)
class Reduction:
    """How one block of raw width d becomes ``width`` columns: ``scale * components @ vector``, then zeros."""

    mean: np.ndarray
    """Mean of the fitted movies, float64 [d]."""
    components: np.ndarray
    """Orthonormal directions, widest first, float64 [k <= width, d]."""
    explained: np.ndarray
    """Share of the variance that each component explains, float64 [k]."""
    scale: float
    """Brings the mean standard deviation of the columns to ``pca.DEVIATION``."""
    width: int
    """Columns of the feature store; where the data has fewer directions, those left over are zero."""
    fitted_on: int
    """Movies that the components were fitted on."""

    @property
    def centre(self) -> np.ndarray:
        """The mean of the fitted movies, reduced like any vector, float32 [width]: what "mean" puts into gaps."""
        centre = np.zeros(self.width, np.float32)
        centre[: len(self.components)] = self.scale * (self.components @ self.mean)
        return centre

    def project(self, raw: Rows) -> np.ndarray:
        """Return ``raw`` float32 [n, d] reduced to float32 [n, width].

        Computed in float64 and then rounded, so that a movie's vector does not depend on the block it was in.
        """
        projected = np.zeros((len(raw), self.width), np.float32)
        for start in range(0, len(raw), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            block = raw[rows].astype(np.float64)
            projected[rows, : len(self.components)] = self.scale * (block @ self.components.T)
        return projected

    def about(self) -> dict[str, Any]:
        """Return what the metadata of the feature store says of this reduction."""
        sizes = {"raw_width": len(self.mean), "width": self.width, "components": len(self.components)}
        return sizes | {"scale": self.scale, "fitted_on": self.fitted_on}

    def sha256(self) -> str:
        """Return the sha256 of mean, components and scale as little-endian float64: which reduction it is."""
        parts = (self.mean, self.components, np.array([self.scale]))
        return hashlib.sha256(b"".join(part.astype("<f8").tobytes() for part in parts)).hexdigest()


AnyReduction = Reduction | FactReduction


def write(store: Store, reductions: Mapping[str, AnyReduction]) -> None:
    """Write the reduction of each block as ``reductions.npz``: an array for each field, named "block/field"."""
    arrays = {
        f"{block}/{field.name}": np.asarray(getattr(reduction, field.name))
        for block, reduction in reductions.items()
        for field in fields(reduction)
    }
    with writing(store.path("reductions")) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    store.record("reductions", rows=None)


def read(store: Store, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return by block the reduction that made the feature store, whose ``metadata`` names it by sha256: "facts" has a
    ``FactReduction``, the others of ``BLOCKS`` a ``Reduction``.

    Raises HandOffError for a file that is missing, stale or damaged, or was left by another run of 05.
    """
    described = metadata.get("reductions", {})
    for block in BLOCKS:
        if block not in described:
            raise HandOffError(f"feature_store.parquet does not say how its column {block} was made. {AGAIN}")
    with store.reading("reductions") as path, np.load(path, allow_pickle=False) as file:
        found = {block: _reduction(file, block) for block in BLOCKS}
    for block, reduction in found.items():
        if reduction.sha256() != described[block]["sha256"]:
            raise HandOffError(f"{path} is not the file that {block} of the feature store was made with. {AGAIN}")
    return found


def _reduction(file: Mapping[str, np.ndarray], block: str) -> AnyReduction:
    kind = FactReduction if block == "facts" else Reduction
    found: dict[str, Any] = {field.name: file[f"{block}/{field.name}"] for field in fields(kind)}
    return kind(**{name: value if value.ndim else value.item() for name, value in found.items()})
