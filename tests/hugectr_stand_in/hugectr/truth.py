"""What the numbers must mean: codes are those of the raw rows, vectors the feature-store rows of their movies.

HugeCTR cannot know this; the series stands on it. The environment variable HUGECTR_STAND_IN_TRUTH names a data folder
as notebooks 01 to 06 leave it, whose raw ``<split>.parquet`` have their rows in the order of ``<split>-hugectr``. Where
``first_values.npz`` lies there, it has the table that each trained embedding must start from, by column.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import KeyOutOfRange, NotFrozen, SharedCode, WrongCode, WrongColumns, WrongLabel, WrongStart, WrongVector
from .graph import Graph
from .reader import Data
from .weights import Table

VARIABLE = "HUGECTR_STAND_IN_TRUTH"
CONTENT = "movieId_duplicate"
"""The slot that looks content up."""
RESERVED, OUT_OF_VOCABULARY = 3, 2
NO_GENRE = "(no genres listed)"
"""Encoded as the genre of a movie that has none."""


@dataclass(frozen=True)
class Truth:
    """The raw files: the parts of a content vector by name, float32 [movies, width of the part]; codes by raw id."""

    folder: Path
    movies: np.ndarray
    parts: Mapping[str, np.ndarray]
    codes: Mapping[int, int]
    users: Mapping[Any, int]
    genres: Mapping[int, list[int]]
    first: Mapping[str, np.ndarray]

    def check(self, graph: Graph, data: Data, tables: Mapping[str, Table], training: bool) -> int:
        """Check every row of a source; return the rows. Raises the error class of the first that is wrong."""
        raw = pq.read_table(self.folder / f"{Path(data.source).parent.name.removesuffix('-hugectr')}.parquet")
        liked = json.loads((raw.schema.metadata or {}).get(b"likes", b'{"above": 3}'))["above"]
        label = (raw["rating"].to_numpy() > liked).astype(np.float32)
        if len(label) != data.rows or not np.array_equal(label, data.labels[:, 0]):
            where = f"(rating > {liked:g}) of the {len(label)} raw rows"
            raise WrongLabel(f"{data.source}: its {data.rows} labels are not {where}")
        movies = raw["movieId"].to_numpy()
        self._check_ids(data, "userId", raw["userId"].to_pylist(), self.users, hidden=False)
        self._check_ids(data, "movieId", movies.tolist(), self.codes, hidden=training)
        self._check_genres(data, movies.tolist())
        if training:
            self._check_start(graph, data, tables)
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

    def _check_ids(self, data: Data, column: str, raw: list[Any], known: Mapping[Any, int], hidden: bool) -> None:
        """Some ids, but not all, may be ``hidden`` behind the out-of-vocabulary code."""
        if column not in data.slots:
            return
        slot = data.slots[column][0]
        codes, wanted = slot.keys - slot.offset, np.array([known.get(one, OUT_OF_VOCABULARY) for one in raw])
        wrong = codes != wanted
        if hidden and (codes != OUT_OF_VOCABULARY).any():
            wrong &= codes != OUT_OF_VOCABULARY
        if wrong.any():
            row = int(np.argmax(wrong))
            raise WrongCode(f"{data.source}: row {row} is {column} {raw[row]}, of code {wanted[row]}, not {codes[row]}")

    def _check_genres(self, data: Data, raw: list[int]) -> None:
        if "genres" not in data.slots:
            return
        slot = data.slots["genres"][0]
        for row, (movie, items) in enumerate(zip(raw, np.split(slot.keys, np.cumsum(slot.lengths)[:-1]), strict=True)):
            if (items - slot.offset).tolist() != self.genres[movie]:
                raise WrongCode(
                    f"{data.source}: row {row} is movieId {movie}, of genres {self.genres[movie]}, not {items.tolist()}"
                )

    def _check_start(self, graph: Graph, data: Data, tables: Mapping[str, Table]) -> None:
        for embedding in graph.embeddings:
            table, column = tables[embedding.sparse_embedding_name], embedding.bottom_name
            if column not in self.first:
                continue
            if not table.loaded:
                raise WrongStart(f"{table.name!r} starts at random: the PyTorch model's first values were not loaded")
            if len(table.keys) and not 0 <= table.keys[0] <= table.keys[-1] < len(self.first[column]):
                raise KeyOutOfRange(f"{table.name!r} was loaded with keys outside 0..{len(self.first[column]) - 1}")
            keys = np.unique(data.slots[column][0].keys)
            if not np.array_equal(table.look_up(keys), self.first[column][keys]):
                raise WrongStart(f"{table.name!r} was loaded with other values than the PyTorch model starts from")

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
        unflagged = sum(values.shape[1] for part, values in parts.items() if not part.startswith("has_"))
        if looked_up.shape[1] not in (wanted.shape[1], unflagged):
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
    blocks = [name for name in features.column_names if f"has_{name}" in features.column_names]
    parts = {name: _matrix(features[name]) for name in blocks}
    parts |= {f"has_{name}": features[f"has_{name}"].to_numpy().astype(np.float32)[:, None] for name in blocks}
    codes, movies = (pq.read_table(folder / f"{name}.parquet") for name in ("movie_codes", "movies_converted"))
    known = _vocabulary(folder, "genres")
    first = folder / "first_values.npz"
    return Truth(
        folder=folder,
        movies=features["movieId"].to_numpy(),
        parts=parts,
        codes=dict(zip(codes["movieId"].to_pylist(), codes["code"].to_pylist(), strict=True)),
        users=_vocabulary(folder, "userId"),
        genres={
            movie: [known.get(name, OUT_OF_VOCABULARY) for name in names or [NO_GENRE]]
            for movie, names in zip(movies["movieId"].to_pylist(), movies["genres"].to_pylist(), strict=True)
        },
        first=dict(np.load(first)) if first.exists() else {},
    )


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    return np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks]).reshape(len(column), -1)


def _vocabulary(folder: Path, column: str) -> dict[Any, int]:
    path = folder / "workflow-hugectr" / "categories" / f"unique.{column}.parquet"
    values = pq.read_table(path, columns=[column], partitioning=None)[column].to_pylist()
    return {value: code for code, value in enumerate(values, start=RESERVED)}
