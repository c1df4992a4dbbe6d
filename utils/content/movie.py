"""The facts of one movie, as 01-Download-Convert leaves them: what every provider of content is asked with."""

import re
from dataclasses import dataclass

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

    @property
    def imdb(self) -> str | None:
        """The IMDb id as IMDb writes it, tt and at least 7 digits; None where it is no number."""
        number = self.imdbId or ""
        return f"tt{number:0>7}" if re.fullmatch(r"[0-9]{1,12}", number) else None


def movies_of(table: pa.Table) -> list[Movie]:
    """Return the rows of ``movies_converted`` as movies in ascending movieId."""
    columns = ["movieId", "title", "year", "genres", "imdbId", "tmdbId"]
    rows = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
    movies = [
        Movie(number, title or "", year, tuple(genres or ()), imdb, tmdb)
        for number, title, year, genres, imdb, tmdb in rows
    ]
    return sorted(movies, key=lambda movie: movie.movieId)


def both_titles(title: str) -> tuple[str, str]:
    """Split the original title that MovieLens appends in brackets: "Seven (Se7en)" is ("Seven", "Se7en").

    The second is "" where there is none. Control and direction characters become blanks.
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in title)
    main, _, other = " ".join(printable.split()).partition(" (")
    return main, other.split(" (")[0].removesuffix(")").removeprefix("a.k.a. ")
