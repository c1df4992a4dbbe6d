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

from utils.handoff import manifest, parameters
from utils.handoff.atomic import DataFolderError, clear_left_overs, sha256, writing
from utils.handoff.contract import ARTEFACTS, VECTOR, VERSION
from utils.handoff.manifest import HandOffError

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

    def need(self, name: str) -> Path:
        """Return the artefact's path. Raises HandOffError if it is missing, stale, or of another data set or seed."""
        artefact, path = ARTEFACTS[name], self.path(name)
        again = f"Run {artefact.notebook}.ipynb"
        if not path.exists():
            raise HandOffError(f"{path} does not exist. {again} first (DATASET={self.dataset!r}).")
        entries = self.manifest()
        entry = entries.get(name)
        if entry is not None:
            self._check_origin(path, entry, again)
            manifest.check_fresh(self.folder, name, entries)
        self._inputs[name] = entry.get("sha256") if entry else None
        return path

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Return a parquet artefact, or some of its columns.

        Raises HandOffError, with the notebook to run, for what ``need`` refuses, a damaged file and a wrong schema.
        """
        path, artefact = self.need(name), ARTEFACTS[name]
        again = f"Run {artefact.notebook}.ipynb again"
        assert artefact.columns is not None, f"{name} is not a parquet file"
        with _readable(path, again):
            schema = pq.read_schema(path)
        own = _own_metadata(schema)
        if own is None:
            warnings.warn(f"{path} carries no provenance: it was not written by this series.", stacklevel=2)
        else:
            self._check_origin(path, own, again)
        for column, kind in artefact.columns.items():
            if column not in schema.names:
                raise HandOffError(f"{path} has no column {column!r}, only {schema.names}. {again}.")
            found = schema.field(column).type
            if not _fits(found, kind):
                raise HandOffError(f"{path}: column {column!r} is {found}, expected {kind}. {again}.")
        with _readable(path, again):
            return read_parquet(path, columns)

    def _check_origin(self, path: Path, origin: Mapping[str, Any], again: str) -> None:
        for label, mine in (("version", VERSION), ("dataset", self.dataset), ("seed", self.seed)):
            theirs = origin.get(label)
            if theirs != mine:
                name = {"version": "schema version"}.get(label, label.upper())
                raise HandOffError(f"{path} was written for {name}={theirs!r}, not {mine!r}. {again}.")

    def metadata(self, name: str) -> dict[str, Any]:
        """Return the metadata that a parquet artefact was written with (encoder, widths, …)."""
        return _own_metadata(pq.read_schema(self.need(name))) or {}

    def write(self, name: str, table: pa.Table, metadata: Mapping[str, Any] | None = None) -> Path:
        """Write a parquet artefact atomically and record its provenance; return its path.

        ``table`` must have the contract's columns; they are cast to its types.
        """
        artefact, path = ARTEFACTS[name], self.path(name)
        assert artefact.notebook == self.notebook, f"{self.notebook} may not write {name}: {artefact.notebook} does"
        assert artefact.columns is not None, f"{name} is not a parquet file"
        table = _conform(table, artefact.columns, path)
        own = {"version": VERSION, "dataset": self.dataset, "seed": self.seed, "notebook": self.notebook}
        own |= dict(metadata or {})
        # As JSON for this module, and as plain text for other tools.
        plain = {name: value if isinstance(value, str) else json.dumps(value) for name, value in own.items()}
        table = table.replace_schema_metadata({KEY: json.dumps(own).encode()} | plain)
        with writing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd", row_group_size=group_rows(table.schema))
        self.record(name, rows=table.num_rows)
        return path

    def record(self, name: str, rows: int | None) -> None:
        """Enter an artefact that has been written into ``manifest.json``, with what was read for it."""
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
            "seconds": round(time.monotonic() - self._mark, 3),
            "sha256": sha256(self.path(name)),
        }
        self._mark = time.monotonic()
        manifest.enter(self.folder, name, entry)


def open_store(data_dir: str | Path, dataset: str, seed: int, notebook: str, **parameter_values: Any) -> Store:
    """Open ``data_dir/dataset``, creating it, for one notebook, whose parameters are recorded.

    Raises ParameterError for a name or seed that cannot be used, and DataFolderError for a folder that cannot be
    written.
    """
    parameters.dataset_name(dataset)
    parameters.whole("SEED", seed, least=0, most=2**32 - 1)
    folder = Path(data_dir) / dataset
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clear_left_overs(folder)
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataFolderError(
            f"DATA_DIR={str(data_dir)!r}: cannot write in {folder} ({error.strerror}). "
            "Set DATA_DIR to a folder you may write."
        ) from error
    return Store(folder, dataset, seed, notebook, parameter_values)


def group_rows(schema: pa.Schema) -> int:
    """Return the rows of a row group: a million, or what holds GROUP bytes of vectors. Readers decode one at a time."""
    vectors = (kind.list_size * 4 for kind in schema.types if pa.types.is_fixed_size_list(kind))
    return max(1, min(1 << 20, GROUP // max(1, sum(vectors))))


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


@contextlib.contextmanager
def _readable(path: Path, again: str) -> Iterator[None]:
    """Raise HandOffError for what pyarrow raises for a damaged file: ArrowInvalid, but OSError for some damage."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise HandOffError(f"{path} is not a readable parquet file ({error}). {again}.") from error


def _own_metadata(schema: pa.Schema) -> dict[str, Any] | None:
    raw = (schema.metadata or {}).get(KEY)
    return None if raw is None else json.loads(raw)


def _fits(found: pa.DataType, wanted: pa.DataType | str) -> bool:
    if isinstance(wanted, str):  # VECTOR
        return pa.types.is_fixed_size_list(found) and found.value_type == pa.float32()
    if pa.types.is_string(wanted):
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    if pa.types.is_list(wanted):
        return (pa.types.is_list(found) or pa.types.is_large_list(found)) and _fits(found.value_type, wanted.value_type)
    return found == wanted


def _conform(table: pa.Table, columns: Mapping[str, pa.DataType | str], path: Path) -> pa.Table:
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise HandOffError(f"{path}: columns {missing} are missing from the table to be written.")
    fields = []
    for column in table.schema:
        kind = columns.get(column.name, column.type)
        if kind == VECTOR and not _fits(column.type, VECTOR):
            raise HandOffError(f"{path}: column {column.name!r} is {column.type}, expected {VECTOR}.")
        fields.append(pa.field(column.name, column.type if kind == VECTOR else kind))
    return table.cast(pa.schema(fields))
