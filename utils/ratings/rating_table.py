"""The ratings of an archive or of the user's own file: typed and checked, with nothing dropped in silence.

A file of plain numbers is parsed straight to them, in bounded memory. Where that fails for more than a few lines, ids
are texts, times are dates, or numbers have commas: its four columns are then read as text and told from their values.
The lines that cannot be used are read again and set aside with a reason; too many of them stop the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from utils.handoff.own_data import STARS, Likes
from utils.ratings import scale, values
from utils.ratings.columns import COUNTED, DataError, plain_name, shown
from utils.ratings.tables import EXTRA, ROW, Kind, ParquetTable, Table, first_line

SCHEMA = {"userId": pl.Int64, "movieId": pl.Int64, "rating": pl.Float32, "timestamp": pl.Int64}
NARROW = {"userId": pl.Int32, "movieId": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int32}
"""The same where every id and second fits in 32 bits, as in all of MovieLens: 16 bytes a rating instead of 28."""
MOST = 1e7
"""Largest rating; a count beyond it (seconds of play) is cut there, as all that counts of it is that it is one."""
NO_TIME = 0
"""The timestamp of ratings that have none."""
REASONS = (
    "more fields than columns",
    "userId is missing or not a whole number of 0 or more",
    "movieId is missing or not a whole number of 0 or more",
    "rating is missing or not a number",
    "timestamp is missing or not a time",
    "movieId is not in the movies file",
    "rating is not within {low:g} to {high:g}",
    "rating is -1, which stands for not rated",
    "duplicate: a later or higher rating of this movie by this user was kept",
)
EXTRA_FIELDS, USER, MOVIE, RATING, TIME, UNKNOWN, RANGE, UNRATED, DUPLICATE = range(1, len(REASONS) + 1)
_REMEDIES = {
    EXTRA_FIELDS: "Check its separator and its quotes.",
    USER: 'Name the column of users with COLUMNS={"userId": "…"}.',
    MOVIE: 'Name the column of movies with COLUMNS={"movieId": "…"}.',
    RATING: 'Name the column of ratings with COLUMNS={"rating": "…"}.',
    TIME: "Write times as seconds or as 2015-01-31 12:00, or leave that column out (SPLIT='random' needs none).",
    UNKNOWN: "Give the movies file of these ratings, or name the columns that have the same ids with COLUMNS.",
    RANGE: "Give the whole scale as SCALE=[lowest, highest].",
    UNRATED: "They are no ratings.",
    DUPLICATE: 'If each row is a play or a click, say FEEDBACK="implicit".',
}


@dataclass(frozen=True)
class Reading:
    """How ratings are to be read: parameters of 01, which documents them."""

    columns: Mapping[str, str] = field(default_factory=dict)
    feedback: str = "auto"
    scale: object = "auto"
    liked: float | None = None
    max_rejected: float = 0.02


DEFAULTS = Reading()


@dataclass(frozen=True)
class Ratings:
    """Usable ratings in the order of the file, and the rest.

    ``ratings`` are as ``NARROW``, or as ``SCHEMA`` where that is too narrow. ``rejected`` has the columns of the source
    as text, ``row`` int64 (line in the file from 1, header included; for parquet the number of the row) and ``reason``.
    ``users`` are the texts that userIds stand for, by text; none where they are the numbers of the file.
    """

    ratings: pl.DataFrame
    rejected: pl.DataFrame
    users: Mapping[str, int]
    likes: Likes
    said: tuple[str, ...]


def read_ratings(
    table: Table, names: Mapping[str, str], movies: pl.Series, texts: Mapping[str, int], reading: Reading
) -> Ratings:
    """Return the ratings of ``table``, which together with the rejected ones have as many rows as it has lines of data.

    ``names`` are its columns by ours; without ``rating`` every row is a like, without ``timestamp`` the time is
    NO_TIME. ``movies`` are the known movieIds, ``texts`` the ones that stand for texts. If a user has rated a movie
    several times, the latest rating is kept, and of those of one second the highest. Raises DataError where no rating
    can be used, none is a like, or more than ``reading.max_rejected`` of the lines are set aside.
    """
    _check_nested(table, names)
    try:
        table, frame, users, said = _typed(table, names, movies, texts)
        bad, lines = frame.filter(pl.col("reason") > 0).select(ROW, "reason"), frame.height
        if bad.height:
            frame = frame.filter(pl.col("reason") == 0)
        reasons = list(REASONS)
        if texts:
            reasons[MOVIE - 1] = "movieId is missing"
        if users:
            reasons[USER - 1] = "userId is missing"
        frame, likes, rated = frame.drop("reason"), STARS, frame["rating"].value_counts().sort("rating")
        if frame.height:
            numbers, counts = rated["rating"].to_numpy().astype(np.float64), rated["count"].cast(pl.Int64).to_numpy()
            counted = plain_name(names.get("rating", "")) in COUNTED.split()
            likes = scale.likes(numbers, counts, reading.feedback, reading.scale, reading.liked, counted=counted)
            reasons[RANGE - 1] = reasons[RANGE - 1].format(low=likes.low, high=likes.high)
            frame, outside = _on_scale(frame, numbers, likes)
            if numbers[-1] > MOST:
                frame = frame.with_columns(pl.col("rating").clip(upper_bound=MOST))
            losers = _duplicates(frame)
            frame = frame.filter(~pl.col(ROW).is_in(losers.implode())) if losers.len() else frame
            twice = pl.DataFrame({ROW: losers, "reason": [DUPLICATE] * losers.len()}, schema=bad.schema)
            bad = pl.concat([bad, outside.cast(bad.schema), twice])
            if likes.feedback == "implicit" and losers.len():
                said = [*said, f"{losers.len():,} repeats are set aside, one row a user and movie stays"]
        rejected = _rejected(table, bad, dict(enumerate(reasons, start=1)))
    except pl.exceptions.PolarsError as error:
        said_first = first_line(error)
        raise DataError(f"{table.source} cannot be read ({said_first}). Is it the file of ratings?") from error
    filled = rejected.select(pl.any_horizontal(pl.exclude("row", "reason").is_not_null())).to_series()
    blank = rejected.filter(~filled)["row"]  # A line without anything holds no rating that could be lost.
    rejected, lines = rejected.filter(filled), lines - blank.len()
    bad = bad.filter(~pl.col(ROW).is_in(blank.cast(bad.schema[ROW]).implode())) if blank.len() else bad
    _check_enough(table, frame, bad, rejected, names)
    _check_share(table, bad, rejected, lines, reading.max_rejected, likes, rated["rating"])
    # Splits look rows up, which is slow in a column of many pieces. One column at a time, for the peak of memory.
    ratings = pl.DataFrame([frame.drop_in_place(name).rechunk() for name in SCHEMA])
    return Ratings(ratings, rejected, users, likes, (*table.said, *said))


def _check_nested(table: Table, names: Mapping[str, str]) -> None:
    kinds = table.kinds() if isinstance(table, ParquetTable) else {}
    for name in names.values():
        if name in kinds and kinds[name].is_nested():
            raise DataError(f"{table.source}: column {name} is {kinds[name]}, expected numbers or text. Convert it.")


def _typed(
    table: Table, names: Mapping[str, str], movies: pl.Series, texts: Mapping[str, int]
) -> tuple[Table, pl.DataFrame, Mapping[str, int], list[str]]:
    """Return the table as it was read; ROW, the columns of SCHEMA and ``reason``; the texts of users; what is said."""
    for kinds in (NARROW, SCHEMA) if not texts else ():
        frame = _numbers(table, names, kinds).with_columns(_reason(movies)).drop(EXTRA).collect(engine="streaming")
        bad = frame.filter(pl.col("reason") > 0)["reason"]
        strays = {reason: int((bad == reason).sum()) for reason in (USER, MOVIE, RATING, TIME)}
        enough = not any(strays[reason] for reason in (USER, MOVIE, TIME)) if kinds is NARROW else True
        if enough and max(strays.values()) <= values.STRAYS * frame.height:
            time, unit = values.seconds(frame["timestamp"])
            frame = frame.with_columns(time.alias("timestamp"))
            if kinds is SCHEMA:
                lost = pl.col("timestamp").is_null() & (pl.col("reason") == 0)
                reason = pl.when(lost).then(pl.lit(TIME, pl.UInt8)).otherwise(pl.col("reason"))
                frame = frame.with_columns(reason.alias("reason"))
            return table, frame, {}, _said_of_time(names, unit)
    table = table.settled()
    asked = [ours for ours in SCHEMA if ours in names]
    lazy = table.frame(dict.fromkeys([names[ours] for ours in asked], pl.String))
    text = lazy.select(ROW, EXTRA, *(values.stripped(names[ours]).alias(ours) for ours in asked)).collect()
    user, users = values.ids(text["userId"])
    columns: dict[str, pl.Expr | pl.Series] = {"userId": user, "rating": pl.lit(1.0), "timestamp": pl.lit(NO_TIME)}
    if texts:  # 0 is no id of theirs: a text that no movie has.
        known = values.replaced(text["movieId"], texts).fill_null(0)
        columns["movieId"] = pl.when(pl.col("movieId").is_not_null()).then(known)
    else:
        columns["movieId"] = values.whole(pl.col("movieId"))
    commas, unit = "", "seconds"
    if "rating" in names:
        columns["rating"], commas = values.floats(text["rating"])
    if "timestamp" in names and text["timestamp"].count():
        columns["timestamp"], unit = values.times(text["timestamp"])
    elif "timestamp" in names:
        names = {ours: name for ours, name in names.items() if ours != "timestamp"}
    typed = (
        pl.lit(value).alias(name) if isinstance(value, pl.Series) else value.alias(name)
        for name, value in columns.items()
    )
    frame = text.with_columns(*typed).with_columns(
        pl.col(name).cast(kind, strict=False) for name, kind in SCHEMA.items()
    )
    frame = frame.with_columns(_reason(movies)).drop(EXTRA)
    return table, frame, users, [commas] * bool(commas) + _said_of_time(names, unit)


def _said_of_time(names: Mapping[str, str], unit: str) -> list[str]:
    if "timestamp" not in names:
        return ["no times"]
    return [] if unit == "seconds" else [f"times are {unit}"]


def _numbers(table: Table, names: Mapping[str, str], kinds: Mapping[str, Kind]) -> pl.LazyFrame:
    # A float64 also reads times such as "881250949.0", and holds every second exactly.
    parsed = dict(kinds) | ({"timestamp": pl.Float64} if kinds["timestamp"] == pl.Int64 else {})
    lacking = {"rating": pl.lit(1.0), "timestamp": pl.lit(NO_TIME)}
    columns = [
        (pl.col(names[ours]) if ours in names else lacking[ours]).cast(kinds[ours], strict=False).alias(ours)
        for ours in SCHEMA
    ]
    return table.frame({names[ours]: parsed[ours] for ours in SCHEMA if ours in names}).select(ROW, *columns, EXTRA)


def _reason(movies: pl.Series) -> pl.Expr:
    """Return as ``reason`` the first check that a row fails, 1 + its place in REASONS; 0 for one that can be used."""
    rating, movie = pl.col("rating"), pl.col("movieId")
    failed = {
        EXTRA_FIELDS: pl.col(EXTRA),
        USER: pl.col("userId").is_null() | (pl.col("userId") < 0),
        MOVIE: movie.is_null() | (movie < 0),
        RATING: rating.is_null() | ~rating.is_finite(),
        TIME: pl.col("timestamp").is_null(),
        UNKNOWN: ~movie.is_in(movies.implode()),
    }
    code = pl.lit(0, pl.UInt8)
    for place, condition in reversed(failed.items()):
        code = pl.when(condition).then(pl.lit(place, pl.UInt8)).otherwise(code)
    return code.alias("reason")


def _on_scale(frame: pl.DataFrame, numbers: np.ndarray, likes: Likes) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows on the scale, and ROW and reason of the others; ``numbers`` are the ratings there are."""
    if likes.low <= numbers[0] and numbers[-1] <= likes.high:
        return frame, frame.limit(0).select(ROW, pl.lit(RANGE).alias("reason"))
    unrated = (pl.col("rating") == -1) & scale.unrated(numbers)
    inside = pl.col("rating").is_between(likes.low, likes.high)
    outside = frame.filter(~inside).select(ROW, pl.when(unrated).then(UNRATED).otherwise(RANGE).alias("reason"))
    return frame.filter(inside), outside


def _duplicates(frame: pl.DataFrame) -> pl.Series:
    """Return the rows that are dropped in favour of another rating of the same movie by the same user."""
    user, movie = pl.col("userId").cast(pl.Int64), pl.col("movieId").cast(pl.Int64)
    before = (user > user.shift(1)) | ((user == user.shift(1)) & (movie > movie.shift(1)))
    # MovieLens files are sorted by user and movie, and a file in strictly ascending order has no duplicate.
    if frame.select(before.all()).item():
        return pl.Series([], dtype=frame.schema[ROW])
    last_user, last_movie = (found or 0 for found in frame.select(pl.col("userId", "movieId").max()).row(0))
    span = last_movie + 1
    if last_user < (1 << 62) // span:
        pair = frame.select(pair=user * span + movie)["pair"]
    else:
        pair = frame.select(pair=user.rank("dense").cast(pl.Int64) * frame.height + movie.rank("dense"))["pair"]
    ordered = pair.sort()
    twice = ordered.filter(ordered == ordered.shift(1)).unique()
    if not twice.len():
        return pl.Series([], dtype=frame.schema[ROW])
    rivals = frame.filter(pair.is_in(twice.implode()))
    rivals = rivals.sort(["timestamp", "rating", ROW], descending=[True, True, False])
    return rivals.filter(~pl.struct("userId", "movieId").is_first_distinct())[ROW]


def _rejected(table: Table, bad: pl.DataFrame, reasons: Mapping[int, str]) -> pl.DataFrame:
    """Read the rows in ``bad`` a second time, as text."""
    lines = table.text().drop(EXTRA)
    if bad.height:
        rows = lines.filter(pl.col(ROW).is_in(bad[ROW].implode())).collect(engine="streaming")
    else:
        rows = lines.limit(0).collect()
    known = bad.with_columns(pl.col("reason").replace_strict(reasons, return_dtype=pl.String))
    joined = rows.join(known.rename({"reason": "\x00reason"}), on=ROW, how="left", maintain_order="left")
    # A source may have columns of these names itself.
    taken = {name: f"{name} (source)" for name in table.columns if name in ("row", "reason")}
    return joined.select(
        pl.col(table.columns).name.map(lambda name: taken.get(name, name)),
        pl.col(ROW).cast(pl.Int64).alias("row"),
        pl.col("\x00reason").alias("reason"),
    )


def _check_enough(
    table: Table, frame: pl.DataFrame, bad: pl.DataFrame, rejected: pl.DataFrame, names: Mapping[str, str]
) -> None:
    if not frame.height:
        remedy = _REMEDIES[bad["reason"].value_counts(sort=True)["reason"][0]] if bad.height else ""
        reasons = rejected["reason"].value_counts(sort=True).rows()
        listed = "; ".join(f"{count:,} times: {reason}" for reason, count in reasons) or "the file has no line of data"
        raise DataError(
            f"{table.source} has no rating that can be used ({listed}). Its columns were read as "
            f"{', '.join(f'{name} = {ours}' for ours, name in names.items())}. {remedy}".rstrip()
        )


def _check_share(
    table: Table, bad: pl.DataFrame, rejected: pl.DataFrame, lines: int, most: float, likes: Likes, rated: pl.Series
) -> None:
    """Raise DataError where too many lines are set aside. Repeated plays and clicks are no faults."""
    faults = bad.filter(pl.col("reason") != DUPLICATE) if likes.feedback == "implicit" else bad
    share = faults.height / max(lines, 1)
    if share <= most:
        return
    reason, count = faults["reason"].value_counts(sort=True).row(0)
    row = faults.filter(pl.col("reason") == reason)[ROW].min()
    example = rejected.row(by_predicate=pl.col("row") == row, named=True)
    fields = ", ".join(f"{name}={value}" for name, value in example.items() if name not in ("row", "reason"))
    raise DataError(
        f"{table.source}: {share:.1%} of its {lines:,} lines cannot be used, more than MAX_REJECTED={most:g} allows. "
        f"Most often ({count:,} times): {example['reason']}, such as line {example['row']}: {shown(fields, 200)}. "
        f"Ratings found: {rated[0]:g} to {rated[-1]:g}. {_REMEDIES[reason]} "
        f"MAX_REJECTED={np.ceil(share * 100) / 100:g} goes on without these lines."
    )
