"""A text file as people have it, made one that polars reads: UTF-8, lines that end in LF, quotes that close.

Everything is decided by the bytes of the file itself. What is in order already is read where it lies; anything else is
rewritten into a scratch folder, line by line, so that memory does not depend on its size.
"""

import codecs
import csv
import gzip
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from utils.fetching.archives import MEMBER_LIMIT
from utils.ratings.columns import DataError

HEAD = 1 << 16
"""Bytes from which separator and header are told."""
LONGEST = 500
"""Lines of a quoted text; a quote that closes later is taken for a stray one."""
_CHUNK = 1 << 23
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Bytes that cp1252 has no letter for.
_UNDEFINED = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")


@dataclass(frozen=True)
class Readable:
    """A file that polars reads, and whether quotes enclose fields; ``said`` tells people what was not plain UTF-8."""

    path: Path
    quotes: bool
    said: tuple[str, ...] = ()


@dataclass
class _Bytes:
    """What the bytes of a file say. ``letters`` are beyond ASCII and valid UTF-8, ``broken`` are none."""

    head: bytes = b""
    letters: int = 0
    broken: int = 0
    quotes: int = 0
    undefined: bool = False

    @property
    def old_mac(self) -> bool:
        return not self.head.startswith(_UTF16) and b"\n" not in self.head and b"\r" in self.head

    @property
    def encoding(self) -> str:
        if self.head.startswith(_UTF16):
            return "utf-16"
        # Letters of another encoding are hardly ever UTF-8 by chance; a few broken ones do not make a file another.
        if self.head.startswith(codecs.BOM_UTF8) or self.broken <= self.letters:
            return "utf-8-sig"
        return "latin-1" if self.undefined else "cp1252"


def unpacked(path: Path, scratch: Path) -> Path:
    """Return ``path``, or for a .gz the file inside, in ``scratch``. Raises DataError for one damaged or too large."""
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            return path
    target, size = scratch / f"{path.name}.unpacked", 0
    try:
        with gzip.open(path) as source, target.open("wb") as sink:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > MEMBER_LIMIT:
                    raise DataError(f"{path} unpacks to more than the limit of {MEMBER_LIMIT:,} bytes. Unpack it.")
                sink.write(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged .gz ({error}). Fetch or write it again.") from error
    return target


def head_of(path: Path) -> list[str]:
    """Return the first lines of a text file."""
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    encoding = _Bytes(head, broken=1).encoding if not head.isascii() and not _is_utf8(head) else "utf-8-sig"
    lines = head.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if len(head) < HEAD or len(lines) < 2 else lines[:-1]


def plain(path: Path) -> bool:
    """Say whether the beginning of a file is one that polars reads as it is, without a quote."""
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    return head.isascii() and b'"' not in head and (b"\n" in head or b"\r" not in head)


def readable(path: Path, scratch: Path, separator: str, width: int, quoting: bool) -> Readable:
    """Return a file with the text of ``path`` that polars reads: ``path`` itself, or a copy in ``scratch``.

    ``width`` is the number of columns; ``quoting`` is False for layouts in which a quote is a letter like any other.
    """
    found, said, source = _bytes_of(path), [], path
    encoding = found.encoding
    if encoding != "utf-8-sig":
        said.append({"utf-16": "UTF-16", "cp1252": "cp1252 (Western European)"}.get(encoding, encoding))
    elif found.broken:
        said.append(f"UTF-8 in which {found.broken:,} letters are broken")
    if found.old_mac:
        said.append("lines that end in CR")
    if said:
        source = scratch / f"{path.name}.utf-8"
        with path.open(encoding=encoding, errors="replace", newline=None if found.old_mac else "\n") as lines:
            _write(source, lines)
    # UTF-16 is not counted: its quotes have a zero byte beside them.
    quoted = quoting and (found.quotes > 0 or encoding == "utf-16")
    if quoted and _any_odd(source):
        strays: list[str] = []
        closed = scratch / f"{path.name}.closed"
        with source.open(encoding="utf-8-sig", newline="\n") as lines:
            _write(closed, closed_rows(lines, separator, width, strays))
        source = closed
        if strays:
            said.append(f"{len(strays):,} quotes that never close, taken as letters, such as in {strays[0][:60]!r}")
    return Readable(source, quoted, tuple(said))


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as sink:
        sink.writelines(lines)


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # A letter may be cut at the end.
    except UnicodeDecodeError:
        return False
    return True


def _bytes_of(path: Path) -> _Bytes:
    decoder, found = codecs.getincrementaldecoder("utf-8")("replace"), _Bytes()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.head = found.head or chunk[:HEAD]
            found.quotes += chunk.count(b'"')
            if not chunk.isascii() or decoder.getstate()[0]:
                text = decoder.decode(chunk)
                lost = text.count("\ufffd") - chunk.count("\ufffd".encode())
                found.broken += lost
                found.letters += len(text) - len(text.encode("ascii", "ignore")) - lost
                found.undefined |= any(byte in chunk for byte in _UNDEFINED)
    found.broken += len(decoder.decode(b"", final=True))
    return found


def _any_odd(path: Path) -> bool:
    """Say whether a line has an odd number of quotes: a text of several lines begins or ends there, or one is stray."""
    odd = pl.scan_lines(path, glob=False).select((pl.col("line").str.count_matches('"', literal=True) % 2 == 1).any())
    return bool(odd.collect(engine="streaming").item())


def fields_of(line: str, separator: str) -> list[str]:
    """Return the fields of a line; none where it is no line of a csv file."""
    if len(separator) > 1:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def closed_rows(lines: Iterable[str], separator: str, width: int, strays: list[str]) -> Iterator[str]:
    """Yield the rows of a text file, each on one line with an even number of quotes.

    A line with an odd number is joined with those up to the next such line, if that gives a row of ``width`` fields.
    Else its quote is a stray one, and a letter like any other; the line is put into ``strays``.
    """
    source, again = iter(lines), deque[str]()
    while (line := again.popleft() if again else next(source, None)) is not None:
        if line.count('"') % 2 == 0:
            yield line
            continue
        parts = [line]
        while len(parts) < LONGEST and (more := again.popleft() if again else next(source, None)) is not None:
            parts.append(more)
            if more.count('"') % 2:
                break
        joined = " ".join(part.rstrip("\r\n") for part in parts)
        if joined.count('"') % 2 == 0 and len(fields_of(joined, separator)) == width:
            yield f"{joined}\n"
            continue
        again.extendleft(reversed(parts[1:]))
        bare = line.rstrip("\r\n")
        strays.append(bare)
        letters = (field.replace('"', '""') for field in bare.split(separator))
        yield separator.join(f'"{field}"' for field in letters) + "\n"
