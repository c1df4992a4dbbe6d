"""Asks hosts many small questions: as fast as allowed, with few tries each, and no longer than it makes sense.

``Http.get`` returns what the host itself said, or raises FetchError. Whatever else comes back is a failure of the host:
a login page, a redirect elsewhere, too many bytes, too few in time. A host that fails several times in a row is left
alone, so that a run over 60,000 movies ends. All threads share one rate and one opinion of each host.
"""

import json
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from pyrate_limiter import Rate, RateItem, StateBucket
from tqdm.auto import tqdm

from utils.fetching.connections import Connections, Fault, Site, Stopped
from utils.handoff.parameters import ParameterError

MOST_JSON = 4 * 2**20
"""Largest answer of an API, in bytes."""
_GLANCE = 0.1
"""Longest sleep of a waiting thread, in seconds, before it looks whether to go on waiting."""
# http on this machine alone; no name, password, query or fragment.
_SAFE_URL = re.compile(r"(https://[\w.-]+|http://(localhost|127\.[0-9.]+|\[::1\]))(:[1-9][0-9]*)?(/[^\s@?#\\]*)?")


@dataclass(frozen=True)
class Limits:
    """How patient ``Http`` is. Times in seconds."""

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
    """A host that asks for more in Retry-After is left alone for this run."""
    failures: int = 8
    """So many questions in a row that fail after all attempts mean that the host is down."""
    redirects: int = 3


@dataclass(frozen=True)
class Reply:
    """What a host said. ``nothing`` is the reason why it has nothing to give, or None."""

    body: bytes
    attempts: int
    nothing: str | None


class FetchError(RuntimeError):
    """A question did not lead to an answer; another time it may. ``attempts`` counts what was sent."""

    def __init__(self, reason: str, attempts: int) -> None:
        super().__init__(reason)
        self.attempts = attempts


@dataclass
class _Host:
    """What all threads know of one host."""

    name: str
    hold_until: float = 0.0
    failures: int = 0
    down: str | None = None


class Http:
    """Asks hosts within one rate; call ``get`` from as many threads as ``connections``."""

    def __init__(self, rate: float, limits: Limits | None = None, connections: int = 32) -> None:
        """``rate`` in requests a second, retries and redirects included."""
        self.limits = limits = limits or Limits()
        self.connections = connections
        self._connections = Connections(connections, limits.connect, limits.stall, limits.deadline)
        # A small burst, because threads and networks deliver requests closer together than they were let go.
        self._pace = StateBucket([Rate(round(rate * 1000), 1_000_000, burst=1 + int(rate / 40))])
        self._gap = min(_GLANCE, 1 / rate)
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Make every request under way or waiting, in any thread, end with Stopped."""
        self._connections.stop()

    def resume(self) -> None:
        """Undo ``stop`` and give every host another chance."""
        self._connections.stopping.clear()
        self._hosts.clear()

    def get(
        self,
        site: Site,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        accept: Callable[[int, bytes], str | None],
        most: int = MOST_JSON,
        counts: bool = True,
    ) -> Reply:
        """Ask ``site`` for ``path`` (joined to its base address) with ``params``.

        ``accept`` is given the status (200, 401, 404 or 410) and the body, which has at most ``most`` bytes. It returns
        None, or the reason why the host has nothing to give; it raises ValueError for what this host would not say
        and ParameterError to end it all. ``counts`` is whether a failure says something about the host. Raises
        ParameterError, FetchError, or Stopped after ``stop``. No message holds an address or a secret.
        """
        query = f"?{urlencode(params)}" if params else ""
        url = f"{site.url.rstrip('/')}/{quote(path.lstrip('/'), safe='/%')}{query}"
        host = self._hosts.setdefault(urlsplit(url).netloc, _Host(urlsplit(url).netloc))
        for attempt in range(1, self.limits.attempts + 1):
            try:
                status, body = self._follow(site, url, host, attempt - 1, most)
                nothing = accept(status, body)
            except ParameterError:
                raise
            except ValueError as fault:
                wait, again = getattr(fault, "wait", 0.0), getattr(fault, "again", True)
                if wait > self.limits.longest_wait:
                    self._leave(host, f"{host.name} asks to wait {wait:,.0f} seconds; run this again then", attempt)
                host.hold_until = max(host.hold_until, time.monotonic() + wait)
                if not again or attempt == self.limits.attempts:
                    reason = f"{fault} ({attempt} attempts)" if again else str(fault)
                    if counts:
                        self._failed(host, reason, attempt)
                    raise FetchError(reason, attempt) from None
                longest = min(self.limits.longest_back_off, self.limits.back_off * 2 ** (attempt - 1))
                self._connections.stopping.wait(random.uniform(0, longest))
            else:
                host.failures = 0
                return Reply(body, attempt, nothing)
        raise AssertionError("the last attempt returns or raises")

    def _follow(self, site: Site, url: str, host: _Host, sent: int, most: int) -> tuple[int, bytes]:
        """Send one request, and where it is redirected within the host, the next one; return (status, body)."""
        for _ in range(self.limits.redirects + 1):
            self._wait_for_turn(host, sent)
            status, body, target = self._connections.send(site, url, most)
            if target is None:
                return status, body
            url = target
        raise Fault(f"redirects more than {self.limits.redirects} times", again=False)

    def _wait_for_turn(self, host: _Host, sent: int) -> None:
        """Wait until the host's pause is over and the rate allows a request."""
        while True:
            if self._connections.stopping.is_set():
                raise Stopped
            if host.down is not None:
                raise FetchError(host.down, sent)
            pause = host.hold_until - time.monotonic()
            if pause <= 0 and self._pace.put(RateItem(host.name, self._pace.now())):
                return
            self._connections.stopping.wait(min(max(pause, self._gap), _GLANCE))

    def _failed(self, host: _Host, reason: str, attempts: int) -> None:
        with self._lock:
            host.failures += 1
        if host.failures >= self.limits.failures:
            last = f"{host.failures} requests in a row failed, the last with: {reason}"
            self._leave(host, f"{host.name} is down: {last}", attempts)

    def _leave(self, host: _Host, reason: str, attempts: int) -> NoReturn:
        """Ask ``host`` nothing more in this run, and say so once."""
        with self._lock:
            first, host.down = host.down is None, host.down or reason
        if first:
            tqdm.write(f"{reason}. What is still to be asked of it is left for another run.", file=sys.stderr)
        raise FetchError(reason, attempts)


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``; raise ValueError where there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer is not JSON ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise ValueError(f"the answer is a JSON {type(value).__name__}, not an object")
    return value


def base_url(name: str, value: str) -> str:
    """Return an address to ask, from the environment variable ``name``; raise ParameterError for an unsafe one."""
    if not _SAFE_URL.fullmatch(value):
        raise ParameterError(
            f"{name}={value.rpartition('@')[2]!r} cannot be asked. Give an https address (http only on this machine, "
            "as in http://127.0.0.1:8080), without name, password, query or fragment."
        )
    return value.rstrip("/")
