"""What stands in the columns of a file, told from its texts: ids of any kind, numbers, and times in any unit.

An id is a whole number or a text. Texts become numbers of 53 bits by a hash of the text alone, so that a number, and
with it every split, never depends on the other ids or on their order, and survives a float64 unharmed.
"""

import hashlib
from collections.abc import Iterable, Mapping

import polars as pl

BITS = 53
STRAYS = 0.02
"""Up to this share, values of another kind are faults of their lines; beyond it, the column is of that kind."""
_WHOLE = r"^\d{1,18}(?:\.0+)?$"
_DATE = (
    r"^(?<day>\d{4}[-/.]\d{1,2}[-/.]\d{1,2})(?:[T ]+(?<clock>\d{1,2}:\d{2}(?::\d{2})?)(?::?\.\d+)?"
    r"\s*(?<zone>Z|UTC|GMT|[+-]\d{2}:?(?:\d{2})?)?)?$"
)
_ZONE = r"^(?<sign>[+-])(?<hours>\d{2})(?<minutes>\d{2})?$"
UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
_LAST = 10**11
"""Seconds until the year 5138; a larger number counts something smaller."""


def stripped(name: str) -> pl.Expr:
    """Return a column of texts without blanks around them, null where nothing is left."""
    text = pl.col(name).str.strip_chars(" \t\r\n\0")
    return pl.when(text != "").then(text)


def whole(text: pl.Expr) -> pl.Expr:
    """Return texts as Int64, null where one is no whole number of 0 or more; "12.0" and "0012" are 12."""
    return pl.when(text.str.contains(_WHOLE)).then(text.str.replace(r"\.0+$", "")).cast(pl.Int64, strict=False)


def numbers_of(texts: Iterable[str]) -> dict[str, int]:
    """Return a number of 1 to 2^53 - 1 for each text: a hash (BLAKE2b), hashed again where two would be one."""
    found: dict[str, int] = {}
    taken = {0}
    for text in sorted(set(texts)):
        number, salt = 0, 0
        while number in taken:
            digest = hashlib.blake2b(text.encode(), digest_size=8, salt=salt.to_bytes(2, "big")).digest()
            number, salt = int.from_bytes(digest, "big") >> (64 - BITS), salt + 1
        found[text] = number
        taken.add(number)
    return found


def ids(text: pl.Series) -> tuple[pl.Series, dict[str, int]]:
    """Return ids as Int64, and the texts that they stand for: none where nearly all are whole numbers.

    Null where nothing stands, and where a stray text stands among numbers.
    """
    numbers = text.to_frame("id").select(whole(pl.col("id")))["id"]
    texts = numbers.null_count() - text.null_count()
    if texts <= STRAYS * (len(text) - text.null_count()):
        return numbers, {}
    codes = numbers_of(text.drop_nulls().unique().to_list())
    return replaced(text, codes), codes


def replaced(text: pl.Series, codes: Mapping[str, int]) -> pl.Series:
    """Return the code of each text, Int64, null for one without."""
    known = pl.DataFrame({"id": list(codes), "code": list(codes.values())}, schema={"id": pl.String, "code": pl.Int64})
    return text.to_frame("id").join(known, on="id", how="left", maintain_order="left")["code"]


def _ungrouped(text: pl.Series) -> pl.Series:
    """Return numbers as spreadsheets write them, "1.100.000.000" or "1,100,000,000", without the marks."""
    grouped = pl.col("n").str.contains(r"^\d{1,3}(?:[,.' ]\d{3}){2,}$")
    return text.to_frame("n").select(pl.when(grouped).then(pl.col("n").str.replace_all("[,.' ]", "")).otherwise("n"))[
        "n"
    ]


def floats(text: pl.Series) -> tuple[pl.Series, str]:
    """Return numbers as Float64, null where there is none, and what is to be said: decimal commas are read, too."""
    column = pl.col("value")
    frame = _ungrouped(text).to_frame("value").with_columns(
        pl.when(column.str.to_lowercase() == "true").then(pl.lit("1"))
        .when(column.str.to_lowercase() == "false").then(pl.lit("0")).otherwise(column).alias("value")
    )  # fmt: skip
    dotted = frame.select(column.str.replace(r"^(-?\d+),(\d+)$", "${1}.${2}"))["value"]
    return dotted.cast(pl.Float64, strict=False), "decimal commas" if (dotted != frame["value"]).any() else ""


def seconds(number: pl.Series) -> tuple[pl.Series, str]:
    """Return numbers in any unit, or days such as 20150131, as seconds since 1970 (Int64, or Int32 as they came).

    Also what they were; the middle one tells the unit. Null where one is beyond any calendar.
    """
    low, high = number.min(), number.max()
    if isinstance(low, int | float) and isinstance(high, int | float) and 19_000_101 <= low <= high <= 21_001_231:
        days = number.cast(pl.Int64).cast(pl.String).str.to_date("%Y%m%d", strict=False)
        if days.null_count() == number.null_count():
            return days.cast(pl.Datetime("us")).dt.epoch("s"), "days such as 20150131"
    if number.dtype == pl.Int32:
        return number, "seconds"
    middle = number.abs().median()
    middle = float(middle) if isinstance(middle, int | float) else 0.0
    unit = next((name for name, size in UNITS.items() if middle < _LAST * size), "nanoseconds")
    whole_seconds = number // UNITS[unit] if number.dtype.is_integer() else (number / UNITS[unit]).floor()
    sane = whole_seconds.to_frame("t").select(pl.when(pl.col("t").abs() < _LAST).then(pl.col("t")))["t"]
    return sane.cast(pl.Int64, strict=False), unit


def times(text: pl.Series) -> tuple[pl.Series, str]:
    """Return times as Int64 seconds since 1970, null where there is none, and what they were: numbers, or ISO dates.

    A date without a zone is read as UTC, one without a clock as midnight.
    """
    numbers = _ungrouped(text).cast(pl.Float64, strict=False)
    numbers = pl.select(pl.when(numbers.is_finite()).then(numbers)).to_series()
    if numbers.count() * 2 >= text.count():
        return seconds(numbers)
    parts = text.str.extract_groups(_DATE).struct.unnest()
    day = parts["day"].str.replace_all(r"[/.]", "-").str.to_date("%Y-%m-%d", strict=False)
    clock = parts["clock"].str.split(":")
    number = {place: clock.list.get(place, null_on_oob=True).cast(pl.Int64, strict=False) for place in range(3)}
    zone = parts["zone"].str.replace(":", "").str.extract_groups(_ZONE).struct.unnest()
    ahead = zone["hours"].cast(pl.Int64).fill_null(0) * 3600 + zone["minutes"].cast(pl.Int64).fill_null(0) * 60
    behind = pl.select(pl.when(zone["sign"] == "-").then(-ahead).otherwise(ahead)).to_series()
    of_day = number[0].fill_null(0) * 3600 + number[1].fill_null(0) * 60 + number[2].fill_null(0)
    moment = day.cast(pl.Datetime("us")).dt.epoch("s") + of_day - behind
    named = "dates" if parts["zone"].count() == 0 else "dates with a zone"
    return moment, named if moment.count() else "nothing that is a time"
