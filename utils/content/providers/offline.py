"""The provider "offline": cards drawn from title and genres, and texts composed from title, year and genres."""

from utils.content import cards, stand_in_text
from utils.content.movie import Movie
from utils.content.providers.base import Picture, Provider, Synopsis


class Offline(Provider):
    """The stand-ins; it always has both."""

    name = "offline"

    def describe(self) -> str:
        """Return what the reader must know of these pictures and texts."""
        return "offline: STAND-INS, drawn and composed from title, year and genres; not real posters or synopses"

    def synopsis(self, movie: Movie) -> Synopsis:
        """Return the stand-in synopsis."""
        return Synopsis(stand_in_text.synopsis(movie))

    def poster(self, movie: Movie, size: tuple[int, int]) -> Picture:
        """Return the stand-in poster."""
        return Picture(
            cards.fingerprint(movie.title, movie.genres, size), lambda: cards.card(movie.title, movie.genres, size)
        )
