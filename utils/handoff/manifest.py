"""``manifest.json`` of a data set's folder: who wrote each artefact, from what, with which parameters and packages.

``Store`` adds an entry for each artefact that it writes, and asks here whether one is older than its inputs.
"""

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from utils.handoff.atomic import DataFolderError, explained, sha256, size_of, writing
from utils.handoff.contract import ARTEFACTS, Artefact

PACKAGES = ("pandas", "pyarrow", "torch", "torchvision", "transformers", "nvtabular", "scikit-learn")
"""Packages whose versions an entry records, where they are installed."""

_DAMAGED = (
    *(pa.ArrowException, OSError, EOFError, LookupError, TypeError, ValueError, AttributeError, OverflowError),
    *(MemoryError, RecursionError, zipfile.BadZipFile, zlib.error),
)
"""What pyarrow, numpy, json and zipfile raise for files that are not what their names say."""


class HandOffError(RuntimeError):
    """A file between two notebooks is missing, stale, or not what the contract says."""


def read(folder: Path) -> dict[str, Any]:
    """Return ``manifest.json`` of a data set's folder, empty where there is none. Raises HandOffError if damaged."""
    path = folder / "manifest.json"
    try:
        entries = json.loads(path.read_text())
        if not isinstance(entries, dict):
            raise ValueError(f"{type(entries).__name__} instead of an object")
        for name, entry in entries.items():
            _check(name, entry)
    except FileNotFoundError:
        return {}
    # Not JSON, not UTF-8, too deep, other JSON than ours, or a folder.
    except (ValueError, RecursionError, OSError) as error:
        raise HandOffError(f"{path} is damaged ({error}). Delete it and run 01 again.") from error
    return {name: entry for name, entry in entries.items() if name in ARTEFACTS}


def _check(name: str, entry: Any) -> None:
    """Raise ValueError for an entry that is not of the shape that ``Store.record`` gives it."""
    if not isinstance(entry, dict):
        raise ValueError(f"{name} is not an object")
    for key, kind in {"sha256": str, "inputs": dict, "parameters": dict}.items():
        if not isinstance(entry.get(key), kind):
            raise ValueError(f"{key} of {name} is {entry.get(key)!r:.60}")
    if not all(digest is None or isinstance(digest, str) for digest in entry["inputs"].values()):
        raise ValueError(f"inputs of {name} are {entry['inputs']!r:.60}")


def enter(folder: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Set the entry of the artefact ``name``; several processes may do so at once."""
    path, lock = folder / "manifest.json", folder / ".manifest.lock"
    with explained(lock), FileLock(lock):
        entries = read(folder) | {name: entry}
        with writing(path) as temporary:
            temporary.write_text(json.dumps(entries, indent=1, sort_keys=True, default=str) + "\n")


def check_fresh(folder: Path, name: str, entries: Mapping[str, Any]) -> None:
    """Raise HandOffError if ``name``, or anything it was made from, is older than its own inputs."""
    waiting, checked = [name], set()
    while waiting:
        name = waiting.pop()
        checked.add(name)
        for source, digest in entries.get(name, {}).get("inputs", {}).items():
            if source not in ARTEFACTS:
                continue
            now, file = entries.get(source, {}).get("sha256"), folder / ARTEFACTS[source].path
            if now is None and digest is not None and file.exists():
                now = sha256(file)  # One of the reader's own.
            if None not in (digest, now) and digest != now:
                artefact, made_from = ARTEFACTS[name], ARTEFACTS[source].path
                raise HandOffError(
                    f"{folder / artefact.path} was made from an older {made_from}, which has changed since. "
                    f"Run {artefact.notebook}.ipynb again, and those after it."
                )
            if source not in checked:
                waiting.append(source)


def check_same(path: Path, entry: Mapping[str, Any], artefact: Artefact) -> None:
    """Raise HandOffError unless a file or folder is, to the bit, what was recorded: sha256 is as fast as reading.

    Times do not count: a copy has others, and a bit that has flipped on the disk has the same.
    """
    if sha256(path) == entry["sha256"]:
        return
    now, then = size_of(path), (entry.get("files"), entry.get("bytes"))
    if now == then or None in then:
        differs = "its sha256 differs"
    elif artefact.folder:
        differs = f"{now[0]:,} files of {now[1]:,} bytes instead of {then[0]} of {then[1]}"
    else:
        differs = f"{now[1]:,} bytes instead of {then[1]}"
    own = f", or bring your own by {artefact.own}" if artefact.own else ""
    raise HandOffError(
        f"{path} is not what {artefact.notebook}.ipynb wrote: {differs}, so it was changed or damaged since. "
        f"Run {artefact.notebook}.ipynb again{own}."
    )


def check_kind(name: str, path: Path) -> None:
    """Raise HandOffError for a folder where the artefact ``name`` is a file, or the reverse."""
    artefact = ARTEFACTS[name]
    if path.is_dir() != artefact.folder or not (path.is_dir() or path.is_file()):
        kinds = ("a folder", "a file") if artefact.folder else ("a file", "a folder, a pipe or a device")
        raise HandOffError(
            f"{path} must be {kinds[0]}, but is {kinds[1]}. Remove it, then run {artefact.notebook}.ipynb again."
        )


@contextlib.contextmanager
def readable(path: Path, again: str) -> Iterator[None]:
    """Raise HandOffError, ending in ``again``, for what readers raise for a damaged file: each library its own."""
    try:
        yield
    except (HandOffError, DataFolderError):
        raise
    except _DAMAGED as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise HandOffError(f"{path} cannot be read ({said:.300}). {again}.") from error


def versions() -> dict[str, str]:
    """Return the installed versions of PACKAGES."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
