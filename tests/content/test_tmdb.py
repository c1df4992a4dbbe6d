"""The provider tmdb against a fake TMDB: every movie ends with its data or a reason, and nothing is asked twice."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.fakes import killed_run
from tests.fakes.server import Answered, FakeHost, as_json
from tests.fakes.tmdb import KEY, PICTURES, World, catalogue, plan, record, row
from tests.places import ROOT
from utils.content import images
from utils.content.enrichment import enrich, open_providers
from utils.content.movie import Movie
from utils.content.providers.tmdb import Tmdb, image_width, open_tmdb
from utils.content.providers.tmdb_match import normalised, same_movie
from utils.fetching.answers import FILE, Answers, Client
from utils.fetching.http import Http, Limits
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store, open_store

SIZE = (64, 96)
QUICK = Limits(attempts=3, back_off=0.01, longest_back_off=0.05)
NO_IDS: dict[str, None] = {"imdbId": None, "tmdbId": None}


class Hosts:
    """The two fakes and their world, and what a reader would set to ask them."""

    def __init__(self) -> None:
        self.world = World()
        self.api, self.images = FakeHost(self.world.api), FakeHost(self.world.images)
        self.environment = {"TMDB_API_KEY": KEY, "TMDB_API_URL": self.api.url, "TMDB_IMAGE_URL": self.images.url}

    def add(self, number: int, **changes: object) -> None:
        self.world.records[number] = record(number, **changes)
        self.world.pictures[f"p{number}.jpg"] = PICTURES["good"](number)

    def asked(self) -> int:
        return len(self.api.log) + len(self.images.log)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    with made.api, made.images:
        yield made


def opened(hosts: Hosts, store: Store, refresh_before: float = 0, **environment: str) -> Tmdb:
    client = Client("tmdb", Http(1000, QUICK, connections=8), Answers(store.folder / FILE), refresh_before)
    return open_tmdb(client, accept_terms=True, environment=hosts.environment | environment)


def run(hosts: Hosts, store: Store, rows: list[dict], **options: float) -> tuple[list[dict], dict[tuple, tuple]]:
    """Return the rows of enriched, and (outcome, detail, attempts) by (movieId, modality)."""
    enriched, report = enrich(store, catalogue(rows), [opened(hosts, store, **options)], SIZE)
    told = {(r["movieId"], r["modality"]): (r["outcome"], r["detail"], r["attempts"]) for r in report.to_pylist()}
    return enriched.to_pylist(), told


# The whole plan, with kills


def wait_for_requests(hosts: list[FakeHost], count: int, process: subprocess.Popen) -> None:
    while sum(len(host.log) for host in hosts) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)


def test_2000_movies_under_every_fault_and_three_kills(tmp_path: Path) -> None:
    made = plan(2000, seed=7)
    data, movies = tmp_path / "data", tmp_path / "movies.parquet"
    data.mkdir()
    pq.write_table(catalogue(made.rows), movies)
    kills, outputs = [], []
    with (
        FakeHost(made.world.api) as api,
        FakeHost(made.world.images) as cdn,
        FakeHost(lambda *_: Answered(200, b"{}")) as stranger,
    ):
        api.plan.update(made.api_faults)
        cdn.plan.update(made.image_faults)
        api.elsewhere = cdn.elsewhere = f"{stranger.url}/stolen?api_key={KEY}"
        environment = os.environ | {"TMDB_API_KEY": KEY, "TMDB_API_URL": api.url, "TMDB_IMAGE_URL": cdn.url}
        environment |= {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(ROOT / "tests" / "fakes" / "killed_run.py"), str(data), str(movies)]
        for share in (900, 2200, 3500):
            process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            wait_for_requests([api, cdn], share, process)
            process.send_signal(signal.SIGKILL)
            outputs.append(process.communicate()[0])
            kills.append(time.monotonic())
            time.sleep(0.2)
        for _ in range(2):
            last_run = time.monotonic()
            done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            outputs += [done.stdout, done.stderr]
        log = api.log + cdn.log
    store = open_store(data, "ml-25m", 42, "02-Data-Enrichment")
    rows, report = store.read("enriched").to_pylist(), store.read("enrichment_report").to_pylist()

    # Every movie has its data or a reason, and the ones that its world calls for.
    assert (len(rows), len(report)) == (2000, 4000)
    assert all(line["detail"] for line in report)
    outcomes: dict[int, dict[str, str]] = defaultdict(dict)
    for line in report:
        outcomes[line["movieId"]][line["modality"]] = line["outcome"]
    wrong = {
        (number, made.rows[number - 1]["kind"]): (got, made.expected[number])
        for number, got in outcomes.items()
        if (got["poster"], got["synopsis"]) != made.expected[number]
    }
    assert wrong == {}
    for each in rows:
        assert (each["synopsis"] is not None) == (outcomes[each["movieId"]]["synopsis"] == "found")
        assert (each["poster_path"] is not None) == (outcomes[each["movieId"]]["poster"] == "found")
        if each["poster_path"]:
            assert images.decode(store.folder / each["poster_path"]).size == SIZE

    # Nothing was answered well twice but what was under way at a kill.
    good: dict[str, list[float]] = defaultdict(list)
    not_pictures = {key for key, answer in made.world.pictures.items() if answer.body.startswith(b"<!DOCTYPE")}
    for asked in log:
        if asked.fault is None and asked.whole_at is not None and asked.key.rpartition("/")[2] not in not_pictures:
            good[asked.key].append(asked.whole_at)
    again = [times for times in good.values() if len(times) > 1]
    in_flight = Counter(min(range(3), key=lambda k: abs(kills[k] - times[0])) for times in again)
    assert all(len(times) == 2 for times in again)
    assert all(count <= killed_run.CONNECTIONS for count in in_flight.values())

    # A run over what is there asks only what failed before, and no other host was ever asked.
    failed = {line["movieId"] for line in report if line["outcome"] == "failed"}
    asked_last = {asked.key for asked in log if asked.at > last_run}
    assert asked_last <= {key for n in failed for key in (f"3/movie/{n}", f"t/p/w92/p{n}.jpg")}
    assert asked_last
    assert stranger.log == []

    # The key went to the API and nowhere else.
    assert {asked.secret for asked in api.log} == {KEY}
    assert {asked.secret for asked in cdn.log} == {None}
    assert (data / "debug.log").stat().st_size > 100_000
    assert all(KEY.encode() not in path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert all(KEY not in output for output in outputs)
    assert not any(path.name.endswith(".tmp") for path in store.path("posters").iterdir())


# What is asked, and what comes of it


def test_both_modalities_take_two_requests(hosts: Hosts, store: Store) -> None:
    hosts.add(862)
    rows, told = run(hosts, store, [row(862)])
    assert rows[0]["synopsis"].startswith("In movie 862 ")
    assert (rows[0]["synopsis_source"], rows[0]["poster_source"]) == ("tmdb", "tmdb")
    assert told == {
        (862, "poster"): ("found", "movie/862, w92/p862.jpg", 2),
        (862, "synopsis"): ("found", "movie/862", 1),
    }
    assert hosts.api.keys() == ["3/movie/862"]
    assert hosts.images.keys() == ["t/p/w92/p862.jpg"]
    assert images.decode(store.folder / "posters/862.jpg").size == SIZE


def test_a_second_run_asks_nothing_and_says_the_same(hosts: Hosts, store: Store) -> None:
    hosts.add(1)
    hosts.add(2, poster_path=None, overview="", original_language="fr")
    hosts.world.pictures.pop("p1.jpg")
    rows = [row(n) for n in (1, 2, 3)]
    hosts.api.plan["3/movie/1"] = ["500"]
    first = run(hosts, store, rows)
    asked = hosts.asked()
    assert run(hosts, store, rows) == first
    assert hosts.asked() == asked
    assert first[1] == {
        (1, "synopsis"): ("found", "movie/1", 2),
        (1, "poster"): ("missing", "its picture is gone (404)", 3),
        (2, "synopsis"): ("missing", "no overview", 2),
        (2, "poster"): ("missing", "no poster", 1),
        (3, "synopsis"): ("missing", "TMDB knows neither the TMDB id nor tt5000003", 2),
        (3, "poster"): ("missing", "TMDB knows neither the TMDB id nor tt5000003", 2),
    }


def test_the_token_goes_into_a_header(hosts: Hosts, store: Store) -> None:
    hosts.add(1)
    tmdb = opened(hosts, store, TMDB_TOKEN=KEY, TMDB_API_KEY="")
    assert enrich(store, catalogue([row(1)]), [tmdb], SIZE)[0].to_pylist()[0]["synopsis"]
    assert [asked.secret for asked in hosts.api.log] == [f"Bearer {KEY}"]
    assert [asked.secret for asked in hosts.images.log] == [None]


def test_the_size_nearest_above_is_asked_for() -> None:
    sizes = [(64, 96), (92, 138), (93, 1), (256, 384), (342, 513), (343, 10), (10, 760), (780, 100), (781, 100)]
    wanted = ["w92", "w92", "w154", "w342", "w342", "w500", "w780", "w780", "original"]
    assert [image_width(size) for size in sizes] == wanted


def test_a_movie_is_found_by_its_imdb_id_where_the_tmdb_id_is_gone(hosts: Hosts, store: Store) -> None:
    hosts.world.finds["tt0000007"] = {"movie_results": [record(77, overview="Found by the other id.")]}
    hosts.world.pictures["p77.jpg"] = PICTURES["good"](1)
    rows, told = run(hosts, store, [row(5, imdbId="7")])
    assert rows[0]["synopsis"] == "Found by the other id."
    assert told[5, "poster"] == ("found", "find/tt0000007, w92/p77.jpg", 3)
    assert hosts.api.keys() == ["3/movie/5", "3/find/tt0000007&external_source=imdb_id"]


def test_another_movie_under_the_tmdb_id_is_not_taken(hosts: Hosts, store: Store) -> None:
    hosts.add(1, imdb_id="tt0000001", title="Other", original_title="Other")
    hosts.add(2, imdb_id="tt0000002")
    hosts.add(3, id=99)
    _, told = run(hosts, store, [row(1), row(2), row(3, imdbId=None)])
    assert told[1, "synopsis"] == ("refused", "TMDB's 1 is another movie (tt0000001 'Other' 1994)", 2)
    # Same title and year: IMDb has merged two numbers.
    assert told[2, "synopsis"][0] == "found"
    assert told[3, "synopsis"] == ("refused", "asked for 3, TMDB answered with 99", 1)


SERIES = Movie(1, "The Long Series", 2011, (), None, 1399)


@pytest.mark.parametrize(
    ("movie", "changes", "wanted"),
    [
        ({}, {"title": "Entirely Other Film", "release_date": "1976-05-05"}, False),
        ({}, {"title": "Entirely Other Film", "release_date": "2013-01-01"}, False),
        ({}, {"title": "Entirely Other Film", "release_date": ""}, False),
        ({"year": None}, {"title": "Entirely Other Film", "release_date": "2011-05-05"}, False),
        ({"imdbId": "0944947"}, {"title": "Entirely Other Film", "release_date": "1976-05-05", "imdb_id": None}, False),
        ({}, {"title": "Una serie lunga", "release_date": "2012-01-01"}, True),
        ({}, {"title": "Long Series", "release_date": "1976-05-05"}, True),
        ({"year": None}, {"title": "Serie", "original_title": "Long Series", "release_date": ""}, True),
    ],
)
def test_without_an_imdb_id_the_title_or_the_year_must_fit(movie: dict, changes: dict, wanted: bool) -> None:
    """TMDB numbers films and series apart: under the id of a series stands some film."""
    facts = {"id": 1399, "title": "", "original_title": "", "imdb_id": "tt0000077"} | changes
    assert same_movie(replace(SERIES, **movie), facts) == wanted


def test_the_film_under_the_id_of_a_series_is_not_taken(hosts: Hosts, store: Store) -> None:
    hosts.add(1399, title="Entirely Other Film", original_title="", release_date="1976-05-05", imdb_id="tt0000077")
    given = row(1, title="Long Series", year=2011, imdbId=None, tmdbId=1399)
    rows, told = run(hosts, store, [given])
    assert (rows[0]["synopsis"], rows[0]["poster_path"]) == (None, None)
    assert told[1, "poster"][:2] == ("refused", "TMDB's 1399 is another movie (tt0000077 'Entirely Other Film' 1976)")


def test_without_ids_title_and_year_decide(hosts: Hosts, store: Store) -> None:
    def result(number: int, title: str, year: int, **changes: object) -> dict:
        return record(number, title=title, original_title=title, release_date=f"{year}-01-01", **changes)

    hosts.world.searches |= {
        "seven": [result(1, "Seven Pounds", 1995), result(2, "Se7en", 1995), result(3, "Se7en", 1995, vote_count=5)],
        "the good, the bad and the ugly": [result(4, "Good, the Bad & the Ugly", 1967)],
        "amélie": [result(5, "Amelie", 2010), result(6, "Amélie", 2001, vote_count=11_000)],
        "heat": [result(7, "Heat", 1986), result(8, "Heat 2", 1995)],
    }
    wanted = [
        ("Seven (Se7en)", 1995, ("found", "search, movie/2", 1)),
        ("The Good, The Bad and The Ugly", 1966, ("found", "search, movie/4", 2)),
        ("Amélie", None, ("found", "search, movie/6", 1)),
        ("Heat", 1995, ("missing", "no ids, and no movie of that title and year", 2)),
        ("Nothing", 1995, ("missing", "no ids, and no movie of that title and year", 2)),
    ]
    rows = [row(n, title=title, year=year, **NO_IDS) for n, (title, year, _) in enumerate(wanted)]
    _, told = run(hosts, store, rows)
    assert [told[n, "synopsis"] for n in range(5)] == [outcome for *_, outcome in wanted]


def test_an_imdb_id_that_is_none_is_not_asked_for(hosts: Hosts, store: Store) -> None:
    movie = Movie(1, "Movie 1", 1994, (), "not/../a number", None)
    hosts.world.searches["movie 1"] = [record(1)]
    assert opened(hosts, store).synopsis(movie).detail == "search, movie/1"


def test_titles_are_compared_without_case_accents_signs_and_articles() -> None:
    assert normalised("The Good, the Bad & the Ugly!") == normalised("Good, The Bad and the Ugly")
    assert normalised("Les Misérables") == "miserables"
    assert normalised("Schindler's List") == normalised("Schindler\u2019s List") == "schindlers list"
    assert normalised("千と千尋の神隠し") != ""
    assert normalised("A") == "a"


@pytest.mark.parametrize(
    ("facts", "text", "detail"),
    [
        ({"overview": " Two\nlines\x00 "}, "Two lines", "movie/1"),
        ({"overview": "", "original_language": "fr"}, "En français.", "movie/1, language fr"),
        ({"overview": "", "original_language": "de"}, None, "no overview"),
        ({"overview": None, "original_language": "../x"}, None, "no overview"),
        ({"overview": "half \ud83d letter"}, "half letter", "movie/1"),
        ({"overview": 7, "original_language": "en"}, None, "no overview"),
    ],
)
def test_overview_then_that_in_the_own_language(
    hosts: Hosts, store: Store, facts: dict, text: str | None, detail: str
) -> None:
    hosts.add(1, **facts)
    hosts.world.languages[1, "fr"] = "En français."
    rows, told = run(hosts, store, [row(1)])
    assert rows[0]["synopsis"] == text
    assert told[1, "synopsis"][1] == detail
    assert rows[0]["poster_source"] == "tmdb"


@pytest.mark.parametrize("path", ["/../../etc/passwd", "//evil.example/x.jpg", "/a.jpg?x=1", 7, "/a.svg"])
def test_a_poster_path_that_is_no_file_name(hosts: Hosts, store: Store, path: object) -> None:
    hosts.add(1, poster_path=path)
    _, told = run(hosts, store, [row(1)])
    assert told[1, "poster"][0] == "refused"
    assert told[1, "poster"][1].startswith("poster_path is no file name")
    assert hosts.images.log == []


def test_pictures_are_decoded_before_they_are_kept(hosts: Hosts, store: Store) -> None:
    for number, kind in enumerate(PICTURES, start=1):
        hosts.add(number)
        hosts.world.pictures[f"p{number}.jpg"] = PICTURES[kind](number)
    _, told = run(hosts, store, [row(number) for number in range(1, len(PICTURES) + 1)])
    reasons = {kind: told[number, "poster"][:2] for number, kind in enumerate(PICTURES, start=1)}
    assert reasons["good"][0] == reasons["wrong type"][0] == "found"
    assert reasons["html"] == ("failed", "not an image (starts with '<!DOCTYPE') (3 attempts)")
    assert reasons["tiny"] == ("refused", "too small (1 x 1, at least 16 a side)")
    assert "truncated or damaged JPEG" in reasons["truncated"][1]
    assert "JPEG" in reasons["corrupt"][1]
    assert sorted(path.name for path in store.path("posters").iterdir()) == ["1.jpg", "2.jpg"]


# Failures, age, and stopping


@pytest.mark.parametrize(
    "answer",
    [
        Answered(200, b"<!DOCTYPE html><title>Log in to the network</title>", {"Content-Type": "text/html"}),
        Answered(302, b"", {"Location": "http://login.example/"}),
        Answered(404, b"<h1>No such page</h1>"),
        as_json({"login": "needed"}),
        as_json({"id": "\ud83d"}),
        as_json({"id": True}),
    ],
    ids=repr,
)
def test_what_tmdb_would_not_say_is_a_failure_and_never_kept(hosts: Hosts, store: Store, answer: Answered) -> None:
    """The login page of a network, for example."""
    rows = [row(n) for n in range(1, 101)]
    for number in range(1, 101):
        hosts.add(number)
    with FakeHost(lambda *_: answer) as portal:
        well = hosts.environment
        hosts.environment = well | {"TMDB_API_URL": portal.url, "TMDB_IMAGE_URL": portal.url}
        _, told = run(hosts, store, rows)
        assert {outcome for outcome, _, _ in told.values()} == {"failed"}
        assert len(portal.log) <= (8 + 8) * 3
    hosts.environment = well
    assert {outcome for outcome, _, _ in run(hosts, store, rows)[1].values()} == {"found"}


def test_a_wrong_key_stops_the_run(hosts: Hosts, store: Store) -> None:
    hosts.environment["TMDB_API_KEY"] = "wrongwrongwrong"
    with pytest.raises(ParameterError, match=r"TMDB refuses the key \(401\). Set TMDB_API_KEY") as caught:
        run(hosts, store, [row(n) for n in range(1, 500)])
    assert "wrongwrong" not in str(caught.value)
    # One request from each connection: nobody asks once more.
    assert len(hosts.api.log) <= 8
    assert not list(store.path("posters").iterdir())


@pytest.mark.parametrize("overview", [KEY, "".join(f"\\u{ord(letter):04x}" for letter in KEY)])
def test_a_key_that_the_host_echoes_reaches_neither_report_nor_synopsis(
    hosts: Hosts, store: Store, overview: str
) -> None:
    body = as_json(record(1, overview="sent KEY", title="KEY")).body.replace(b"KEY", overview.encode())
    hosts.api.answer = lambda *_: Answered(200, body)
    rows, told = run(hosts, store, [row(1)])
    assert told[1, "synopsis"] == ("failed", "the answer echoes the key", 1)
    assert rows[0]["synopsis"] is None
    assert all(KEY.encode() not in path.read_bytes() for path in store.folder.rglob("*") if path.is_file())


def aged(store: Store, days: float) -> None:
    answers = Answers(store.folder / FILE)
    answers._connection.execute("UPDATE answers SET fetched_at = fetched_at - ?", (days * 86400,))
    answers.close()


@pytest.mark.parametrize("days", [2, -3650], ids=["six months", "a wrong clock"])
def test_answers_that_are_too_old_are_deleted_and_never_used(hosts: Hosts, store: Store, days: int) -> None:
    hosts.add(1)
    run(hosts, store, [row(1)])
    aged(store, 179)
    run(hosts, store, [row(1)])
    assert len(hosts.api.log) == 1
    aged(store, days)
    hosts.api.plan["3/movie/1"] = ["500!"]
    tmdb = opened(hosts, store)
    assert "(2 deleted that were too old), each kept for at most 180 days" in tmdb.describe()
    rows, _ = run(hosts, store, [row(1)])
    assert (rows[0]["synopsis"], rows[0]["poster_path"]) == (None, None)
    assert not list(store.path("posters").iterdir())


def test_refresh_asks_anew_and_keeps_the_older_answer_where_that_fails(hosts: Hosts, store: Store) -> None:
    hosts.add(1)
    hosts.add(2)
    run(hosts, store, [row(1), row(2)])
    aged(store, 10)
    hosts.add(1, overview="A new overview.")
    hosts.api.plan["3/movie/2"] = ["500!"]
    fresh, due = time.time() - 11 * 86400, time.time() - 9 * 86400
    assert run(hosts, store, [row(1), row(2)], refresh_before=fresh)[0][0]["synopsis"].startswith("In movie 1")
    rows, _ = run(hosts, store, [row(1), row(2)], refresh_before=due)
    assert rows[0]["synopsis"] == "A new overview."
    assert rows[1]["synopsis"].startswith("In movie 2")
    asked = len(hosts.api.log)
    run(hosts, store, [row(1)], refresh_before=due)
    assert len(hosts.api.log) == asked


def test_ctrl_c_ends_soon_and_the_next_run_goes_on(hosts: Hosts, store: Store, tmp_path: Path) -> None:
    rows = [row(number) for number in range(1, 401)]
    for number in range(1, 401):
        hosts.add(number)
    for number in range(90, 100):
        hosts.api.plan[f"3/movie/{number}"] = ["drip"]
    hosts.api.plan["3/movie/100"] = ["429-after:60"]
    data, movies = store.folder.parent, tmp_path / "movies.parquet"
    pq.write_table(catalogue(rows), movies)
    code = (
        "import sys, pyarrow.parquet as pq; from utils.content.enrichment import *;"
        " from utils.handoff.store import open_store\n"
        "store = open_store(sys.argv[1], 'ml-25m', 42, '02-Data-Enrichment'); movies = pq.read_table(sys.argv[2])\n"
        "tmdb = open_providers(store, 'tmdb', None, movies, requests_per_second=500, accept_tmdb_terms=True)\n"
        "enrich(store, movies, tmdb, (64, 96))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(data), str(movies)],
        env=os.environ | hosts.environment,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(asked.key == "3/movie/100" for asked in hosts.api.log):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    said = process.communicate()[1]
    assert time.monotonic() - start < 10
    assert "KeyboardInterrupt" in said
    assert "movie/s" in said
    hosts.api.plan.clear()
    before = hosts.images.keys()
    result, _ = run(hosts, store, rows)
    assert all(each["poster_path"] and each["synopsis"] for each in result)
    assert len(before) > 20
    # What was under way may be asked again: as many as there were connections.
    assert len(hosts.images.log) <= 400 + 32


# Opening


def test_tmdb_needs_its_terms_accepted(hosts: Hosts, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in hosts.environment.items():
        monkeypatch.setenv(name, value)
    for value in (False, None, 1, "yes"):
        with pytest.raises(ParameterError, match=r"ACCEPT_TMDB_TERMS=.*attribution.*six months.*machine learning"):
            open_providers(store, "tmdb", None, catalogue([]), accept_tmdb_terms=value)
    (tmdb,) = open_providers(store, "tmdb", None, catalogue([]), accept_tmdb_terms=True)
    assert "This product uses the TMDB API but is not endorsed or certified by TMDB." in tmdb.describe()
    assert hosts.api.log == []


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"TMDB_API_KEY": ""}, "neither TMDB_API_KEY nor TMDB_TOKEN is set"),
        ({"TMDB_API_KEY": "two words here"}, "TMDB_API_KEY does not look like a key"),
        ({"TMDB_TOKEN": "line\nbreak-in-token"}, "TMDB_TOKEN does not look like a key"),
        ({"TMDB_API_URL": "http://api.example.org"}, "TMDB_API_URL='http://api.example.org' cannot be asked"),
        ({"TMDB_API_URL": "http://127.0.0.1.evil.org"}, "TMDB_API_URL='http://127.0.0.1.evil.org' cannot be asked"),
        ({"TMDB_API_URL": "file:///etc"}, "TMDB_API_URL='file:///etc' cannot be asked"),
        ({"TMDB_API_URL": "https://me:pass@x.org"}, "TMDB_API_URL='x.org' cannot be asked"),
        ({"TMDB_IMAGE_URL": "https://x.org/?a=b"}, "TMDB_IMAGE_URL='https://x.org/\\?a=b' cannot be asked"),
        ({"TMDB_IMAGE_URL": "ftp"}, "TMDB_IMAGE_URL='ftp' cannot be asked"),
    ],
)
def test_keys_and_addresses_that_cannot_be_used(
    hosts: Hosts, store: Store, environment: dict[str, str], reason: str
) -> None:
    with pytest.raises(ParameterError, match=reason) as caught:
        opened(hosts, store, **environment)
    assert "me:pass" not in str(caught.value)
