"""Wikidata's query service and Wikipedia's API, with a small world of articles.

Written from https://www.mediawiki.org/wiki/Wikidata_Query_Service/User_Manual (VALUES, JSON results) and
https://www.mediawiki.org/wiki/Extension:TextExtracts (exintro, at most 20 pages, excontinue, redirects).
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

from tests.fakes.server import Answered, as_json

ARTICLE = "https://en.wikipedia.org/wiki/"


@dataclass
class Encyclopedia:
    """``items``: (number of the item, IMDb ids, TMDB ids, title). ``leads`` by title; ``renamed`` titles redirect."""

    items: list[tuple[int, list[str], list[str], str]] = field(default_factory=list)
    leads: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    facts: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    """By IMDb id, what Wikidata says of a film: (kind of fact, item, name), or ("seconds", "", number)."""
    most_leads: int = 20
    """So many an answer has before it says to continue."""
    at_once: int = 0
    most_at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        yield
        with self._lock:
            self.at_once -= 1

    def add(self, number: int, lead: str | None = None, title: str | None = None) -> None:
        """Add the article about the movie that ``fakes.tmdb.row`` makes for ``number``."""
        title = title or f"Movie {number} (1994 film)"
        self.items.append((number, [f"tt{number + 5_000_000}"], [str(number)], title))
        self.leads[title] = f"Movie {number} is a 1994 film.\nIt has a plot." if lead is None else lead

    def wikidata(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answered:
        with self._counted():
            if path != "/sparql" or not re.search(r"\S+@\S+|https?://", headers.get("user-agent", "")):
                return Answered(403, b"Requests must have a user agent with a contact")
            text = query["query"]
            assert query["format"] == "json"
            if "wdt:P57" in text:
                return self._facts(text)
            assert "wdt:P345" in text and "wdt:P4947" in text and "<https://en.wikipedia.org/>" in text
            imdb, tmdb = (
                set(re.findall(r'"([^"]*)"', found[1]))
                for found in (re.search(rf"VALUES \?{name} {{([^}}]*)}}", text) for name in ("imdb", "tmdb"))
                if found is not None
            )
            rows = []
            for number, imdbs, tmdbs, title in self.items:
                item = {"type": "uri", "value": f"http://www.wikidata.org/entity/Q{number}"}
                article = {"type": "uri", "value": ARTICLE + quote(title.replace(" ", "_"))}
                for name, asked, ids in (("imdb", imdb, imdbs), ("tmdb", tmdb, tmdbs)):
                    for each in ids:
                        if each in asked:
                            rows.append({name: {"type": "literal", "value": each}, "item": item, "article": article})
            head = {"vars": ["imdb", "tmdb", "item", "article"]}
            return as_json({"head": head, "results": {"bindings": rows}})

    def _facts(self, text: str) -> Answered:
        assert all(each in text for each in ("?item wdt:P345 ?imdb", '(wdt:P161 "cast")', "wikibase:quantityAmount"))
        found = re.search(r"VALUES \?imdb {([^}]*)}", text)
        assert found is not None
        rows = []
        for imdb in re.findall(r'"([^"]*)"', found[1]):
            for fact, item, value in self.facts.get(imdb, []):
                of = {"of": {"type": "uri", "value": f"http://www.wikidata.org/entity/{item}"}} if item else {}
                literals = {"imdb": imdb, "fact": fact, "value": value}
                rows.append({name: {"type": "literal", "value": each} for name, each in literals.items()} | of)
        return as_json({"head": {"vars": ["imdb", "fact", "of", "value"]}, "results": {"bindings": rows}})

    def wikipedia(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answered:
        with self._counted():
            if path != "/w/api.php" or "user-agent" not in headers:
                return Answered(404, b"")
            wanted = {"action": "query", "prop": "extracts", "exintro": "1", "explaintext": "1", "formatversion": "2"}
            assert wanted.items() <= query.items()
            asked = query["titles"].split("|")
            assert len(asked) <= 20
            redirects = [{"from": title, "to": self.renamed[title]} for title in asked if title in self.renamed]
            pages: list[dict[str, object]] = []
            given = 0
            for title in dict.fromkeys(self.renamed.get(title, title) for title in asked):
                if title not in self.leads:
                    pages.append({"ns": 0, "title": title, "missing": True})
                elif given < self.most_leads:
                    pages.append({"pageid": given + 1, "ns": 0, "title": title, "extract": self.leads[title]})
                    given += 1
                else:
                    pages.append({"pageid": given + 1, "ns": 0, "title": title})
            left = any("extract" not in page and "missing" not in page for page in pages)
            more = {"continue": {"excontinue": given, "continue": "||"}} if left else {"batchcomplete": True}
            return as_json(more | {"query": {"redirects": redirects, "pages": pages}})
