"""Which film of a list a movie is, by its titles and its year of release, where no id says so.

A wrong match is worse than none. So a movie that could be two films is neither, and of two films of one title
(a remake) the year decides.
"""

import csv
import re
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from utils.content.movie import Movie
from utils.ratings.movie_table import parse_title

ALIASES = Path(__file__).with_name("aliases.csv")
"""Titles that are spelled too differently to be recognised: one row for each pair of names of one film."""
Film = TypeVar("Film", bound=Hashable)


def spellings(title: str) -> list[str]:
    """Return the names in a title, plainly spelled: the title first, then others that stand in brackets.

    "Cité des enfants perdus, La (The City of Lost Children)" gives ["lacitedesenfantsperdus", "thecityoflostchildren"].
    Case, accents, signs and blanks do not count, "&" is "and", and an article at the end belongs to the front.
    """
    whole = parse_title(title)[0]
    main, *others = re.split(r" \((?:a\.k\.a\. )?", whole)
    names = [main, *(other.rstrip(") ") for other in others), whole]
    return list(dict.fromkeys(name for name in map(_plain, names) if name))


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.replace("&", " and ")).casefold()
    plain = "".join(letter for letter in letters if letter.isalnum())
    return plain


@cache
def _aliases() -> dict[tuple[str, int], list[tuple[str, int]]]:
    """Return the other (name, year) pairs of each that ``ALIASES`` lists."""
    pairs = defaultdict(list)
    with ALIASES.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            one, other = (row["title"], int(row["year"])), (row["also_title"], int(row["also_year"]))
            for this, that in ((one, other), (other, one)):
                pairs[_plain(this[0]), this[1]].append((_plain(that[0]), that[1]))
    return dict(pairs)


class TitleIndex(Generic[Film]):
    """A list of films that can be asked for by title and year."""

    def __init__(self, films: Iterable[tuple[str, int, Film]]) -> None:
        """Take (title, year, film) of each; films are told apart by equality."""
        self._films: dict[tuple[str, int], list[Film]] = defaultdict(list)
        for title, year, film in films:
            for name in spellings(title):
                self._films[name, year].append(film)

    def match(self, movies: Iterable[Movie]) -> dict[int, Film]:
        """Return the film of each movie that is one of them, by movieId.

        Title and year agree, or the year is off by one and nothing else comes close: no other film fits the movie, and
        no other movie the film. Two movies get one film where they have the same title and year, and no two IMDb ids.
        """
        exact: dict[Film, list[Movie]] = defaultdict(list)
        near: dict[Film, list[Movie]] = defaultdict(list)
        for movie in movies:
            if movie.year is not None:
                names = _names(movie.title, movie.year)
                if found := self._at(names):
                    claimed = exact
                else:
                    found = self._at([(name, year + step) for name, year in names for step in (-1, 1)])
                    claimed = near
                if len(found) == 1:
                    claimed[found[0]].append(movie)
        near = {film: claimants for film, claimants in near.items() if film not in exact}
        return {
            movie.movieId: film
            for film, claimants in (exact | near).items()
            if _are_one(claimants, same_name=film in near)
            for movie in claimants
        }

    def _at(self, wanted: Iterable[tuple[str, int]]) -> list[Film]:
        """Return the distinct films of these names and years."""
        return list(dict.fromkeys(film for each in wanted for film in self._films.get(each, ())))


def _names(title: str, year: int) -> list[tuple[str, int]]:
    """Return what a movie may be called, and when it is dated by that name."""
    own = [(name, year) for name in spellings(title)]
    return own + [alias for each in own for alias in _aliases().get(each, ())]


def _are_one(movies: Sequence[Movie], same_name: bool) -> bool:
    """Return whether movies that claim one film may be one: some catalogues list a film twice."""
    ids = {movie.imdb for movie in movies if movie.imdb}
    names = {(spellings(movie.title)[0], movie.year) for movie in movies}
    return len(ids) <= 1 and (len(names) == 1 or not same_name)
