"""Facts asked of Wikidata itself (CC0), for FACTS="wikidata": by IMDb id, in batches, one request at a time.

Properties: P57 director, P58 screenwriter, P161 cast member, P495 country of origin, P364 original language, P2047
duration. Wikidata wants to know whom to write to, like Wikipedia (``wikipedia``).
"""

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from utils.content.movie import Facts, Movie
from utils.content.providers.base import Missing, NotGiven, body_of, clean
from utils.content.providers.wikipedia import WIKIDATA_URL, batches, bindings, headers_for
from utils.fetching.answers import Client
from utils.fetching.connections import Site
from utils.fetching.http import base_url, json_object
from utils.handoff.contract import FACT_LISTS

MOVIES_A_QUERY = 50
"""With some twenty people each the answer has a tenth of ``http.MOST_JSON``."""
_PROPERTIES = dict(zip(("P57", "P58", "P161", "P495", "P364"), FACT_LISTS, strict=True))
_MOST_SECONDS = 100 * 3600
_QUERY = """
SELECT ?imdb ?fact ?of ?value WHERE {{
  VALUES ?imdb {{ {imdb} }} ?item wdt:P345 ?imdb .
  {{ VALUES (?property ?fact) {{ {properties} }}
     ?item ?property ?of . ?of rdfs:label ?value . FILTER(LANG(?value) IN ("en", "mul")) }}
  UNION {{ ?item p:P2047/psn:P2047/wikibase:quantityAmount ?value . BIND("seconds" AS ?fact) }}
}}
"""


class Wikidata:
    """A source of facts that asks a host, and remembers its answers."""

    name = "wikidata"

    def __init__(self, client: Client, site: Site) -> None:
        self._client, self._site = client, site

    def describe(self) -> str:
        """Return the licence, and what is there already."""
        answers = self._client.answers
        kept = f"{answers.count(self.name):,} earlier answers in {answers.path.name}"
        return f"wikidata: facts under CC0, asked by IMDb id. {kept}"

    def facts_of(self, movies: Sequence[Movie]) -> dict[int, Facts | NotGiven]:
        """Return the facts of each movie, by movieId, or the reason why there are none."""
        self._client.resume()
        self._fetch([movie.imdb for movie in movies if movie.imdb])
        return {movie.movieId: self._answer(movie) for movie in movies}

    def _answer(self, movie: Movie) -> Facts | NotGiven:
        if movie.imdb is None:
            return Missing("no IMDb id", 0)
        answer = self._client.known(_key(movie.imdb)) or self._client.remember(
            _key(movie.imdb), "failed", detail="its answer was dated in the future"
        )
        try:
            found = json_object(body_of(answer, answer.attempts))
        except NotGiven as reason:
            return reason
        return Facts({name: found[name] for name in FACT_LISTS}, found["runtime"], source=self.name)

    def _fetch(self, imdb_ids: Sequence[str]) -> None:
        unknown = [each for each in dict.fromkeys(imdb_ids) if self._client.known(_key(each)) is None]
        properties = " ".join(f'(wdt:{number} "{name}")' for number, name in _PROPERTIES.items())
        for batch in batches(unknown, MOVIES_A_QUERY, "Facts in Wikidata", "movie"):
            query = _QUERY.format(imdb=" ".join(f'"{imdb}"' for imdb in batch), properties=properties)
            params = {"query": " ".join(query.split()), "format": "json"}
            given = self._client.ask_for_all([_key(imdb) for imdb in batch], self._site, "sparql", params, bindings)
            if given is None:
                continue
            rows, attempts = given
            for imdb in batch:
                found = facts_in([row for row in rows if row.get("imdb") == imdb])
                if found is None:
                    reason = "Wikidata knows no facts by its IMDb id"
                    self._client.remember(_key(imdb), "missing", detail=reason, attempts=attempts)
                else:
                    self._client.remember(_key(imdb), "found", json.dumps(found).encode(), attempts=attempts)


def _key(imdb: str) -> str:
    return f"facts/{imdb}"


def facts_in(rows: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
    """Return the facts in the rows of one film: lists of names, and ``runtime`` in minutes; None where there are none.

    Lists are in alphabetical order, because Wikidata has none; of two names of one person the first of these counts.
    """
    names: dict[str, dict[str, str]] = defaultdict(dict)
    seconds: list[float] = []
    for row in rows:
        fact, value = row.get("fact"), clean(row.get("value"))
        if fact in FACT_LISTS and value is not None:
            of = row.get("of", value)
            names[fact][of] = min(value[:200], names[fact].get(of, value[:200]))
        elif fact == "seconds" and value is not None:
            try:
                seconds.append(float(value))
            except ValueError:
                continue
    lengths = sorted(each for each in seconds if 0 < each <= _MOST_SECONDS)
    if not names and not lengths:
        return None
    lists = {fact: sorted(set(names[fact].values())) for fact in FACT_LISTS}
    return lists | {"runtime": lengths[0] / 60 if lengths else None}


def open_wikidata(client: Client, environment: Mapping[str, str] | None = None) -> Wikidata:
    """Open Wikidata, telling it WIKIPEDIA_CONTACT. WIKIDATA_URL in the environment may name another host.

    Raises ParameterError for a contact or address that is missing or cannot be used.
    """
    environment = os.environ if environment is None else environment
    headers = headers_for("FACTS names 'wikidata'", None, environment)
    return Wikidata(client, Site(base_url("WIKIDATA_URL", environment.get("WIKIDATA_URL") or WIKIDATA_URL), headers))
