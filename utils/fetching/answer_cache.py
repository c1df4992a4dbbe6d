"""Remembers what hosts answered, so that no question is asked twice: one SQLite file below the data folder.

Every answer is committed as soon as it is there, the negative ones too. A process that is killed loses
the requests it had under way and nothing else. Failures of a host are no answers and never get here.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from utils.handoff.store import DataFolderError

FILE = ".answers.sqlite"
"""Its name beside ``manifest.json``."""
_VERSION = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    provider TEXT NOT NULL,
    key TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    body BLOB,
    detail TEXT,
    attempts INTEGER NOT NULL,
    fetched_at REAL NOT NULL,
    PRIMARY KEY (provider, key)
)
"""
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """One answer of one provider.

    ``key`` names the question and holds no secret. ``outcome`` is "found" (``body`` has it), "missing" (the
    provider has none), "refused" (what it has cannot be used) or, never stored, "failed". ``attempts`` counts
    the requests it took, ``fetched_at`` is in seconds since 1970.
    """

    provider: str
    key: str
    outcome: str
    status: int | None = None
    body: bytes | None = None
    detail: str | None = None
    attempts: int = 1
    fetched_at: float = 0.0


class Answers:
    """The file, opened; safe to use from many threads and several processes."""

    def __init__(self, path: Path) -> None:
        """Open or make ``path``. Raises DataFolderError where that cannot be."""
        self.path = path
        self._lock = threading.Lock()
        self._connection = self._reached(self._open)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            # With a log beside the file a commit needs no wait for the disk, and a kill loses no commit.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            # What must be forgotten after six months is overwritten, not only unlinked.
            connection.execute("PRAGMA secure_delete=ON")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise DataFolderError(
                    f"{self.path} was written by another version of this series (layout {version}, not {_VERSION}). "
                    "Delete it: its answers are then fetched again."
                )
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA user_version={_VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection

    def get(self, provider: str, key: str) -> Answer | None:
        """Return what ``provider`` answered to ``key``, or None where it was never asked."""
        query = "SELECT * FROM answers WHERE provider = ? AND key = ?"
        row = self._do(lambda connection: connection.execute(query, (provider, key)).fetchone())
        return None if row is None else Answer(*row)

    def put(self, answer: Answer) -> Answer:
        """Store ``answer`` under its key, committed when this returns; return it with its time."""
        row = (
            *(answer.provider, answer.key, answer.outcome, answer.status, answer.body, answer.detail),
            *(answer.attempts, answer.fetched_at or time.time()),
        )
        query = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        self._do(lambda connection: connection.execute(query, row))
        return Answer(*row)

    def purge(self, provider: str, before: float) -> int:
        """Delete what ``provider`` answered before that time (seconds since 1970); return how many answers."""
        query = "DELETE FROM answers WHERE provider = ? AND fetched_at < ?"
        return self._do(lambda connection: connection.execute(query, (provider, before)).rowcount)

    def counts(self, provider: str) -> dict[str, int]:
        """Return how many answers of each outcome ``provider`` has given."""
        query = "SELECT outcome, count(*) FROM answers WHERE provider = ? GROUP BY outcome ORDER BY outcome"
        return dict(self._do(lambda connection: connection.execute(query, (provider,)).fetchall()))

    def close(self) -> None:
        """Close the file; its log is folded in."""
        with self._lock:
            self._connection.close()

    def _do(self, act: Callable[[sqlite3.Connection], T]) -> T:
        def locked() -> T:
            with self._lock:
                return act(self._connection)

        return self._reached(locked)

    def _reached(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise DataFolderError(
                    f"No space left to write {self.path}. What is in it is unharmed. Free some space or set DATA_DIR "
                    "to a larger disk, then run this notebook again: it goes on where it was."
                ) from error
            raise DataFolderError(
                f"{self.path} cannot be used ({error}). Is another process busy with it, and may you write there?"
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataFolderError(
                f"{self.path} is damaged or no SQLite file ({error}). Delete it: its answers are then fetched again."
            ) from error
