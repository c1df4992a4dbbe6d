"""HTTP below ``requests``: a deadline over a whole answer, sizes counted as they arrive, a key that nobody logs.

A socket's timeout starts anew with every byte, so a host that drips a byte a second is never late.
Here the reader of the socket knows when the answer must be whole, and notices Ctrl-C while it waits.
A key that belongs in the address joins it below everything that logs or quotes addresses.
"""

import contextlib
import http.client
import io
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.wait import wait_for_read

_GLANCE = 0.2
"""Seconds between two looks at whether the reader has pressed Ctrl-C."""
_CHUNK = 1 << 16


class Stopped(RuntimeError):
    """The fetcher was told to stop; nothing of the request under way is kept."""


class TooLarge(ValueError):
    """An answer is longer than allowed, on the way or unpacked."""


@dataclass(frozen=True)
class Exchange:
    """One request and its answer: when it must be whole, how long the host may be silent, what the address lacks."""

    deadline: float
    """``time.monotonic()`` at which the last byte must be here."""
    stall: float
    """Seconds without any byte."""
    stopping: threading.Event
    secret_query: str = ""
    """``name=value`` added to the address, or empty."""


_this_thread = threading.local()


@contextlib.contextmanager
def exchange(current: Exchange) -> Iterator[None]:
    """Apply ``current`` to what this thread sends and receives through an ``Adapter``."""
    _this_thread.exchange = current
    try:
        yield
    finally:
        _this_thread.exchange = None


class _Reader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, current: Exchange) -> None:
        self._raw, self._sock, self._exchange = raw, sock, current

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # TLS may hold bytes that the socket no longer shows.
        pending = getattr(self._sock, "pending", None)
        if pending is None or not pending():
            self._wait()
        return self._raw.readinto(buffer)

    def _wait(self) -> None:
        until = min(self._exchange.deadline, time.monotonic() + self._exchange.stall)
        while not self._exchange.stopping.is_set():
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            if wait_for_read(self._sock, min(left, _GLANCE)):
                return
        raise Stopped

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        current = getattr(_this_thread, "exchange", None)
        if current is not None:
            self.fp = io.BufferedReader(_Reader(self.fp.detach(), sock, current))


def _whole_address(url: str) -> str:
    secret = getattr(getattr(_this_thread, "exchange", None), "secret_query", "")
    return f"{url}{'&' if '?' in url else '?'}{secret}" if secret else url


class _Connection(HTTPConnection):
    response_class = _Response

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        super().putrequest(method, _whole_address(url), *args, **kwargs)


class _TlsConnection(HTTPSConnection):
    response_class = _Response

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        super().putrequest(method, _whole_address(url), *args, **kwargs)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Adapter(HTTPAdapter):
    """A pool of connections per host whose exchanges heed ``exchange``; it never retries by itself."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools, directly connected."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Make the pools behind the proxy that the environment names."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager


def read_limited(answer: requests.Response, most: int) -> bytes:
    """Return the body of a streamed answer, unpacked; at most ``most`` bytes on the way and as many unpacked.

    Raises TooLarge as soon as that is clear, and ValueError for a body that does not unpack.
    """
    coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip", "x-gzip"):
        raise ValueError(f"is packed as {coding[:20]!r}, which was not asked for")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if "gzip" in coding else None
    body, arrived = bytearray(), 0
    for chunk in answer.raw.stream(_CHUNK, decode_content=False):
        arrived += len(chunk)
        try:
            # One byte more than allowed shows that there is more, and no memory goes into the rest.
            body += unpacker.decompress(chunk, most + 1 - len(body)) if unpacker else chunk
        except zlib.error as error:
            raise ValueError(f"is not the gzip it claims to be ({error})") from error
        if max(arrived, len(body)) > most:
            raise TooLarge(f"has more than {most:,} bytes")
    if unpacker is not None and arrived and not unpacker.eof:
        raise ValueError("is gzip cut short")
    return bytes(body)
