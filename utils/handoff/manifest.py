"""``manifest.json`` of a data set's folder: who wrote each artefact, from what, with which parameters and packages.

``Store`` adds an entry for each artefact that it writes, and asks here whether one is older than its inputs.
"""

import contextlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from utils.handoff.atomic import writing
from utils.handoff.contract import ARTEFACTS

PACKAGES = ("pandas", "pyarrow", "torch", "torchvision", "transformers", "nvtabular", "scikit-learn")
"""Packages whose versions an entry records, where they are installed."""


class HandOffError(RuntimeError):
    """A file between two notebooks is missing, stale, or not what the contract says."""


def read(folder: Path) -> dict[str, Any]:
    """Return ``manifest.json`` of a data set's folder, empty where there is none. Raises HandOffError if damaged."""
    try:
        entries = json.loads((folder / "manifest.json").read_text())
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise ValueError("an object of objects was expected")
    except FileNotFoundError:
        return {}
    except ValueError as error:  # Not JSON, not UTF-8, or other JSON than ours.
        raise HandOffError(f"{folder / 'manifest.json'} is damaged ({error}). Delete it and run 01 again.") from error
    return entries


def enter(folder: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Set the entry of the artefact ``name``; several processes may do so at once."""
    path = folder / "manifest.json"
    with FileLock(folder / ".manifest.lock"):
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
            now = entries.get(source, {}).get("sha256")
            if None not in (digest, now) and digest != now:
                artefact, made_from = ARTEFACTS[name], ARTEFACTS[source].path
                raise HandOffError(
                    f"{folder / artefact.path} was made from an older {made_from}, which has changed since. "
                    f"Run {artefact.notebook}.ipynb again, and those after it."
                )
            if source not in checked:
                waiting.append(source)


def versions() -> dict[str, str]:
    """Return the installed versions of PACKAGES."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
