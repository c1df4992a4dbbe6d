"""The movies of an archive or of the user's own file as one table: ids of any kind, title, year, genres, links.

Movies are few (ml-32m has 87,585), so each row is checked in Python, and a bad one is named by file and line. Broken
bytes and control characters in titles are cleaned and counted, and so are years that are none.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from utils.ratings.columns import DataError, which
from utils.ratings.tables import Form, Table, text_rows
from utils.ratings.values import numbers_of

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "movieId": pl.Int64,
    "title": pl.String,
    "year": pl.Int16,
    "genres": pl.List(pl.String),
    "imdbId": pl.String,
    "tmdbId": pl.Int64,
    "originalId": pl.String,
}
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
_YEAR = re.compile(r"\((?P<year>(?:1\d|20)\d\d)(?:\s*[-\u2013\u2014]\s*(?:\d{4})?\s*)?\)(?:\s*\((?:V|TV|VG)\))?$")

_WHOLE = re.compile(r"[0-9]{1,18}")
_IMDB = re.compile(r"tt[0-9]{7,10}")
# A year alone, "2009-", "1995-10-30", "30.10.1995" or "Oct 30, 1995".
_DATED = re.compile(r"(-?\d{1,4})(?:\.0+)?|(\d{4})\s*[-\u2013/.].*|.*[-/. ,](\d{4})")
LAST_YEAR = 2200
_EMPTY = {"", "nan", "null", "none", "\\n", "<na>"}
"""What stands where nothing is known; anything else that is no year is counted."""
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


@dataclass(frozen=True)
class Movies:
    """All movies as ``SCHEMA``, sorted by movieId; ``texts`` gives the movieId of each id where ids are texts.

    ``originalId`` is null where the movieId is the very id of the file. ``counts`` are of what was mended or left out.
    """

    table: pl.DataFrame
    texts: Mapping[str, int]
    counts: Mapping[str, int]


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


def year_of(text: str) -> int | None:
    """Return the year that a text names, -9999 to 2200 and not 0; None where it names none."""
    found = _DATED.fullmatch(text.strip())
    year = int(next(group for group in found.groups() if group)) if found else 0
    return year if year and year <= LAST_YEAR else None


def movie_table(path: Path, rows: Iterable[RawMovie]) -> Movies:
    """Return the ``rows`` of a file as a table.

    Ids that are whole numbers stay as they are; if one is not, or two are the same number, all are texts, which get
    numbers of ours. Raises DataError for an id that is missing or there twice, and for an empty file.
    """
    raw: dict[str, RawMovie] = {}
    for row in rows:
        identifier = row.identifier.strip()
        if not identifier:
            raise DataError(f"{path}, line {row.line}: the movieId is missing. Mend this line.")
        if identifier in raw:
            first = raw[identifier].line
            raise DataError(
                f"{path}, line {row.line}: movieId {identifier} is in line {first} already. Remove one of the two."
            )
        raw[identifier] = row
    if not raw:
        raise DataError(f"{path} has no movie. Give the movies file of the data set.")
    numbers = {identifier: _number(identifier) for identifier in raw}
    texts = None in numbers.values() or len(set(numbers.values())) < len(numbers)
    codes = numbers_of(raw) if texts else {identifier: number or 0 for identifier, number in numbers.items()}
    genres = genre_lists([row.genres for row in raw.values()])
    cleaned = sum("\ufffd" in row.title or _CONTROL.search(row.title) is not None for row in raw.values())
    records, no_years = [], 0
    for (identifier, row), listed in zip(raw.items(), genres, strict=True):
        title, year = parse_title(clean(row.title))
        if row.year is not None and (own := year_of(row.year)) is not None:
            title, year = clean(row.title), own
        elif row.year is not None:
            no_years += row.year.strip().lower() not in _EMPTY
        imdb = _number((row.imdb or (identifier if _IMDB.fullmatch(identifier) else "")).strip().removeprefix("tt"))
        names = sorted({clean(genre) for genre in listed} - NO_GENRES)
        code = codes[identifier]
        original = None if identifier.removesuffix(".0") == str(code) else identifier
        padded = None if imdb is None else f"{imdb:07d}"
        records.append((code, title, year, names, padded, _number(row.tmdb or ""), original))
    # Arrow makes a column of lists an order faster than polars makes it from rows.
    columns = {name: pa.array(column) for name, column in zip(SCHEMA, zip(*records, strict=True), strict=True)}
    table = pl.DataFrame(pa.table(columns)).cast(pl.Schema(SCHEMA)).sort("movieId")
    return Movies(table, codes if texts else {}, {"cleaned titles": cleaned, "years that are none": no_years})


def genre_lists(raw: Sequence[str | Iterable[str]]) -> list[list[str]]:
    """Return the genres of each movie: a list, texts with bars or else semicolons or commas between, or Python's lists.

    Kaggle's tables write "['Drama']" and "[{'id': 18, 'name': 'Drama'}]".
    """
    texts = [each for each in raw if isinstance(each, str)]
    between = next((mark for mark in "|;," if any(mark in each for each in texts)), "|")

    def of(each: str | Iterable[str]) -> list[str]:
        if not isinstance(each, str):
            return list(each)
        if each.startswith("[") and each.endswith("]"):
            named = re.findall(r"""['"]name['"]:\s*['"]([^'"]+)['"]""", each)
            return named or re.findall(r"""['"]([^'"]+)['"]""", each) or each.strip("[]").split(",")
        return each.split(between)

    return [of(each) for each in raw]


def _number(text: str) -> int | None:
    text = text.strip().removesuffix(".0")
    return int(text) if _WHOLE.fullmatch(text) else None


def read_own(path: Path, table: Table, chosen: Mapping[str, str], links: Table | None = None) -> Iterator[RawMovie]:
    """Read movies.csv of MovieLens with its links.csv, or a user's own; ``chosen`` are its columns by ours."""
    by_movie: dict[str, Mapping[str, str | None]] = {}
    if links is not None:
        which(links.source, list(links.columns), ("movieId", "imdbId", "tmdbId"), (), {})
        by_movie = {row["movieId"] or "": row for _, row in text_rows(links.source, links)}
    for line, row in text_rows(path, table):
        own = {ours: row[name] or "" for ours, name in chosen.items()}
        link = by_movie.get(own["movieId"], own)
        genres = own.get("genres", "")
        yield RawMovie(
            line, own["movieId"], own["title"], genres, own.get("year"), link.get("imdbId"), link.get("tmdbId")
        )


COLONS = Form("::", ("movieId", "title", "genres"), quoting=False, rest=1)
FLAGS = Form("|", ("movieId", "title", "date", "video date", "url", *GENRE_FLAGS), quoting=False)
ATOMIC = Form("\t", ("movieId", "title", "year", "genres"), quoting=False)


def read_double_colon(table: Table) -> Iterator[RawMovie]:
    """Read movies.dat of ml-1m, ml-10m or MovieTweetings: ``movieId::title::genres``."""
    for line, row in text_rows(table.source, table):
        yield RawMovie(line, row["movieId"] or "", row["title"] or "", row["genres"] or "")


def read_flags(table: Table) -> Iterator[RawMovie]:
    """Read u.item of ml-100k: ``movieId|title|date|video date|url|`` and 19 flags, one per genre."""
    for line, row in text_rows(table.source, table):
        if row[GENRE_FLAGS[-1]] is None:
            raise DataError(f"{table.source}, line {line}: fewer than {len(row)} fields. Mend this line.")
        genres = [genre for genre in GENRE_FLAGS if row[genre] == "1"]
        yield RawMovie(line, row["movieId"] or "", row["title"] or "", genres)


def read_atomic(table: Table) -> Iterator[RawMovie]:
    """Read the .item file of ml-100k in RecBole: tab separated, title and year apart, genres separated by blanks.

    Two errors of that copy are mended: the title of movie 267 is "unkonwn", and movie 1412, a video, has its year in
    the title and "V" as the year.
    """
    for line, row in text_rows(table.source, table):
        if line > 1:
            title, year = row["title"] or "", row["year"] or ""
            title = "unknown" if title == "unkonwn" else title
            dated = f"{title} ({year})" if re.fullmatch(r"\d{4}", year) else title
            yield RawMovie(line, row["movieId"] or "", dated, (row["genres"] or "").split(" "))
