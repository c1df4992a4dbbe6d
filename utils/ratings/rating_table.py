"""The ratings of an archive or of the user's own file: typed and checked, with nothing dropped in silence.

A file is parsed straight to numbers, in bounded memory; a field that is no number becomes null. Only the lines that
cannot be used are read again, as text, and set aside with a reason.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from utils.ratings.columns import DataError, check_columns

SCHEMA = {"userId": pl.Int64, "movieId": pl.Int64, "rating": pl.Float32, "timestamp": pl.Int64}
NARROW = {"userId": pl.Int32, "movieId": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int32}
"""The same where every id and second fits in 32 bits, as in all of MovieLens: 16 bytes a rating instead of 28."""
REASONS = (
    "more fields than columns",
    "userId is missing or not a whole number of 0 or more",
    "movieId is missing or not a whole number of 0 or more",
    "rating is missing or not a number",
    "timestamp is missing or not a number",
    "rating is not within 0.5 to 5",
    "movieId is not in the movies file",
    "duplicate: a later or higher rating of this movie by this user was kept",
)
_MAY_BE_WIDE = (2, 3, 5)
_DUPLICATE = len(REASONS)
_EXTRA, _ROW = "\x00extra", "\x00row"
_HEADER_LIMIT = 1 << 16
_Kind = pl.DataType | type[pl.DataType]


@dataclass(frozen=True)
class RatingFormat:
    """How a file of ratings is written. ``aliases`` maps the names of its header to ours."""

    separator: str
    header: bool
    aliases: Mapping[str, str] = field(default_factory=dict)


CSV = RatingFormat(",", header=True)
TABS = RatingFormat("\t", header=False)
DOUBLE_COLON = RatingFormat("::", header=False)
ATOMIC = RatingFormat(
    "\t",
    header=True,
    aliases={
        "user_id:token": "userId",
        "item_id:token": "movieId",
        "rating:float": "rating",
        "timestamp:float": "timestamp",
    },
)


def read_ratings(path: Path, form: RatingFormat | None, movies: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return (ratings, rejected) of a file, which together have as many rows as it has lines of data.

    ``form`` is None for parquet; ``movies`` holds the known movieIds. ``ratings`` are in the order of the file, as
    ``NARROW``, or as ``SCHEMA`` where that is too narrow. ``rejected`` has the columns of the source as text, ``row``
    int64 (line in the file from 1, header included; for parquet the number of the row) and ``reason``. If a user has
    rated a movie several times, the latest rating is kept, and of those of the same second the highest. Raises
    DataError for missing columns and where no rating can be used.
    """
    try:
        source = _Parquet(path) if form is None else _Text(path, form)
        for kinds in (NARROW, SCHEMA):
            checked = source.numbers(kinds).with_columns(_reason(movies).alias("reason")).drop(_EXTRA)
            frame = checked.collect(engine="streaming")
            bad = frame.filter(pl.col("reason") > 0).select(_ROW, "reason")
            if not bad["reason"].is_in(_MAY_BE_WIDE).any():
                break
        if bad.height:
            frame = frame.filter(pl.col("reason") == 0)
        frame = frame.drop("reason")
        if (losers := _duplicates(frame)).len():
            frame = frame.filter(~pl.col(_ROW).is_in(losers.implode()))
            bad = bad.vstack(pl.DataFrame({_ROW: losers, "reason": [_DUPLICATE] * losers.len()}, schema=bad.schema))
        rejected = _rejected(source.text(), bad)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read ({error}). Check that it is the file of ratings.") from error
    if not frame.height:
        reasons = rejected["reason"].value_counts(sort=True).rows()
        listed = "; ".join(f"{count:,} times: {reason}" for reason, count in reasons) or "the file has no line of data"
        raise DataError(f"{path} has no rating that can be used ({listed}). Expected columns: {', '.join(SCHEMA)}.")
    # Splits look rows up, which is slow in a column of many pieces. One column at a time, for the peak of memory.
    return pl.DataFrame([frame.drop_in_place(name).rechunk() for name in kinds]), rejected


def _reason(movies: pl.Series) -> pl.Expr:
    """Return the first check that a row fails, as 1 + its place in REASONS; 0 for a row that can be used."""
    rating = pl.col("rating")
    failed = (
        pl.col(_EXTRA),
        pl.col("userId").is_null() | (pl.col("userId") < 0),
        pl.col("movieId").is_null() | (pl.col("movieId") < 0),
        rating.is_null() | rating.is_nan(),
        pl.col("timestamp").is_null(),
        ~rating.is_between(0.5, 5.0),
        ~pl.col("movieId").is_in(movies.implode()),
    )
    code = pl.lit(0, pl.UInt8)
    for place, condition in reversed(list(enumerate(failed, start=1))):
        code = pl.when(condition).then(pl.lit(place, pl.UInt8)).otherwise(code)
    return code


def _duplicates(frame: pl.DataFrame) -> pl.Series:
    """Return the rows that are dropped in favour of another rating of the same movie by the same user."""
    user, movie = pl.col("userId").cast(pl.Int64), pl.col("movieId").cast(pl.Int64)
    before = (user > user.shift(1)) | ((user == user.shift(1)) & (movie > movie.shift(1)))
    # MovieLens files are sorted by user and movie, and a file in strictly ascending order has no duplicate.
    if frame.select(before.all()).item():
        return pl.Series([], dtype=frame.schema[_ROW])
    last_user, last_movie = (found or 0 for found in frame.select(pl.col("userId", "movieId").max()).row(0))
    span = last_movie + 1
    if last_user < (1 << 62) // span:
        pair = frame.select(pair=user * span + movie)["pair"]
    else:
        pair = frame.select(pair=user.rank("dense").cast(pl.Int64) * frame.height + movie.rank("dense"))["pair"]
    ordered = pair.sort()
    twice = ordered.filter(ordered == ordered.shift(1)).unique()
    if not twice.len():
        return pl.Series([], dtype=frame.schema[_ROW])
    rivals = frame.filter(pair.is_in(twice.implode()))
    rivals = rivals.sort(["timestamp", "rating", _ROW], descending=[True, True, False])
    return rivals.filter(~pl.struct("userId", "movieId").is_first_distinct())[_ROW]


def _rejected(text: pl.LazyFrame, bad: pl.DataFrame) -> pl.DataFrame:
    """Read the rows in ``bad`` a second time, as text."""
    names = [name for name in text.collect_schema().names() if name != _ROW]
    if bad.height:
        rows = text.filter(pl.col(_ROW).is_in(bad[_ROW].implode())).collect(engine="streaming")
    else:
        rows = text.limit(0).collect()
    reasons = dict(enumerate(REASONS, start=1))
    known = bad.with_columns(pl.col("reason").replace_strict(reasons, return_dtype=pl.String))
    joined = rows.join(known.rename({"reason": "\x00reason"}), on=_ROW, how="left", maintain_order="left")
    # A source may have columns of these names itself.
    taken = {name: f"{name} (source)" for name in names if name in ("row", "reason")}
    return joined.select(
        pl.col(names).name.map(lambda name: taken.get(name, name)),
        pl.col(_ROW).cast(pl.Int64).alias("row"),
        pl.col("\x00reason").alias("reason"),
    )


class _Text:
    """A file of lines, with or without a header."""

    def __init__(self, path: Path, form: RatingFormat) -> None:
        self.path, self.form = path, form
        self.quote: str | None = None
        self.columns = list(SCHEMA)
        if form.header:
            with path.open("rb") as stream:
                head = stream.readline(_HEADER_LIMIT).decode("utf-8-sig", errors="replace").strip("\r\n")
                first = stream.readline(_HEADER_LIMIT)
            # Official files have no quotes. Files with quotes have them from the start; a single stray quote further
            # down must not swallow the lines after it.
            quotes = head.count('"') + first.count(b'"')
            self.quote = '"' if quotes and quotes % 2 == 0 else None
            names = next(csv.reader([head], delimiter=form.separator), [])
            self.columns = [form.aliases.get(name, name) for name in names]
        self.ours = [name.strip() for name in self.columns]
        check_columns(path, self.ours, SCHEMA)

    def _scan(self, schema: Mapping[str, _Kind], separator: str) -> pl.LazyFrame:
        header = int(self.form.header)
        return pl.scan_csv(
            self.path,
            has_header=False,
            skip_lines=header,
            schema=schema,
            separator=separator,
            quote_char=self.quote,
            ignore_errors=True,
            encoding="utf8-lossy",
            missing_columns="insert",
            extra_columns="ignore",
            row_index_name=_ROW,
            row_index_offset=1 + header,
            raise_if_empty=False,
            glob=False,
        )

    def numbers(self, kinds: Mapping[str, _Kind]) -> pl.LazyFrame:
        """Return the four columns as ``kinds``, null where a field does not fit."""
        # A float64 also reads times such as "881250949.0", and holds every second exactly.
        parsed = dict(kinds) | ({"timestamp": pl.Float64} if kinds["timestamp"] == pl.Int64 else {})
        if self.form.separator == "::":
            fields, extra = self.text(), pl.lit(value=False)
        else:
            schema = {name: parsed.get(name, pl.String) for name in self.ours} | {_EXTRA: pl.String}
            fields, extra = self._scan(schema, self.form.separator), pl.col(_EXTRA).is_not_null()
        columns = (pl.col(name).cast(parsed[name], strict=False).cast(kinds[name], strict=False) for name in kinds)
        return fields.select(_ROW, *columns, extra.alias(_EXTRA))

    def text(self) -> pl.LazyFrame:
        if self.form.separator != "::":
            schema = dict.fromkeys([*self.columns, _EXTRA], pl.String)
            return self._scan(schema, self.form.separator).drop(_EXTRA)
        # polars separates by one byte only: read whole lines (none has a 0x01 that matters), then split them.
        lines = self._scan({"line": pl.String}, "\x01")
        # The last field keeps the rest of the line, so that a fifth field spoils the timestamp.
        fields = pl.col("line").str.splitn("::", len(SCHEMA)).struct.rename_fields(list(SCHEMA))
        return lines.select(_ROW, fields.alias("fields")).unnest("fields")


class _Parquet:
    """A user's own ratings: numbers of any type, numbers as text, and dates for ``timestamp``."""

    def __init__(self, path: Path) -> None:
        self.scan = pl.scan_parquet(path, row_index_name=_ROW, row_index_offset=1, glob=False, hive_partitioning=False)
        self.kinds = {name: kind for name, kind in self.scan.collect_schema().items() if name != _ROW}
        check_columns(path, list(self.kinds), SCHEMA)
        for name in SCHEMA:
            kind = self.kinds[name]
            if not (kind.is_numeric() or kind == pl.String or (name == "timestamp" and kind == pl.Datetime)):
                raise DataError(f"{path}: column {name} is {kind}, expected {SCHEMA[name]}. Convert it.")

    def numbers(self, kinds: Mapping[str, _Kind]) -> pl.LazyFrame:
        """Return the four columns as ``kinds``, null where a value does not fit."""
        columns = (self._number(name).cast(kinds[name], strict=False).alias(name) for name in kinds)
        return self.scan.select(_ROW, *columns, pl.lit(value=False).alias(_EXTRA))

    def _number(self, name: str) -> pl.Expr:
        column, kind = pl.col(name), self.kinds[name]
        if kind == pl.Datetime:
            return column.dt.epoch("s")
        if name == "timestamp":
            return column.cast(pl.Float64, strict=False)
        if name != "rating" and kind.is_float():
            return pl.when(column == column.floor()).then(column)
        return column

    def text(self) -> pl.LazyFrame:
        return self.scan.with_columns(pl.col(list(self.kinds)).cast(pl.String, strict=False))
