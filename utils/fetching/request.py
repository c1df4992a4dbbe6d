"""One request to one site: what may be sent there, and what an answer must be to be believed.

Everything that can go wrong ends in one of two ways: ``Fault``, which may pass when it is tried again, or
``Unusable``, which will not. Neither message holds an address or a key.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import requests
import urllib3

from utils.fetching.transport import Adapter, Exchange, TooLarge, exchange, read_limited

_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524)
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Site:
    """A host to ask: its base address, what is sent with each request, and where else it may redirect to."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_query: tuple[str, str] | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What must not be stored when an answer echoes it; sent, like ``headers``, to this host only."""
    also: frozenset[str] = frozenset()
    """Other hosts (host:port as in an address) that redirects may lead to."""


class FetchError(RuntimeError):
    """A request did not lead to an answer; ``attempts`` counts what was sent."""

    def __init__(self, reason: str, attempts: int = 1) -> None:
        super().__init__(reason)
        self.attempts = attempts


class Unreachable(FetchError):
    """The host failed or is down: another time it may work."""


class Unusable(FetchError):
    """The host answered with what cannot be used: too large, damaged, not what was asked, a redirect elsewhere."""


class Fault(Exception):
    """One attempt failed. ``wait`` is what the host asked for (seconds), ``bad_body`` that it did answer."""

    def __init__(self, reason: str, wait: float | None = None, *, bad_body: bool = False, again: bool = True) -> None:
        super().__init__(reason)
        self.wait, self.bad_body, self.again = wait, bad_body, again


def new_session(connections: int) -> requests.Session:
    """Return a session with a pool of ``connections`` per host, without cookies and without logins of its own."""
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # Not None, lest a .netrc file put its own Authorization in the place of ours.
    session.auth = lambda request: request
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter(pool_connections=8, pool_maxsize=connections))
    return session


def send(
    session: requests.Session,
    site: Site,
    url: str,
    *,
    connect: float,
    stall: float,
    deadline: float,
    stopping: threading.Event,
    check: Callable[[bytes], object] | None,
    most: int,
) -> tuple[int, bytes, str | None]:
    """Return (status, body, the address it redirects to or None); the body of a 200 has passed ``check``.

    Times in seconds: for the connection, of silence, and until the last byte; ``most`` in bytes. Raises Fault,
    Unusable, or Stopped once ``stopping`` is set.
    """
    home = urlsplit(url).netloc == urlsplit(site.url).netloc
    secret = urlencode([site.secret_query]) if home and site.secret_query else ""
    headers = {"Accept-Encoding": "gzip"} | (dict(site.headers) if home else {})
    end = time.monotonic() + deadline
    try:
        with (
            exchange(Exchange(end, stall, stopping, secret)),
            session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=(connect, stall)) as answer,
        ):
            if answer.status_code in _REDIRECTS:
                return answer.status_code, b"", _allowed(site, url, answer.headers.get("Location", ""))
            _check_status(answer)
            body = read_limited(answer, most)
    except TooLarge as error:
        raise Unusable(f"the answer {error}") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        # The errors of requests quote addresses; their kind says enough.
        late = time.monotonic() >= end
        raise Fault(f"not whole after {deadline:g} seconds" if late else _kind(error)) from None
    except ValueError as error:
        raise Fault(f"the answer {error}", bad_body=True) from None
    if any(secret.encode() in body for secret in site.secrets):
        raise Unusable("the answer echoes the key")
    if answer.status_code == 200 and check is not None:
        try:
            check(body)
        except ValueError as error:
            raise Fault(str(error), bad_body=True) from None
    return answer.status_code, body, None


def _check_status(answer: requests.Response) -> None:
    status = answer.status_code
    if status in _TRY_AGAIN:
        raise Fault(f"the host answered {status}", _retry_after(answer.headers))
    if status not in (200, 401, 404, 410):
        raise Fault(f"the host answered {status}", again=False)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks for, given as a number or a date (RFC 9110, 10.2.3); None without."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value[:9])
    try:
        # Against the host's own clock: ours may be wrong.
        sent = headers.get("Date")
        now = parsedate_to_datetime(sent).timestamp() if sent else time.time()
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None


def _allowed(site: Site, url: str, target: str) -> str:
    """Return the address a redirect leads to, without secrets; raise Unusable where it may not lead there."""
    old = urlsplit(url)
    try:
        new = urlsplit(urljoin(url, target))
        new.port  # noqa: B018 - raises ValueError for a port that is none
    except ValueError:
        raise Unusable("redirects to an address that is none") from None
    if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
        raise Unusable(f"redirects to {new.scheme[:20]}://, which is not allowed")
    if new.netloc not in {urlsplit(site.url).netloc, *site.also}:
        raise Unusable(f"redirects to another host ({(new.hostname or '')[:80]})")
    query = [(name, value) for name, value in parse_qsl(new.query, True) if value not in site.secrets]
    return urlunsplit((new.scheme, new.netloc, new.path, urlencode(query), ""))


def _kind(error: Exception) -> str:
    """Say in a few words what broke, without the address."""
    if isinstance(error, (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError)):
        return "no connection in time"
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)):
        return "silent for too long"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate cannot be trusted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy failed"
    inner = error.args[0] if error.args else error
    if isinstance(inner, urllib3.exceptions.MaxRetryError):
        return "no connection (refused, or no such name)"
    return "the connection broke"
