"""The provider "tmdb": posters and synopses from The Movie Database, with the reader's own key.

A movie is asked for by its TMDB id; where TMDB no longer knows that, by its IMDb id; and where there
are no ids (ml-100k), by title and year. Poster and overview come independently of each other, and an
empty overview is asked for once more in the movie's own language.

Interface: https://developer.themoviedb.org/reference (version 3). Terms: the reader's own key, attribution,
nothing kept for more than six months, and a separate agreement for what the terms do not cover.
"""

import hashlib
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from utils.content import images
from utils.content.movie import Movie
from utils.content.providers.base import Missing, NotGiven, Picture, Provider, Refused, Synopsis, clean
from utils.content.providers.client import DAY, Client, base_url, imdb_of, json_object, none_to_give
from utils.content.providers.tmdb_match import best_match, same_movie
from utils.content.providers.tmdb_replies import check_id, image_width, is_language, text_of, why_nothing
from utils.fetching.answer_cache import Answer, Answers
from utils.fetching.fetcher import Fetcher, Site
from utils.handoff.parameters import ParameterError

API_URL = "https://api.themoviedb.org"
IMAGE_URL = "https://image.tmdb.org"
ATTRIBUTION = "This product uses the TMDB API but is not endorsed or certified by TMDB."
MOST_DAYS = 180
"""What TMDB answered is deleted after so many days: its terms allow six months."""


@dataclass(frozen=True)
class _Record:
    """A movie as TMDB describes it: its fields, how it was found, and the requests that took."""

    facts: dict[str, Any]
    kind: str
    found_by: str
    attempts: int


class Tmdb(Provider):
    """The Movie Database, asked with the reader's key."""

    name = "tmdb"

    def __init__(
        self, fetcher: Fetcher, answers: Answers, api: Site, images_at: Site, refresh_before: float = 0
    ) -> None:
        """Answers older than MOST_DAYS are deleted here, before anything is used."""
        self.workers = fetcher.connections
        self._expired = answers.purge(self.name, time.time() - MOST_DAYS * DAY)
        self._client = Client(self.name, fetcher, answers, refresh_before)
        self._api, self._images = api, images_at

    def describe(self) -> str:
        """Return the attribution that TMDB's terms ask for, and what is kept of its answers."""
        counts = self._client.answers.counts(self.name)
        expired = f", {self._expired:,} that were older deleted" if self._expired else ""
        return (
            f"tmdb: {ATTRIBUTION} {sum(counts.values()):,} earlier answers in {self._client.answers.path.name}, "
            f"each kept for at most {MOST_DAYS} days{expired}"
        )

    def prepare(self, lacking: Mapping[str, Sequence[Movie]]) -> None:
        """Give hosts that failed another chance."""
        self._client.resume()

    def stop(self) -> None:
        """End the requests under way."""
        self._client.fetcher.stop()

    def synopsis(self, movie: Movie) -> Synopsis:
        """Return the overview in English, else in the movie's language, else its tagline."""
        record = self._record(movie)
        text, detail, attempts = clean(text_of(record.facts, "overview")), record.found_by, record.attempts
        facts, language = record.facts, record.facts.get("original_language")
        if text is None and record.kind in ("movie", "tv") and is_language(language):
            path = f"{record.kind}/{record.facts['id']}"
            answer = self._ask(path, {"language": language}, record.facts["id"])
            attempts += answer.attempts
            if answer.outcome == "failed":
                raise none_to_give(answer, attempts)
            if answer.outcome == "found":
                facts = json_object(answer.body or b"")
                text = clean(text_of(facts, "overview"))
                detail += f", language {language}" if text is not None else ""
        if text is None:
            text, detail = (
                clean(text_of(record.facts, "tagline") or text_of(facts, "tagline")),
                f"{detail}, tagline only",
            )
        if text is None:
            raise Missing("no overview and no tagline", attempts)
        return Synopsis(text, detail, attempts)

    def poster(self, movie: Movie, size: tuple[int, int]) -> Picture:
        """Return the main poster in the smallest size of TMDB's that is at least ``size``."""
        record = self._record(movie)
        path = record.facts.get("poster_path")
        if not path:
            raise Missing("no poster", record.attempts)
        if not isinstance(path, str) or not re.fullmatch(r"/[A-Za-z0-9_-]{1,100}\.(jpg|jpeg|png|webp)", path):
            raise Refused(f"poster_path is no file name ({str(path)[:40]!r})", record.attempts)
        width = image_width(size)
        answer = self._client.ask(
            f"image/{width}{path}",
            self._images,
            f"t/p/{width}{path}",
            check=images.decode,
            believe=lambda reply: "its picture is gone (404)" if reply.status in (404, 410) else None,
            most=images.MAX_BYTES,
        )
        attempts = record.attempts + answer.attempts
        if answer.outcome != "found" or answer.body is None:
            raise none_to_give(answer, attempts)
        body = answer.body
        digest = hashlib.sha256(body).hexdigest()
        return Picture(digest, lambda: images.decode(body, target=size), f"{record.found_by}, {width}{path}", attempts)

    def _record(self, movie: Movie) -> _Record:
        """Return what TMDB says of ``movie``; raise NotGiven where it is not there."""
        if movie.tmdbId is None and imdb_of(movie) is None:
            return self._searched(movie)
        reasons: list[NotGiven] = []
        attempts = 0
        if movie.tmdbId is not None:
            answer = self._ask(f"movie/{movie.tmdbId}", {}, movie.tmdbId)
            attempts = answer.attempts
            if answer.outcome == "found":
                facts = json_object(answer.body or b"")
                if same_movie(movie, facts):
                    return _Record(facts, "movie", f"movie/{movie.tmdbId}", attempts)
                other = f"{facts.get('imdb_id')} {str(facts.get('title'))[:60]!r}"
                reasons.append(Refused(f"TMDB's {movie.tmdbId} is another movie ({other})", attempts))
            elif answer.outcome == "failed":
                raise none_to_give(answer, attempts)
            else:
                reasons.append(none_to_give(answer, attempts))
        if imdb_of(movie) is not None:
            try:
                return self._found(movie, attempts)
            except Missing as missing:
                # That a record exists but cannot be used says more than that a second way found nothing.
                if not reasons or isinstance(reasons[0], Missing):
                    raise
                reasons[0].attempts = missing.attempts
        raise reasons[0]

    def _found(self, movie: Movie, attempts: int) -> _Record:
        imdb = imdb_of(movie)
        answer = self._ask(f"find/{imdb}", {"external_source": "imdb_id"})
        attempts += answer.attempts
        if answer.outcome != "found":
            raise none_to_give(answer, attempts)
        lists = json_object(answer.body or b"")
        for kind in ("movie", "tv", "tv_episode"):
            facts = best_match(movie, lists.get(f"{kind}_results"), title_needed=False)
            if facts is not None:
                return _Record(facts, kind, f"find/{imdb}", attempts)
        raise Missing(f"TMDB knows neither the TMDB id nor {imdb}" if movie.tmdbId else f"TMDB has no {imdb}", attempts)

    def _searched(self, movie: Movie) -> _Record:
        """Search with the year, then without: TMDB may have the movie under the year before or after."""
        attempts = 0
        for year in ({"year": str(movie.year)}, {}) if movie.year is not None else ({},):
            answer = self._ask("search/movie", {"query": movie.title.partition(" (")[0]} | year)
            attempts += answer.attempts
            if answer.outcome != "found":
                raise none_to_give(answer, attempts)
            facts = best_match(movie, json_object(answer.body or b"").get("results"), title_needed=True)
            if facts is not None:
                return _Record(facts, "movie", f"search, movie/{facts['id']}", attempts)
        raise Missing("no ids, and no movie of that title and year", attempts)

    def _ask(self, path: str, params: Mapping[str, str], number: int | None = None) -> Answer:
        """Ask the API; ``number`` is the id that the answer must have."""
        key = path + "".join(f"&{name}={value}" for name, value in params.items())
        return self._client.ask(
            key, self._api, f"3/{path}", params, check=lambda body: check_id(body, number), believe=why_nothing
        )


def open_tmdb(
    fetcher: Fetcher,
    answers: Answers,
    *,
    accept_terms: bool,
    refresh_before: float = 0.0,
    environment: Mapping[str, str] | None = None,
) -> Tmdb:
    """Open TMDB with the key in TMDB_TOKEN or TMDB_API_KEY; TMDB_API_URL and TMDB_IMAGE_URL may name other hosts.

    Raises ParameterError where the terms are not accepted, and for a key or address that cannot be used.
    """
    environment = os.environ if environment is None else environment
    if accept_terms is not True:
        raise ParameterError(
            f"ACCEPT_TMDB_TERMS={accept_terms!r}, but ENRICHMENT names 'tmdb'. Read "
            "https://www.themoviedb.org/api-terms-of-use: they ask for attribution, allow no copy older than six "
            "months, and may ask for a written agreement for machine learning or commercial use. "
            "Set ACCEPT_TMDB_TERMS=True if you accept them."
        )
    token, key = environment.get("TMDB_TOKEN", "").strip(), environment.get("TMDB_API_KEY", "").strip()
    if not token and not key:
        raise ParameterError(
            "ENRICHMENT names 'tmdb', but neither TMDB_API_KEY nor TMDB_TOKEN is set. Put the key of your TMDB account "
            "in one of these environment variables; it is read from nowhere else and stored nowhere."
        )
    for name, secret in (("TMDB_TOKEN", token), ("TMDB_API_KEY", key)):
        if secret and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,2000}", secret):
            raise ParameterError(f"{name} does not look like a key: it has blanks, other signs, or is too short.")
    api = Site(
        base_url("TMDB_API_URL", environment.get("TMDB_API_URL") or API_URL),
        headers={"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {}),
        secret_query=("api_key", key) if not token else None,
        secrets=tuple(secret for secret in (token, key) if secret),
    )
    images_at = Site(base_url("TMDB_IMAGE_URL", environment.get("TMDB_IMAGE_URL") or IMAGE_URL), secrets=api.secrets)
    return Tmdb(fetcher, answers, api, images_at, refresh_before)
