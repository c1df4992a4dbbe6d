"""What the numbers must mean: every vector that a row looks up is the feature-store row of that row's raw movie.

HugeCTR cannot know this; the series stands on it. The environment variable HUGECTR_STAND_IN_TRUTH
names the folder with ``feature_store.parquet``, ``movie_codes.parquet`` and, for each encoded source
``<split>-hugectr``, the raw ``<split>.parquet``, whose rows come in the same order.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import NotFrozen, SharedCode, WrongCode, WrongColumns, WrongLabel, WrongVector
from .graph import Graph
from .reader import Data
from .weights import Table

VARIABLE = "HUGECTR_STAND_IN_TRUTH"
CONTENT = "movieId_duplicate"
"""The slot that looks content up."""
OUT_OF_VOCABULARY = 2


@dataclass(frozen=True)
class Truth:
    """The raw files, and the parts of a content vector by name: float32 [movies, width of the part]."""

    folder: Path
    movies: np.ndarray
    parts: Mapping[str, np.ndarray]
    codes: Mapping[int, int]

    def check(self, graph: Graph, data: Data, tables: Mapping[str, Table]) -> int:
        """Check every row of a source; return the rows. Raises the error class of the first that is wrong."""
        raw = pq.read_table(self.folder / f"{Path(data.source).parent.name.removesuffix('-hugectr')}.parquet")
        label = (raw["rating"].to_numpy() > 3).astype(np.float32)
        if len(label) != data.rows or not np.array_equal(label, data.labels[:, 0]):
            raise WrongLabel(f"{data.source}: its {data.rows} labels are not (rating > 3) of the {len(label)} raw rows")
        movies = raw["movieId"].to_numpy()
        self._check_codes(data, movies)
        content = [e for e in graph.embeddings if e.bottom_name == CONTENT]
        if content:
            name = content[0].sparse_embedding_name
            table = tables[name]
            if not (table.loaded and table.frozen):
                raise NotFrozen(
                    f"{name!r} is {'left trainable' if table.loaded else 'not loaded'} when training starts"
                )
            self._check_vectors(graph, name, data, movies, table)
        return data.rows

    def _check_codes(self, data: Data, movies: np.ndarray) -> None:
        if "movieId" not in data.slots:
            return
        slot = data.slots["movieId"][0]
        codes = slot.keys - slot.offset
        wanted = np.array([self.codes[movie] for movie in movies.tolist()])
        wrong = (codes != wanted) & (codes != OUT_OF_VOCABULARY)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise WrongCode(
                f"{data.source}: row {row} is movie {movies[row]}, whose code is {wanted[row]}, not {codes[row]}"
            )

    def _check_vectors(self, graph: Graph, name: str, data: Data, movies: np.ndarray, table: Table) -> None:
        keys = data.slots[CONTENT][0].keys
        seen: dict[int, int] = {}
        for key, movie in zip(keys.tolist(), movies.tolist(), strict=True):
            if seen.setdefault(key, movie) != movie:
                raise SharedCode(f"{data.source}: movies {seen[key]} and {movie} share the content code {key}")
        used, first = np.unique(keys, return_index=True)
        looked_up = table.look_up(used)
        place = np.searchsorted(self.movies, movies[first])
        parts = {part: values[place] for part, values in self.parts.items()}
        wanted = np.hstack(list(parts.values()))
        # The flags are part of the table only where they fit in its width.
        if looked_up.shape[1] not in (wanted.shape[1], parts["poster"].shape[1] + parts["text"].shape[1]):
            raise WrongVector(f"{name!r} is {looked_up.shape[1]} wide; the feature store is {wanted.shape[1]} wide")
        wrong = (looked_up != wanted[:, : looked_up.shape[1]]).any(axis=1)
        if wrong.any():
            which = int(np.argmax(wrong))
            raise WrongVector(
                f"{data.source}: row {first[which]} is movie {movies[first[which]]}, but key {used[which]} of {name!r} "
                "does not hold its feature-store row"
            )
        for tensor, origin in graph.origins.items():
            if origin.embedding != name or tensor not in parts:
                continue
            found = looked_up[:, origin.start : origin.stop]
            if not np.array_equal(found, parts[tensor]):
                raise WrongColumns(
                    f"tensor {tensor!r} is columns [{origin.start}, {origin.stop}) of {name!r}, "
                    f"which are not the {tensor} columns of the feature store"
                )


def load() -> Truth | None:
    """Read the raw files, or return None where the environment does not name them."""
    if VARIABLE not in os.environ:
        return None
    folder = Path(os.environ[VARIABLE])
    features = pq.read_table(folder / "feature_store.parquet").sort_by("movieId")
    parts = {}
    for name in ("poster", "text"):
        column = features[name].combine_chunks()
        flat = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        parts[name] = flat.flatten().to_numpy().reshape(len(features), -1)
    for name in ("has_poster", "has_text"):
        parts[name] = features[name].to_numpy().astype(np.float32)[:, None]
    codes = pq.read_table(folder / "movie_codes.parquet")
    known = dict(zip(codes["movieId"].to_pylist(), codes["code"].to_pylist(), strict=True))
    return Truth(folder, features["movieId"].to_numpy(), parts, known)
