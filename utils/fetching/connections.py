"""One request and its answer: whole within a deadline, within a size, from the host that was asked, without its key.

requests sends, urllib3 unpacks. What they lack is here. A socket's timeout begins anew with every byte, so a timer cuts
the connection of an answer that drips; the same cut ends requests under way when the reader presses Ctrl-C. And a key
that belongs in the address joins it below everything that logs or quotes addresses.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Retry

_ANSWERS = (200, 401, 404, 410)
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524)


@dataclass(frozen=True)
class Site:
    """A host to ask: its base address, and what is sent with each request."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_query: str = field(default="", repr=False)
    """``name=value``, added to each address."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What no answer and no redirect may hold."""

    def echoed(self, text: str) -> bool:
        """Whether ``text`` holds a secret, as it is or quoted as in an address, up to three times."""
        forms = [text]
        for _ in range(3):
            forms.append(unquote(forms[-1]))
        return any(secret.casefold() in form.casefold() for secret in self.secrets for form in forms)


class Stopped(RuntimeError):
    """``stop`` was called; nothing of the request under way is kept."""


class Fault(ValueError):
    """One attempt failed. ``wait`` is what the host asked for (seconds), ``again`` whether another may succeed.

    The message holds no address and no secret.
    """

    def __init__(self, reason: str, wait: float = 0.0, *, again: bool = True) -> None:
        super().__init__(reason)
        self.wait, self.again = wait, again


class Connections:
    """A pool of connections per host, without cookies and without logins of its own."""

    def __init__(self, size: int, connect: float, stall: float, deadline: float) -> None:
        """``size`` per host. In seconds: to connect, of silence, and until the last byte of an answer."""
        self.stopping = threading.Event()
        self._timeout, self._deadline = (connect, stall), deadline
        self._under_way: set[_Exchange] = set()
        self._session = _Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # Not None, lest a .netrc file put its own Authorization in the place of ours.
        self._session.auth = lambda request: request
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(pool_maxsize=size))

    def stop(self) -> None:
        """End every request under way, in any thread, with Stopped."""
        self.stopping.set()
        for exchange in list(self._under_way):
            exchange.cut()

    def send(self, site: Site, url: str, most: int) -> tuple[int, bytes, str | None]:
        """Return (status, body, None), or (status, b"", the address on the same host that it redirects to).

        The status is 200, 401, 404 or 410; the body has at most ``most`` bytes. Raises Fault, and Stopped after
        ``stop``.
        """
        headers = {"Accept-Encoding": "gzip", **site.headers}
        fault = None
        with self._exchange(site.secret_query) as exchange:
            try:
                with self._session.get(
                    url, headers=headers, stream=True, allow_redirects=False, timeout=self._timeout
                ) as answer:
                    if answer.is_redirect:
                        return answer.status_code, b"", _redirected(site, url, answer.headers["Location"])
                    _check_status(answer)
                    body = _read(answer, most)
            except Fault:
                raise
            except (requests.RequestException, exceptions.HTTPError, OSError, ValueError) as error:
                fault = Fault(_kind(error))
        if self.stopping.is_set():
            raise Stopped
        if exchange.was_cut:
            raise Fault(f"not whole after {self._deadline:g} seconds")
        if fault is not None:
            raise fault
        if site.secrets and site.echoed(_all_text(body)):
            raise Fault("the answer echoes the key", again=False)
        return answer.status_code, body, None

    @contextlib.contextmanager
    def _exchange(self, secret_query: str) -> Iterator["_Exchange"]:
        """Apply the deadline, ``stop`` and the key to what this thread sends and receives."""
        exchange = _this_thread.exchange = _Exchange(secret_query)
        timer = threading.Timer(self._deadline, exchange.cut)
        timer.daemon = True
        self._under_way.add(exchange)
        timer.start()
        try:
            if self.stopping.is_set():
                raise Stopped
            yield exchange
        finally:
            timer.cancel()
            self._under_way.discard(exchange)


class _Exchange:
    """A request under way, which ``cut`` ends from another thread."""

    def __init__(self, secret_query: str) -> None:
        self.secret_query = secret_query
        self.sock: socket.socket | None = None
        self.was_cut = False

    def cut(self) -> None:
        self.was_cut = True
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


_this_thread = threading.local()


class _Connection(HTTPConnection):
    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        if query := _this_thread.exchange.secret_query:
            url += ("&" if "?" in url else "?") + query
        super().putrequest(method, url, *args, **kwargs)

    def getresponse(self) -> Any:
        exchange = _this_thread.exchange
        exchange.sock = self.sock
        if exchange.was_cut:
            raise OSError("cut before there was a socket")
        return super().getresponse()


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Leave redirects alone: requests would read the body of one to its end, however long it is."""


class _Adapter(HTTPAdapter):
    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        pool.ConnectionCls = _TlsConnection if pool.scheme == "https" else _Connection
        return pool


def _check_status(answer: requests.Response) -> None:
    if answer.status_code not in _ANSWERS:
        try:
            wait = Retry().get_retry_after(answer.raw) or 0.0
        except (exceptions.InvalidHeader, ValueError, OverflowError):
            wait = 0.0
        again = answer.status_code in _TRY_AGAIN
        raise Fault(f"the host answered {answer.status_code}", wait, again=again)


def _read(answer: requests.Response, most: int) -> bytes:
    """Return the body, unpacked; no memory goes into more than ``most`` bytes of it."""
    body = bytearray()
    for chunk in answer.raw.stream(1 << 16, decode_content=True):
        body += chunk
        if len(body) > most:
            raise Fault(f"the answer has more than {most:,} bytes", again=False)
    return bytes(body)


def _all_text(body: bytes) -> str:
    """Return the body as text, and once more what it says if it is JSON, where letters may be escaped."""
    text = body.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        text += json.dumps(json.loads(body), ensure_ascii=False)
    return text


def _redirected(site: Site, url: str, target: str) -> str:
    """Return the address that a redirect leads to, without the key; raise Fault unless it is on the same host."""
    try:
        old, new = urlsplit(url), urlsplit(urljoin(url, target))
    except ValueError:
        raise Fault("redirects to an address that is none", again=False) from None
    # Where to is not said: the host may have put the key there.
    if (new.scheme, new.netloc) != (old.scheme, old.netloc):
        raise Fault("redirects to another host", again=False)
    query = urlencode([(name, value) for name, value in parse_qsl(new.query, True) if value not in site.secrets])
    address = urlunsplit((new.scheme, new.netloc, new.path, query, ""))
    if site.echoed(address):
        raise Fault("the redirect echoes the key", again=False)
    return address


def _kind(error: Exception) -> str:
    """Say in a few words what broke; the messages of requests quote addresses."""
    if isinstance(error, (requests.ConnectTimeout, exceptions.ConnectTimeoutError)):
        return "no connection in time"
    if isinstance(error, (requests.Timeout, exceptions.TimeoutError, TimeoutError)):
        return "silent for too long"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate cannot be trusted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy failed"
    if isinstance(error, exceptions.DecodeError):
        return "the answer does not unpack"
    refused = error.args and isinstance(error.args[0], exceptions.MaxRetryError)
    return "no connection (refused, or no such name)" if refused else "the connection broke"
