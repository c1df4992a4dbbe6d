"""The facts of one movie, as 01-Download-Convert leaves them: what every provider of enrichment is asked with."""

import re
from dataclasses import dataclass

import pyarrow as pa

_ARTICLES = (
    "The|A|An|La|Le|Les|L'|Un|Une|Des|El|Los|Las|Lo|Il|Gli|I|Una|Der|Die|Das|Den|Det|De|Het|Ein|Eine|En|Ett|Et|O|Os|As"
)
_INVERTED = re.compile(rf"^(?P<rest>.+?), (?P<article>{_ARTICLES})(?P<part>: .+)?$")


@dataclass(frozen=True)
class Movie:
    """One row of ``movies_converted``. ``genres`` is empty where MovieLens lists none."""

    movieId: int
    title: str
    year: int | None
    genres: tuple[str, ...]
    imdbId: str | None
    tmdbId: int | None


def movies_of(table: pa.Table) -> list[Movie]:
    """Return the rows of ``movies_converted`` as movies in ascending movieId."""
    columns = ["movieId", "title", "year", "genres", "imdbId", "tmdbId"]
    rows = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
    movies = [
        Movie(number, title or "", year, tuple(genres or ()), imdb, tmdb)
        for number, title, year, genres, imdb, tmdb in rows
    ]
    return sorted(movies, key=lambda movie: movie.movieId)


def spoken_title(title: str) -> tuple[str, str]:
    """Return (title, other title) as people say them, control characters removed.

    MovieLens files "The Matrix" as "Matrix, The" and appends original titles in brackets:
    ``spoken_title("City of Lost Children, The (Cité des enfants perdus, La)")`` is
    ``("The City of Lost Children", "La Cité des enfants perdus")``.
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in title)
    main, _, other = " ".join(printable.split()).partition(" (")
    return _turned(main), _turned(other.split(" (")[0].removesuffix(")").removeprefix("a.k.a. "))


def _turned(title: str) -> str:
    match = _INVERTED.match(title)
    if match is None:
        return title
    gap = "" if match["article"].endswith("'") else " "
    return f"{match['article']}{gap}{match['rest']}{match['part'] or ''}"
