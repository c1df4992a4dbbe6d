"""Facts asked of a fake Wikidata: batches by IMDb id, one name for each person, and nothing taken from a bad answer."""

from collections.abc import Iterator

import pytest

from tests.fakes.server import FakeHost, as_json
from tests.fakes.tmdb import row
from tests.fakes.wikimedia import Encyclopedia
from utils.content import facts
from utils.content.enrichment import left_to_do
from utils.content.movie import Facts
from utils.content.providers.base import NotGiven
from utils.content.providers.wikidata import Wikidata, facts_in, open_wikidata
from utils.fetching.answers import FILE, Answers, Client
from utils.fetching.http import Http, Limits
from utils.handoff.contract import FACT_LISTS, table_of
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store

QUICK = Limits(attempts=3, connect=2, stall=0.5, deadline=1, back_off=0.01, longest_back_off=0.05, failures=4)
ALIEN = [
    ("directors", "Q1", "Ridley Scott"),
    ("writers", "Q2", "Dan O'Bannon"),
    ("cast", "Q3", "Sigourney Weaver"),
    ("cast", "Q4", "John Hurt"),
    ("countries", "Q5", "United States"),
    ("languages", "Q6", "English"),
    ("seconds", "", "7020"),
]


class Host:
    """A fake Wikidata and its world."""

    def __init__(self) -> None:
        self.world = Encyclopedia()
        self.fake = FakeHost(self.world.wikidata)

    def opened(self, store: Store) -> Wikidata:
        environment = {"WIKIPEDIA_CONTACT": "reader@example.org", "WIKIDATA_URL": self.fake.url}
        return open_wikidata(Client("wikidata", Http(1000, QUICK), Answers(store.folder / FILE)), environment)


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    with made.fake:
        yield made


def run(host: Host, store: Store, rows: list[dict]) -> tuple[list[dict], list[tuple]]:
    """Return the rows of movie_facts, and (outcome, detail, attempts) of each movie."""
    movies = table_of("movies_converted", rows)
    table, report = facts.movie_facts(movies, [host.opened(store)])
    store.write("movie_facts", table)
    store.write("enrichment_report", report)
    return table.to_pylist(), [(line["outcome"], line["detail"], line["attempts"]) for line in report.to_pylist()]


def test_a_batch_gives_each_movie_its_facts(host: Host, store: Store) -> None:
    host.world.facts = {"tt5000001": ALIEN, "tt5000003": [("countries", "Q5", "Peru")]}
    table, told = run(host, store, [row(number) for number in (1, 2, 3)])
    wanted = {"directors": ["Ridley Scott"], "writers": ["Dan O'Bannon"], "cast": ["John Hurt", "Sigourney Weaver"]}
    wanted |= {"countries": ["United States"], "languages": ["English"], "runtime": 117.0, "source": "wikidata"}
    assert {name: table[0][name] for name in wanted} == wanted
    assert (table[2]["countries"], table[2]["runtime"]) == (["Peru"], None)
    assert told == [
        ("found", "wikidata", 1),
        ("missing", "Wikidata knows no facts by its IMDb id", 1),
        ("found", "wikidata", 1),
    ]
    assert len(host.fake.log) == 1 and "reader@example.org" in host.fake.log[0].headers["user-agent"]


def test_movies_are_asked_for_in_batches_and_never_twice(host: Host, store: Store) -> None:
    rows = [row(number) for number in range(1, 121)]
    host.world.facts = {f"tt{number + 5_000_000}": ALIEN for number in range(1, 121, 2)}
    first = run(host, store, rows)
    assert len(host.fake.log) == 3 and host.world.most_at_once == 1
    assert run(host, store, rows) == first and len(host.fake.log) == 3


def test_only_what_the_table_lacks_is_asked_for(host: Host, store: Store) -> None:
    class Table:
        name = "auto"

        def facts_of(self, movies: list) -> dict[int, Facts | NotGiven]:
            return {movie.movieId: Facts(source="table") if movie.movieId == 1 else NotGiven("no") for movie in movies}

    host.world.facts = {"tt5000002": ALIEN}
    movies = table_of("movies_converted", [row(1), row(2), row(3, imdbId=None)])
    table, report = facts.movie_facts(movies, [Table(), host.opened(store)])
    assert table["source"].to_pylist() == ["table", "wikidata", None]
    assert '"tt5000001"' not in host.fake.log[0].key
    said = [(line["movieId"], line["provider"], line["outcome"]) for line in report.to_pylist()]
    assert said == [
        (1, "auto", "found"),
        (2, "auto", "missing"),
        (2, "wikidata", "found"),
        (3, "auto", "missing"),
        (3, "wikidata", "missing"),
    ]


@pytest.mark.parametrize("fault", ["503!", "404!", "not-json!", "bomb!", "elsewhere!", "html!"])
def test_a_batch_that_fails_says_nothing_of_its_movies(host: Host, store: Store, fault: str) -> None:
    host.world.facts = {"tt5000001": ALIEN}
    run(host, store, [row(1)])
    host.fake.plan[host.fake.log[0].key] = [fault]
    for path in store.folder.glob(f"{FILE}*"):
        path.unlink()
    assert run(host, store, [row(1)])[1][0][0] == "failed"
    assert left_to_do(store.folder) == "a host could not be asked for 1 movies"
    host.fake.plan.clear()
    assert run(host, store, [row(1)])[1][0][0] == "found"
    assert left_to_do(store.folder) is None


@pytest.mark.parametrize(
    "results", [None, [], {"bindings": 3}, {"bindings": [{"imdb": {"value": "tt5000001"}, "fact": {"value": []}}, 7]}]
)
def test_answers_that_make_no_sense(host: Host, store: Store, results: object) -> None:
    host.fake.answer = lambda *_: as_json({"results": results})
    assert run(host, store, [row(1)])[1][0][0] in ("failed", "missing")


def test_one_person_has_one_name_and_odd_values_are_left_out() -> None:
    def of(fact: str, item: str, value: str) -> dict[str, str]:
        return {"fact": fact, "of": item, "value": value}

    rows = [
        of("cast", "Q1", "Ann Lee"),
        of("cast", "Q1", "Ann B. Lee"),
        of("cast", "Q2", "Ann\n\x00 Lee"),
        of("cast", "Q3", ""),
    ]
    rows += [of("cast", "Q4", "x" * 500), of("awards", "Q5", "Oscar"), {"value": "lost"}]
    rows += [{"fact": "seconds", "value": value} for value in ("nan", "-60", "1e12", "an hour", "5400", "6000")]
    found = facts_in(rows)
    assert found is not None
    assert found["cast"] == ["Ann B. Lee", "Ann Lee", "x" * 200] and found["runtime"] == 90
    assert all(found[name] == [] for name in FACT_LISTS if name != "cast")
    assert facts_in([]) is None and facts_in([{"fact": "seconds", "value": "nan"}]) is None


def test_ids_cannot_change_the_query(host: Host, store: Store) -> None:
    run(host, store, [row(1, imdbId='1" } ?s ?p ?o . { "'), row(2)])
    assert "?s ?p ?o" not in host.fake.log[0].key


def test_a_contact_is_needed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WIKIPEDIA_CONTACT", raising=False)
    with pytest.raises(ParameterError, match=r"WIKIPEDIA_CONTACT='', but FACTS names 'wikidata'. Set that"):
        facts.open_sources(store, "wikidata", table_of("movies_converted", [row(1)]), store.folder)
    monkeypatch.setenv("WIKIPEDIA_CONTACT", "https://example.org/me")
    (source,) = facts.open_sources(store, "wikidata", table_of("movies_converted", [row(1)]), store.folder)
    assert source.describe().startswith("wikidata: facts under CC0, asked by IMDb id. 0 earlier answers")
