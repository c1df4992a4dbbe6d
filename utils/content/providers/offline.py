"""The provider "offline": cards drawn from title and genres in the place of posters; no synopses."""

from utils.content import cards
from utils.content.movie import Movie
from utils.content.providers.base import Picture, Provider


class Offline(Provider):
    """The stand-in posters; every movie gets one."""

    name = "offline"

    def describe(self) -> str:
        """Return what the reader must know of these pictures."""
        return "offline: STAND-INS, drawn from title and genres; not real posters. No synopses"

    def poster(self, movie: Movie, size: tuple[int, int]) -> Picture:
        """Return the stand-in poster."""
        return Picture(
            cards.fingerprint(movie.title, movie.genres, size), lambda: cards.card(movie.title, movie.genres, size)
        )
