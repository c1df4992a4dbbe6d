"""Files that hold ready-made vectors, in the layouts that people publish them in, read into ids and a matrix.

| layout | what is in it |
|---|---|
| `.parquet` | columns movieId and embedding (lists of d floats): what this series writes |
| `.npz` | arrays `ids` [n] and `vectors` [n, d] |
| `.npy` | [n, d]; beside it `<name>.ids.npy` [n], `<name>.ids.txt` (one a line) or `<name>.ids.json` ({movieId: row}) |
| `.json` | {movieId: [d floats]} |
| `.csv` | movieId or movie_id, then d columns of floats |
| folder | of `<movieId>.json` or of `.csv` files |

M3L (Zenodo 18499145, MovieLens 10M and 20M) is a folder an encoder of `<movieId>.json`, each {movieId: [floats]};
or a `.json` an encoder; or MMRec's `.npy`, whose rows are its movies in ascending movieId: write these
to `<name>.ids.txt`. Popcorn (alitourani/movielens-25m-thumb: CLIP, DINOv2, SigLIP) is a folder an encoder
of `thumbnails_ml25m_part*.csv` (movie_id, embd_0, embd_1, …); its aggregated trailers are a folder of
`<movieId, ten digits>.json`, each [{"Max": …, "Mean": …}], of which the mean is taken.

Nothing is unpickled, and sizes are checked before memory is spent.
"""

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from utils.handoff.vector_columns import LAYOUTS, VectorFileError, id_column, is_number, list_column

MAX_BYTES = 8 << 30
"""Largest file, and largest matrix in it, in bytes; VGG's 4,096 float64 of 87,585 movies are 2.9 GB."""
MAX_JSON_BYTES = 1 << 30
"""Largest .json file: Python's numbers take four times the room of their text."""
_DAMAGED = (OSError, pa.ArrowException, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeDecodeError)
"""What the readers raise for files that are not what their names say."""


def read_any(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return ids int64 [n] and vectors float32 [n, d] of a file or folder, as they are in it.

    Raises VectorFileError for what is in none of the layouts, damaged, too large, or not n vectors of one width.
    """
    readers = {".parquet": _parquet, ".npz": _npz, ".npy": _npy, ".json": _json, ".csv": _csv}
    if not path.is_dir() and not path.is_file():
        raise VectorFileError(f"there is no such file or folder. Check the path. {LAYOUTS}")
    try:
        if path.is_dir():
            return _folder(path)
        _check_bytes(path.stat().st_size, MAX_JSON_BYTES if path.suffix == ".json" else MAX_BYTES)
        return readers.get(path.suffix.lower(), _parquet)(path)
    except _DAMAGED as error:
        raise VectorFileError(f"it cannot be read as {path.suffix or 'parquet'} ({error}). {LAYOUTS}") from error


def _parquet(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        absent = [column for column in ("movieId", "embedding") if names.count(column) != 1]
        if absent:
            raise VectorFileError(f"there must be one column of each of {absent}; it has {names}. {LAYOUTS}")
        groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
        _check_bytes(sum(group.total_byte_size for group in groups), MAX_BYTES)
        table = file.read(columns=["movieId", "embedding"])
    return id_column(table["movieId"]), list_column(table["embedding"])


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): archive.getinfo(name) for name in archive.namelist()}
        absent = [name for name in ("ids", "vectors") if name not in members]
        if absent:
            raise VectorFileError(f"there is no array {absent[0]!r} in it, only {sorted(members)[:9]}. {LAYOUTS}")
        found = []
        for name in ("ids", "vectors"):
            with archive.open(members[name]) as stream:
                found.append(_array(stream, members[name].file_size, name))
    return _ids(found[0]), _matrix(found[1])


def _npy(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open("rb") as stream:
        found = _matrix(_array(stream, path.stat().st_size, path.name))
    siblings = [path.with_name(f"{path.stem}.ids.{kind}") for kind in ("npy", "txt", "json")]
    sibling = next((each for each in siblings if each.is_file()), None)
    if sibling is None:
        named = ", ".join(each.name for each in siblings)
        raise VectorFileError(f"beside it must be the movieIds of its {len(found):,} rows, in one of {named}.")
    _check_bytes(sibling.stat().st_size, MAX_JSON_BYTES)
    if sibling.suffix == ".npy":
        with sibling.open("rb") as stream:
            ids = _ids(_array(stream, sibling.stat().st_size, sibling.name))
    elif sibling.suffix == ".txt":
        with _parsing(sibling):
            ids = np.array([int(line) for line in sibling.read_text().split()], "int64")
    else:
        return _mapped(sibling, found)
    if len(ids) != len(found):
        raise VectorFileError(f"it has {len(found):,} rows but {sibling.name} has {len(ids):,} movieIds.")
    return ids, found


def _mapped(sibling: Path, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with _parsing(sibling):
        rows = {int(movie): int(row) for movie, row in json.loads(sibling.read_text()).items()}
        ids = np.array(list(rows), "int64")
    outside = next((row for row in rows.values() if not 0 <= row < len(found)), None)
    if outside is not None:
        raise VectorFileError(f"{sibling.name} names row {outside} of {len(found):,} (the first is 0).")
    return ids, found[list(rows.values())]


def _json(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with _parsing(path):
        said = json.loads(path.read_text())
        if not isinstance(said, dict):
            raise ValueError("an object {movieId: vector} was expected")
        return _stack({int(movie): vector for movie, vector in said.items()})


def _csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    table = pyarrow.csv.read_csv(path)
    names = [name for name in ("movieId", "movie_id") if name in table.column_names]
    if len(names) != 1 or len(set(table.column_names)) < len(table.column_names):
        raise VectorFileError(
            f"there must be one column movieId or movie_id; it has {table.column_names[:5]}. {LAYOUTS}"
        )
    rest = table.drop_columns(names)
    wrong = [field.name for field in rest.schema if not is_number(field.type)]
    if wrong or not rest.num_columns:
        raise VectorFileError(f"{path.name}: column {(wrong or ['?'])[0]!r} does not hold numbers only. {LAYOUTS}")
    found = np.empty((len(rest), rest.num_columns), "float32")
    for place, column in enumerate(rest.columns):
        found[:, place] = column.to_numpy()
    return id_column(table[names[0]]), found


def _folder(path: Path) -> tuple[np.ndarray, np.ndarray]:
    tables, lists = sorted(path.glob("*.csv")), sorted(path.glob("*.json"))
    _check_bytes(sum(file.stat().st_size for file in (*tables, *lists)), MAX_BYTES)
    if bool(tables) == bool(lists):
        raise VectorFileError(f"the folder has {len(tables)} .csv and {len(lists)} .json files. {LAYOUTS}")
    if tables:
        parts = [read_any(table) for table in tables]
        widths = {part[1].shape[1] for part in parts}
        if len(widths) > 1:
            raise VectorFileError(f"its files have vectors of widths {sorted(widths)}. Keep those of one encoder.")
        return np.concatenate([ids for ids, _ in parts]), np.concatenate([found for _, found in parts])
    movies = [_one_movie(file) for file in lists]
    if len(dict(movies)) < len(movies):
        raise VectorFileError("two of its .json files are of the same movieId. Keep one vector a movie.")
    with _parsing(path):
        return _stack(dict(movies))


def _one_movie(path: Path) -> tuple[int, Any]:
    """Return the movie and the vector of a `<movieId>.json`."""
    _check_bytes(path.stat().st_size, 1 << 24)
    with _parsing(path):
        movie, said = int(path.stem), json.loads(path.read_text())
        if isinstance(said, list) and len(said) == 1 and isinstance(said[0], dict):
            return movie, said[0]["Mean"]
        return movie, said[str(movie)] if isinstance(said, dict) else said


def _stack(lists: dict[int, Any]) -> tuple[np.ndarray, np.ndarray]:
    widths = {len(vector) if isinstance(vector, list) else None: movie for movie, vector in lists.items()}
    width = next(iter(widths), None)
    if len(widths) != 1 or not width:
        listed = ", ".join(f"{width} (movieId {movie})" for width, movie in list(widths.items())[:4])
        raise VectorFileError(f"all movies must have a list of one width, and at least 1, but there are: {listed}.")
    found = np.empty((len(lists), width), "float32")
    for row, (movie, vector) in enumerate(lists.items()):
        if not all(type(number) in (int, float) for number in vector):
            raise VectorFileError(f"the vector of movieId {movie} does not hold numbers only.")
        with np.errstate(over="ignore"):
            found[row] = vector
    return np.array(list(lists), "int64"), found


def _array(stream: BinaryIO | Any, size: int, name: str) -> np.ndarray:
    """Return a .npy file of ``size`` bytes, whose header is checked before memory is spent on what it says."""
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, kind = header(stream)
        count = int(np.prod(shape, dtype=object))
        if kind.hasobject or kind.kind not in "fiu":
            raise ValueError(f"it holds {kind}, not numbers; objects are never unpickled")
        if count * kind.itemsize > size:
            raise ValueError(f"it says it has {count:,} numbers, more than fit in its {size:,} bytes")
        _check_bytes(count * kind.itemsize, MAX_BYTES)
        flat = np.frombuffer(stream.read(count * kind.itemsize), kind, count)
    except ValueError as error:
        if isinstance(error, VectorFileError):
            raise
        raise VectorFileError(f"{name} cannot be read as an array of numbers ({error}). {LAYOUTS}") from error
    return flat.reshape(shape, order="F" if fortran else "C")


def _ids(found: np.ndarray) -> np.ndarray:
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise VectorFileError(f"the ids are {found.dtype} {list(found.shape)}, expected whole numbers [n]. {LAYOUTS}")
    if found.dtype.kind == "u" and len(found) and found.max() > np.iinfo("int64").max:
        raise VectorFileError(f"an id does not fit 64 bits. {LAYOUTS}")
    return found.astype("int64")


def _matrix(found: np.ndarray) -> np.ndarray:
    if found.ndim != 2 or found.shape[1] < 1 or found.dtype.kind != "f":
        raise VectorFileError(f"the vectors are {found.dtype} {list(found.shape)}, expected floats [n, d]. {LAYOUTS}")
    with np.errstate(over="ignore"):
        return found.astype("float32", copy=False)


def _check_bytes(size: int, most: int) -> None:
    if size > most:
        raise VectorFileError(f"it has {size:,} bytes, over the limit of {most:,}. Write it as float32 parquet.")


@contextlib.contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn what a damaged text file raises into VectorFileError, which names the file."""
    try:
        yield
    except VectorFileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        said = f"no {error} in it" if isinstance(error, KeyError) else error
        raise VectorFileError(f"{path.name} is not in a layout that is known ({said}). {LAYOUTS}") from error
