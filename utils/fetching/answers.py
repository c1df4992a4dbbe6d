"""What hosts have answered, and for how long it is kept: no question is asked twice.

``Answers`` is one SQLite file below the data folder. Every answer is committed as soon as it is there, also that a host
has nothing. A killed process loses the requests it had under way and nothing else. ``Client`` asks what the file lacks.
What failed is asked again in the next run.

The file keeps answers by question, not by address, because hosts that are asked in batches are asked with another
address whenever one movie of a batch has been found elsewhere.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from utils.fetching.connections import Site
from utils.fetching.http import FetchError, Http, Reply
from utils.handoff import parameters
from utils.handoff.atomic import DataFolderError
from utils.handoff.parameters import ParameterError

FILE = ".answers.sqlite"
"""Its name beside ``manifest.json``."""
DAY = 86_400.0
_COLUMNS = "provider, key, outcome, body, detail, attempts, fetched_at"
_OPENING = (
    # With a log beside the file a commit needs no wait for the disk, and a kill loses no commit.
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    # What must be forgotten after six months is overwritten, not only unlinked.
    "PRAGMA secure_delete=ON",
    "CREATE TABLE IF NOT EXISTS answers (provider TEXT NOT NULL, key TEXT NOT NULL, outcome TEXT NOT NULL, body BLOB, "
    "detail TEXT, attempts INTEGER NOT NULL, fetched_at REAL NOT NULL, PRIMARY KEY (provider, key))",
    # Earlier versions kept what could not be used, such as the login page of a network.
    "DELETE FROM answers WHERE outcome = 'refused'",
)
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """One answer of one provider.

    ``key`` names the question and holds no secret. ``outcome`` is "found" (``body`` has it), "missing" (the provider
    has none; ``detail`` says why) or "failed" (there is no answer). ``attempts`` counts the requests it took,
    ``fetched_at`` is in seconds since 1970.
    """

    provider: str
    key: str
    outcome: str
    body: bytes = b""
    detail: str | None = None
    attempts: int = 1
    fetched_at: float = 0.0


class Answers:
    """The file, opened; safe to use from many threads and several processes."""

    def __init__(self, path: Path) -> None:
        """Open or make ``path``. Raises DataFolderError where that cannot be."""
        self.path = path
        self._lock = threading.Lock()
        with self._reached():
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            for statement in _OPENING:
                self._connection.execute(statement)

    def get(self, provider: str, key: str) -> Answer | None:
        """Return what ``provider`` answered to ``key``, or None where it was never asked."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM answers WHERE provider = ? AND key = ?", provider, key)
        return Answer(*rows[0]) if rows else None

    def put(self, answer: Answer) -> Answer:
        """Store ``answer`` under its key, committed when this returns; return it with its time."""
        values = (answer.provider, answer.key, answer.outcome, answer.body, answer.detail, answer.attempts)
        row = (*values, answer.fetched_at or time.time())
        self._rows(f"INSERT OR REPLACE INTO answers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", *row)
        return Answer(*row)

    def purge(self, provider: str, before: float) -> int:
        """Delete what ``provider`` answered before that time, or later than now (a wrong clock); return how many.

        ``before`` is in seconds since 1970.
        """
        query = "DELETE FROM answers WHERE provider = ? AND (fetched_at < ? OR fetched_at > ?) RETURNING 1"
        return len(self._rows(query, provider, before, time.time()))

    def count(self, provider: str, after: float = 0.0, until: float = float("inf")) -> int:
        """Return how many answers ``provider`` gave between two times, in seconds since 1970."""
        query = "SELECT count(*) FROM answers WHERE provider = ? AND outcome != 'failed'"
        return self._rows(f"{query} AND fetched_at > ? AND fetched_at <= ?", provider, after, until)[0][0]

    def close(self) -> None:
        """Close the file; its log is folded in."""
        with self._lock:
            self._connection.close()

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._lock, self._reached():
            return self._connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            space = "Free some space or set DATA_DIR to a larger disk, then run this again: it goes on where it was."
            other = "May you write there? If the file is damaged, delete it: its answers are then fetched again."
            remedy = space if "full" in str(error) else other
            raise DataFolderError(f"{self.path} cannot be used ({error}). {remedy}") from error


def fresh_since(requests_per_second: float, refresh_days: int | None) -> float:
    """Check REQUESTS_PER_SECOND and REFRESH_DAYS; return from when on answers are fresh, in seconds since 1970.

    Raises ParameterError.
    """
    rate = requests_per_second
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0.1 <= rate <= 1000:
        raise ParameterError(f"REQUESTS_PER_SECOND={rate!r} must be a number of at least 0.1 and at most 1000.")
    parameters.whole("REFRESH_DAYS", refresh_days, least=0, none=True)
    return 0.0 if refresh_days is None else time.time() - refresh_days * DAY


class Client:
    """Asks through ``Http`` what ``Answers`` does not have.

    Threads that ask the same question at once share one request. An answer from before ``refresh_before`` (seconds
    since 1970), or dated later than now, is asked for anew, and stands in where that fails.
    """

    def __init__(self, provider: str, http: Http, answers: Answers, refresh_before: float = 0.0) -> None:
        self.provider, self.http, self.answers = provider, http, answers
        self._refresh_before = refresh_before
        self._failed: dict[str, Answer] = {}
        self._asking: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def resume(self) -> None:
        """Forget what failed, and let ``Http`` go on after a stop."""
        self._failed.clear()
        self.http.resume()

    def known(self, key: str) -> Answer | None:
        """Return the answer to ``key`` where it is there and fresh, or the failure of this run; else None."""
        if key in self._failed:
            return self._failed[key]
        answer = self.answers.get(self.provider, key)
        if answer is None or answer.outcome == "failed":
            return None
        return answer if self._refresh_before <= answer.fetched_at <= time.time() else None

    def remember(
        self, key: str, outcome: str, body: bytes = b"", detail: str | None = None, attempts: int = 1
    ) -> Answer:
        """Store an answer. A failure holds for this run only, and only where there is no older answer."""
        answer = Answer(self.provider, key, outcome, body, detail, attempts)
        if outcome != "failed":
            return self.answers.put(answer)
        older = self.answers.get(self.provider, key)
        if older is not None and older.outcome != "failed":
            answer = older
        elif attempts > 0:
            self.answers.put(answer)
        self._failed[key] = answer
        return answer

    def ask(self, key: str, fetch: Callable[..., Reply]) -> Answer:
        """Return what is known of ``key``, or what ``fetch`` returns: ``Http.get`` with all arguments but ``counts``.

        Raises ParameterError and Stopped.
        """
        with self._lock:
            lock = self._asking.setdefault(key, threading.Lock())
        with lock:
            answer = self.known(key) or self._fetched(key, fetch)
        with self._lock:
            self._asking.pop(key, None)
        return answer

    def _fetched(self, key: str, fetch: Callable[..., Reply]) -> Answer:
        # What failed in an earlier run may fail for ever. If it counted, some of those in a row would end each run.
        earlier = self.answers.get(self.provider, key)
        try:
            reply = fetch(counts=earlier is None or earlier.outcome != "failed")
        except FetchError as error:
            return self.remember(key, "failed", detail=str(error), attempts=error.attempts)
        if reply.nothing is not None:
            return self.remember(key, "missing", detail=reply.nothing, attempts=reply.attempts)
        return self.remember(key, "found", reply.body, attempts=reply.attempts)

    def ask_for_all(
        self, keys: Sequence[str], site: Site, path: str, params: Mapping[str, str], read: Callable[[bytes], T]
    ) -> tuple[T, int] | None:
        """Put one question about all ``keys``; return (what ``read`` makes of the answer, attempts).

        None where that fails, which is then known of all of them: a bad answer to a batch says nothing about its
        members. ``read`` raises ValueError for what this host would not say. What came is for the caller to remember.
        """

        def accept(status: int, body: bytes) -> None:
            if status != 200:
                raise ValueError(f"the host answered {status}")
            read(body)

        try:
            reply = self.http.get(site, path, params, accept=accept)
        except FetchError as error:
            for key in keys:
                self.remember(key, "failed", detail=str(error), attempts=error.attempts)
            return None
        return read(reply.body), reply.attempts
