"""The provider "tmdb": posters and synopses from The Movie Database, with the reader's own key.

A movie is asked for by its TMDB id; where TMDB no longer knows that, by its IMDb id; and where there are no ids
(ml-100k), by title and year. Poster and overview come independently of each other, and an empty overview is asked for
once more in the movie's own language. Only what TMDB itself says is kept.

Interface: https://developer.themoviedb.org/reference (version 3). Terms: the reader's own key, attribution, nothing
kept for more than six months, and a separate agreement for what the terms do not cover.
"""

import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from utils.content import images
from utils.content.movie import Movie
from utils.content.providers.base import Missing, NotGiven, Online, Picture, Refused, Synopsis, body_of, clean
from utils.content.providers.tmdb_match import best_match, same_movie
from utils.fetching.answers import Client
from utils.fetching.connections import Site
from utils.fetching.http import base_url, json_object
from utils.handoff.parameters import ParameterError

API_URL = "https://api.themoviedb.org"
IMAGE_URL = "https://image.tmdb.org"
ATTRIBUTION = "This product uses the TMDB API but is not endorsed or certified by TMDB."
MOST_DAYS = 180
"""What TMDB answered is deleted after so many days: its terms allow six months."""
WIDTHS = (92, 154, 185, 342, 500, 780)
"""Widths of posters on the image host, in pixels; beside them there is "original"."""
_NO_SUCH = 34
"""TMDB's status_code for "The resource you requested could not be found"."""


@dataclass(frozen=True)
class _Record:
    """A movie as TMDB describes it: its fields, how it was found, and the requests that took."""

    facts: dict[str, Any]
    kind: str
    found_by: str
    attempts: int


class Tmdb(Online):
    """The Movie Database, asked with the reader's key."""

    name = "tmdb"
    most_days = MOST_DAYS

    def __init__(self, client: Client, api: Site, images_at: Site) -> None:
        super().__init__(client)
        self.workers = client.http.connections
        self._api, self._images = api, images_at

    def describe(self) -> str:
        """Return the attribution that TMDB's terms ask for, and what is kept of its answers."""
        return f"tmdb: {ATTRIBUTION} {self._kept()}, each kept for at most {MOST_DAYS} days"

    def synopsis(self, movie: Movie) -> Synopsis:
        """Return the overview in English, else in the movie's language."""
        record = self._record(movie)
        facts, detail, attempts = record.facts, record.found_by, record.attempts
        language = str(facts.get("original_language"))
        other = re.fullmatch(r"[a-z]{2}", language) and language not in ("en", "xx")
        if clean(facts.get("overview")) is None and record.kind in ("movie", "tv") and other:
            detail += f", language {language}"
            path = f"{record.kind}/{facts['id']}"
            facts, attempts = self._ask(path, {"language": language}, attempts, number=facts["id"])
        text = clean(facts.get("overview"))
        if text is None:
            raise Missing("no overview", attempts)
        return Synopsis(text, detail, attempts)

    def poster(self, movie: Movie, size: tuple[int, int]) -> Picture:
        """Return the main poster in the smallest size of TMDB's that is at least ``size``."""
        record = self._record(movie)
        path = record.facts.get("poster_path")
        if not path:
            raise Missing("no poster", record.attempts)
        if not isinstance(path, str) or not re.fullmatch(r"/[A-Za-z0-9_-]{1,100}\.(jpg|jpeg|png|webp)", path):
            raise Refused(f"poster_path is no file name ({str(path)[:40]!r})", record.attempts)
        file = f"{image_width(size)}{path}"
        fetch = partial(self._client.http.get, self._images, f"t/p/{file}", accept=_is_image, most=images.MAX_BYTES)
        answer = self._client.ask(f"image/{file}", fetch)
        attempts = record.attempts + answer.attempts
        body = body_of(answer, attempts)
        digest = hashlib.sha256(body).hexdigest()
        return Picture(digest, lambda: images.decode(body, target=size), f"{record.found_by}, {file}", attempts)

    def _record(self, movie: Movie) -> _Record:
        """Return what TMDB says of ``movie``; raise NotGiven where it is not there."""
        if movie.tmdbId is None and movie.imdb is None:
            return self._searched(movie)
        gone: NotGiven | None = None
        if movie.tmdbId is not None:
            try:
                return self._by_id(movie, movie.tmdbId)
            except (Missing, Refused) as reason:
                gone = reason
        if movie.imdb is not None:
            try:
                return self._found(movie, gone.attempts if gone else 0)
            except Missing as missing:
                # That a record exists but cannot be used says more than that a second way found nothing.
                if not isinstance(gone, Refused):
                    raise
                gone.attempts = missing.attempts
        assert gone is not None
        raise gone

    def _by_id(self, movie: Movie, number: int) -> _Record:
        facts, attempts = self._ask(f"movie/{number}", {}, 0, number=number)
        if not same_movie(movie, facts):
            told = (facts.get("imdb_id"), repr(str(facts.get("title"))[:60]), str(facts.get("release_date") or "")[:4])
            other = " ".join(str(fact) for fact in told if fact)
            raise Refused(f"TMDB's {number} is another movie ({other})", attempts)
        return _Record(facts, "movie", f"movie/{number}", attempts)

    def _found(self, movie: Movie, attempts: int) -> _Record:
        imdb = movie.imdb
        lists, attempts = self._ask(
            f"find/{imdb}", {"external_source": "imdb_id"}, attempts, own=("movie_results", list)
        )
        for kind in ("movie", "tv", "tv_episode"):
            facts = best_match(movie, lists.get(f"{kind}_results"), title_needed=False)
            if facts is not None:
                return _Record(facts, kind, f"find/{imdb}", attempts)
        raise Missing(f"TMDB knows neither the TMDB id nor {imdb}" if movie.tmdbId else f"TMDB has no {imdb}", attempts)

    def _searched(self, movie: Movie) -> _Record:
        """Search with the year, then without: TMDB may have the movie under the year before or after."""
        attempts = 0
        for year in ({"year": str(movie.year)}, {}) if movie.year is not None else ({},):
            params = {"query": movie.title.partition(" (")[0]} | year
            found, attempts = self._ask("search/movie", params, attempts, own=("results", list))
            facts = best_match(movie, found.get("results"), title_needed=True)
            if facts is not None:
                return _Record(facts, "movie", f"search, movie/{facts['id']}", attempts)
        raise Missing("no ids, and no movie of that title and year", attempts)

    def _ask(
        self,
        path: str,
        params: Mapping[str, str],
        earlier: int,
        own: tuple[str, type] = ("id", int),
        number: int | None = None,
    ) -> tuple[dict[str, Any], int]:
        """Return what the API says, and the requests it took together with ``earlier`` ones.

        ``own`` is a field that this answer has, and its type; ``number`` the id that it must have. Raises Missing,
        Failed, or Refused for another id.
        """
        key = path + "".join(f"&{name}={value}" for name, value in params.items())
        fetch = partial(self._client.http.get, self._api, f"3/{path}", params, accept=_tmdb_says(*own))
        answer = self._client.ask(key, fetch)
        facts = json_object(body_of(answer, earlier + answer.attempts))
        if number is not None and facts.get("id") != number:
            other = str(facts.get("id"))[:20]
            raise Refused(f"asked for {number}, TMDB answered with {other}", earlier + answer.attempts)
        return facts, earlier + answer.attempts


def _tmdb_says(name: str, kind: type) -> Callable[[int, bytes], str | None]:
    """Return a check that an answer is TMDB's own: it has that field, or says in TMDB's way that there is nothing."""

    def accept(status: int, body: bytes) -> str | None:
        facts = json_object(body)
        if status == 401:
            raise ParameterError(
                "TMDB refuses the key (401). Set TMDB_API_KEY (32 hexadecimal digits) or TMDB_TOKEN (the long read "
                "access token) to a valid one from your account's API page, then run this again: it goes on where it "
                "was."
            )
        if (status, facts.get("status_code")) == (404, _NO_SUCH):
            return f"TMDB does not have it (404/{_NO_SUCH})"
        if status != 200 or type(facts.get(name)) is not kind:
            raise ValueError(f"the host answered {status}, but not as TMDB would")
        return None

    return accept


def _is_image(status: int, body: bytes) -> str | None:
    if status in (404, 410):
        return "its picture is gone (404)"
    images.kind_of(body)
    return None


def image_width(size: tuple[int, int]) -> str:
    """Return the name of TMDB's smallest poster size that covers ``size`` (width, height); posters are 2 by 3."""
    needed = max(size[0], math.ceil(size[1] * 2 / 3))
    return next((f"w{width}" for width in WIDTHS if width >= needed), "original")


def open_tmdb(client: Client, *, accept_terms: bool, environment: Mapping[str, str] | None = None) -> Tmdb:
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
    secrets = tuple(secret for secret in (token, key) if secret)
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    query = "" if token else urlencode({"api_key": key})
    api = Site(base_url("TMDB_API_URL", environment.get("TMDB_API_URL") or API_URL), headers, query, secrets)
    images_at = Site(base_url("TMDB_IMAGE_URL", environment.get("TMDB_IMAGE_URL") or IMAGE_URL), secrets=secrets)
    return Tmdb(client, api, images_at)
