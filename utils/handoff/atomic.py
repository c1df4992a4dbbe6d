"""A file is whole or not there: written under a temporary name, then renamed. And the hashes that identify it."""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository's folder."""
_ASIDE = ".aside."
"""Part of the name of a folder that is being replaced, between the two renames."""


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
    """Return the hex digest of a file, by a new ``digest`` of hashlib."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: digest).hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` for a file or a folder; rename it to ``path`` when the block succeeds.

    When the block fails or the disk is full, what was at ``path`` stays. Raises DataFolderError where the operating
    system reports a lack of space or permission.
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
    """Replace ``path`` by a folder. A folder cannot be renamed over another, so the old one is moved aside first."""
    old = path.with_name(f".{path.name}{_ASIDE}{os.getpid()}.tmp")
    path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:
        old.rename(path)
        raise
    _remove(old)


def clear_left_overs(folder: Path) -> None:
    """Remove what processes that are gone left behind; put back a folder that one of them had moved aside."""
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
    except PermissionError:
        return True  # It is another user's.
    except (ValueError, ProcessLookupError):
        return False
    return True
