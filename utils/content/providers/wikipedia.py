"""The provider "wikipedia": the lead paragraphs of a movie's English article, found through Wikidata.

Wikidata knows the IMDb id (property P345) and the TMDB id (P4947) of a film and the article about it. Both
hosts are asked in batches, one request at a time, and told whom to write to when something goes wrong,
as their rules ask for (https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy). Texts are under
CC BY-SA 4.0; licence and article are recorded with each of them.
"""

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tqdm.auto import tqdm

from utils.content.movie import Movie
from utils.content.providers.base import Missing, Provider, Synopsis, clean
from utils.content.providers.client import Client, base_url, imdb_of, json_object, none_to_give
from utils.content.providers.wikipedia_replies import ARTICLE, bindings, names, pages, titles
from utils.fetching.answer_cache import Answers
from utils.fetching.fetcher import Fetcher, Site, Unreachable, Unusable
from utils.handoff.parameters import ParameterError

WIKIDATA_URL = "https://query.wikidata.org"
WIKIPEDIA_URL = "https://en.wikipedia.org"
LICENCE = "CC BY-SA 4.0"
MOVIES_A_QUERY = 100
_PLAIN = "/:(),!'"
"""Signs that Wikipedia leaves as they are in the addresses of articles."""
TITLES_A_REQUEST = 20
"""The most for which TextExtracts gives the lead of each."""
_QUERY = """
SELECT ?imdb ?tmdb ?item ?article WHERE {{
  {{ VALUES ?imdb {{ {imdb} }} ?item wdt:P345 ?imdb . }}
  UNION {{ VALUES ?tmdb {{ {tmdb} }} ?item wdt:P4947 ?tmdb . }}
  ?article schema:about ?item ; schema:isPartOf <https://en.wikipedia.org/> .
}}
"""


class Wikipedia(Provider):
    """Texts from Wikipedia; no posters, because few of them are free."""

    name = "wikipedia"

    def __init__(
        self, fetcher: Fetcher, answers: Answers, wikidata: Site, wikipedia: Site, refresh_before: float = 0.0
    ) -> None:
        self._client = Client(self.name, fetcher, answers, refresh_before)
        self._wikidata, self._wikipedia = wikidata, wikipedia
        self._one_at_a_time = threading.Lock()

    def describe(self) -> str:
        """Return the licence, and what is there already."""
        counts = self._client.answers.counts(self.name)
        return (
            f"wikipedia: texts under {LICENCE}, article named in the report; posters are not asked for. "
            f"{sum(counts.values()):,} earlier answers in {self._client.answers.path.name}"
        )

    def prepare(self, lacking: Mapping[str, Sequence[Movie]]) -> None:
        """Fetch articles and texts of all movies that lack a synopsis, in batches."""
        self._client.resume()
        with self._one_at_a_time:
            self._gather(lacking.get("synopsis", ()))

    def stop(self) -> None:
        """End the request under way."""
        self._client.fetcher.stop()

    def poster(self, movie: Movie, size: tuple[int, int]) -> None:
        """Raise Missing: nothing is asked."""
        raise Missing("not asked for: few posters are free", 0)

    def synopsis(self, movie: Movie) -> Synopsis:
        """Return the lead of the movie's article with its licence and address."""
        key = _key(movie)
        if key is None:
            raise Missing("no IMDb or TMDB id", 0)
        if self._client.known(key) is None:
            with self._one_at_a_time:
                self._gather([movie])
        item = self._client.known(key)
        assert item is not None
        if item.outcome != "found":
            raise none_to_give(item, item.attempts)
        title = json_object(item.body or b"")["title"]
        answer = self._client.known(f"extract/{title}")
        if answer is None:
            with self._one_at_a_time:
                self._gather_texts([title])
            answer = self._client.known(f"extract/{title}")
            assert answer is not None
        attempts = item.attempts + answer.attempts
        if answer.outcome != "found" or answer.body is None:
            raise none_to_give(answer, attempts)
        return Synopsis(
            answer.body.decode(), f"{LICENCE}, {ARTICLE}{quote(title.replace(' ', '_'), safe=_PLAIN)}", attempts
        )

    def _gather(self, movies: Sequence[Movie]) -> None:
        asked = {key: movie for movie in movies if (key := _key(movie)) is not None}
        unknown = [movie for key, movie in asked.items() if self._client.known(key) is None]
        for batch in _batches(unknown, MOVIES_A_QUERY, "Articles in Wikidata", "movie"):
            self._look_up(batch)
        items = [self._client.known(key) for key in asked]
        found = [item for item in items if item is not None and item.outcome == "found"]
        self._gather_texts([json_object(item.body or b"")["title"] for item in found])

    def _look_up(self, movies: Sequence[Movie]) -> None:
        """Ask Wikidata for the articles of up to MOVIES_A_QUERY movies and remember what it says of each."""
        imdb = " ".join(f'"{imdb_of(movie)}"' for movie in movies if imdb_of(movie))
        tmdb = " ".join(f'"{movie.tmdbId}"' for movie in movies if movie.tmdbId is not None)
        query = " ".join(_QUERY.format(imdb=imdb, tmdb=tmdb).split())
        params = {"query": query, "format": "json"}
        keys = [key for movie in movies if (key := _key(movie)) is not None]
        rows, attempts = self._get(self._wikidata, "sparql", params, bindings, keys)
        if rows is None:
            return
        for movie, key in zip(movies, keys, strict=True):
            articles = titles(movie, rows)
            if articles:
                body = json.dumps({"title": articles[0], "others": articles[1:6]}).encode()
                self._client.remember(key, "found", status=200, body=body, attempts=attempts)
            else:
                reason = "Wikidata knows no English article by its ids"
                self._client.remember(key, "missing", status=200, detail=reason, attempts=attempts)

    def _gather_texts(self, articles: Sequence[str]) -> None:
        unknown = [title for title in dict.fromkeys(articles) if self._client.known(f"extract/{title}") is None]
        for batch in _batches(unknown, TITLES_A_REQUEST, "Texts in Wikipedia", "text"):
            left = batch
            while left:
                # A long answer comes in parts: what has no text yet is asked for again.
                later = self._read(left)
                left = later if len(later) < len(left) else self._give_up(later)

    def _read(self, articles: list[str]) -> list[str]:
        """Ask for the leads of up to TITLES_A_REQUEST articles; return those the answer left for later."""
        params = {
            **{"action": "query", "format": "json", "formatversion": "2", "redirects": "1"},
            **{"prop": "extracts", "exintro": "1", "explaintext": "1", "exlimit": str(TITLES_A_REQUEST)},
            "titles": "|".join(articles),
        }
        keys = [f"extract/{title}" for title in articles]
        answer, attempts = self._get(self._wikipedia, "w/api.php", params, pages, keys)
        if answer is None:
            return []
        by_name = {str(page.get("title")): page for page in answer["query"]["pages"]}
        later = []
        for title, key in zip(articles, keys, strict=True):
            name = title
            for renaming in names(answer):
                name = renaming.get(name, name)
            page = by_name.get(name, {})
            text = clean(page.get("extract") if isinstance(page.get("extract"), str) else None)
            if text is not None:
                self._client.remember(key, "found", status=200, body=text.encode(), attempts=attempts)
            elif "extract" not in page and not page.get("missing") and "continue" in answer:
                later.append(title)
            else:
                reason = "the article is gone" if page.get("missing") else "the article has no lead"
                self._client.remember(key, "missing", status=200, detail=reason, attempts=attempts)
        return later

    def _give_up(self, articles: list[str]) -> list[str]:
        for title in articles:
            self._client.remember(f"extract/{title}", "failed", detail="Wikipedia gave no text for it")
        return []

    def _get(self, site: Site, path: str, params: Mapping[str, str], read: Any, keys: Sequence[str]) -> tuple[Any, int]:
        """Return (what ``read`` makes of the answer, attempts); None where it failed, noted under ``keys``."""
        try:
            reply = self._client.fetcher.get(site, path, params, check=read)
        except (Unreachable, Unusable) as error:
            # A bad answer to a batch says nothing about its movies, so nothing of it is kept.
            reason, attempts = str(error), error.attempts
        else:
            if reply.status == 200:
                return read(reply.body), reply.attempts
            reason, attempts = f"{path} answered {reply.status}", reply.attempts
        for key in keys:
            self._client.remember(key, "failed", detail=reason, attempts=attempts)
        return None, attempts


def _key(movie: Movie) -> str | None:
    """Return the question about a movie: the ids it has; None where it has none."""
    imdb = imdb_of(movie) or ""
    tmdb = "" if movie.tmdbId is None else str(movie.tmdbId)
    return f"article/{imdb}/{tmdb}" if imdb or tmdb else None


def _batches(items: Sequence[Any], size: int, label: str, unit: str) -> Iterator[list[Any]]:
    with tqdm(total=len(items), desc=label, unit=unit, disable=len(items) <= 1) as bar:
        for start in range(0, len(items), size):
            batch = list(items[start : start + size])
            yield batch
            bar.update(len(batch))


def open_wikipedia(
    fetcher: Fetcher,
    answers: Answers,
    *,
    contact: str | None = None,
    refresh_before: float = 0.0,
    environment: Mapping[str, str] | None = None,
) -> Wikipedia:
    """Open Wikipedia, telling it ``contact`` or WIKIPEDIA_CONTACT: an e-mail or web address.

    WIKIDATA_URL and WIKIPEDIA_URL in the environment may name other hosts. Raises ParameterError for a
    contact or address that is missing or cannot be used.
    """
    environment = os.environ if environment is None else environment
    contact = (contact or environment.get("WIKIPEDIA_CONTACT") or "").strip()
    if not re.fullmatch(r"[!-~]{3,200}", contact) or not re.search(r".@.|^https?://", contact):
        raise ParameterError(
            f"WIKIPEDIA_CONTACT={contact!r}, but ENRICHMENT names 'wikipedia'. Set that environment variable to your "
            "e-mail address or web page: Wikipedia asks every program to say whom to write to, and sees it with each "
            "request."
        )
    headers = {"User-Agent": f"multimodal-movielens/1.0 ({contact}) python-requests", "Accept": "application/json"}
    wikidata = base_url("WIKIDATA_URL", environment.get("WIKIDATA_URL") or WIKIDATA_URL)
    wikipedia = base_url("WIKIPEDIA_URL", environment.get("WIKIPEDIA_URL") or WIKIPEDIA_URL)
    return Wikipedia(fetcher, answers, Site(wikidata, headers), Site(wikipedia, headers), refresh_before)
