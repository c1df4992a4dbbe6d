"""Posters and titles of movies by movieId, ready to be drawn: for the pictures of notebooks 02 to 07."""

from pathlib import Path

import pyarrow as pa
from PIL import Image

from utils.content.images import ImageRefused, decode

SIZE = (160, 240)
"""Pixels (width, height) that a picture needs of a poster; a larger JPEG is decoded at a fraction of its size."""


class Gallery:
    """``gallery(movieId)`` is the movie's poster, None where it has none that can be read, and its title."""

    def __init__(self, folder: Path, movies: pa.Table, enriched: pa.Table) -> None:
        """Take titles from ``movies`` (movies_converted) and paths below the data ``folder`` from ``enriched``."""
        self.folder = folder
        self.titles: dict[int, str] = dict(zip(*_columns(movies, "title"), strict=True))
        self.paths: dict[int, str | None] = dict(zip(*_columns(enriched, "poster_path"), strict=True))

    def __call__(self, movie: int) -> tuple[Image.Image | None, str]:
        """Return what is drawn of the movie; KeyError for one that is not in the catalogue."""
        path = self.paths[movie]
        return poster(self.folder / path) if path else None, self.titles[movie]


def poster(path: Path) -> Image.Image | None:
    """Return the picture in a file; None where it is missing or cannot be used: no wall fails for one file."""
    try:
        return decode(path, target=SIZE)
    except ImageRefused:
        return None


def _columns(table: pa.Table, name: str) -> tuple[list, list]:
    return table["movieId"].to_pylist(), table[name].to_pylist()
