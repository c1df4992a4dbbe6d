"""Gives every movie a poster and a synopsis, or the reason why it has none.

``enrich`` asks providers in the order in which the reader names them (``ENRICHMENT="local,offline"``);
the first that has a poster gives the poster, the first that has a synopsis gives the synopsis, and
the source of each is recorded. A new source is a class with the four members of ``Provider`` and an
entry in ``PROVIDERS``.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from tqdm.auto import tqdm

from utils import images, parameters, stand_ins
from utils.artefacts import DataFolderError, Store
from utils.contract import ARTEFACTS
from utils.movie import Movie, movies_of
from utils.parameters import ParameterError
from utils.providers import Picture, Refused
from utils.providers.local import Local

__all__ = ["PROVIDERS", "Movie", "Offline", "Picture", "Provider", "Refused", "enrich", "open_providers", "poster_size"]

MODALITIES = ("poster", "synopsis")
_REFUSALS = (Refused, images.ImageRefused)


class Provider(Protocol):
    """A source of posters and synopses; it is asked from several threads at once."""

    name: str

    def describe(self) -> str:
        """Return one line for the reader: what this source is and holds, and what of it was set aside."""

    def synopsis(self, movie: Movie) -> str | None:
        """Return a text, or None where it has none; raise Refused for one that cannot be used."""

    def poster(self, movie: Movie, size: tuple[int, int]) -> Picture | None:
        """Return a picture not yet decoded, or None where it has none; raise Refused for one that cannot be used.

        ``size`` (width, height) in pixels is what the poster will be scaled to.
        """


class Offline:
    """The stand-ins: drawn and composed from title, year and genres, so it always has both."""

    name = "offline"

    def describe(self) -> str:
        """Return what the reader must know of these pictures and texts."""
        return "offline: STAND-INS, drawn and composed from title, year and genres; not real posters or synopses"

    def synopsis(self, movie: Movie) -> str:
        """Return the stand-in synopsis."""
        return stand_ins.synopsis(movie)

    def poster(self, movie: Movie, size: tuple[int, int]) -> Picture:
        """Return the stand-in poster."""
        return Picture(stand_ins.facts(movie), lambda: stand_ins.poster(movie, size))


def _open_local(folder: str | Path | None, movies: Sequence[Movie], store: Store) -> Provider:
    if folder is None:
        raise ParameterError(
            "ENRICHMENT_DIR=None, but ENRICHMENT names 'local'. Set ENRICHMENT_DIR to a folder that holds "
            "synopses.parquet or synopses.csv (columns movieId, synopsis) and/or posters/<movieId>.jpg, .png or .webp."
        )
    if (Path(folder) / "posters").resolve() == store.path("posters").resolve():
        raise ParameterError(
            f"ENRICHMENT_DIR={str(folder)!r}: its posters/ is where this notebook writes. "
            "Move your files to another folder."
        )
    return Local(Path(folder), [movie.movieId for movie in movies])


PROVIDERS: dict[str, Callable[[str | Path | None, Sequence[Movie], Store], Provider]] = {
    "offline": lambda folder, movies, store: Offline(),
    "local": _open_local,
}
"""Name to a function that opens the provider, given ENRICHMENT_DIR, the catalogue and the store."""


def open_providers(
    store: Store, enrichment: str, enrichment_dir: str | Path | None, movies: pa.Table
) -> list[Provider]:
    """Open the providers named in ``enrichment`` ("local" or "local,offline"), in that order.

    ``movies`` is ``movies_converted``. Raises ParameterError for unknown or repeated names, and where
    ``enrichment_dir`` holds nothing that fits this catalogue.
    """
    names = [name.strip() for name in enrichment.split(",")] if isinstance(enrichment, str) else [enrichment]
    for name in names:
        if name not in PROVIDERS:
            known = ", ".join(repr(known) for known in PROVIDERS)
            raise ParameterError(
                f"ENRICHMENT={enrichment!r}: {name!r} is not a known provider. Name one or more of {known}, "
                "separated by commas; the first that has a poster or synopsis wins."
            )
    if len(set(names)) != len(names):
        raise ParameterError(f"ENRICHMENT={enrichment!r} names a provider twice. Name each once.")
    catalogue = movies_of(movies)
    return [PROVIDERS[name](enrichment_dir, catalogue, store) for name in names]


def poster_size(value: object) -> tuple[int, int]:
    """Return POSTER_SIZE as (width, height) in pixels; raise ParameterError unless each is 16 to 2000."""
    sides = list(value) if isinstance(value, (list, tuple)) else []
    whole = all(isinstance(side, int) and not isinstance(side, bool) and 16 <= side <= 2000 for side in sides)
    if len(sides) != 2 or not whole:
        raise ParameterError(f"POSTER_SIZE={value!r} must be [width, height] in pixels, each 16 to 2000.")
    return sides[0], sides[1]


@dataclass
class _Found:
    """What enrichment came to for one movie: a row of ``enriched`` and its rows of the report."""

    row: dict[str, Any]
    report: list[dict[str, Any]] = field(default_factory=list)

    def note(
        self, modality: str, provider: str | None, outcome: str, detail: str | None = None, attempts: int = 1
    ) -> None:
        self.report.append(
            {
                "movieId": self.row["movieId"],
                "modality": modality,
                "provider": provider,
                "outcome": outcome,
                "detail": detail,
                "attempts": attempts,
            }
        )


def enrich(
    store: Store,
    movies: pa.Table,
    providers: Sequence[Provider],
    poster_size: tuple[int, int],
    max_movies: int | None = None,
    workers: int = 2,
) -> tuple[pa.Table, pa.Table]:
    """Return (enriched, enrichment_report) for every movie of ``movies_converted``; write the posters.

    Both tables are in ascending movieId and the same whatever ``workers`` is and whatever was there
    before. Posters go to ``posters/<movieId>.jpg`` in the data folder, ``poster_size`` (width, height)
    pixels each, every one atomically; one that is there already and was made from the same source is
    kept, so a run that was stopped goes on where it was. With ``max_movies`` only the first movies are
    enriched and the rest have outcome "skipped". Files in ``posters/`` that belong to no row are
    removed at the end. Raises DataFolderError when the disk is full or the folder is not writable.
    """
    parameters.whole("MAX_MOVIES", max_movies, least=0, none=True)
    parameters.whole("WORKERS", workers)
    folder = store.path("posters")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataFolderError(
            f"Cannot make the folder {folder} ({error.strerror}). Remove what is in its place."
        ) from error
    catalogue = movies_of(movies)
    chosen = catalogue[:max_movies]
    stop = threading.Event()

    def one(movie: Movie) -> _Found | None:
        return None if stop.is_set() else _enrich_one(movie, providers, folder, poster_size)

    found: list[_Found] = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            results = tqdm(pool.map(one, chosen), total=len(chosen), desc="Posters and synopses", unit="movie")
            found.extend(result for result in results if result is not None)
        except BaseException:
            # Ctrl-C or a full disk: the movies in flight finish, the queue is dropped.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    found.extend(_skipped(movie) for movie in catalogue[len(chosen) :])
    _remove_strangers(folder, {Path(each.row["poster_path"]).name for each in found if each.row["poster_path"]})
    report = [line for each in found for line in each.report]
    return _table("enriched", [each.row for each in found]), _table("enrichment_report", report)


def _skipped(movie: Movie) -> _Found:
    found = _Found(_empty_row(movie))
    for modality in MODALITIES:
        found.note(modality, None, "skipped", "beyond MAX_MOVIES", attempts=0)
    return found


def _enrich_one(movie: Movie, providers: Sequence[Provider], folder: Path, size: tuple[int, int]) -> _Found:
    found = _Found(_empty_row(movie))
    path = folder / f"{movie.movieId}.jpg"
    source = _first(found, "poster", providers, lambda provider: _save_poster(provider, movie, path, size))
    if source is not None:
        found.row |= {"poster_path": f"{folder.name}/{path.name}", "poster_source": source[0]}
    source = _first(found, "synopsis", providers, lambda provider: provider.synopsis(movie))
    if source is not None:
        found.row |= {"synopsis": source[1], "synopsis_source": source[0]}
    return found


def _first(
    found: _Found, modality: str, providers: Sequence[Provider], ask: Callable[[Provider], Any]
) -> tuple[str, Any] | None:
    """Return (provider, what it gave) of the first that has something; note what each one answered."""
    for provider in providers:
        try:
            answer = ask(provider)
        except _REFUSALS as refusal:
            found.note(modality, provider.name, "refused", str(refusal))
            continue
        if answer:
            found.note(modality, provider.name, "found")
            return provider.name, answer
        found.note(modality, provider.name, "missing")
    return None


def _save_poster(provider: Provider, movie: Movie, path: Path, size: tuple[int, int]) -> bool:
    picture = provider.poster(movie, size)
    if picture is None:
        return False
    origin = (
        f"multimodal-movielens {provider.name} {picture.fingerprint} {size[0]}x{size[1]} q{images.QUALITY}".encode()
    )
    if images.comment_of(path) != origin:
        images.save_jpeg(picture.image(), path, size, origin)
    return True


def _empty_row(movie: Movie) -> dict[str, Any]:
    return dict.fromkeys(ARTEFACTS["enriched"].columns or ()) | {"movieId": movie.movieId}


def _remove_strangers(folder: Path, own: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in own and (path.is_symlink() or path.is_file()):
            path.unlink()


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    columns = ARTEFACTS[name].columns
    assert columns is not None
    return pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items())))
