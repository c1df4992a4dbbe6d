"""One movie: what 01-Download-Convert knows of it, with which every source is asked, and the facts that are found."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True)
class Movie:
    """One row of ``movies_converted``. ``genres`` is empty where MovieLens lists none."""

    movieId: int
    title: str
    year: int | None
    genres: tuple[str, ...]
    imdbId: str | None
    tmdbId: int | None
    originalId: str | None = None

    @property
    def imdb(self) -> str | None:
        """The IMDb id as IMDb writes it, tt and at least 7 digits; None where it is no number."""
        number = self.imdbId or ""
        return f"tt{number:0>7}" if re.fullmatch(r"[0-9]{1,12}", number) else None


@dataclass(frozen=True)
class Facts:
    """Who made a film and where: ``names`` of people, countries and languages by ``FACT_LISTS``; runtime in minutes.

    ``year`` is only given where it takes the place of the year in ``movies_converted``.
    """

    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    runtime: float | None = None
    year: int | None = None
    source: str | None = None


def movies_of(table: pa.Table) -> list[Movie]:
    """Return the rows of ``movies_converted`` as movies in ascending movieId."""
    columns = ["movieId", "title", "year", "genres", "imdbId", "tmdbId", "originalId"]
    rows = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
    movies = [
        Movie(number, title or "", year, tuple(genres or ()), imdb, tmdb, original)
        for number, title, year, genres, imdb, tmdb, original in rows
    ]
    return sorted(movies, key=lambda movie: movie.movieId)


def both_titles(title: str) -> tuple[str, str]:
    """Split the original title that MovieLens appends in brackets: "Seven (Se7en)" is ("Seven", "Se7en").

    The second is "" where there is none. Control and direction characters become blanks.
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in title)
    main, _, other = " ".join(printable.split()).partition(" (")
    return main, other.split(" (")[0].removesuffix(")").removeprefix("a.k.a. ")
