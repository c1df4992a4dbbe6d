"""Hand-offs between notebooks: data comes in through ``Store.read`` and goes out through ``Store.write``.

Everything of a data set lies in ``DATA_DIR/DATASET/``. ``read`` checks a file against the contract
(``utils.handoff.contract``) and names the notebook to run where it does not hold. ``write`` is atomic, so that what
exists is whole, and records in ``manifest.json`` who wrote the file, from which inputs (sha256), with which parameters
and package versions, how many rows, in how many seconds.
"""

import contextlib
import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from utils.handoff import lock, manifest, parameters
from utils.handoff.atomic import DataFolderError, clear_left_overs, sha256, size_of, writing
from utils.handoff.contract import ARTEFACTS, VECTOR, VERSION, broken, fits, mistyped
from utils.handoff.manifest import HandOffError, readable

KEY = b"multimodal-movielens"
"""Key of our JSON in the metadata of a parquet file."""
GROUP = 1 << 26
"""Bytes of vectors in a row group."""


@dataclass
class Store:
    """The folder of one data set, opened by one notebook. Use ``open_store``."""

    folder: Path
    dataset: str
    seed: int
    notebook: str
    parameters: dict[str, Any]
    _inputs: dict[str, str | None] = field(default_factory=dict)
    _mark: float = field(default_factory=time.monotonic)

    def path(self, name: str) -> Path:
        """Return where the artefact ``name`` lives, whether it exists or not."""
        return self.folder / ARTEFACTS[name].path

    def manifest(self) -> dict[str, Any]:
        """Return ``manifest.json``: artefact name to its provenance. Empty before the first write."""
        return manifest.read(self.folder)

    @property
    def cache(self) -> Path:
        """The folder of downloads, which all data sets of DATA_DIR share."""
        return self.folder.parent / ".cache"

    def need(self, name: str) -> Path:
        """Return the artefact's path.

        Raises HandOffError if it is missing, stale, of another data set or seed, or not what its notebook wrote. A
        parquet file that no notebook wrote is checked as ``read`` does.
        """
        path = self._found(name)
        if self._inputs[name] is None:
            self._inputs[name] = sha256(path)
            if ARTEFACTS[name].columns is not None:
                self.read(name)
        return path

    def _found(self, name: str) -> Path:
        """Return the path of an artefact that is the file that was recorded; None is its digest where none was."""
        artefact, path = ARTEFACTS[name], self.path(name)
        again = f"Run {artefact.notebook}.ipynb"
        if not path.exists():
            raise HandOffError(f"{path} does not exist. {again} first (DATASET={self.dataset!r}).")
        manifest.check_kind(name, path)
        entries = self.manifest()
        entry = entries.get(name)
        if entry is None:
            self._inputs[name] = None
            return path
        self._check_origin(path, entry, again)
        manifest.check_fresh(self.folder, name, entries)
        with readable(path, f"{again} again"):
            manifest.check_same(path, entry, artefact)
        self._inputs[name] = entry["sha256"]
        return path

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Return a parquet artefact, or some of its columns.

        Raises HandOffError, with the notebook to run, for what ``need`` refuses, a damaged file, a wrong schema, and
        values that break the rules of the contract.
        """
        path, artefact = self._found(name), ARTEFACTS[name]
        again = f"Run {artefact.notebook}.ipynb again"
        assert artefact.columns is not None, f"{name} is not a parquet file"
        with readable(path, again):
            schema = pq.read_schema(path)
        own = _own_metadata(path, schema, again)
        if own is None:
            warnings.warn(f"{path} carries no provenance: it was not written by this series.", stacklevel=2)
        else:
            self._check_origin(path, own, again)
        if said := mistyped(name, schema):
            raise HandOffError(f"{path}: {said}. {again}.")
        with readable(path, again):
            table = read_parquet(path, columns)
            said = broken(name, table, self._movies(name))
        if said:
            raise HandOffError(f"{path}: {said}. {again}.")
        if self._inputs[name] is None:
            self._inputs[name] = sha256(path)
        return table

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Yield the path that ``need`` returns, for what ``read`` cannot read: folders, arrays, JSON.

        Raises HandOffError, with the notebook to run, for what ``need`` refuses and for whatever a reader raises for a
        file that is damaged or not what its name says.
        """
        with readable(self.need(name), f"Run {ARTEFACTS[name].notebook}.ipynb again"):
            yield self.path(name)

    def _movies(self, name: str) -> pa.ChunkedArray | None:
        """Return the ids that the movies of an artefact must be among, None where there is nothing to compare with."""
        path = self.path("movies_converted")
        if not ARTEFACTS[name].movies or name == "movies_converted" or not path.is_file():
            return None
        with readable(path, f"Run {ARTEFACTS['movies_converted'].notebook}.ipynb again"):
            return read_parquet(path, ["movieId"])["movieId"]

    def _check_origin(self, path: Path, origin: Mapping[str, Any], again: str) -> None:
        for label, mine in (("version", VERSION), ("dataset", self.dataset), ("seed", self.seed)):
            theirs = origin.get(label)
            if theirs != mine:
                name = {"version": "schema version"}.get(label, label.upper())
                raise HandOffError(f"{path} was written for {name}={theirs!r}, not {mine!r}. {again}.")

    def metadata(self, name: str) -> dict[str, Any]:
        """Return the metadata that a parquet artefact was written with (encoder, widths, …).

        Raises HandOffError where it lacks what the contract says that it states.
        """
        path, again = self.need(name), f"Run {ARTEFACTS[name].notebook}.ipynb again"
        with readable(path, again):
            own = _own_metadata(path, pq.read_schema(path), again) or {}
        for key, kind in ARTEFACTS[name].states.items():
            if not isinstance(own.get(key), kind):
                raise HandOffError(f"{path}: its metadata must state {key!r}, but has {own.get(key)!r:.60}. {again}.")
        return own

    def write(self, name: str, table: pa.Table, metadata: Mapping[str, Any] | None = None) -> Path:
        """Write a parquet artefact atomically and record its provenance; return its path.

        ``table`` must have the contract's columns; they are cast to its types.
        """
        artefact, path = ARTEFACTS[name], self.path(name)
        assert artefact.notebook == self.notebook, f"{self.notebook} may not write {name}: {artefact.notebook} does"
        assert artefact.columns is not None, f"{name} is not a parquet file"
        table = _conform(table, artefact.columns, path)
        if said := broken(name, table, self._movies(name)):
            raise HandOffError(f"{path} is not written: {said}.")
        own = {"version": VERSION, "dataset": self.dataset, "seed": self.seed, "notebook": self.notebook}
        own |= dict(metadata or {})
        # As JSON for this module, and as plain text for other tools.
        plain = {name: value if isinstance(value, str) else json.dumps(value) for name, value in own.items()}
        table = table.replace_schema_metadata({KEY: json.dumps(own).encode()} | plain)
        with writing(path) as temporary:
            rows, coded = group_rows(table.schema), repeating(table.schema)
            pq.write_table(table, temporary, compression="zstd", row_group_size=rows, use_dictionary=coded)
        self.record(name, rows=table.num_rows)
        return path

    def record(self, name: str, rows: int | None) -> None:
        """Enter an artefact that has been written into ``manifest.json``, with what was read for it.

        Raises HandOffError where another run is at work in the folder.
        """
        lock.hold_while_cells_run(self.folder, self.notebook)
        files, size = size_of(self.path(name))
        entry = {
            "path": ARTEFACTS[name].path,
            "notebook": self.notebook,
            "version": VERSION,
            "dataset": self.dataset,
            "seed": self.seed,
            # A notebook may read its own files back without depending on them.
            "inputs": {source: d for source, d in self._inputs.items() if ARTEFACTS[source].notebook != self.notebook},
            "parameters": self.parameters,
            "packages": manifest.versions(),
            "rows": rows,
            "files": files,
            "bytes": size,
            "seconds": round(time.monotonic() - self._mark, 3),
            "sha256": sha256(self.path(name)),
        }
        self._mark = time.monotonic()
        manifest.enter(self.folder, name, entry)


def open_store(data_dir: str | Path, dataset: str, seed: int, notebook: str, **parameter_values: Any) -> Store:
    """Open ``data_dir/dataset``, creating it, for one notebook, whose parameters are recorded.

    In a kernel it takes the lock of the folder. Raises ParameterError for a name or seed that cannot be used,
    DataFolderError for a folder that cannot be written, or where something is in the way of what the notebook writes,
    and HandOffError where another run is at work.
    """
    parameters.dataset_name(dataset)
    parameters.whole("SEED", seed, least=0, most=2**32 - 1)
    folder = parameters.expanded("DATA_DIR", data_dir) / dataset
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataFolderError(
            f"DATA_DIR={str(data_dir)!r}: cannot write in {folder} ({error.strerror}). "
            "Set DATA_DIR to a folder you may write."
        ) from error
    mine = {name: folder / artefact.path for name, artefact in ARTEFACTS.items() if artefact.notebook == notebook}
    if mine:
        lock.hold_while_cells_run(folder, notebook)
    clear_left_overs(folder)
    for name, path in mine.items():
        if path.exists():
            manifest.check_kind(name, path)
    return Store(folder, dataset, seed, notebook, parameter_values)


def group_rows(schema: pa.Schema) -> int:
    """Return the rows of a row group: a million, or what holds GROUP bytes of vectors. Readers decode one at a time."""
    vectors = (kind.list_size * 4 for kind in schema.types if pa.types.is_fixed_size_list(kind))
    return max(1, min(1 << 20, GROUP // max(1, sum(vectors))))


def repeating(schema: pa.Schema) -> list[str]:
    """Return the columns, as parquet names them, of which a dictionary pays: values of the others hardly repeat.

    25 million ratings without one of users and times are written in two thirds of the time, to a file no larger.
    """
    kept = [field for field in schema if field.name not in ("userId", "timestamp", "score")]
    kept = [field for field in kept if not pa.types.is_fixed_size_list(field.type)]
    return [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in kept]


def unpacked_bytes(file: pq.ParquetFile) -> int:
    """Return how many bytes a parquet file says that it unpacks to; nothing of it is read for that."""
    return sum(file.metadata.row_group(number).total_byte_size for number in range(file.num_row_groups))


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a parquet file, or some of its columns, read one row group after another.

    ``pq.read_table`` decodes ahead and keeps compressed pages: 1,270 MB for 528 MB of vectors, against 820 MB here.
    """
    with pq.ParquetFile(path) as file:
        names = columns if columns is not None else file.schema_arrow.names
        groups = [file.read_row_group(number, names) for number in range(file.num_row_groups)]
        return pa.concat_tables(groups or [file.schema_arrow.empty_table()]).select(names)


def _own_metadata(path: Path, schema: pa.Schema, again: str) -> dict[str, Any] | None:
    raw = (schema.metadata or {}).get(KEY)
    if raw is None:
        return None
    with readable(path, again):
        own = json.loads(raw)
        if not isinstance(own, dict):
            raise ValueError(f"its metadata is {own!r:.60}, not an object")
    return own


def _conform(table: pa.Table, columns: Mapping[str, pa.DataType | str], path: Path) -> pa.Table:
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise HandOffError(f"{path}: columns {missing} are missing from the table to be written.")
    fields = []
    for column in table.schema:
        kind = columns.get(column.name, column.type)
        if kind == VECTOR and not fits(column.type, VECTOR):
            raise HandOffError(f"{path}: column {column.name!r} is {column.type}, expected {VECTOR}.")
        fields.append(pa.field(column.name, column.type if kind == VECTOR else kind))
    return table.cast(pa.schema(fields))
