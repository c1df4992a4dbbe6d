"""A file of ratings or movies as a table of polars, whatever its layout: text with or without a header, or parquet."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from utils.handoff.parameters import ParameterError
from utils.ratings.columns import DataError, known_names, plain_name
from utils.ratings.readable import fields_of, head_of, plain, readable, unpacked

ROW, EXTRA = "\x00row", "\x00extra"
SIZE_LIMIT = 256 << 20
"""Largest file of movies, links or facts, in bytes; movies.csv of ml-32m has 4 MB."""
SEPARATORS = ("::", "\t", ";", "|", ",")
TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".data", ".inter", ".item")
Kind = pl.DataType | type[pl.DataType]


@dataclass(frozen=True)
class Form:
    """How a file of text is written; what is None is told by the file. ``columns`` are those of one without a header.

    ``quoting`` is False where a quote is a letter like any other. With more fields than ``columns`` those in the
    ``rest``th belong together.
    """

    separator: str | None = None
    columns: tuple[str, ...] | None = None
    quoting: bool = True
    rest: int | None = None


OWN = Form()


@dataclass(frozen=True)
class Table:
    """A table that can be read as often as needed; ``columns`` are its own names, ``said`` what people should know."""

    source: Path
    columns: tuple[str, ...]
    said: tuple[str, ...] = ()

    def frame(self, kinds: Mapping[str, Kind]) -> pl.LazyFrame:
        """Return some columns, null where a value is not of its kind, with ROW and EXTRA (bool: too many fields)."""
        raise NotImplementedError

    def text(self) -> pl.LazyFrame:
        """Return all columns as text, with ROW and EXTRA."""
        return self.frame(dict.fromkeys(self.columns, pl.String))

    def settled(self) -> "Table":
        """Return the table after every byte has been looked at: for text of any encoding and with any quotes."""
        return self


@dataclass(frozen=True)
class TextTable(Table):
    """A file of lines: the line in the file is ROW, header included, and a text of several lines counts as one."""

    path: Path = Path()
    form: Form = OWN
    skip: int = 0
    quotes: bool = False
    scratch: Path | None = None

    @property
    def separator(self) -> str:
        return self.form.separator or ","

    def settled(self) -> "TextTable":
        if self.scratch is None:
            return self
        found = readable(self.path, self.scratch, self.separator, len(self.columns), self.form.quoting)
        return replace(self, path=found.path, quotes=found.quotes, said=(*self.said, *found.said), scratch=None)

    def _scan(self, schema: Mapping[str, Kind], separator: str) -> pl.LazyFrame:
        return pl.scan_csv(
            self.path,
            has_header=False,
            skip_lines=self.skip,
            schema=schema,
            separator=separator,
            quote_char='"' if self.quotes else None,
            ignore_errors=True,
            empty_string_is_null=True,
            encoding="utf8-lossy",
            missing_columns="insert",
            extra_columns="ignore",
            row_index_name=ROW,
            row_index_offset=1 + self.skip,
            raise_if_empty=False,
            glob=False,
        )

    def frame(self, kinds: Mapping[str, Kind]) -> pl.LazyFrame:
        if len(self.separator) == 1 and self.form.rest is None:
            schema = {name: kinds.get(name, pl.String) for name in self.columns} | {EXTRA: pl.String}
            return self._scan(schema, self.separator).select(ROW, *kinds, pl.col(EXTRA).is_not_null())
        # polars separates by one byte only: read whole lines (none has a 0x01 that matters), then split them.
        parts = pl.col("line").str.split(self.separator)
        width, rest = len(self.columns), self.form.rest
        if rest is None:
            fields = [parts.list.get(place, null_on_oob=True) for place in range(width)]
            extra = parts.list.len() > width
        else:
            behind = [place - width for place in range(rest + 1, width)]
            middle = parts.list.slice(rest, parts.list.len().cast(pl.Int64) - (width - 1)).list.join(self.separator)
            fields = [parts.list.get(place, null_on_oob=True) for place in range(rest)]
            fields += [middle, *(parts.list.get(place, null_on_oob=True) for place in behind)]
            extra = parts.list.len() < width
        named = {name: field.str.strip_chars("\r") for name, field in zip(self.columns, fields, strict=True)}
        lines = self._scan({"line": pl.String}, "\x01")
        typed = [named[name].cast(kind, strict=False).alias(name) for name, kind in kinds.items()]
        return lines.select(ROW, *typed, extra.fill_null(value=False).alias(EXTRA))


@dataclass(frozen=True)
class ParquetTable(Table):
    """A parquet file; ROW is the number of the row, from 1."""

    def _scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.source, row_index_name=ROW, row_index_offset=1, glob=False, hive_partitioning=False)

    def kinds(self) -> dict[str, pl.DataType]:
        """Return the type of each column."""
        return {name: kind for name, kind in self._scan().collect_schema().items() if name != ROW}

    def frame(self, kinds: Mapping[str, Kind]) -> pl.LazyFrame:
        own = self.kinds()
        columns = (_cast(pl.col(name), own[name], kind).alias(name) for name, kind in kinds.items())
        return self._scan().select(ROW, *columns, pl.lit(value=False).alias(EXTRA))


def _cast(column: pl.Expr, own: pl.DataType, kind: Kind) -> pl.Expr:
    if own in (pl.Categorical, pl.Enum):
        return column.cast(pl.String).cast(kind, strict=False)
    if own in (pl.Datetime, pl.Date):
        return column.dt.to_string("iso") if kind == pl.String else column.dt.epoch("s").cast(kind, strict=False)
    if own == pl.List:
        return column.cast(pl.List(pl.String)).list.join("|") if kind == pl.String else pl.lit(None, kind)
    if own == pl.Boolean and kind != pl.String:
        return column.cast(pl.Int8).cast(kind, strict=False)
    if own.is_float() and kind in (pl.Int32, pl.Int64):
        return pl.when(column == column.floor()).then(column).cast(kind, strict=False)
    return column.cast(kind, strict=False)


def is_parquet(name: str, path: Path) -> bool:
    """Say whether a file is parquet; raise ParameterError for one that is neither that nor text, by its ending."""
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending != ".parquet" and ending not in TEXT_ENDINGS:
        listed = ", ".join(TEXT_ENDINGS)
        raise ParameterError(
            f"{name}={str(path)!r} must end in {listed} (.gz may follow) or .parquet. Save a spreadsheet as .csv."
        )
    return ending == ".parquet"


def open_table(name: str, path: Path, scratch: Path, given: Mapping[str, str], form: Form = OWN) -> Table:
    """Open the file of the parameter ``name``. Raises DataError for one that cannot be read."""
    if is_parquet(name, path):
        try:
            table = ParquetTable(path, ())
            return replace(table, columns=tuple(table.kinds()))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(
                f"{path} cannot be read as parquet ({first_line(error)}). Give a parquet or csv file."
            ) from error
    return open_text(path, scratch, given, form)


def open_text(path: Path, scratch: Path, given: Mapping[str, str] | None = None, form: Form = OWN) -> TextTable:
    """Open a file of text: separator, header and columns are told by its first lines where ``form`` does not say."""
    given, inside = given or {}, unpacked(path, scratch)
    said = ["unpacked from .gz"] if inside != path else []
    lines = [line for line in head_of(inside)[:20] if line.strip("\0 ")]
    spreadsheet = re.fullmatch(r"\ufeff?sep=(.)", lines[0]) if lines else None
    lines = lines[1:] if spreadsheet else lines
    first = lines[0] if lines else ""
    separator = form.separator or (spreadsheet[1] if spreadsheet else _separator(lines, given))
    if form.separator is None and separator != ",":
        said.append(f"separated by {separator!r}")
    names = form.columns
    if names is None:
        fields = [field.strip() for field in fields_of(first, separator)]
        bare = any(_is_number(field) for field in fields) or any(name.startswith("column ") for name in given.values())
        header = known_names(fields, given) > 1 or not bare
        unique = [f"{name} ({fields[:place].count(name) + 1})" for place, name in enumerate(fields)]
        names = tuple(name.removesuffix(" (1)") for name in unique)
        names = names if header else tuple(f"column {place}" for place in range(1, len(fields) + 1))
        if not header:
            said.append("it has no header")
    else:
        header = False
    skip = int(header) + (spreadsheet is not None)
    opened = TextTable(path, names, tuple(said), inside, replace(form, separator=separator), skip, scratch=scratch)
    # Numbers alone need no second look, and official files of ratings hold nothing else.
    numeric = {"userid", "movieid", "rating", "timestamp", "itemid"}
    return opened if plain(inside) and {plain_name(name) for name in names} <= numeric else opened.settled()


def _separator(lines: Sequence[str], given: Mapping[str, str]) -> str:
    """Return the separator that gives most known names, then the most lines as wide as the first, then most fields."""

    def fitness(separator: str) -> tuple[int, int, int]:
        widths = [len(fields_of(line, separator)) for line in lines]
        alike = sum(width == widths[0] for width in widths)
        return known_names(fields_of(lines[0], separator), given), alike if widths[0] > 1 else 0, widths[0]

    return max(SEPARATORS, key=fitness) if lines else ","


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*-?\d+([.,]\d+)?\s*", text) is not None


def first_line(error: Exception) -> str:
    """Return what an error says, without polars' advice for programmers."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def text_rows(path: Path, table: Table) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Yield (line, text by column) of a small table; null for a field that is empty or not there.

    Raises DataError over SIZE_LIMIT, and for a row with more fields than columns.
    """
    size = max(file.stat().st_size for file in (path, getattr(table, "path", path)))
    if size > SIZE_LIMIT:
        raise DataError(f"{path} has {size:,} bytes, over the limit of {SIZE_LIMIT:,} for such a file.")
    try:
        frame = table.settled().text().collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)}). Check its quotes and separators.") from error
    if frame[EXTRA].any():
        line = frame.row(int(frame[EXTRA].arg_max() or 0), named=True)[ROW]
        raise DataError(f"{path}, line {line}: not {len(table.columns)} fields, as its columns. Mend this line.")
    for row in frame.drop(EXTRA).iter_rows(named=True):
        line = row.pop(ROW)
        if any(row.values()):
            yield line, row
