"""The movies of an archive or of the user's own file as one table: ids, title, year, genres, links.

Movies are few (ml-32m has 87,585), so each row is checked in Python, and a bad one is named by file and line. Broken
bytes and control characters in titles are cleaned and counted.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from utils.ratings.columns import DataError, check_columns

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "movieId": pl.Int64,
    "title": pl.String,
    "year": pl.Int16,
    "genres": pl.List(pl.String),
    "imdbId": pl.String,
    "tmdbId": pl.Int64,
}
SIZE_LIMIT = 256 << 20
"""Largest movies or links file, in bytes; movies.csv of ml-32m has 4 MB."""
NO_GENRES = {"", "(no genres listed)", "unknown"}
# The order is that of the flags in u.item, from the README of ml-100k.
GENRE_FLAGS = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]  # fmt: skip
_ARTICLES = (
    "The|An|A|Les|Le|La|L'|Une|Un|Il|Lo|I|Gli|Uno|Una|Der|Die|Das|Den|Det|De|Het|Ein|Eine|Ett|En|"
    "El|Los|Las|Os|O|As|Um|Uma"
)
_MOVED = re.compile(rf"(?P<alias>a\.k\.a\. )?(?P<name>.+), (?P<article>{_ARTICLES})$")
# "(1995)", "(2006-2007)", "(2009- )"; IMDb's marks of video and television may follow.
_YEAR = re.compile(r"\((?P<year>(?:18|19|20)\d\d)(?:\s*[-\u2013\u2014]\s*(?:\d{4})?\s*)?\)(?:\s*\((?:V|TV|VG)\))?$")

_WHOLE = re.compile(r"[0-9]{1,18}")
# Unicode's category Cc, which never changes. Asking unicodedata for each character is slow.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class RawMovie:
    """One row as it was read, before any check. ``year`` is None where it has to be taken from the title."""

    line: int
    identifier: str
    title: str
    genres: str | Iterable[str]
    year: str | None = None
    imdb: str | None = None
    tmdb: str | None = None


def parse_title(raw: str) -> tuple[str, int | None]:
    """Split a MovieLens title: "Matrix, The (1999)" gives ("The Matrix", 1999), "Babylon 5" ("Babylon 5", None).

    Articles go to the front, also in alternative titles in brackets; of a range the first year counts.
    """
    text = " ".join(raw.split())
    year = None
    if found := _YEAR.search(text):
        year = int(found["year"])
        text = text[: found.start()].rstrip() or text
    main, bracket, rest = text.partition(" (")
    rest = re.sub(r"\(([^()]*)\)", lambda group: f"({_front(group[1])})", bracket + rest)
    return _front(main) + rest, year


def _front(name: str) -> str:
    moved = _MOVED.match(name)
    if moved is None:
        return name
    blank = "" if moved["article"].endswith("'") else " "
    return f"{moved['alias'] or ''}{moved['article']}{blank}{moved['name']}"


def clean(text: str) -> str:
    """Return ``text`` without control characters (NUL among them) and with single blanks."""
    return " ".join(_CONTROL.sub(lambda found: " " if found[0] in "\t\r\n" else "", text).split())


def movie_table(path: Path, rows: Iterable[RawMovie]) -> tuple[pl.DataFrame, int]:
    """Return the ``rows`` of a file as a table of ``SCHEMA``, sorted by movieId, and how many titles were cleaned.

    Raises DataError for an id that is repeated or not a whole number of 0 or more, for a wrong year and for an empty
    file.
    """
    lines: dict[int, int] = {}
    records, cleaned = [], 0
    for row in rows:
        where = f"{path}, line {row.line}"
        movie = _number(row.identifier)
        if movie is None:
            raise DataError(f"{where}: movieId {row.identifier!r} is not a whole number of 0 or more. Mend this line.")
        if movie in lines:
            raise DataError(f"{where}: movieId {movie} is in line {lines[movie]} already. Remove one of the two.")
        lines[movie] = row.line
        cleaned += "\ufffd" in row.title or _CONTROL.search(row.title) is not None
        title, year = _title_and_year(row, where)
        genres = row.genres.split("|") if isinstance(row.genres, str) else row.genres
        genres = sorted({clean(genre) for genre in genres} - NO_GENRES)
        imdb, tmdb = _number((row.imdb or "").removeprefix("tt")), _number(row.tmdb or "")
        records.append((movie, title, year, genres, None if imdb is None else f"{imdb:07d}", tmdb))
    if not records:
        raise DataError(f"{path} has no movie. Give the movies file of the data set.")
    return pl.DataFrame(records, schema=SCHEMA, orient="row").sort("movieId"), cleaned


def _title_and_year(row: RawMovie, where: str) -> tuple[str, int | None]:
    if row.year is None:
        return parse_title(clean(row.title))
    year = _number(row.year.removesuffix(".0"))
    if (year is None and row.year.strip()) or (year is not None and not 1800 <= year <= 2200):
        raise DataError(f"{where}: year {row.year!r} is not a year. Mend it, or leave it empty.")
    return clean(row.title), year


def _number(text: str) -> int | None:
    text = text.strip().removesuffix(".0")
    return int(text) if _WHOLE.fullmatch(text) else None


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Return the text of a movies or links file, broken bytes replaced. Raises DataError over SIZE_LIMIT."""
    if path.stat().st_size > SIZE_LIMIT:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes, over the limit of {SIZE_LIMIT:,} for such a file.")
    return path.read_bytes().decode(encoding, errors="replace").removeprefix("\ufeff")


def split_lines(path: Path, separator: str, width: int, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, ``width`` fields) of a file without quotes. Raises DataError for too few fields."""
    for line, text in enumerate(read_text(path, encoding).split("\n"), start=1):
        if text.strip("\r\0 "):
            fields = text.rstrip("\r").split(separator)
            if len(fields) < width:
                raise DataError(f"{path}, line {line}: {len(fields)} fields, expected {width}. Mend this line.")
            yield line, fields


def csv_rows(path: Path, needed: Iterable[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield (line number, fields by column) of a csv with a header.

    Raises DataError for missing columns and for a row that is not as wide as the header.
    """
    # newline="" keeps control characters inside a title from splitting its row.
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        header = [name.strip() for name in next(reader, [])]
        check_columns(path, header, needed)
        for fields in reader:
            if fields and len(fields) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, expected {len(header)}. Mend this line."
                )
            if fields:
                yield reader.line_num, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a csv row ({error}). Check its quotes.") from error


def read_csv(path: Path, links: Path | None = None) -> Iterator[RawMovie]:
    """Read movies.csv of MovieLens with its links.csv, or a user's own (columns year, imdbId, tmdbId optional)."""
    by_movie: dict[str, Mapping[str, str]] = {}
    if links is not None:
        by_movie = {row["movieId"]: row for _, row in csv_rows(links, ("movieId", "imdbId", "tmdbId"))}
    for line, row in csv_rows(path, ("movieId", "title", "genres")):
        link = by_movie.get(row["movieId"], row)
        yield RawMovie(
            line, row["movieId"], row["title"], row["genres"], row.get("year"), link.get("imdbId"), link.get("tmdbId")
        )


def read_parquet(path: Path) -> Iterator[RawMovie]:
    """Read a user's own movies; ``genres`` is a list or text with bars. The line is the number of the row."""
    try:
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet ({error}). Give a parquet or csv file.") from error
    check_columns(path, frame.columns, ("movieId", "title", "genres"))
    for line, row in enumerate(frame.iter_rows(named=True), start=1):
        known = {name: "" if value is None else str(value) for name, value in row.items()}
        listed = isinstance(row["genres"], list)
        genres = [str(genre) for genre in row["genres"] if genre is not None] if listed else known["genres"]
        year, imdb, tmdb = (known.get(name) for name in ("year", "imdbId", "tmdbId"))
        yield RawMovie(line, known["movieId"], known["title"], genres, year, imdb, tmdb)


def read_double_colon(path: Path, encoding: str) -> Iterator[RawMovie]:
    """Read movies.dat of ml-1m (latin-1) or ml-10m (utf-8): ``movieId::title::genres``."""
    for line, fields in split_lines(path, "::", 3, encoding):
        yield RawMovie(line, fields[0], "::".join(fields[1:-1]), fields[-1])


def read_flags(path: Path) -> Iterator[RawMovie]:
    """Read u.item of ml-100k (latin-1): ``movieId|title|date|video date|url|`` and 19 flags, one per genre."""
    for line, fields in split_lines(path, "|", 5 + len(GENRE_FLAGS), "latin-1"):
        flags = zip(GENRE_FLAGS, fields[-len(GENRE_FLAGS) :], strict=True)
        yield RawMovie(line, fields[0], fields[1], [genre for genre, flag in flags if flag == "1"])


def read_atomic(path: Path) -> Iterator[RawMovie]:
    """Read an .item file of RecBole: tab separated, title and year apart, genres separated by blanks.

    Two errors of that copy of ml-100k are mended: the title of movie 267 is "unkonwn", and movie 1412, a video, has
    its year in the title and "V" as the year.
    """
    for line, (movie, title, year, genres) in split_lines(path, "\t", 4, "utf-8"):
        if line > 1:
            title = "unknown" if title == "unkonwn" else title
            dated = f"{title} ({year})" if re.fullmatch(r"\d{4}", year) else title
            yield RawMovie(line, movie, dated, genres.split(" "))
