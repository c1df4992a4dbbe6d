"""The parquet reader: ``_file_list.txt``, ``_metadata.json`` and the files, with every assumption checked.

HugeCTR finds columns by their index, takes the bytes for float32 and 64-bit keys whatever they are,
and copies lists without looking at their length. What it takes on trust is refused here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .api import Record
from .errors import (
    EmptyRowGroup,
    FileListMismatch,
    KeyOutOfRange,
    ListLengthNotFixed,
    ListTooLong,
    MetadataMismatch,
    MissingFile,
    NullsInColumn,
    PandasIndexColumn,
    SlotCountMismatch,
    SlotOrderMismatch,
    WrongColumnType,
)

KEYS = ("file_stats", "cats", "conts", "labels")


@dataclass(frozen=True)
class Slot:
    """One slot of n rows: ``keys`` int64, all items in a row after the other, and items a row ``lengths`` [n]."""

    column: str
    keys: np.ndarray
    lengths: np.ndarray
    offset: int
    """What the reader added to the codes of the file, for ``slot_size_array``."""

    @property
    def largest_code(self) -> int:
        """The largest code in the files, or -1 without any."""
        return int(self.keys.max()) - self.offset if len(self.keys) else -1


@dataclass(frozen=True)
class Data:
    """A source, read whole: ``labels`` float32 [rows, label_dim] and the slots of each DataReaderSparseParam."""

    source: str
    rows: int
    labels: np.ndarray
    slots: Mapping[str, Sequence[Slot]]


def read(source: str, params: Mapping[str, Record], widths: tuple[int, int], sizes: Sequence[int], long: bool) -> Data:
    """Read a ``_file_list.txt``. ``widths`` are label_dim and dense_dim; ``sizes`` is slot_size_array, or empty.

    ``long`` is i64_input_key. Raises the error class of the first thing that HugeCTR assumes in vain.
    """
    paths = file_list(Path(source))
    described = metadata(paths[0].parent / "_metadata.json")
    _check_counts(source, described, params, widths, sizes)
    tables = [_table(path, described) for path in paths]
    schemas = {tuple(zip(table.schema.names, table.schema.types, strict=True)) for table in tables}
    if len(schemas) > 1:
        raise WrongColumnType(f"{source}: its files have different columns or types")
    table = pa.concat_tables(tables)
    for column in described["labels"] + described["conts"]:
        _check_float(source, column["col_name"], table.column(column["index"]))
    labels = [table.column(column["index"]).to_numpy() for column in _by_index(described["labels"])]
    return Data(source, table.num_rows, np.stack(labels, 1), _slots(source, table, described, params, sizes, long))


def file_list(path: Path) -> list[Path]:
    """Read ``_file_list.txt``: a count, then as many paths, relative to the working folder."""
    if not path.is_file():
        raise MissingFile(f"{path} does not exist (relative to {Path.cwd().name}/)")
    count, *lines = path.read_bytes().decode().removesuffix("\n").split("\n")
    if any(line != line.strip() or not line for line in (count, *lines)):
        raise FileListMismatch(
            f"{path}: a line is blank, or has blanks or \\r at its end, which become part of the name"
        )
    paths = [Path(line) for line in lines]
    if not count.isdigit() or int(count) != len(paths) or not paths:
        raise FileListMismatch(f"{path}: its first line {count!r} must be the number of paths below, {len(paths)}")
    for listed in paths:
        if listed.suffix != ".parquet":
            raise FileListMismatch(f"{path}: {listed} is not named .parquet")
        if not listed.is_file():
            raise MissingFile(f"{path} lists {listed}, which does not exist (relative to {Path.cwd().name}/)")
    return paths


def metadata(path: Path) -> dict[str, Any]:
    """Read ``_metadata.json``: all four keys, columns with a name and an index of their own."""
    if not path.is_file():
        raise MissingFile(f"{path} does not exist; the reader looks for it beside the first parquet file")
    described = json.loads(path.read_text())
    missing = [key for key in KEYS if key not in described]
    if missing:
        raise MetadataMismatch(f"{path} lacks {missing}; all of {list(KEYS)} are read")
    columns = described["cats"] + described["conts"] + described["labels"]
    indices = [column.get("index") for column in columns]
    if any(type(index) is not int or "col_name" not in column for index, column in zip(indices, columns, strict=True)):
        raise MetadataMismatch(f"{path}: every column needs col_name and a whole index, not {columns}")
    if len(set(indices)) != len(indices):
        raise MetadataMismatch(f"{path}: two columns share an index: {columns}")
    return described


def _by_index(columns: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(columns, key=lambda column: column["index"])


def _check_counts(
    source: str,
    described: Mapping[str, Any],
    params: Mapping[str, Record],
    widths: tuple[int, int],
    sizes: Sequence[int],
) -> None:
    slots = sum(param.slot_num for param in params.values())
    for what, wanted, key in (("slots", slots, "cats"), ("labels", widths[0], "labels"), ("dense", widths[1], "conts")):
        found = [column["col_name"] for column in _by_index(described[key])]
        if len(found) != wanted:
            raise SlotCountMismatch(f"{source}: Input declares {wanted} {what}, the files have {len(found)}: {found}")
    if sizes and len(sizes) != slots:
        raise SlotCountMismatch(f"slot_size_array has {len(sizes)} sizes for {slots} slots")


def _table(path: Path, described: Mapping[str, Any]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        schema, footer = file.schema_arrow, file.metadata
        stats = {entry["file_name"]: entry["num_rows"] for entry in described["file_stats"]}
        if stats.get(path.name) != footer.num_rows:
            raise MetadataMismatch(
                f"_metadata.json says {path.name} has {stats.get(path.name)} rows, its footer says {footer.num_rows}"
            )
        groups = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
        if not groups or 0 in groups:
            raise EmptyRowGroup(f"{path}: rows in its row groups: {groups}")
        own = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
        index = [name for name in schema.names if name.startswith("__index_level_") or name in own]
        if index:
            raise PandasIndexColumn(f"{path}: column {index[0]!r} is a pandas index; write with index=False")
        for column in described["cats"] + described["conts"] + described["labels"]:
            place = column["index"]
            found = schema.names[place] if 0 <= place < len(schema.names) else None
            if found != column["col_name"]:
                raise MetadataMismatch(
                    f"_metadata.json puts {column['col_name']!r} at index {place}, where {path} has {found!r}"
                )
        return file.read()


def _check_float(source: str, name: str, column: pa.ChunkedArray) -> None:
    if column.type != pa.float32():
        raise WrongColumnType(f"{source}: column {name!r} must be float32, not {column.type}")
    if column.null_count:
        raise NullsInColumn(f"{source}: column {name!r} has {column.null_count} nulls")


def _slots(
    source: str, table: pa.Table, described: Mapping[str, Any], params: Mapping[str, Record], sizes: Sequence[int],
    long: bool,
) -> dict[str, list[Slot]]:  # fmt: skip
    waiting = _by_index(described["cats"])
    names = [column["col_name"] for column in waiting]
    offsets = [0, *np.cumsum(sizes).tolist()] if sizes else [0] * (len(waiting) + 1)
    slots: dict[str, list[Slot]] = {}
    place = 0
    for name, param in params.items():
        most = param.nnz_per_slot if isinstance(param.nnz_per_slot, list) else [param.nnz_per_slot] * param.slot_num
        slots[name] = []
        for items in most:
            column = waiting[place]
            # HugeCTR goes by order alone. A slot named after one column that would read another is a mistake.
            if param.slot_num == 1 and name in names and name != column["col_name"]:
                raise SlotOrderMismatch(
                    f"{source}: slot {place} is named {name!r} but would read {column['col_name']!r}; order is {names}"
                )
            keys, lengths = _keys(source, column["col_name"], table.column(column["index"]), long)
            _check_lengths(source, column["col_name"], lengths, items, param.is_fixed_length)
            most_key = sizes[place] if sizes else np.iinfo(np.int64).max
            if len(keys) and not 0 <= keys.min() <= keys.max() < most_key:
                raise KeyOutOfRange(f"{source}: column {column['col_name']!r} has keys outside 0..{most_key - 1}")
            slots[name].append(Slot(column["col_name"], keys + offsets[place], lengths, offsets[place]))
            place += 1
    return slots


def _keys(source: str, name: str, column: pa.ChunkedArray, long: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys int64 and the items a row of a column of keys or of lists of keys."""
    wanted = pa.int64() if long else pa.int32()
    listed = pa.types.is_list(column.type)
    items = pc.list_flatten(column) if listed else column
    if items.type != wanted:
        raise WrongColumnType(
            f"{source}: column {name!r} is {column.type}; with i64_input_key={long} its keys must be {wanted}"
        )
    nulls = column.null_count + items.null_count
    if nulls:
        raise NullsInColumn(f"{source}: column {name!r} has {nulls} nulls")
    lengths = pc.list_value_length(column).to_numpy() if listed else np.ones(len(column))
    return items.to_numpy().astype(np.int64), lengths.astype(np.int64)


def _check_lengths(source: str, name: str, lengths: np.ndarray, most: int, fixed: bool) -> None:
    if len(lengths) and lengths.max() > most:
        row = int(np.argmax(lengths))
        raise ListTooLong(f"{source}: column {name!r} has {lengths[row]} items in row {row}, nnz_per_slot is {most}")
    if fixed and (lengths != most).any():
        row = int(np.argmax(lengths != most))
        raise ListLengthNotFixed(f"{source}: column {name!r} has {lengths[row]} items in row {row}, not {most}")
