"""What the films of ml-100k are about, in words written for this project: docs/plots.md says how.

The texts are in the csv files beside this one, by year of release, under CC0 (README.md). They belong to films by title
and year, so that every MovieLens set finds its own.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from utils.content.movie import Movie
from utils.content.titles import TitleIndex, spellings

FOLDER = Path(__file__).parent
LICENCE = "CC0 1.0, written for this project"
_NAMESAKES = {("emma", 1996): "tt0116191", ("aladdin", 1992): "tt0103639", ("menwithguns", 1997): "tt0119657"}
"""Films of one title and year of which larger MovieLens sets have two: which of them the plot is about."""


@dataclass(frozen=True)
class Plot:
    """One row of the files."""

    title: str
    year: int
    text: str


@cache
def plots() -> tuple[Plot, ...]:
    """Return all plots, file by file, each in the order of title and year."""
    return tuple(
        Plot(row["title"], int(row["year"]), row["plot"])
        for path in sorted(FOLDER.glob("*.csv"))
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    )


def plots_of(movies: Iterable[Movie]) -> dict[int, Plot]:
    """Return the plot of each movie of a catalogue that has one, by movieId."""
    index = TitleIndex((plot.title, plot.year, plot) for plot in plots())
    return index.match(movie for movie in movies if not _is_namesake(movie))


def _is_namesake(movie: Movie) -> bool:
    name = "".join(spellings(movie.title)[:1])
    known = _NAMESAKES.get((name, movie.year or 0))
    return movie.imdb is not None and known not in (None, movie.imdb)
