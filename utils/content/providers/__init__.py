"""Opens the providers that a reader names in ENRICHMENT.

A new source is a module of its own with a class like ``base.Provider`` and an entry in ``PROVIDERS``. One that asks
hosts extends ``base.Online`` and takes ``opening.client(NAME)``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from utils.content.movie import Movie, movies_of
from utils.content.providers.base import Provider
from utils.content.providers.local import open_local
from utils.content.providers.offline import Offline
from utils.content.providers.plots import Plots
from utils.content.providers.tmdb import open_tmdb
from utils.content.providers.wikipedia import open_wikipedia
from utils.fetching.answers import FILE, Answers, Client, fresh_since
from utils.fetching.http import Http
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store


@dataclass
class Opening:
    """What providers are opened with."""

    folder: str | Path | None
    movies: Sequence[Movie]
    store: Store
    requests_per_second: float
    accept_tmdb_terms: bool
    refresh_before: float
    wikipedia_contact: str | None

    @cached_property
    def _http(self) -> Http:
        # Enough connections for answers that take the better part of a second.
        return Http(self.requests_per_second, connections=max(2, min(32, round(self.requests_per_second))))

    @cached_property
    def _answers(self) -> Answers:
        return Answers(self.store.folder / FILE)

    def client(self, provider: str) -> Client:
        """Return what a provider asks hosts with; all of them share one rate and one file of answers."""
        return Client(provider, self._http, self._answers, self.refresh_before)


PROVIDERS: dict[str, Callable[[Opening], Provider]] = {
    "plots": lambda opening: Plots(opening.movies),
    "offline": lambda opening: Offline(),
    "local": lambda opening: open_local(opening.folder, opening.movies, opening.store.path("posters")),
    "tmdb": lambda opening: open_tmdb(opening.client("tmdb"), accept_terms=opening.accept_tmdb_terms),
    "wikipedia": lambda opening: open_wikipedia(opening.client("wikipedia"), contact=opening.wikipedia_contact),
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

    ``movies`` is ``movies_converted``. The others are for hosts: all requests of a second together, whether TMDB's
    terms are accepted, after how many days an answer is asked for anew (None: never, but TMDB's are deleted after six
    months), and whom Wikipedia may write to (None: the environment's WIKIPEDIA_CONTACT). Raises ParameterError for
    unknown or repeated names, where ``enrichment_dir`` holds nothing that fits this catalogue, and where a key, an
    acceptance or a contact is lacking; DataFolderError for a file of answers that cannot be used. Nothing is asked of a
    host yet.
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
    before = fresh_since(requests_per_second, refresh_days)
    asked = movies_of(movies)
    opening = Opening(enrichment_dir, asked, store, requests_per_second, accept_tmdb_terms, before, wikipedia_contact)
    return [PROVIDERS[name](opening) for name in names]
