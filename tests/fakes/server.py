"""A host on loopback that keeps a log of what it was asked and answers badly where its plan says so."""

import contextlib
import datetime
import email.utils
import gzip
import json
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Asked:
    """One request: ``key`` is its path and query without the key of the user; ``whole`` that its answer was sent."""

    key: str
    at: float
    headers: dict[str, str]
    fault: str | None
    secret: str | None
    port: int
    whole_at: float | None = None


@dataclass
class Answered:
    """What a host says: a status, a body, and headers beside its length."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def as_json(value: object, status: int = 200) -> Answered:
    return Answered(status, json.dumps(value).encode(), {"Content-Type": "application/json;charset=utf-8"})


@cache
def bomb(mebibytes: int = 48) -> bytes:
    return gzip.compress(bytes(mebibytes * 2**20), 9)


class FakeHost:
    """``answer(path, query, headers)`` says what the host would say; ``plan`` lists the faults of each key in turn.

    A fault that ends in "!" stays for good. ``log`` has every request.
    """

    def __init__(self, answer: Callable[[str, dict[str, str], dict[str, str]], Answered]) -> None:
        self.answer = answer
        self.plan: dict[str, list[str]] = defaultdict(list)
        self.log: list[Asked] = []
        self.elsewhere = "http://example.invalid/"
        self._lock = threading.Lock()
        self._closing = threading.Event()
        fake = self

        class Handler(_Handler):
            host = fake

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> "FakeHost":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def enter(self, key: str, headers: dict[str, str], secret: str | None, port: int) -> Asked:
        with self._lock:
            faults = self.plan[key]
            fault = (faults[0].rstrip("!") if faults[0].endswith("!") else faults.pop(0)) if faults else None
            asked = Asked(key, time.monotonic(), headers, fault, secret, port)
            self.log.append(asked)
            return asked

    def wait(self, seconds: float) -> bool:
        """Wait as a handler; return whether the host is being closed."""
        return self._closing.wait(seconds)

    def keys(self) -> list[str]:
        return [asked.key for asked in self.log]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    host: FakeHost

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        secret = query.pop("api_key", None)
        key = parts.path.lstrip("/") + "".join(f"&{name}={value}" for name, value in query.items())
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = self.host.enter(key, headers, secret or headers.get("authorization"), self.client_address[1])
        with contextlib.suppress(ConnectionError, TimeoutError):
            self._misbehave(
                asked.fault, lambda: self.host.answer(parts.path, query, headers | {"api_key": secret or ""})
            )
            asked.whole_at = time.monotonic()

    def _misbehave(self, fault: str | None, answer: Callable[[], Answered]) -> None:
        name, _, number = (fault or "").partition(":")
        match name:
            case "":
                self._send(answer())
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
            case "stall":
                self.host.wait(5)
                self.close_connection = True
            case "drip":
                self._drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"{" + b" " * 99_999)
            case "drip-headers":
                self._drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 60_000)
            case "short":
                whole = answer()
                self._send(whole, length=len(whole.body) + 1000)
                self.close_connection = True
            case "429-after":
                self._send(Answered(429, b"{}", {"Retry-After": number}))
            case "429-date":
                when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=int(number))
                self._send(Answered(429, b"{}", {"Retry-After": email.utils.format_datetime(when, usegmt=True)}))
            case "html":
                self._send(
                    Answered(200, b"<!DOCTYPE html><title>Welcome to the hotel</title>", {"Content-Type": "text/html"})
                )
            case "not-json":
                self._send(Answered(200, b'{"id": 1, "overview": "half', {"Content-Type": "application/json"}))
            case "list":
                self._send(Answered(200, b"[1, 2]", {"Content-Type": "application/json"}))
            case "bomb":
                self._send(Answered(200, bomb(), {"Content-Encoding": "gzip"}))
            case "elsewhere":
                self._send(Answered(302, b"", {"Location": self.host.elsewhere}))
            case "file":
                self._send(Answered(302, b"", {"Location": "file:///etc/passwd"}))
            case "loop":
                self._send(Answered(302, b"", {"Location": self.path}))
            case "hop":
                # As TMDB would: a redirect that carries the whole query, the key included.
                self._send(Answered(301, b"", {"Location": self.path}))
            case _:
                self._send(Answered(int(name), b"<html>error</html>", {"Content-Type": "text/html"}))

    def _send(self, answer: Answered, length: int | None = None) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) if length is None else length))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    def _drip(self, data: bytes) -> None:
        self.close_connection = True
        for start in range(0, len(data)):
            self.wfile.write(data[start : start + 1])
            self.wfile.flush()
            if self.host.wait(0.05):
                return


def most_in_a_second(times: Sequence[float]) -> int:
    """Return the most of ``times`` (seconds) that fall in any window of one second."""
    ordered, most, first = sorted(times), 0, 0
    for last, now in enumerate(ordered):
        while ordered[first] <= now - 1:
            first += 1
        most = max(most, last - first + 1)
    return most
