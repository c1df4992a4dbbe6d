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
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_IN_THE_WAY = (errno.EISDIR, errno.EEXIST, errno.ENOTDIR, errno.ENOTEMPTY)


class DataFolderError(OSError):
    """Something cannot be written: permissions, a full disk, or a file where a folder belongs, or the reverse."""


def sha256(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's sorted (relative name, sha256) pairs.

    Hidden files of a folder do not count: they are what file browsers and other tools leave there.
    """
    if path.is_dir():
        return combined({part.relative_to(path).as_posix(): sha256(part) for part in files_in(path)})
    return digest_of(path, hashlib.sha256())


def files_in(folder: Path) -> list[Path]:
    """Return the files at any depth of a folder, sorted, but for hidden ones, pipes and devices."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def size_of(path: Path) -> tuple[int, int]:
    """Return the number of files and of bytes of a file or folder, as ``sha256`` counts them."""
    files = files_in(path) if path.is_dir() else [path]
    return len(files), sum(file.stat().st_size for file in files)


def combined(hashes: Mapping[str, str]) -> str:
    """Return the sha256 of several files in this order: of their (name, sha256) pairs."""
    return hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in hashes.items()).encode()).hexdigest()


def digest_of(path: Path, digest: "hashlib._Hash") -> str:
    """Return the hex digest of a file, by a new ``digest`` of hashlib."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: digest).hexdigest()


@contextlib.contextmanager
def explained(path: Path, setting: str = "DATA_DIR") -> Iterator[None]:
    """Raise DataFolderError, with what to do, for what the operating system says while ``path`` is written.

    Of a full disk, of permissions, and of a file where a folder belongs, or the reverse. ``setting`` says where to
    write.
    """
    try:
        yield
    except DataFolderError:
        raise
    except OSError as error:
        # What numpy's tofile raises has no number, only "1494 requested and 0 written".
        if error.errno in _FULL or (error.errno is None and str(error).endswith(" written")):
            raise DataFolderError(
                f"No space left to write {path}. What was there before is unharmed. "
                f"Free some space or set {setting} to a larger disk, then run this notebook again."
            ) from error
        if error.errno in _IN_THE_WAY:
            raise DataFolderError(
                f"Cannot write {path}: {error.strerror}. Remove or rename what is in its place, then run this again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DataFolderError(
                f"Cannot write {path}: {error.strerror}. Set {setting} to a folder you may write."
            ) from error
        raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` for a file or a folder; rename it to ``path`` when the block succeeds.

    When the block fails or the disk is full, what was at ``path`` stays. A file never replaces a folder, nor a folder a
    file. Raises DataFolderError as ``explained``.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(path):
        try:
            yield temporary
            if temporary.is_dir() and path.exists():
                _swap(temporary, path)
            else:
                temporary.replace(path)
        except BaseException:
            _remove(temporary)
            raise


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it, unless it is there; return it. Raises DataFolderError as ``explained``."""
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def _swap(temporary: Path, path: Path) -> None:
    """Replace ``path`` by a folder. A folder cannot be renamed over another, so the old one is moved aside first."""
    if not path.is_dir():
        raise FileExistsError(errno.EEXIST, "it is a file, and should be a folder")
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
