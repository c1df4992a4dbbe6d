"""What Wikidata's query service and Wikipedia's API answer, read with suspicion."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from utils.content.movie import Movie
from utils.content.providers.client import imdb_of, json_object

ARTICLE = "https://en.wikipedia.org/wiki/"


def bindings(body: bytes) -> list[dict[str, str]]:
    """Return the rows of a SPARQL answer (SPARQL 1.1 Query Results JSON), each as name to value."""
    results = json_object(body).get("results")
    rows = results.get("bindings") if isinstance(results, dict) else None
    if not isinstance(rows, list):
        raise ValueError("the answer has no results.bindings")
    return [
        {name: cell["value"] for name, cell in row.items() if _is_literal(cell)}
        for row in rows
        if isinstance(row, dict)
    ]


def _is_literal(cell: object) -> bool:
    return isinstance(cell, dict) and isinstance(cell.get("value"), str)


def titles(movie: Movie, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the titles of a movie's articles: named by both ids first, then by IMDb, then by the older item."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        article, item = row.get("article", ""), re.search(r"/Q([0-9]{1,12})$", row.get("item", ""))
        imdb = imdb_of(movie) is not None and row.get("imdb") == imdb_of(movie)
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


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def names(answer: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return how titles were changed on the way, in order: normalised, then redirected."""
    steps = []
    for field in ("normalized", "redirects"):
        rows = answer["query"].get(field)
        pairs = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        steps.append({row["from"]: row["to"] for row in pairs if _is_text(row.get("from")) and _is_text(row.get("to"))})
    return steps
