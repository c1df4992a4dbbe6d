"""The provider "wikipedia": the lead paragraphs of a movie's English article, found through Wikidata.

Wikidata knows the IMDb id (property P345) and the TMDB id (P4947) of a film and the article about it. Both hosts are
asked in batches, one request at a time, and told whom to write to when something goes wrong, as their rules ask for
(https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy). Texts are under CC BY-SA 4.0; licence and article are
recorded with each of them.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from tqdm.auto import tqdm

from utils.content.movie import Movie
from utils.content.providers.base import Missing, Online, Synopsis, body_of, clean
from utils.fetching.answers import Answer, Client
from utils.fetching.connections import Site
from utils.fetching.http import base_url, json_object
from utils.handoff.parameters import ParameterError

WIKIDATA_URL = "https://query.wikidata.org"
WIKIPEDIA_URL = "https://en.wikipedia.org"
ARTICLE = "https://en.wikipedia.org/wiki/"
LICENCE = "CC BY-SA 4.0"
MOVIES_A_QUERY = 100
TITLES_A_REQUEST = 20
"""The most for which TextExtracts gives the lead of each."""
_PLAIN = "/:(),!'"
"""Signs that Wikipedia leaves as they are in the addresses of articles."""
_QUERY = """
SELECT ?imdb ?tmdb ?item ?article WHERE {{
  {{ VALUES ?imdb {{ {imdb} }} ?item wdt:P345 ?imdb . }}
  UNION {{ VALUES ?tmdb {{ {tmdb} }} ?item wdt:P4947 ?tmdb . }}
  ?article schema:about ?item ; schema:isPartOf <https://en.wikipedia.org/> .
}}
"""
_EXTRACTS = {
    **{"action": "query", "format": "json", "formatversion": "2", "redirects": "1"},
    **{"prop": "extracts", "exintro": "1", "explaintext": "1", "exlimit": str(TITLES_A_REQUEST)},
}


class Wikipedia(Online):
    """Texts from Wikipedia; no posters, because few of them are free."""

    name = "wikipedia"

    def __init__(self, client: Client, wikidata: Site, wikipedia: Site) -> None:
        super().__init__(client)
        self._wikidata, self._wikipedia = wikidata, wikipedia
        self._one_at_a_time = threading.Lock()

    def describe(self) -> str:
        """Return the licence, and what is there already."""
        return f"wikipedia: texts under {LICENCE}, article named in the report; no posters. {self._kept()}"

    def prepare(self, lacking: Mapping[str, Sequence[Movie]]) -> None:
        """Fetch articles and texts of all movies that lack a synopsis, in batches."""
        super().prepare(lacking)
        movies = lacking.get("synopsis", ())
        with self._one_at_a_time:
            self._find_articles(movies)
            articles = [self._client.known(key) for movie in movies if (key := _key(movie))]
            self._fetch_texts([_title(each) for each in articles if each is not None and each.outcome == "found"])

    def poster(self, movie: Movie, size: tuple[int, int]) -> None:
        """Raise Missing: nothing is asked."""
        raise Missing("not asked for: few posters are free", 0)

    def synopsis(self, movie: Movie) -> Synopsis:
        """Return the lead of the movie's article with its licence and address."""
        key = _key(movie)
        if key is None:
            raise Missing("no IMDb or TMDB id", 0)
        item = self._known(key, lambda: self._find_articles([movie]))
        body_of(item, item.attempts)
        title = _title(item)
        answer = self._known(f"extract/{title}", lambda: self._fetch_texts([title]))
        attempts = item.attempts + answer.attempts
        address = ARTICLE + quote(title.replace(" ", "_"), safe=_PLAIN)
        return Synopsis(body_of(answer, attempts).decode(), f"{LICENCE}, {address}", attempts)

    def _known(self, key: str, fetch: Callable[[], None]) -> Answer:
        answer = self._client.known(key)
        if answer is None:
            with self._one_at_a_time:
                fetch()
            answer = self._client.known(key)
        return answer or self._client.remember(key, "failed", detail="the clock was set back meanwhile")

    def _find_articles(self, movies: Sequence[Movie]) -> None:
        """Ask Wikidata for the articles of movies, MOVIES_A_QUERY at a time, and remember what it says of each."""
        unknown = {key: movie for movie in movies if (key := _key(movie)) and self._client.known(key) is None}
        for keys in batches(list(unknown), MOVIES_A_QUERY, "Articles in Wikidata", "movie"):
            batch = [unknown[key] for key in keys]
            imdb = " ".join(f'"{movie.imdb}"' for movie in batch if movie.imdb)
            tmdb = " ".join(f'"{movie.tmdbId}"' for movie in batch if movie.tmdbId is not None)
            query = " ".join(_QUERY.format(imdb=imdb, tmdb=tmdb).split())
            given = self._client.ask_for_all(
                keys, self._wikidata, "sparql", {"query": query, "format": "json"}, bindings
            )
            if given is None:
                continue
            rows, attempts = given
            for key, movie in zip(keys, batch, strict=True):
                if articles := titles(movie, rows):
                    body = json.dumps({"title": articles[0], "others": articles[1:6]}).encode()
                    self._client.remember(key, "found", body, attempts=attempts)
                else:
                    reason = "Wikidata knows no English article by its ids"
                    self._client.remember(key, "missing", detail=reason, attempts=attempts)

    def _fetch_texts(self, articles: Sequence[str]) -> None:
        unknown = [title for title in dict.fromkeys(articles) if self._client.known(f"extract/{title}") is None]
        for left in batches(unknown, TITLES_A_REQUEST, "Texts in Wikipedia", "text"):
            while left:
                # A long answer comes in parts: what has no text yet is asked for again.
                later = self._read(left)
                if len(later) == len(left):
                    for title in later:
                        self._client.remember(f"extract/{title}", "failed", detail="Wikipedia gave no text for it")
                    break
                left = later

    def _read(self, articles: list[str]) -> list[str]:
        """Ask for the leads of up to TITLES_A_REQUEST articles; return those that the answer left for later."""
        keys = [f"extract/{title}" for title in articles]
        params = _EXTRACTS | {"titles": "|".join(articles)}
        given = self._client.ask_for_all(keys, self._wikipedia, "w/api.php", params, pages)
        if given is None:
            return []
        answer, attempts = given
        by_name = {str(page.get("title")): page for page in answer["query"]["pages"]}
        later = []
        for title, key in zip(articles, keys, strict=True):
            page = by_name.get(_renamed(title, answer))
            text = clean(page.get("extract")) if page is not None else None
            if text is not None:
                self._client.remember(key, "found", text.encode(), attempts=attempts)
            elif "continue" in answer and not (page and ("extract" in page or page.get("missing"))):
                later.append(title)
            elif page is None:
                # It may be there: this answer says nothing about it.
                reason = "Wikipedia's answer does not have it"
                self._client.remember(key, "failed", detail=reason, attempts=attempts)
            else:
                reason = "the article is gone" if page.get("missing") else "the article has no lead"
                self._client.remember(key, "missing", detail=reason, attempts=attempts)
        return later


def _key(movie: Movie) -> str | None:
    """Return the question about a movie: the ids it has; None where it has none."""
    tmdb = "" if movie.tmdbId is None else str(movie.tmdbId)
    return f"article/{movie.imdb or ''}/{tmdb}" if movie.imdb or tmdb else None


def _title(item: Answer) -> str:
    return json_object(item.body)["title"]


def batches(items: Sequence[str], size: int, label: str, unit: str) -> Iterator[list[str]]:
    """Yield ``items`` in lists of at most ``size``, beside a progress bar."""
    with tqdm(total=len(items), desc=label, unit=unit, disable=len(items) <= 1) as bar:
        for start in range(0, len(items), size):
            batch = list(items[start : start + size])
            yield batch
            bar.update(len(batch))


def bindings(body: bytes) -> list[dict[str, str]]:
    """Return the rows of a SPARQL answer (SPARQL 1.1 Query Results JSON), each as name to value."""
    results = json_object(body).get("results")
    rows = results.get("bindings") if isinstance(results, dict) else None
    if not isinstance(rows, list):
        raise ValueError("the answer has no results.bindings")

    def literal(cell: object) -> bool:
        return isinstance(cell, dict) and isinstance(cell.get("value"), str)

    dicts = (row for row in rows if isinstance(row, dict))
    return [{name: cell["value"] for name, cell in row.items() if literal(cell)} for row in dicts]


def titles(movie: Movie, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the titles of a movie's articles: named by both ids first, then by IMDb, then by the older item."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        article, item = row.get("article", ""), re.search(r"/Q([0-9]{1,12})$", row.get("item", ""))
        imdb = movie.imdb is not None and row.get("imdb") == movie.imdb
        tmdb = movie.tmdbId is not None and row.get("tmdb") == str(movie.tmdbId)
        title = unquote(article.removeprefix(ARTICLE)).replace("_", " ")
        if (imdb or tmdb) and article.startswith(ARTICLE) and title and "|" not in title and title.isprintable():
            weight, number = found.get(title, (0, 0))
            found[title] = (weight + 2 * imdb + tmdb, number or (int(item[1]) if item else 0))
    return sorted(found, key=lambda title: (-found[title][0], found[title][1], title))


def pages(body: bytes) -> dict[str, Any]:
    """Return a MediaWiki answer whose query.pages is a list; raise ValueError for anything else, errors included."""
    answer = json_object(body)
    if "error" in answer:
        code = answer["error"].get("code") if isinstance(answer["error"], dict) else answer["error"]
        raise ValueError(f"Wikipedia reports an error ({ascii(code)[:40]})")
    query = answer.get("query")
    found = query.get("pages") if isinstance(query, dict) else None
    if not isinstance(found, list) or not all(isinstance(page, dict) for page in found):
        raise ValueError("the answer has no query.pages")
    return answer


def _renamed(title: str, answer: Mapping[str, Any]) -> str:
    """Return the name under which an answer has ``title``: it may have been normalised, then redirected."""
    for field in ("normalized", "redirects"):
        rows = answer["query"].get(field)
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and row.get("from") == title and isinstance(row.get("to"), str):
                title = row["to"]
                break
    return title


def open_wikipedia(
    client: Client, *, contact: str | None = None, environment: Mapping[str, str] | None = None
) -> Wikipedia:
    """Open Wikipedia, telling it ``contact`` or WIKIPEDIA_CONTACT: an e-mail or web address.

    WIKIDATA_URL and WIKIPEDIA_URL in the environment may name other hosts. Raises ParameterError for a contact or
    address that is missing or cannot be used.
    """
    environment = os.environ if environment is None else environment
    headers = headers_for("ENRICHMENT names 'wikipedia'", contact, environment)
    wikidata = base_url("WIKIDATA_URL", environment.get("WIKIDATA_URL") or WIKIDATA_URL)
    wikipedia = base_url("WIKIPEDIA_URL", environment.get("WIKIPEDIA_URL") or WIKIPEDIA_URL)
    return Wikipedia(client, Site(wikidata, headers), Site(wikipedia, headers))


def headers_for(asked: str, contact: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what is sent with each request to a host of Wikimedia; ``asked`` says what asks it.

    Raises ParameterError where neither ``contact`` nor WIKIPEDIA_CONTACT says whom to write to.
    """
    contact = (contact or environment.get("WIKIPEDIA_CONTACT") or "").strip()
    if not re.fullmatch(r"[!-~]{3,200}", contact) or not re.search(r".@.|^https?://", contact):
        raise ParameterError(
            f"WIKIPEDIA_CONTACT={contact!r}, but {asked}. Set that environment variable to your "
            "e-mail address or web page: Wikipedia asks every program to say whom to write to, and sees it with each "
            "request."
        )
    return {"User-Agent": f"multimodal-movielens/1.0 ({contact}) python-requests", "Accept": "application/json"}
