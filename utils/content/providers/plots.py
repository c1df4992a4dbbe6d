"""The provider "plots": what the films of ml-100k are about, in words written for this project; no posters."""

from collections.abc import Sequence

from utils.content.movie import Movie
from utils.content.plots import LICENCE, plots, plots_of
from utils.content.providers.base import Missing, Provider, Synopsis


class Plots(Provider):
    """The project's own texts, for the films of one catalogue."""

    name = "plots"

    def __init__(self, movies: Sequence[Movie]) -> None:
        """Take all movies of the catalogue: whether a title is ambiguous depends on the others."""
        self._movies, self._plots = len(movies), plots_of(movies)

    def describe(self) -> str:
        """Return whose texts they are, and how many movies have one."""
        having = f"{len(self._plots):,} of {self._movies:,} movies have one"
        return f"plots: {len(plots()):,} texts, {LICENCE}; {having}; no posters"

    def synopsis(self, movie: Movie) -> Synopsis:
        """Return the plot; raise Missing where none was written."""
        if movie.movieId not in self._plots:
            raise Missing("no plot was written for it")
        return Synopsis(self._plots[movie.movieId].text, LICENCE)
