"""utils.fetching.answers: what is put is there, whatever happens to the process, for as long as it should be."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.fakes.server import FakeHost, as_json
from tests.places import ROOT
from utils.fetching.answers import DAY, Answer, Answers, Client
from utils.fetching.connections import Site
from utils.fetching.http import FetchError, Http, Limits, Reply
from utils.handoff.atomic import DataFolderError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".answers.sqlite"


def test_every_kind_of_answer_comes_back_and_a_newer_one_takes_its_place(path: Path) -> None:
    answers = Answers(path)
    answers.put(Answer("tmdb", "movie/1", "missing"))
    found = answers.put(Answer("tmdb", "movie/1", "found", b"\x00\xff{}", None, 3))
    missing = answers.put(Answer("tmdb", "movie/2", "missing", detail="TMDB does not have it (404/34)"))
    assert abs(found.fetched_at - time.time()) < 60
    answers.close()
    again = Answers(path)
    assert again.get("tmdb", "movie/1") == found
    assert again.get("tmdb", "movie/2") == missing
    assert again.get("tmdb", "movie/3") is again.get("wikipedia", "movie/1") is None
    assert again.count("tmdb") == 2


def test_purged_answers_leave_nothing_in_the_file(path: Path) -> None:
    answers = Answers(path)
    answers.put(Answer("tmdb", "old", "found", b"an old secret overview" * 500, fetched_at=1000.0))
    answers.put(Answer("tmdb", "of a wrong clock", "found", b"another secret", fetched_at=time.time() + 3650 * DAY))
    answers.put(Answer("tmdb", "new", "found", b"a new overview", fetched_at=3000.0))
    answers.put(Answer("wikipedia", "old", "found", b"free text", fetched_at=1000.0))
    assert answers.purge("tmdb", 2000.0) == 2
    assert (answers.count("tmdb"), answers.count("wikipedia")) == (1, 1)
    answers.close()
    assert b"secret" not in path.read_bytes()
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]


def test_many_threads_and_two_openings(path: Path) -> None:
    both = [Answers(path), Answers(path)]

    def write(number: int) -> None:
        for step in range(50):
            both[number % 2].put(Answer("tmdb", f"{number}/{step}", "found", bytes(100)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert both[0].count("tmdb") == 300


def test_what_was_put_survives_a_kill(path: Path) -> None:
    code = (
        "import sys; from utils.fetching.answers import *; answers = Answers(Path(sys.argv[1]))\n"
        "for n in range(10**6): answers.put(Answer('tmdb', str(n), 'found', bytes(2000))); print(n, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 300:
                process.send_signal(signal.SIGKILL)
                break
        last = int([line for line in [line, *process.stdout] if line.endswith("\n")][-1])
    assert last >= 300
    assert Answers(path).count("tmdb") in (last + 1, last + 2)


def test_a_file_that_is_none_of_ours(path: Path) -> None:
    path.write_bytes(b"<html>" * 1000)
    with pytest.raises(DataFolderError, match=r"answers.sqlite cannot be used \(file is not a database\).*delete it"):
        Answers(path)
    with pytest.raises(DataFolderError, match=r"cannot be used \(unable to open database file\)"):
        Answers(path.parent / "nowhere" / path.name)


def test_a_file_of_an_earlier_version_loses_what_could_not_be_used(path: Path) -> None:
    with sqlite3.connect(path) as old:
        columns = "provider, key, outcome, status, body, detail, attempts, fetched_at, PRIMARY KEY (provider, key)"
        old.execute(f"CREATE TABLE answers ({columns})")
        for key, outcome in (("good", "found"), ("login page", "refused")):
            old.execute("INSERT INTO answers VALUES ('tmdb', ?, ?, 200, ?, NULL, 1, 5.0)", (key, outcome, b"{}"))
    old.close()
    answers = Answers(path)
    assert answers.get("tmdb", "good") == Answer("tmdb", "good", "found", b"{}", None, 1, 5.0)
    assert answers.get("tmdb", "login page") is None
    assert answers.put(Answer("tmdb", "new", "missing")) == answers.get("tmdb", "new")


def test_a_full_disk_is_said_and_harms_nothing(path: Path) -> None:
    answers = Answers(path)
    answers.put(Answer("tmdb", "kept", "found"))
    answers._connection.execute("PRAGMA max_page_count=10")
    with pytest.raises(
        DataFolderError, match=r"cannot be used \(database or disk is full\). Free some space .*goes on"
    ):
        answers.put(Answer("tmdb", "large", "found", bytes(10**6)))
    assert answers.count("tmdb") == 1


# Asking for what is not there


def says(body: bytes, nothing: str | None = None) -> Callable[[bool], Reply]:
    return lambda counts: Reply(body, 2, nothing)


def fails(counts: bool) -> Reply:
    raise FetchError("the host answered 500 (5 attempts)", 5)


def test_failures_end_with_the_run_and_answers_do_not(path: Path) -> None:
    client = Client("tmdb", Http(100), Answers(path))
    assert client.ask("1", says(b"{}")).outcome == "found"
    assert client.ask("2", says(b"<h1>", "TMDB does not have it")).detail == "TMDB does not have it"
    assert client.ask("3", fails) == client.ask("3", says(b"{}"))
    assert (client.ask("3", fails).outcome, client.ask("3", fails).attempts) == ("failed", 5)
    client.resume()
    assert client.ask("1", fails).outcome == "found"
    assert client.ask("2", fails).outcome == "missing"
    assert client.ask("3", says(b"{}")).outcome == "found"
    assert client.answers.count("tmdb") == 3


@pytest.mark.parametrize("days", [20, -3650])
def test_an_old_answer_or_one_from_the_future_is_asked_for_anew_and_stands_in(path: Path, days: int) -> None:
    answers = Answers(path)
    client = Client("tmdb", Http(100), answers, refresh_before=time.time() - 10 * DAY)
    for key in ("1", "2"):
        answers.put(Answer("tmdb", key, "found", b"old", fetched_at=time.time() - days * DAY))
    assert client.known("1") is None
    assert client.ask("1", says(b"new")).body == b"new"
    assert client.ask("2", fails).body == b"old"


def test_threads_share_a_question(path: Path) -> None:
    client, asked, together = Client("tmdb", Http(100), Answers(path)), [], threading.Barrier(8)

    def fetch(counts: bool) -> Reply:
        asked.append(1)
        return Reply(b"{}", 1, None)

    def ask() -> None:
        together.wait()
        client.ask("1", fetch)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [1]


def test_what_failed_in_an_earlier_run_does_not_end_this_one(path: Path) -> None:
    """Were it otherwise, eight movies that always fail, asked in a row, would keep every run from getting past them."""
    http = Http(1000, Limits(attempts=1, failures=3))
    with FakeHost(lambda path, *_: as_json({}, 500 if "bad" in path else 200)) as fake:

        def ask(key: str) -> str:
            return client.ask(key, partial(http.get, Site(fake.url), key, accept=lambda *_: None)).outcome

        client = Client("tmdb", http, Answers(path))
        assert [ask(key) for key in ("bad/1", "bad/2", "good/1", "bad/3", "bad/4", "good/2")].count("failed") == 4
        client = Client("tmdb", http, Answers(path))
        assert [ask(key) for key in ("bad/1", "bad/2", "bad/3", "bad/4", "good/3")] == ["failed"] * 4 + ["found"]
        assert [ask(key) for key in ("bad/5", "bad/6", "bad/7", "good/4")] == ["failed"] * 4
        # The last was not asked any more, so nothing is known of it.
        assert client.answers.get("tmdb", "good/4") is None
