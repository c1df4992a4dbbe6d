"""Fetches many small answers from few hosts: as fast as allowed, never faster, and no longer than it makes sense.

``Fetcher.get`` is called from many threads. All of them share one rate, one pool of connections per
host, and one opinion of each host: when it asks for a pause everyone pauses, and when it is down the
requests that remain end at once with that reason.
"""

import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from tqdm.auto import tqdm

from utils.fetching.request import Fault, FetchError, Site, Unreachable, Unusable, new_session, send
from utils.fetching.transport import Stopped

__all__ = ["FetchError", "Fetcher", "Limits", "Pace", "Reply", "Site", "Stopped", "Unreachable", "Unusable"]

MOST_JSON = 4 * 2**20


@dataclass(frozen=True)
class Limits:
    """How patient the fetcher is. Times in seconds."""

    attempts: int = 5
    connect: float = 10.0
    stall: float = 15.0
    """Longest silence within an answer."""
    deadline: float = 60.0
    """From sending a request to the last byte of its answer."""
    back_off: float = 0.5
    """Upper bound of the first pause; doubled for each further one."""
    longest_back_off: float = 30.0
    longest_wait: float = 300.0
    """A host that asks in Retry-After for more is given up for this run."""
    failures: int = 8
    """So many requests in a row that fail after all attempts mean that the host is down."""
    redirects: int = 3
    bad_bodies: int = 2
    """How often an answer is asked for whose body cannot be used."""


@dataclass(frozen=True)
class Reply:
    """An answer: status 200 with a body that passed its check, or another 2xx or 4xx status."""

    status: int
    body: bytes
    attempts: int


class Pace:
    """A token bucket: ``rate`` requests a second, and in no second more than ``rate + burst``.

    A quarter of ``burst`` may be saved up while nothing is asked; the rest is left for threads and networks
    that deliver requests closer together than they were let go.
    """

    def __init__(self, rate: float, burst: float | None = None) -> None:
        self._gap = 1 / rate
        self._saved = (rate / 10 if burst is None else burst) / 4 * self._gap
        self._next = 0.0
        self._lock = threading.Lock()

    def slot(self) -> float:
        """Take the next token; return in how many seconds it is due."""
        with self._lock:
            now = time.monotonic()
            due = max(self._next, now - self._saved)
            self._next = due + self._gap
            return due - now


class _Host:
    """What all threads know of one host."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.wake = threading.Event()
        self.hold_until = 0.0
        self.failures = 0
        self.down: str | None = None


class Fetcher:
    """Asks hosts concurrently within one rate. Use ``get`` from as many threads as ``connections``."""

    def __init__(
        self, rate: float, limits: Limits | None = None, *, burst: float | None = None, connections: int = 32
    ) -> None:
        """``rate`` in requests a second, retries and redirects included; ``burst`` as in ``Pace``."""
        self.limits = limits or Limits()
        self.connections = connections
        self.requests = 0
        self._pace = Pace(rate, burst)
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._random = random.Random()
        self._session = new_session(connections)

    def stop(self) -> None:
        """Make every request under way or waiting, in any thread, end with Stopped."""
        self._stopping.set()
        for host in list(self._hosts.values()):
            host.wake.set()

    def resume(self) -> None:
        """Undo ``stop`` and give every host another chance."""
        with self._lock:
            self._stopping.clear()
            self._hosts.clear()

    def get(
        self,
        site: Site,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        check: Callable[[bytes], object] | None = None,
        most: int = MOST_JSON,
    ) -> Reply:
        """Return what ``site`` answers for ``path`` (joined to its base address) and ``params``.

        ``check`` raises ValueError for a body that cannot be used; ``most`` is its size in bytes. Raises
        Unreachable, Unusable or, after ``stop``, Stopped. No message ever holds the site's secrets.
        """
        url = site.url.rstrip("/") + "/" + quote(path.lstrip("/"), safe="/%")
        if params:
            url += "?" + urlencode(params)
        host = self._host(urlsplit(url).netloc)
        bad_bodies = 0
        for attempt in range(1, self.limits.attempts + 1):
            self._admit(host, attempt - 1)
            try:
                status, body = self._follow(site, url, host, check, most)
            except Fault as fault:
                bad_bodies += fault.bad_body
                reason = str(fault)
                if fault.bad_body and bad_bodies >= self.limits.bad_bodies:
                    self._answered(host)
                    raise Unusable(reason, attempt) from None
                if not fault.again:
                    self._failed(host, reason, attempt)
                if attempt < self.limits.attempts:
                    self._pause(host, fault, attempt)
            except Unusable as unusable:
                self._answered(host)
                unusable.attempts = attempt
                raise
            else:
                self._answered(host)
                return Reply(status, body, attempt)
        self._failed(host, f"{reason} ({attempt} attempts)", attempt)
        raise AssertionError("unreachable")

    def _host(self, name: str) -> _Host:
        with self._lock:
            return self._hosts.setdefault(name, _Host(name))

    def _admit(self, host: _Host, attempts: int) -> None:
        """Wait until a request may be sent: the host's pause is over and a token is there."""
        while True:
            self._check(host, attempts)
            hold = host.hold_until - time.monotonic()
            if hold > 0:
                host.wake.wait(hold)
                continue
            due = self._pace.slot()
            if due > 0:
                host.wake.wait(due)
                self._check(host, attempts)
            if host.hold_until <= time.monotonic():
                return

    def _check(self, host: _Host, attempts: int) -> None:
        if self._stopping.is_set():
            raise Stopped
        if host.down is not None:
            raise Unreachable(host.down, attempts)

    def _pause(self, host: _Host, fault: Fault, attempt: int) -> None:
        """Wait before the next attempt: what the host asked for, else back-off with full jitter."""
        if fault.wait is None:
            most = min(self.limits.longest_back_off, self.limits.back_off * 2 ** (attempt - 1))
            host.wake.wait(self._random.uniform(0, most))
        elif fault.wait > self.limits.longest_wait:
            reason = f"{host.name} asks to wait {fault.wait:,.0f} seconds; run this again then"
            self._open(host, reason)
            raise Unreachable(reason, attempt)
        else:
            with host.lock:
                host.hold_until = max(host.hold_until, time.monotonic() + fault.wait)

    def _answered(self, host: _Host) -> None:
        with host.lock:
            host.failures = 0

    def _failed(self, host: _Host, reason: str, attempts: int) -> None:
        with host.lock:
            host.failures += 1
            down = host.failures >= self.limits.failures
        if down:
            last = f"{host.name} is down: {host.failures} requests in a row failed, the last with: {reason}"
            self._open(host, last)
        raise Unreachable(reason, attempts)

    def _open(self, host: _Host, reason: str) -> None:
        with host.lock:
            first, host.down = host.down is None, host.down or reason
        host.wake.set()
        if first:
            tqdm.write(f"{reason}. What is still to be asked of it is left for another run.", file=sys.stderr)

    def _follow(
        self, site: Site, url: str, host: _Host, check: Callable[[bytes], object] | None, most: int
    ) -> tuple[int, bytes]:
        """Send one request, and where it is redirected to an allowed host, the next one."""
        for _ in range(self.limits.redirects + 1):
            with self._lock:
                self.requests += 1
            status, body, target = send(
                self._session,
                site,
                url,
                connect=self.limits.connect,
                stall=self.limits.stall,
                deadline=self.limits.deadline,
                stopping=self._stopping,
                check=check,
                most=most,
            )
            if target is None:
                return status, body
            url = target
            self._admit(host, 1)
        raise Unusable(f"redirects more than {self.limits.redirects} times")
