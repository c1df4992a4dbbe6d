"""Whole or not at all: writing under a temporary name and renaming, and the hashes that identify a file."""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The project."""
_ASIDE = ".aside."
"""Marks the name of a folder that is being replaced, for the moment between two renames."""


class DataFolderError(OSError):
    """The data folder cannot be written: permissions, a full disk, or a file in its place."""


def sha256(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's sorted (relative name, sha256) pairs."""
    if path.is_dir():
        parts = sorted(p for p in path.rglob("*") if p.is_file())
        return combined({part.relative_to(path).as_posix(): sha256(part) for part in parts})
    return digest_of(path, hashlib.sha256())


def combined(hashes: Mapping[str, str]) -> str:
    """Return the sha256 of several files in this order: of their (name, sha256) pairs."""
    return hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in hashes.items()).encode()).hexdigest()


def digest_of(path: Path, digest: "hashlib._Hash") -> str:
    """Feed a file to ``digest`` and return it in hex."""
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block succeeds.

    The block may make a file or a folder there. When it fails, or the disk is full, nothing
    appears at ``path`` and what was there stays. Raises DataFolderError for operating-system errors
    about space and permissions.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.is_dir() and path.exists():
            _swap(temporary, path)
        else:
            temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DataFolderError(
                f"No space left to write {path}. What was there before is unharmed. "
                "Free some space or set DATA_DIR to a larger disk, then run this notebook again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise DataFolderError(
                f"Cannot write {path}: {error.strerror}. Set DATA_DIR to a folder you may write."
            ) from error
        raise
    except BaseException:
        _remove(temporary)
        raise


def _swap(temporary: Path, path: Path) -> None:
    """Put a folder in the place of what is at ``path``: a folder cannot be renamed over another."""
    old = path.with_name(f".{path.name}{_ASIDE}{os.getpid()}.tmp")
    path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:
        old.rename(path)
        raise
    _remove(old)


def clear_left_overs(folder: Path) -> None:
    """Remove temporaries of processes that are gone; put back what one of them had just moved aside."""
    for left_over in [*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp")]:
        if _alive(left_over.name.split(".")[-2]):
            continue
        name, aside, _ = left_over.name.removeprefix(".").rpartition(_ASIDE)
        if aside and not left_over.with_name(name).exists():
            left_over.rename(left_over.with_name(name))
        else:
            _remove(left_over)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
