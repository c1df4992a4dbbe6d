"""TMDB's API (version 3) and its image host, with a world of invented movies and a seeded plan of faults.

Written from https://developer.themoviedb.org/reference: movie-details, find-by-id, search-movie and the
status codes (7 for an invalid key, 34 for no such resource).
"""

import io
import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa
from PIL import Image

from tests.fakes.server import Answered, as_json
from utils.handoff.contract import ARTEFACTS

KEY = "0123456789abcdef0123456789abcdef"
TRANSIENT = ("429", "500", "503", "502", "reset", "reset", "short", "hop")
NO_SUCH = as_json({"success": False, "status_code": 34, "status_message": "Could not be found."}, 404)


@cache
def picture(shade: int, kind: str = "JPEG", size: tuple[int, int] = (92, 138)) -> bytes:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste((shade * 9 % 256, shade * 31 % 256, shade * 57 % 256), (0, 0, size[0], size[1] // 2))
    sink = io.BytesIO()
    image.save(sink, kind)
    return sink.getvalue()


def corrupt(shade: int) -> bytes:
    whole = picture(shade)
    return whole[:200] + bytes(400)


PICTURES = {
    "good": lambda n: Answered(200, picture(n % 20), {"Content-Type": "image/jpeg"}),
    "wrong type": lambda n: Answered(200, picture(n % 20, "PNG"), {"Content-Type": "text/html"}),
    "truncated": lambda n: Answered(200, picture(n % 20)[:-300], {"Content-Type": "image/jpeg"}),
    "corrupt": lambda n: Answered(200, corrupt(n % 20), {"Content-Type": "image/jpeg"}),
    "html": lambda n: Answered(200, b"<!DOCTYPE html><title>404</title>", {"Content-Type": "image/jpeg"}),
    "tiny": lambda n: Answered(200, picture(0, "PNG", (1, 1)), {"Content-Type": "image/jpeg"}),
    "gone": lambda n: Answered(404, b"<h1>File not Found</h1>", {"Content-Type": "text/html"}),
}


@dataclass
class World:
    """What the two hosts know. ``records`` by TMDB id, ``finds`` by IMDb id, ``searches`` by title, in lower case."""

    records: dict[int, dict[str, Any]] = field(default_factory=dict)
    languages: dict[tuple[int, str], str] = field(default_factory=dict)
    finds: dict[str, dict[str, list]] = field(default_factory=dict)
    searches: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pictures: dict[str, Answered] = field(default_factory=dict)

    def api(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answered:
        if headers["api_key"] != KEY and headers.get("authorization") != f"Bearer {KEY}":
            return as_json({"success": False, "status_code": 7, "status_message": "Invalid API key"}, 401)
        match path.split("/")[1:]:
            case ["3", "movie" | "tv", number]:
                record = self.records.get(int(number))
                if record is None:
                    return NO_SUCH
                language = query.get("language")
                overview = record["overview"] if language is None else self.languages.get((int(number), language), "")
                return as_json(record | {"overview": overview})
            case ["3", "find", imdb] if query.get("external_source") == "imdb_id":
                kinds = ("movie_results", "person_results", "tv_results", "tv_episode_results", "tv_season_results")
                return as_json({kind: [] for kind in kinds} | self.finds.get(imdb, {}))
            case ["3", "search", "movie"] if query.get("query"):
                year = query.get("year")
                found = self.searches.get(query["query"].lower(), [])
                found = [each for each in found if year is None or each["release_date"].startswith(year)]
                return as_json({"page": 1, "results": found, "total_pages": 1, "total_results": len(found)})
        return NO_SUCH

    def images(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answered:
        return self.pictures.get(path.rpartition("/")[2], PICTURES["gone"](0))


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "adult": False,
        "id": number,
        "imdb_id": f"tt{number + 5_000_000}",
        "title": f"Movie {number}",
        "original_title": f"Movie {number}",
        "original_language": "en",
        "overview": f"In movie {number} someone wants something and gets something else.",
        "poster_path": f"/p{number}.jpg",
        "release_date": "1994-05-06",
        "vote_count": 10,
    } | changes


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "movieId": number,
        "title": f"Movie {number}",
        "year": 1994,
        "genres": ["Drama"],
        "imdbId": str(number + 5_000_000),
        "tmdbId": number,
    } | changes


def catalogue(rows: list[dict[str, Any]]) -> pa.Table:
    """Return ``rows`` as movies_converted."""
    return pa.Table.from_pylist(rows, schema=pa.schema(list((ARTEFACTS["movies_converted"].columns or {}).items())))


CONTENTS = {
    **{"plain": 55, "no poster": 5, "other language": 4, "no words": 3, "gone": 3, "gone tv": 2},
    **{"gone episode": 2, "gone for good": 4, "wrong id": 2, "other movie": 2, "duplicates": 2, "search": 4},
    **{"search in vain": 2, "junk": 1, "login": 1, "bomb": 1, "elsewhere": 1, "file": 1, "dead": 1},
}
PICTURE_KINDS = {"good": 80, "wrong type": 4, "truncated": 3, "corrupt": 3, "html": 3, "tiny": 2, "gone": 2, "dead": 1}
PICTURE_KINDS |= {"elsewhere": 1, "file": 1}
PICTURE_OUTCOMES = {
    "missing": ("gone",),
    "refused": ("truncated", "corrupt", "tiny"),
    "failed": ("html", "elsewhere", "file", "dead"),
}
"""What must come of a picture that is not good: refused if it is the host's own, failed if it is not."""


@dataclass
class Plan:
    """A catalogue, the world and faults it meets, and what must come of each movie: (poster, synopsis) outcomes."""

    world: World
    rows: list[dict[str, Any]]
    api_faults: dict[str, list[str]]
    image_faults: dict[str, list[str]]
    expected: dict[int, tuple[str, str]]


def plan(count: int, seed: int) -> Plan:
    """Invent ``count`` movies, numbered from 1, of every kind, with transient faults on a quarter of all requests."""
    rng = random.Random(seed)
    made = Plan(World(), [], {}, {}, {})
    for number in range(1, count + 1):
        content = rng.choices(list(CONTENTS), list(CONTENTS.values()))[0]
        kind = rng.choices(list(PICTURE_KINDS), list(PICTURE_KINDS.values()))[0]
        _invent(made, number, content, kind)
    slow = iter(rng.sample(range(1, count + 1), 40))
    for number in range(1, count + 1):
        for faults, key in ((made.api_faults, f"3/movie/{number}"), (made.image_faults, f"t/p/w92/p{number}.jpg")):
            if key not in faults and rng.random() < 0.25:
                faults[key] = rng.sample(TRANSIENT, rng.randint(1, 2))
    for fault in ("429-after:1", "429-after:1", "429-date:1", "stall", "stall", "stall", "drip", "drip-headers") * 2:
        made.api_faults[f"3/movie/{next(slow)}"] = [fault]
    for fault in ("stall", "stall", "drip", "drip", "429-after:1", "not-json"):
        made.image_faults[f"t/p/w92/p{next(slow)}.jpg"] = [fault]
    for number in range(1, count + 1, 50):
        made.api_faults.setdefault(f"3/find/tt{number + 5_000_000}&external_source=imdb_id", []).append("not-json")
    for number, faults in _lasting(made).items():
        made.api_faults[f"3/movie/{number}"] = faults
    return made


def _lasting(made: Plan) -> dict[int, list[str]]:
    kinds = {"junk": "not-json!", "login": "html!", "bomb": "bomb!", "elsewhere": "elsewhere!", "file": "file!"}
    kinds |= {"dead": "500!"}
    return {row["movieId"]: [kinds[row["kind"]]] for row in made.rows if row["kind"] in kinds}


def _invent(made: Plan, number: int, content: str, kind: str) -> None:
    world, facts, line = made.world, record(number), row(number) | {"kind": content}
    imdb, poster, synopsis = facts["imdb_id"], "found", "found"
    short = {key: value for key, value in facts.items() if key != "imdb_id"}
    match content:
        case "no poster":
            facts["poster_path"], poster = None, "missing"
        case "other language":
            facts |= {"overview": "", "original_language": "fr"}
            world.languages[number, "fr"] = "Quelqu'un veut quelque chose."
        case "no words":
            facts |= {"overview": "", "original_language": "de"}
            synopsis = "missing"
        case "gone":
            facts, world.finds[imdb] = None, {"movie_results": [short | {"id": number + 10_000}]}
        case "gone tv":
            show = short | {"id": number + 20_000, "name": short["title"], "first_air_date": "1994-01-01"}
            facts, world.finds[imdb] = None, {"tv_results": [show]}
        case "gone episode":
            episode = {
                "id": 7,
                "name": "Pilot",
                "overview": "It begins.",
                "air_date": "1994-01-01",
                "still_path": "/s.jpg",
            }
            facts, world.finds[imdb], poster = None, {"tv_episode_results": [episode]}, "missing"
        case "gone for good":
            facts, poster, synopsis = None, "missing", "missing"
        case "wrong id":
            facts["id"] = number + 1
            world.finds[imdb] = {"movie_results": [short]}
        case "other movie":
            facts |= {"imdb_id": "tt0000001", "title": "Another", "original_title": "Another"}
            world.finds[imdb] = {"movie_results": [short]}
        case "duplicates":
            other = record(number + 30_000, title="Making of", original_title="Making of", poster_path="/none.jpg")
            facts, world.finds[imdb] = None, {"movie_results": [other, short, short, other]}
        case "search":
            line |= {"imdbId": None, "tmdbId": None, "year": 1995}
            later = short | {"id": number + 40_000, "release_date": "2014-01-01", "vote_count": 9999}
            world.searches[f"movie {number}"] = [later, short, later, short]
        case "search in vain":
            line |= {"imdbId": None, "tmdbId": None}
            world.searches[f"movie {number}"] = [short | {"title": f"Movie {number} II", "original_title": "x"}]
            poster = synopsis = "missing"
        case "junk" | "login" | "bomb" | "elsewhere" | "file" | "dead":
            poster = synopsis = "failed"
    if facts is not None:
        world.records[number] = facts
    if poster == "found":
        for outcome, kinds in PICTURE_OUTCOMES.items():
            poster = outcome if kind in kinds else poster
        lasting = {"dead": "reset!", "elsewhere": "elsewhere!", "file": "file!"}
        if kind in lasting:
            made.image_faults[f"t/p/w92/p{number}.jpg"] = [lasting[kind]]
        world.pictures[f"p{number}.jpg"] = PICTURES.get(kind, PICTURES["good"])(number)
    made.rows.append(line)
    made.expected[number] = (poster, synopsis)
