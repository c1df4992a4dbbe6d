"""The provider wikipedia against a fake Wikidata and Wikipedia: batches, one at a time, licence with each text."""

from collections.abc import Iterator

import pytest

from tests.fakes.server import FakeHost, as_json
from tests.fakes.tmdb import catalogue, row
from tests.fakes.wikimedia import Encyclopedia
from utils.content.enrichment import enrich, open_providers
from utils.content.movie import Movie
from utils.content.providers.wikipedia import Wikipedia, bindings, open_wikipedia, pages, titles
from utils.fetching.answers import FILE, Answers, Client
from utils.fetching.http import Http, Limits
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store

CONTACT = "reader@example.org"
QUICK = Limits(attempts=3, back_off=0.01, longest_back_off=0.05)


class Hosts:
    """The two fakes and their world, and what a reader would set to ask them."""

    def __init__(self) -> None:
        self.world = Encyclopedia()
        self.wikidata, self.wikipedia = FakeHost(self.world.wikidata), FakeHost(self.world.wikipedia)
        self.environment = {"WIKIPEDIA_CONTACT": CONTACT, "WIKIDATA_URL": self.wikidata.url}
        self.environment |= {"WIKIPEDIA_URL": self.wikipedia.url}

    def asked(self) -> tuple[int, int]:
        return len(self.wikidata.log), len(self.wikipedia.log)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    with made.wikidata, made.wikipedia:
        yield made


def opened(hosts: Hosts, store: Store) -> Wikipedia:
    client = Client("wikipedia", Http(1000, QUICK), Answers(store.folder / FILE))
    return open_wikipedia(client, environment=hosts.environment)


def run(hosts: Hosts, store: Store, rows: list[dict]) -> tuple[list[str | None], dict[int, tuple]]:
    """Return the synopses, and (outcome, detail, attempts) of each by movieId."""
    enriched, report = enrich(store, catalogue(rows), [opened(hosts, store)], (32, 48))
    told = {
        line["movieId"]: (line["outcome"], line["detail"], line["attempts"])
        for line in report.to_pylist()
        if line["modality"] == "synopsis"
    }
    return enriched.column("synopsis").to_pylist(), told


def test_batches_of_movies_and_texts_one_request_at_a_time(hosts: Hosts, store: Store) -> None:
    for number in range(1, 251):
        if number % 5:
            hosts.world.add(number)
    rows = [row(number) for number in range(1, 251)]
    texts, told = run(hosts, store, rows)
    assert sum(text is not None for text in texts) == 200
    assert texts[0] == "Movie 1 is a 1994 film. It has a plot."
    assert told[1] == ("found", "CC BY-SA 4.0, https://en.wikipedia.org/wiki/Movie_1_(1994_film)", 2)
    assert told[5] == ("missing", "Wikidata knows no English article by its ids", 1)
    assert hosts.asked() == (3, 10)
    assert hosts.world.most_at_once == 1
    agents = {asked.headers["user-agent"] for asked in hosts.wikidata.log + hosts.wikipedia.log}
    assert all(CONTACT in agent for agent in agents)
    # Another batch, of movies that were asked for: nothing is asked again.
    assert run(hosts, store, rows[7:])[0] == texts[7:]
    assert hosts.asked() == (3, 10)


def test_movies_without_ids_are_not_asked_for_and_posters_never(hosts: Hosts, store: Store) -> None:
    movies = catalogue([row(1, imdbId=None, tmdbId=None)])
    _, report = enrich(store, movies, [opened(hosts, store)], (32, 48))
    assert [(r["outcome"], r["detail"], r["attempts"]) for r in report.to_pylist()] == [
        ("missing", "not asked for: few posters are free", 0),
        ("missing", "no IMDb or TMDB id", 0),
    ]
    assert hosts.asked() == (0, 0)


def test_either_id_is_enough_and_both_decide(hosts: Hosts, store: Store) -> None:
    world = hosts.world
    world.items = [
        (30, ["tt0000001"], [], "By IMDb"),
        (20, [], ["2"], "By TMDB"),
        (5, [], ["3"], "Older and wrong"),
        (50, ["tt0000003"], ["3"], "Both"),
        (9, ["tt0000004"], [], "Older"),
        (90, ["tt0000004"], [], "Younger"),
    ]
    world.leads = {title: f"Lead of {title}." for *_, title in world.items}
    rows = [row(n, imdbId=str(n).zfill(7)) for n in range(1, 5)]
    rows[0]["tmdbId"] = rows[3]["tmdbId"] = None
    rows[1]["imdbId"] = None
    assert run(hosts, store, rows)[0] == ["Lead of By IMDb.", "Lead of By TMDB.", "Lead of Both.", "Lead of Older."]


def test_renamed_gone_and_empty_articles(hosts: Hosts, store: Store) -> None:
    world = hosts.world
    world.add(1, title="Old name")
    world.renamed["Old name"] = "New name"
    world.leads["New name"] = "The lead."
    world.add(2, title="Gone")
    del world.leads["Gone"]
    world.add(3, lead=" \n ")
    world.add(4, title="Æon & Flux? 100%")
    texts, told = run(hosts, store, [row(n) for n in range(1, 5)])
    assert texts[0] == "The lead."
    assert told[2][:2] == ("missing", "the article is gone")
    assert told[3][:2] == ("missing", "the article has no lead")
    assert texts[3] == "Movie 4 is a 1994 film. It has a plot."
    assert told[4][1] == "CC BY-SA 4.0, https://en.wikipedia.org/wiki/%C3%86on_%26_Flux%3F_100%25"


def test_long_answers_come_in_parts(hosts: Hosts, store: Store) -> None:
    hosts.world.most_leads = 8
    for number in range(1, 31):
        hosts.world.add(number)
    texts, _ = run(hosts, store, [row(n) for n in range(1, 31)])
    assert all(texts)
    assert hosts.asked() == (1, 5)


def test_a_host_that_promises_more_and_gives_nothing(hosts: Hosts, store: Store) -> None:
    hosts.world.most_leads = 0
    hosts.world.add(1)
    assert run(hosts, store, [row(1)])[1][1][:2] == ("failed", "Wikipedia gave no text for it")
    hosts.world.most_leads = 20
    assert run(hosts, store, [row(1)])[1][1][0] == "found"


@pytest.mark.parametrize(
    "query",
    [
        {"pages": []},
        {"pages": [{"title": "Another", "extract": "Another lead."}]},
        {"normalized": [{"from": [], "to": {}}, 3], "redirects": {}, "pages": [{"title": []}, {"extract": 7}]},
    ],
    ids=str,
)
def test_an_answer_without_the_page_asked_for_says_nothing_about_it(hosts: Hosts, store: Store, query: dict) -> None:
    hosts.world.add(1)
    well, hosts.wikipedia.answer = hosts.wikipedia.answer, lambda *_: as_json({"query": query})
    assert run(hosts, store, [row(1)])[1][1] == ("failed", "Wikipedia's answer does not have it", 2)
    hosts.wikipedia.answer = well
    assert run(hosts, store, [row(1)])[1][1][0] == "found"


@pytest.mark.parametrize("fault", ["503!", "404!", "not-json!", "bomb!", "elsewhere!", "file!", "html!"])
def test_a_batch_that_fails_says_nothing_of_its_movies(hosts: Hosts, store: Store, fault: str) -> None:
    hosts.world.add(1)
    run(hosts, store, [row(1)])
    (key,) = hosts.wikidata.keys()
    hosts.wikidata.plan[key] = [fault]
    for path in store.folder.glob(f"{FILE}*"):
        path.unlink()
    assert run(hosts, store, [row(1)])[1][1][0] == "failed"
    hosts.wikidata.plan.clear()
    assert run(hosts, store, [row(1)])[1][1][0] == "found"


def test_an_error_in_the_answer_is_none(hosts: Hosts, store: Store) -> None:
    hosts.world.add(1)
    hosts.wikipedia.answer = lambda *_: as_json({"error": {"code": "maxlag", "info": "Waiting for 10.64.0.9"}})
    assert run(hosts, store, [row(1)])[1][1] == ("failed", "Wikipedia reports an error ('maxlag') (3 attempts)", 4)
    assert hosts.asked() == (1, 3)


@pytest.mark.parametrize(
    ("read", "body"),
    [
        *((bindings, each) for each in (b"[]", b"{}", b'{"results": []}', b'{"results": {"bindings": 3}}', b"<html>")),
        *((pages, each) for each in (b"[]", b"{}", b'{"query": {"pages": {"1": {}}}}', b'{"query": {"pages": [1]}}')),
    ],
)
def test_answers_that_make_no_sense(read: object, body: bytes) -> None:
    with pytest.raises(ValueError, match="the answer"):
        read(body)  # type: ignore[operator]


def test_only_articles_of_the_english_wikipedia_are_taken() -> None:
    movie = Movie(1, "Movie", 1994, (), "0000001", None)
    item = "http://www.wikidata.org/entity/Q1"
    evil = ["https://evil.example/wiki/X", "https://en.wikipedia.org/wiki/A%7CB", "https://en.wikipedia.org/wiki/", "x"]
    rows = [{"imdb": "tt0000001", "item": item, "article": article} for article in evil]
    assert titles(movie, rows) == []
    assert titles(movie, [{"imdb": "tt0000002", "item": item, "article": "https://en.wikipedia.org/wiki/X"}]) == []


def test_ids_cannot_change_the_query(hosts: Hosts, store: Store) -> None:
    hosts.world.add(1)
    run(hosts, store, [row(1, imdbId='1" } ?s ?p ?o . { "'), row(2, imdbId='"', tmdbId=None)])
    (query,) = hosts.wikidata.keys()
    assert "?s ?p ?o" not in query


def test_a_contact_is_needed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WIKIPEDIA_CONTACT", raising=False)
    with pytest.raises(ParameterError, match=r"WIKIPEDIA_CONTACT='', but ENRICHMENT names 'wikipedia'. Set that"):
        open_providers(store, "wikipedia", None, catalogue([]))
    for contact in ("nobody", "a@b\r\nX-Evil: 1", "x" * 300 + "@y"):
        with pytest.raises(ParameterError, match="WIKIPEDIA_CONTACT="):
            open_providers(store, "wikipedia", None, catalogue([]), wikipedia_contact=contact)
    (provider,) = open_providers(store, "wikipedia", None, catalogue([]), wikipedia_contact="https://example.org/me")
    assert provider.describe().startswith("wikipedia: texts under CC BY-SA 4.0, article named in the report")
