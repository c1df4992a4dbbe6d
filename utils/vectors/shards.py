"""What the two encoding notebooks, 03 and 04, share: work in shards, and the hand-off.

A movie is encoded once. The catalogue is cut into shards of movies; each is written when it is done, so that after a
crash only the unfinished shards are encoded again. A shard's name is a hash of all that went into it (encoder,
weights, preprocessing, content), so a changed input is never mistaken for a finished one. The same shards are the
tasks of a Dask cluster.
"""

import hashlib
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from utils.handoff.atomic import make_folder
from utils.handoff.parameters import whole
from utils.handoff.store import DataFolderError, Store, writing
from utils.handoff.vector_columns import vector_column, vectors
from utils.vectors.on_dask import completed

SHARD_SIZE = 256
"""Movies in a shard: a few seconds of work on two cores, so little is lost in a crash."""
_FAILURES = b"failures"


class Failure(NamedTuple):
    """A movie that has content, but content that cannot be encoded."""

    movieId: int
    reason: str


@dataclass(frozen=True)
class Item:
    """What is to be encoded for one movie; ``key`` is the sha256 of the content itself."""

    movieId: int
    key: str
    content: Any


Encode = Callable[[Sequence[Item]], tuple[np.ndarray, list[Failure]]]
"""Gives float32 [m, d] for the m items that are not among the failures, in the order of the items."""
Shard = tuple[np.ndarray, np.ndarray, list[Failure]]
"""ids int64 [m], vectors float32 [m, d], and the movies of the shard that have none."""


@dataclass(frozen=True)
class Embeddings:
    """Vectors of the movies that have them: ``ids`` int64 [n] ascending, ``vectors`` float32 [n, d]."""

    ids: np.ndarray
    vectors: np.ndarray
    failures: tuple[Failure, ...]
    metadata: Mapping[str, Any]

    def with_sources(self, enriched: pa.Table, column: str, reason: str | None = None) -> "Embeddings":
        """Return the same with the number of vectors from each source, which ``column`` of ``enriched`` names.

        ``reason`` says why the encoder's precision was chosen, where it was.
        """
        has = np.isin(enriched["movieId"].to_numpy(), self.ids)
        sources = Counter(map(str, enriched[column].filter(pa.array(has)).to_pylist()))
        more = {"source": dict(sorted(sources.items()))} | ({"precision_reason": reason} if reason else {})
        return replace(self, metadata=dict(self.metadata) | more)

    def hand_off(self) -> tuple[pa.Table, dict[str, Any]]:
        """Return the table (movieId, embedding) and the metadata that ``Store.write`` takes."""
        table = pa.table({"movieId": pa.array(self.ids, pa.int64()), "embedding": vector_column(self.vectors)})
        return table, dict(self.metadata) | {"failed": len(self.failures)}


def encode_in_shards(
    store: Store,
    name: str,
    items: Sequence[Item],
    encode: Encode,
    settings: Mapping[str, Any],
    shard_size: int = SHARD_SIZE,
    client: Any = None,
) -> Embeddings:
    """Encode ``items`` shard by shard, going on where an earlier run stopped.

    ``name`` is the artefact that is being made; its shards wait in a folder beside it until ``clear``.
    ``settings`` hold all that decides a vector besides the content; ``settings["width"]`` is d. With a Dask ``client``
    the shards are tasks of its cluster, and ``encode`` must be one that can be sent there (``on_dask.encode_with``).
    Raises ValueError when a movie comes twice, DataFolderError when the disk is full or not seen by all workers,
    EncoderError where the cluster cannot do it.
    """
    whole("SHARD_SIZE", shard_size)
    ordered = sorted(items, key=lambda item: item.movieId)
    twice = next((a.movieId for a, b in itertools.pairwise(ordered) if a.movieId == b.movieId), None)
    if twice is not None:
        raise ValueError(f"{name}: movieId {twice} is there more than once. Each movie is encoded once.")
    # Absolute, because a worker may have been started in another folder.
    folder, width = make_folder(_folder(store, name).absolute()), int(settings["width"])
    cut = [ordered[start : start + shard_size] for start in range(0, len(ordered), shard_size)]
    shards = {folder / f"{fingerprint(shard, settings)}.parquet": shard for shard in cut}
    finished = {path: found for path, shard in shards.items() if (found := read_shard(path, shard, width)) is not None}
    if finished:
        print(f"{name}: resumed {len(finished)} of {len(shards)} shards.")
    done = sum(len(shards[path]) for path in finished)
    pending = {path: shard for path, shard in shards.items() if path not in finished}
    with tqdm(total=len(ordered), initial=done, desc=name, unit="movie") as progress:
        for path, found in _run(pending, encode, width, client):
            finished[path] = found
            progress.update(len(shards[path]))
    parts = [finished[path] for path in shards]
    ids = np.concatenate([np.empty(0, "int64"), *(part[0] for part in parts)])
    embedded = np.concatenate([np.empty((0, width), "float32"), *(part[1] for part in parts)])
    failures = tuple(failure for part in parts for failure in part[2])
    if failures:
        named = "; ".join(f"movieId {movie}: {reason}" for movie, reason in failures[:5])
        more = f"; and {len(failures) - 5:,} more" if len(failures) > 5 else ""
        print(
            f"{name}: {len(failures):,} of {len(ordered):,} could not be encoded and count as missing: {named}{more}."
        )
    return Embeddings(ids, embedded, failures, settings)


def clear(store: Store, name: str) -> None:
    """Remove the shards of an artefact: to be called when the artefact itself has been written."""
    shutil.rmtree(_folder(store, name), ignore_errors=True)


def _folder(store: Store, name: str) -> Path:
    return store.folder / f".{name}.shards"


def _run(
    pending: Mapping[Path, Sequence[Item]], encode: Encode, width: int, client: Any
) -> Iterator[tuple[Path, Shard]]:
    """Encode the shards here, or on the cluster of ``client``, and yield each when it is written."""
    if client is None:
        for path, shard in pending.items():
            yield path, run_shard(path, shard, encode, width)
        return
    for name in completed(client, shard_task, {str(p): (p, shard, encode, width) for p, shard in pending.items()}):
        path = Path(name)
        found = read_shard(path, pending[path], width)
        if found is None:
            raise DataFolderError(
                f"A Dask worker has written {path}, but it cannot be read here. DATA_DIR must be on a disk that this "
                "process and all workers share."
            )
        yield path, found


def shard_task(path: Path, items: Sequence[Item], encode: Encode, width: int) -> None:
    """Do one shard on a Dask worker, unless it is there: Dask repeats tasks whose worker died after writing.

    Raises DataFolderError where the worker does not see the data folder.
    """
    if not path.parent.is_dir():
        raise DataFolderError(
            f"A Dask worker does not find {path.parent}. DATA_DIR must be on a disk that this process and all "
            "workers share, at the same place."
        )
    if read_shard(path, items, width) is None:
        run_shard(path, items, encode, width)


def run_shard(path: Path, items: Sequence[Item], encode: Encode, width: int) -> Shard:
    """Encode one shard and write it, atomically, to ``path``. Needs nothing but its arguments.

    A vector that is not finite is counted as a failure of its movie. Raises ValueError when ``encode``
    gives another number or width of vectors than asked for.
    """
    found, failures = encode(items)
    failed = {failure.movieId for failure in failures}
    encoded = [item for item in items if item.movieId not in failed]
    if found.shape != (len(encoded), width):
        raise ValueError(f"The encoder gave vectors of shape {found.shape}, expected {(len(encoded), width)}.")
    finite = np.isfinite(found).all(axis=1)
    unusable = itertools.compress(encoded, ~finite)
    failures += [Failure(item.movieId, "the encoder gave a vector that is not finite") for item in unusable]
    encoded = list(itertools.compress(encoded, finite))
    found = found[finite].astype("float32", copy=False)
    ids = np.array([item.movieId for item in encoded], "int64")
    table = pa.table({"movieId": ids, "key": [item.key for item in encoded], "embedding": vector_column(found)})
    table = table.replace_schema_metadata({_FAILURES: json.dumps(failures).encode()})
    with writing(path) as temporary:
        pq.write_table(table, temporary)
    return ids, found, failures


def read_shard(path: Path, items: Sequence[Item], width: int) -> Shard | None:
    """Return a finished shard, or None where there is none, or where it cannot be what it should be."""
    if not path.exists():
        return None
    try:
        table = pq.read_table(path, partitioning=None)
        raw = json.loads(table.schema.metadata[_FAILURES])
        failures = [Failure(int(movie), str(reason)) for movie, reason in raw]
        ids, found = table["movieId"].to_numpy(), vectors(table["embedding"])
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        print(f"{path} is damaged ({type(error).__name__}): its movies are encoded again.")
        return None
    accounted = sorted([*ids.tolist(), *(failure.movieId for failure in failures)])
    if accounted != [item.movieId for item in items] or found.shape != (len(ids), width):
        print(f"{path} does not hold the movies it should: they are encoded again.")
        return None
    return ids, found, failures


def fingerprint(items: Sequence[Item], settings: Mapping[str, Any]) -> str:
    """Return the sha256 of all that decides the vectors of a shard: the settings and each movie's content."""
    content = [[item.movieId, item.key] for item in items]
    return hashlib.sha256(json.dumps([dict(settings), content], sort_keys=True).encode()).hexdigest()
