"""utils.fetching.answer_cache: what is put is there, whatever happens to the process, and nothing else is."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.places import ROOT
from utils.fetching.answer_cache import Answer, Answers
from utils.handoff.store import DataFolderError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".answers.sqlite"


def test_every_kind_of_answer_comes_back(path: Path) -> None:
    answers = Answers(path)
    found = answers.put(Answer("tmdb", "movie/1", "found", 200, b"\x00\xff{}", None, 3))
    missing = answers.put(Answer("tmdb", "movie/2", "missing", 404, detail="TMDB does not have it (404/34)"))
    assert abs(found.fetched_at - time.time()) < 5
    answers.close()
    again = Answers(path)
    assert again.get("tmdb", "movie/1") == found
    assert again.get("tmdb", "movie/2") == missing
    assert again.get("tmdb", "movie/3") is None
    assert again.get("wikipedia", "movie/1") is None
    assert again.counts("tmdb") == {"found": 1, "missing": 1}


def test_a_newer_answer_takes_the_place_of_the_older(path: Path) -> None:
    answers = Answers(path)
    answers.put(Answer("tmdb", "movie/1", "missing"))
    answers.put(Answer("tmdb", "movie/1", "found", body=b"x"))
    found = answers.get("tmdb", "movie/1")
    assert found is not None
    assert (found.outcome, found.body) == ("found", b"x")
    assert answers.counts("tmdb") == {"found": 1}


def test_purged_answers_leave_nothing_in_the_file(path: Path) -> None:
    answers = Answers(path)
    answers.put(Answer("tmdb", "old", "found", body=b"an old secret overview" * 500, fetched_at=1000.0))
    answers.put(Answer("tmdb", "new", "found", body=b"a new overview", fetched_at=3000.0))
    answers.put(Answer("wikipedia", "old", "found", body=b"free text", fetched_at=1000.0))
    assert answers.purge("tmdb", 2000.0) == 1
    assert answers.get("tmdb", "old") is None
    assert answers.get("tmdb", "new") is not None
    assert answers.get("wikipedia", "old") is not None
    answers.close()
    assert b"old secret" not in path.read_bytes()
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]


def test_many_threads_and_two_openings(path: Path) -> None:
    both = [Answers(path), Answers(path)]

    def write(number: int) -> None:
        for step in range(50):
            both[number % 2].put(Answer("tmdb", f"{number}/{step}", "found", body=bytes(100)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert both[0].counts("tmdb") == {"found": 300}


def test_what_was_put_survives_a_kill(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from utils.fetching.answer_cache import *;"
        " answers = Answers(Path(sys.argv[1]))\n"
        "for n in range(10**6): answers.put(Answer('tmdb', str(n), 'found', body=bytes(2000))); print(n, flush=True)"
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
    answers = Answers(path)
    assert last >= 300
    assert answers.counts("tmdb")["found"] in (last + 1, last + 2)


def test_a_file_that_is_none_of_ours(path: Path) -> None:
    path.write_bytes(b"<html>" * 1000)
    with pytest.raises(DataFolderError, match=r"answers.sqlite is damaged or no SQLite file .*Delete it"):
        Answers(path)
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version=7")
    other.close()
    with pytest.raises(DataFolderError, match=r"another version of this series \(layout 7, not 1\). Delete it"):
        Answers(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataFolderError, match=r"cannot be used \(unable to open database file\)"):
        Answers(tmp_path / "nowhere" / ".answers.sqlite")


def test_a_full_disk_is_said_and_harms_nothing(path: Path) -> None:
    answers = Answers(path)
    answers.put(Answer("tmdb", "kept", "found"))
    answers._connection.execute("PRAGMA max_page_count=10")
    with pytest.raises(DataFolderError, match=r"No space left to write .*it goes on where it was"):
        answers.put(Answer("tmdb", "large", "found", body=bytes(10**6)))
    assert answers.counts("tmdb") == {"found": 1}
