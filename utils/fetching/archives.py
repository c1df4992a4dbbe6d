"""Archives from outside: a zip or a folder is hostile until every name and size has been checked.

A member is asked for by its base name; the folder that holds it may lie at any depth, because ``ml-25m.zip`` has
``ml-25m/ratings.csv``, ``ml-10m.zip`` has ``ml-10M100K/ratings.dat``, and a user's own folder may have none. Nothing is
ever written under a name that the archive chose.
"""

import contextlib
import functools
import lzma
import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from utils.handoff.atomic import DataFolderError, explained

MEMBER_LIMIT = 4 << 30
"""Largest member that is unpacked, in bytes; ratings.csv of ml-32m, the largest data set, has 0.9 GB."""
COUNT_LIMIT = 200_000
_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError)
"""What zipfile raises for members that are damaged or compressed in an unknown way; OSError is bz2's."""


class ArchiveError(ValueError):
    """An archive is not what it should be, or not safe to unpack."""


@dataclass(frozen=True)
class Archive:
    """An opened zip or folder; use ``open_archive``. ``names`` are the relative paths of its files."""

    path: Path
    names: list[str]
    file_of: Callable[[str], Path]
    """Gives a readable file for one of ``names``."""

    def folders(self, names: Sequence[str]) -> list[str]:
        """Return the folders inside the archive that hold a file of each of these base names."""
        present = set(self.names)
        parents = {str(PurePosixPath(name).parent) for name in self.names if PurePosixPath(name).name == names[0]}
        return sorted(p for p in parents if all(_inside(p, name) in present for name in names))

    def take(self, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Path]:
        """Return a readable file for each base name, all from one folder of the archive.

        Files of a zip are unpacked to a temporary folder that lives as long as the archive is open. ``optional`` names
        that the folder lacks are left out. Raises ArchiveError for a missing member, for two folders that would do, and
        for a member that is damaged or too large.
        """
        folders = self.folders(names)
        if not folders:
            found = sorted({PurePosixPath(name).name for name in self.names}) or ["nothing"]
            more = f" and {len(found) - 12} more" if len(found) > 12 else ""
            raise ArchiveError(
                f"{self.path} has no folder with {', '.join(names)}. Found: {', '.join(found[:12])}{more}. "
                "Give an archive in the official MovieLens layout."
            )
        if len(folders) > 1:
            raise ArchiveError(
                f"{self.path} has {', '.join(names)} more than once: in {', '.join(folders)}. Keep one of them."
            )
        wanted = [*names, *(name for name in optional if _inside(folders[0], name) in self.names)]
        return {name: self.file_of(_inside(folders[0], name)) for name in wanted}


@contextlib.contextmanager
def open_archive(path: Path, member_limit: int = MEMBER_LIMIT) -> Iterator[Archive]:
    """Open a zip or a folder and check its names; what it unpacks is removed on leaving.

    ``member_limit`` is in bytes, for each member. Raises ArchiveError naming the archive and the member.
    """
    path = Path(path)
    if path.is_dir():
        names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() or p.is_symlink())
        yield Archive(path, names, lambda name: _file_of_folder(path, name, member_limit))
        return
    with open_zip(path) as opened, _scratch() as scratch:
        names = [member.filename for member in opened.infolist() if not member.is_dir()]

        @functools.cache
        def unpacked(name: str) -> Path:
            target = scratch / f"{names.index(name)}-{PurePosixPath(name).name}"
            with explained(target, "TMPDIR"):
                extract(opened, name, target, member_limit)
            return target

        yield Archive(path, names, unpacked)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a folder for unpacked files, which is removed on leaving."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="movielens-")
    except OSError as error:  # Python tries them all, and says which; a full one is none.
        raise DataFolderError(f"{error.strerror}. Free some space there, or set TMPDIR to another folder.") from error
    with folder as name:
        yield Path(name)


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip after checking that no member has an unsafe name, is a link, is encrypted or is there twice."""
    if not path.is_file():
        # A pipe would be waited for without end, and a device never ends.
        state = "is a pipe or a device, not a file" if path.exists() else "does not exist"
        raise ArchiveError(f"{path} {state}. Check the path: a .zip or a folder is expected.")
    try:
        opened = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise ArchiveError(
            f"{path} is not a zip that can be read ({error}). It may be incomplete or a web page: fetch it again."
        ) from error
    with opened:
        _check(path, opened.infolist())
        yield opened


def extract(opened: zipfile.ZipFile, name: str, target: Path, limit: int = MEMBER_LIMIT) -> None:
    """Unpack one member of a checked zip to ``target``; at most ``limit`` bytes, whatever its header says.

    Raises ArchiveError for a member that is too large, damaged or compressed in an unknown way.
    """
    declared = opened.getinfo(name).file_size
    if declared > limit:
        raise ArchiveError(f"{opened.filename}: {name} is {declared:,} bytes, over the limit of {limit:,}.")
    written = 0
    try:
        with opened.open(name) as source, target.open("wb") as sink:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > limit:
                    raise ArchiveError(f"{opened.filename}: {name} holds more than the limit of {limit:,} bytes.")
                sink.write(chunk)
    except _DAMAGED as error:
        # What bz2 raises has no number; what the disk raises (no space left) has one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ArchiveError(f"{opened.filename}: {name} is damaged ({error}). Fetch the archive again.") from error
    if written != declared:
        raise ArchiveError(f"{opened.filename}: {name} is damaged: {written:,} of {declared:,} bytes. Fetch it again.")


def _check(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > COUNT_LIMIT:
        raise ArchiveError(f"{path} has {len(members):,} members, over the limit of {COUNT_LIMIT:,}.")
    seen: set[str] = set()
    for member in members:
        # The name as stored: zipfile cuts `filename` at a NUL byte and mends separators.
        name = member.orig_filename
        parts = name.removesuffix("/").split("/")
        # An empty part: below a prefix that is cut off, "model//etc/x" would become the absolute "/etc/x".
        if "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name) or {"", "..", "."} & set(parts):
            raise ArchiveError(f"{path} has a member with an unsafe name, {name!r}: do not trust this archive.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ArchiveError(f"{path}: {name} is a symbolic link; only files are accepted.")
        if member.flag_bits & 0x1:
            raise ArchiveError(f"{path}: {name} is encrypted. Give an archive without a password.")
        if name in seen:
            raise ArchiveError(f"{path} has {name} more than once, so which is meant cannot be told.")
        seen.add(name)


def lies_in(path: Path, folder: Path) -> bool:
    """Say whether ``path``, all links followed, is below ``folder``."""
    # realpath, because Path.resolve raises for links that run in a circle.
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _file_of_folder(folder: Path, name: str, limit: int) -> Path:
    target = folder / name
    if not lies_in(target, folder):
        raise ArchiveError(f"{target} is a symbolic link out of {folder}. Put the file itself there.")
    if not target.is_file():
        raise ArchiveError(f"{target} is a symbolic link to nothing. Put the file itself there.")
    if target.stat().st_size > limit:
        raise ArchiveError(f"{target} is {target.stat().st_size:,} bytes, over the limit of {limit:,}.")
    return target


def _inside(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"
