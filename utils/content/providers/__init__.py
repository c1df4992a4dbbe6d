"""Opens the providers that a reader names in ENRICHMENT."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from utils.content.movie import Movie, movies_of
from utils.content.providers.base import Provider
from utils.content.providers.client import refresh_time
from utils.content.providers.local import Local
from utils.content.providers.offline import Offline
from utils.content.providers.tmdb import open_tmdb
from utils.content.providers.wikipedia import open_wikipedia
from utils.fetching.answer_cache import FILE, Answers
from utils.fetching.fetcher import Fetcher
from utils.handoff import parameters
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store


@dataclass
class _Opening:
    """What providers are opened with; those that ask hosts share one rate and one file of answers."""

    folder: str | Path | None
    movies: Sequence[Movie]
    store: Store
    requests_per_second: float
    accept_tmdb_terms: bool
    refresh_before: float
    wikipedia_contact: str | None

    @cached_property
    def fetcher(self) -> Fetcher:
        # Enough for answers that take the better part of a second.
        return Fetcher(self.requests_per_second, connections=max(2, min(32, round(self.requests_per_second))))

    @cached_property
    def answers(self) -> Answers:
        return Answers(self.store.folder / FILE)


def _open_local(opening: _Opening) -> Provider:
    folder = opening.folder
    if folder is None:
        raise ParameterError(
            "ENRICHMENT_DIR=None, but ENRICHMENT names 'local'. Set ENRICHMENT_DIR to a folder that holds "
            "synopses.parquet or synopses.csv (columns movieId, synopsis) and/or posters/<movieId>.jpg, .png or .webp."
        )
    if (Path(folder) / "posters").resolve() == opening.store.path("posters").resolve():
        raise ParameterError(
            f"ENRICHMENT_DIR={str(folder)!r}: its posters/ is where this notebook writes. "
            "Move your files to another folder."
        )
    return Local(Path(folder), [movie.movieId for movie in opening.movies])


PROVIDERS: dict[str, Callable[[_Opening], Provider]] = {
    "offline": lambda opening: Offline(),
    "local": _open_local,
    "tmdb": lambda opening: open_tmdb(
        opening.fetcher,
        opening.answers,
        accept_terms=opening.accept_tmdb_terms,
        refresh_before=opening.refresh_before,
    ),
    "wikipedia": lambda opening: open_wikipedia(
        opening.fetcher, opening.answers, contact=opening.wikipedia_contact, refresh_before=opening.refresh_before
    ),
}
"""Name to a function that opens the provider."""


def open_providers(
    store: Store,
    enrichment: str,
    enrichment_dir: str | Path | None,
    movies: pa.Table,
    *,
    requests_per_second: float = 40,
    accept_tmdb_terms: bool = False,
    refresh_days: int | None = None,
    wikipedia_contact: str | None = None,
) -> list[Provider]:
    """Open the providers named in ``enrichment`` ("local" or "local,tmdb,wikipedia,offline"), in that order.

    ``movies`` is ``movies_converted``. The others are for hosts: all requests of a second together, whether
    TMDB's terms are accepted, after how many days an answer is asked for anew (None: never, but TMDB's are
    deleted after six months), and whom Wikipedia may write to (None: the environment's WIKIPEDIA_CONTACT).
    Raises ParameterError for unknown or repeated names, where ``enrichment_dir`` holds nothing that fits
    this catalogue, and where a key, an acceptance or a contact is lacking; DataFolderError for a file of
    answers that cannot be used. Nothing is asked of a host yet.
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
    _check_rate(requests_per_second)
    parameters.whole("REFRESH_DAYS", refresh_days, least=0, none=True)
    opening = _Opening(
        enrichment_dir,
        movies_of(movies),
        store,
        requests_per_second,
        accept_tmdb_terms,
        refresh_time(refresh_days),
        wikipedia_contact,
    )
    return [PROVIDERS[name](opening) for name in names]


def _check_rate(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.1 <= value <= 1000:
        raise ParameterError(f"REQUESTS_PER_SECOND={value!r} must be a number of at least 0.1 and at most 1000.")
