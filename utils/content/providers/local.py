"""The provider "local": posters and synopses from the reader's own folder, ENRICHMENT_DIR.

The folder holds ``synopses.parquet`` or ``synopses.csv`` (columns movieId, synopsis; or one file whose name ends so)
and/or ``posters/<movieId>.jpg``, .jpeg, .png or .webp. Nothing in it is trusted: sizes, links, columns and pictures are
checked.
"""

import hashlib
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from utils.content import images
from utils.content.movie import Movie
from utils.content.providers.base import Picture, Provider, Refused, Synopsis, clean
from utils.fetching.archives import lies_in
from utils.handoff.own_data import movie_id
from utils.handoff.parameters import ParameterError, expanded
from utils.handoff.store import unpacked_bytes
from utils.ratings.columns import DataError, which
from utils.ratings.tables import EXTRA, ROW, open_text

POSTER_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""In order of preference where a movie has several files."""
MOST_BYTES = 2 * 2**30
_COLUMNS = ("movieId", "synopsis")
_SCHEMA = pa.schema([(name, pa.string()) for name in _COLUMNS])
Id = TypeVar("Id", bound=int | str)
T = TypeVar("T")


class Local(Provider):
    """A folder of the reader's own, opened and checked against the catalogue's ids."""

    name = "local"

    def __init__(self, folder: Path, movie_ids: Collection[int], originals: Mapping[str, int]) -> None:
        """Read the synopses and list the posters, by movieId or by original id.

        Raises ParameterError where nothing can be used.
        """
        self.folder, self._originals = folder, originals
        known = set(movie_ids)
        if not folder.is_dir():
            raise ParameterError(
                f"{self._label} is not a folder. Name the folder that holds your synopses and posters."
            )
        self._notes: list[str] = []
        source = self._synopsis_file()
        posters = folder / "posters"
        files, strays = _poster_files(posters, originals) if posters.is_dir() else ({}, [])
        if source is None and not files:
            raise ParameterError(
                f"{self._label} holds neither synopses.parquet or synopses.csv (columns movieId, synopsis) "
                f"nor posters/<movieId>.jpg, .jpeg, .png or .webp{_example(strays)}. Add at least one of them."
            )
        self._synopses = self._read_synopses(source, known) if source is not None else {}
        self._posters = of_catalogue(files, known, f"{posters}/<movieId>.jpg, .jpeg, .png or .webp")
        if files:
            strangers = len(files) - len(self._posters)
            self._notes.append(f"{len(self._posters):,} posters ({strangers:,} of unknown movies)")
        if strays:
            self._notes.append(f"{len(strays):,} passed over in posters/{_example(strays)}")

    def describe(self) -> str:
        """Return what the folder holds and what of it was set aside."""
        return f"local: {'; '.join(self._notes)} in {self.folder.name}/"

    def synopsis(self, movie: Movie) -> Synopsis | None:
        """Return the movie's text, cleaned; None where the file has none or a blank one."""
        text = self._synopses.get(movie.movieId)
        return None if text is None else Synopsis(text)

    def poster(self, movie: Movie, size: tuple[int, int]) -> Picture | None:
        """Return the movie's picture file. Raises Refused for a link that leaves the folder."""
        path = self._posters.get(movie.movieId)
        if path is None:
            return None
        if not lies_in(path, self.folder):
            raise Refused(f"{path.name} is a link that leaves {self.folder.name}/")
        data = images.read(path)
        return Picture(hashlib.sha256(data).hexdigest(), lambda: images.decode(data, target=size))

    @property
    def _label(self) -> str:
        return f"ENRICHMENT_DIR={str(self.folder)!r}"

    def _synopsis_file(self) -> Path | None:
        """Return synopses.parquet or .csv, else the one file whose name ends so, else None."""
        endings = ("synopses.parquet", "synopses.csv")
        found = sorted(p for p in self.folder.iterdir() if p.name.endswith(endings) and p.is_file())
        exact = [path for name in endings for path in found if path.name == name]
        if len(found) > 1 and not exact:
            names = ", ".join(path.name for path in found)
            raise ParameterError(
                f"{self._label} holds several synopsis files ({names}). Name the one to use synopses.parquet or .csv."
            )
        return next(iter(exact + found), None)

    def _read_synopses(self, path: Path, known: set[int]) -> dict[int, str]:
        if not lies_in(path, self.folder):
            raise ParameterError(f"{path} is a link that leaves ENRICHMENT_DIR. Put the file itself there.")
        table = read_synopses(path)
        texts: dict[int | str, str | None] = {}
        for name, text in zip(table["movieId"].to_pylist(), table["synopsis"].to_pylist(), strict=True):
            if name is not None:
                number = movie_id(name.strip(), self._originals)
                texts.setdefault(name if number is None else number, clean(text))
        mine = of_catalogue(texts, known, str(path))
        synopses = {number: text for number, text in mine.items() if text is not None}
        self._notes.append(
            f"{len(synopses):,} synopses from {path.name} "
            f"({table.num_rows - len(texts):,} rows of repeated or null movieId, "
            f"{len(texts) - len(mine):,} of unknown movies, {len(mine) - len(synopses):,} blank)"
        )
        return synopses


def open_local(folder: str | Path | None, movies: Sequence[Movie], output: Path) -> Local:
    """Open ENRICHMENT_DIR; ``output`` is the folder that posters are written to.

    Raises ParameterError for a folder that is missing, useless, or the one that is written to.
    """
    if folder is None:
        raise ParameterError(
            "ENRICHMENT_DIR=None, but ENRICHMENT names 'local'. Set ENRICHMENT_DIR to a folder that holds "
            "synopses.parquet or synopses.csv (columns movieId, synopsis) and/or posters/<movieId>.jpg, .png or .webp."
        )
    folder = expanded("ENRICHMENT_DIR", folder)
    if (folder / "posters").resolve() == output.resolve():
        raise ParameterError(
            f"ENRICHMENT_DIR={str(folder)!r}: its posters/ is where this notebook writes. "
            "Move your files to another folder."
        )
    originals = {movie.originalId: movie.movieId for movie in movies if movie.originalId is not None}
    return Local(folder, [movie.movieId for movie in movies], originals)


def read_synopses(path: Path) -> pa.Table:
    """Return columns movieId (as text) and synopsis of a parquet file, or of a csv in any encoding.

    Raises ParameterError naming the file for what cannot be read so.
    """
    try:
        if path.suffix == ".parquet":
            file = pq.ParquetFile(path)
            _check(path, file.schema_arrow.names, unpacked_bytes(file))
            return file.read(columns=list(_COLUMNS)).select(list(_COLUMNS)).cast(_SCHEMA)
        with tempfile.TemporaryDirectory() as scratch:
            table = open_text(path, Path(scratch)).settled()
            chosen = which(path, list(table.columns), tuple(_COLUMNS), (), {})
            _check(path, list(_COLUMNS), table.path.stat().st_size)
            frame = table.text().collect()
        if frame[EXTRA].any():
            line = frame.filter(EXTRA)[ROW][0]
            raise ParameterError(f"{path}, line {line}: more than {len(table.columns)} fields. Mend this line.")
        return frame.select(pl.col(chosen[name]).alias(name) for name in _COLUMNS).to_arrow().cast(_SCHEMA)
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, DataError) as error:
        raise ParameterError(
            f"{path} cannot be read as {path.suffix[1:]} with movieId and synopsis (texts): {error}"
        ) from error


def _check(path: Path, names: list[str], size: int) -> None:
    missing = [column for column in _COLUMNS if column not in names]
    if missing:
        raise ParameterError(f"{path} has no column {missing[0]!r}, only {names}. It needs movieId and synopsis.")
    if size > MOST_BYTES:
        raise ParameterError(
            f"{path} unpacks to {size:,} bytes, more than {MOST_BYTES:,}. Split it or shorten the texts."
        )


def _poster_files(posters: Path, originals: Mapping[str, int]) -> tuple[dict[int, Path], list[str]]:
    """Return the posters by movieId, and what was passed over, each with the reason.

    Of several files for one movie the kind that comes first in POSTER_SUFFIXES is taken.
    """
    files: dict[int, Path] = {}
    strays = []
    order = {suffix: place for place, suffix in enumerate(POSTER_SUFFIXES)}
    for path in sorted(
        posters.iterdir(), key=lambda path: (order.get(path.suffix.lower(), 0), len(path.name), path.name)
    ):
        number = movie_id(path.stem, originals)
        if path.suffix.lower() not in order or path.is_dir():
            strays.append(f"{path.name}: {'a folder' if path.is_dir() else 'no .jpg, .jpeg, .png or .webp'}")
        elif number is None:
            strays.append(f"{path.name}: its name is no movieId")
        elif files.setdefault(number, path) != path:
            strays.append(f"{path.name}: {files[number].name} is of the same movie")
    return files, strays


def _example(strays: Sequence[str]) -> str:
    return f" (such as {strays[0]})" if strays else ""


def of_catalogue(found: Mapping[Id, T], known: set[int], where: str) -> dict[int, T]:
    """Return what was ``found``, by movieId, of ``known`` movies. Raises ParameterError where that is nothing."""
    mine: dict[int, T] = {}
    for number, value in found.items():
        if isinstance(number, int) and number in known:
            mine[number] = value
    if found and not mine:
        raise ParameterError(
            f"{where}: none of its {len(found):,} movieIds is in this catalogue of {len(known):,} movies (first: "
            f"{next(iter(found))}). Are they of another DATASET? ml-100k numbers its movies differently from others."
        )
    return mine
