"""PRECOMPUTED: ready-made vectors from a file or folder, in place of an encoder, for 03 and 04.

For those who have vectors of posters or texts but may not, or cannot, have the posters and texts.

| layout | what is in it |
|---|---|
| `.parquet` | columns movieId and embedding (lists of d floats): what this series writes |
| `.npz` | arrays `ids` [n] and `vectors` [n, d] |
| `.npy` | [n, d]; beside it `<name>.ids.npy` [n] or `<name>.ids.txt` (one movieId a line) |
| `.json` | {movieId: [d floats]}: an encoder of M3L |
| folder | of `<movieId>.json`, each {movieId: [d floats]}, as M3L has them, or [{"Max": …, "Mean": [d floats]}] |

M3L: Zenodo 18499145. The last are the aggregated trailers of Popcorn (alitourani/movielens-25m-thumb), of which the
mean is taken. docs/own-data.md turns other layouts into parquet. Nothing is unpickled, and sizes are checked before
memory is spent.
"""

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from utils.handoff.atomic import combined
from utils.handoff.own_data import movie_id
from utils.handoff.parameters import ParameterError, expanded
from utils.handoff.store import sha256, unpacked_bytes
from utils.vectors.shards import Embeddings

MAX_BYTES = 8 << 30
"""Largest file, and largest matrix in it, in bytes; VGG's 4,096 float64 of 87,585 movies are 2.9 GB."""
MAX_JSON_BYTES = 1 << 30
"""Largest .json file: Python's numbers take four times the room of their text."""
LAYOUTS = (
    "Expected .parquet (movieId, embedding), .npz (ids, vectors), .npy with .ids.npy or .ids.txt beside it, .json "
    "({movieId: vector}) or a folder of <movieId>.json. docs/own-data.md turns others into the first."
)
_DAMAGED = (
    *(OSError, EOFError, RuntimeError, ValueError, OverflowError),
    *(pa.ArrowException, zipfile.BadZipFile, zlib.error),
)
"""What the readers raise for files that are not what their names say."""
Vectors = tuple[np.ndarray, np.ndarray]
"""ids [n] and vectors [n, d]."""


class VectorFileError(ValueError):
    """A file of vectors cannot be used; the message says why, to be put behind the name of the file."""


def read_vectors(
    path: str | Path, catalogue_ids: Iterable[int], originals: Mapping[str, int] = MappingProxyType({})
) -> Embeddings:
    """Return the vectors of a file or folder, in any of the layouts above, of those movies that the catalogue has.

    Ids are movieIds, or ``originals`` where these are texts. Vectors may be of any width and float type, and are given
    as float32 [n, d] in ascending movieId; those of unknown movies are left out, and counted in the metadata. Raises
    ParameterError for a file that is missing or in another layout, vectors that are not finite or of unequal width, a
    movie that comes twice, ids that are no movieIds, and a file without any movie of the catalogue.
    """
    path = expanded("PRECOMPUTED", path)
    catalogue = np.fromiter(catalogue_ids, "int64")
    try:
        named, found = _read(path)
        ids, found = _checked(_numbered(named, originals), found, catalogue)
    except VectorFileError as error:
        raise ParameterError(f"PRECOMPUTED={str(path)!r}: {error}") from error
    except _DAMAGED as error:
        kind = path.suffix or "parquet"
        raise ParameterError(f"PRECOMPUTED={str(path)!r}: it cannot be read as {kind} ({error}). {LAYOUTS}") from error
    known = np.isin(ids, catalogue)
    order = np.flatnonzero(known)[np.argsort(ids[known], kind="stable")]
    unknown = int(np.count_nonzero(~known))
    print(f"{path.name}: {len(order):,} vectors, {found.shape[1]} wide; {unknown:,} of unknown movies left out.")
    hashes = {file.name: sha256(file) for file in files_of(path)}
    metadata = {
        "encoder": "precomputed",
        "weights_sha256": None,
        "width": found.shape[1],
        "preprocessing": f"vectors of {path.name}",
        "file_sha256": hashes[path.name] if list(hashes) == [path.name] else combined(hashes),
        "source": {"precomputed": len(order)},
        "unknown": unknown,
    }
    return Embeddings(ids[order], found[order], (), metadata)


def files_of(path: str | Path) -> list[Path]:
    """Return all files that ``read_vectors`` reads for PRECOMPUTED=``path``: with a .npy the ids beside it, too."""
    path = expanded("PRECOMPUTED", path)
    if path.is_dir():
        return sorted(path.glob("*.json"))
    beside = [path.with_name(f"{path.stem}.ids.{kind}") for kind in ("npy", "txt")] if path.suffix == ".npy" else []
    return [path, *(file for file in beside if file.is_file())][:2]


def _checked(ids: np.ndarray, found: np.ndarray, catalogue: np.ndarray) -> Vectors:
    """Return ids int64 [n] and vectors float32 [n, d], or raise VectorFileError for those that cannot be used."""
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise VectorFileError(f"the ids are {ids.dtype} {list(ids.shape)}, expected whole numbers [n]. {LAYOUTS}")
    if found.ndim != 2 or found.shape[1] < 1 or found.dtype.kind != "f":
        raise VectorFileError(f"the vectors are {found.dtype} {list(found.shape)}, expected floats [n, d]. {LAYOUTS}")
    if len(ids) != len(found):
        raise VectorFileError(f"it has {len(found):,} vectors but {len(ids):,} movieIds.")
    if len(ids) and ids.max() > np.iinfo("int64").max:
        raise VectorFileError(f"movieId {ids.max()} does not fit 64 bits.")
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < len(ids):
        raise VectorFileError(f"movieId {distinct[counts > 1][0]} comes {counts.max()} times. Keep one vector a movie.")
    with np.errstate(over="ignore"):
        found = found.astype("float32", copy=False)
    finite = np.isfinite(found).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise VectorFileError(
            f"{np.count_nonzero(~finite):,} vectors hold NaN or infinity as float32, the first in row {row} "
            f"(movieId {ids[row]}). Leave such movies out of the file."
        )
    if 0 not in catalogue and len(ids) and np.array_equal(distinct, np.arange(len(ids))):
        raise VectorFileError(
            f"its ids are 0 to {len(ids) - 1:,}: numbers of rows, not movieIds. Give each row its movieId."
        )
    if not np.isin(ids, catalogue).any():
        raise VectorFileError(
            f"none of its {len(ids):,} movieIds (first: {ids[:3].tolist()}) is in the catalogue of {len(catalogue):,} "
            f"movies (first: {catalogue[:3].tolist()}). movieId must be MovieLens's, and of the same DATASET."
        )
    return ids.astype("int64"), found


def _read(path: Path) -> Vectors:
    """Return the ids and vectors of a file or folder as they are in it, of any type and shape."""
    if not path.exists():
        raise VectorFileError(f"there is no such file or folder. Check the path. {LAYOUTS}")
    files = files_of(path)
    if odd := [file.name for file in files if not file.is_file()]:
        raise VectorFileError(f"{odd[0]} is a pipe, a device or a folder, not a file. {LAYOUTS}")
    _check_bytes(sum(file.stat().st_size for file in files), MAX_JSON_BYTES if path.suffix == ".json" else MAX_BYTES)
    if path.is_dir():
        return _stack([_one_movie(file) for file in files])
    if path.suffix == ".json":
        said = _json(path)
        if not isinstance(said, dict):
            raise VectorFileError(f"it is not an object {{movieId: vector}}. {LAYOUTS}")
        return _stack(list(said.items()))
    if path.suffix == ".npy":
        return _npy(*files)
    return _npz(path) if path.suffix == ".npz" else _parquet(path)


def _parquet(path: Path) -> Vectors:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        absent = [column for column in ("movieId", "embedding") if names.count(column) != 1]
        if absent:
            raise VectorFileError(f"there must be one column of each of {absent}; it has {names}. {LAYOUTS}")
        _check_bytes(unpacked_bytes(file), MAX_BYTES)
        table = file.read(columns=["movieId", "embedding"])
    ids, lists = table["movieId"], table["embedding"]
    kind = lists.type
    nested = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not nested or not pa.types.is_floating(kind.value_type):
        raise VectorFileError(f"embedding is {kind}, expected lists of floats. {LAYOUTS}")
    if ids.null_count or lists.null_count:
        raise VectorFileError(f"{ids.null_count + lists.null_count:,} rows lack movieId or embedding. Leave them out.")
    widths = pc.unique(pc.list_value_length(lists)).to_pylist()
    if len(widths) != 1 or not widths[0]:
        raise VectorFileError(f"embedding must have one width in all rows, and at least 1, but has {widths[:4]}.")
    found, start = np.empty((len(lists), widths[0]), "float32"), 0
    with np.errstate(over="ignore"):
        for chunk in lists.chunks:  # One after the other, so that the whole is there only once.
            # A number that is missing inside a list becomes NaN here, which is refused with the others.
            found[start : start + len(chunk)] = chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, widths[0])
            start += len(chunk)
    numbers = ids.to_numpy(zero_copy_only=False)
    return numbers.astype(np.str_) if pa.types.is_string(ids.type) or pa.types.is_large_string(
        ids.type
    ) else numbers, found


def _npz(path: Path) -> Vectors:
    found = []
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): archive.getinfo(name) for name in archive.namelist()}
        for name in ("ids", "vectors"):
            if name not in members:
                raise VectorFileError(f"there is no array {name!r} in it, only {sorted(members)[:9]}. {LAYOUTS}")
            _check_bytes(members[name].file_size, MAX_BYTES)
            with archive.open(members[name]) as stream:
                found.append(_array(stream, members[name].file_size, name))
    return found[0], found[1]


def _npy(path: Path, beside: Path | None = None) -> Vectors:
    if beside is None:
        raise VectorFileError(f"beside it must be the movieIds of its rows, in {path.stem}.ids.npy or .ids.txt.")
    with path.open("rb") as stream:
        found = _array(stream, path.stat().st_size, path.name)
    if beside.suffix == ".txt":
        return np.array(beside.read_text().splitlines(), dtype=np.str_), found
    with beside.open("rb") as stream:
        return _array(stream, beside.stat().st_size, beside.name), found


def _array(stream: BinaryIO | Any, size: int, name: str) -> np.ndarray:
    """Return a .npy file of ``size`` bytes, whose header is checked before memory is spent on what it says."""
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, kind = header(stream)
        if not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"its shape is {shape}")
        count = int(np.prod(shape, dtype=object))
        if kind.hasobject or kind.kind not in "fiuU":
            raise ValueError(f"it holds {kind}, not numbers; objects are never unpickled")
        if count * kind.itemsize > size:
            raise ValueError(f"it says it has {count:,} numbers, more than fit in its {size:,} bytes")
        flat = np.frombuffer(stream.read(count * kind.itemsize), kind, count)
    except ValueError as error:
        raise VectorFileError(f"{name} cannot be read as an array of numbers ({error}). {LAYOUTS}") from error
    return flat.reshape(shape, order="F" if fortran else "C")


def _one_movie(path: Path) -> tuple[str, Any]:
    """Return the movie and the vector of a `<movieId>.json`."""
    movie, said = path.stem, _json(path)
    if isinstance(said, list) and len(said) == 1 and isinstance(said[0], dict) and "Mean" in said[0]:
        return movie, said[0]["Mean"]
    if not isinstance(said, dict) or list(said) != [movie]:
        raise VectorFileError(f"{path.name} is not an object with the one key {movie!r}. {LAYOUTS}")
    return movie, said[movie]


def _json(path: Path) -> Any:
    def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key comes twice in one object")
        return dict(pairs)

    try:
        return json.loads(path.read_text(), object_pairs_hook=unrepeated)
    except (ValueError, RecursionError) as error:
        raise VectorFileError(f"{path.name} cannot be read as JSON ({error}). {LAYOUTS}") from error


def _stack(lists: list[tuple[str, Any]]) -> Vectors:
    for movie, vector in lists:
        if not isinstance(vector, list) or not all(type(number) in (int, float) for number in vector):
            raise VectorFileError(f"movieId {movie} does not have a list of numbers. {LAYOUTS}")
    widths = {len(vector): movie for movie, vector in lists}
    if len(widths) > 1:
        listed = ", ".join(f"{width} (movieId {movie})" for width, movie in list(widths.items())[:4])
        raise VectorFileError(f"its vectors have several widths: {listed}. Keep those of one encoder.")
    with np.errstate(over="ignore"):
        return np.array([movie for movie, _ in lists], np.str_), np.array([vector for _, vector in lists], "float32")


def _numbered(ids: np.ndarray, originals: Mapping[str, int]) -> np.ndarray:
    """Return ids as numbers: digits and original ids by their movieId, others that no movie has as negative ones."""
    if ids.dtype.kind != "U" or ids.ndim != 1:
        return ids
    found = np.empty(len(ids), np.int64)
    for place, text in enumerate(map(str, ids)):
        number = movie_id(text, originals)
        if number is None and not originals:
            raise VectorFileError(f"{text[:20]!r} is not a movieId: digits and nothing else.")
        found[place] = -1 - place if number is None else number
    return found


def _check_bytes(size: int, most: int) -> None:
    if size > most:
        raise VectorFileError(f"it has {size:,} bytes, over the limit of {most:,}. Write it as float32 parquet.")
