"""Archives: members are found at any depth, and each way to be hostile or broken is refused by name."""

import errno
import os
import stat
import struct
import tempfile
import zipfile
from pathlib import Path
from unittest.mock import Mock

import pytest

from utils.fetching import archives
from utils.fetching.archives import ArchiveError, extract, open_archive, open_zip
from utils.handoff.atomic import DataFolderError

NAMES = ("ratings.csv", "movies.csv")


def make_zip(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as opened:
        for name, content in members.items():
            # Written through ZipInfo, which keeps a hostile name as it is.
            info = zipfile.ZipInfo("x")
            info.filename = name
            opened.writestr(info, content, kind)
    return path


def refused(path: Path, reason: str, member_limit: int = 1 << 30) -> None:
    """Opening it, or taking ratings.csv, fails with one line."""
    with pytest.raises(ArchiveError, match=reason) as caught, open_archive(path, member_limit) as archive:
        archive.take(["ratings.csv"])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", ["", "ml-25m/", "a/b/c/"])
def test_members_are_found_at_any_depth_and_removed_afterwards(tmp_path: Path, folder: str) -> None:
    path = make_zip(tmp_path / "x.zip", {f"{folder}ratings.csv": b"r", f"{folder}movies.csv": b"m", "README": b""})
    with open_archive(path) as archive:
        files = archive.take(NAMES, optional=("links.csv",))
        assert {name: file.read_bytes() for name, file in files.items()} == {"ratings.csv": b"r", "movies.csv": b"m"}
        assert archive.take(NAMES) == files
    assert not any(file.exists() for file in files.values())


def test_a_folder_gives_its_own_files(tmp_path: Path) -> None:
    inner = tmp_path / "ml-20m"
    inner.mkdir()
    for name in (*NAMES, "links.csv"):
        (inner / name).write_text(name)
    with open_archive(tmp_path) as archive:
        files = archive.take(NAMES, optional=("links.csv",))
    assert files == {name: inner / name for name in (*NAMES, "links.csv")}
    assert (inner / "ratings.csv").exists()


def test_what_is_no_zip(tmp_path: Path) -> None:
    path = tmp_path / "page.zip"
    path.write_text("<html>log in</html>")
    refused(path, r"page\.zip is not a zip.*fetch it again")
    refused(tmp_path / "absent.zip", r"absent\.zip does not exist. Check the path")
    os.mkfifo(tmp_path / "pipe.zip")
    for device in (tmp_path / "pipe.zip", Path("/dev/zero")):
        refused(device, r"is a pipe or a device, not a file. Check the path: a .zip or a folder is expected")


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "C:/evil", "a\\evil", "..\\evil", "a//etc/evil", "./evil", "a/.."]
)
def test_unsafe_names(tmp_path: Path, name: str) -> None:
    path = make_zip(tmp_path / "x.zip", {"ratings.csv": b"", name: b""})
    refused(path, "unsafe name")
    path = make_zip(tmp_path / "y.zip", {"ratings.csvQ.exe": b""})
    path.write_bytes(path.read_bytes().replace(b"csvQ", b"csv\0"))
    refused(path, "unsafe name")


def test_symbolic_links(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("ratings.csv")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        opened.writestr(info, "/etc/passwd")
    refused(tmp_path / "x.zip", r"ratings\.csv is a symbolic link")
    link = tmp_path / "folder" / "ratings.csv"
    link.parent.mkdir()
    reasons = {"/etc/passwd": "symbolic link out of", "nothing": "symbolic link to nothing", link: "link to nothing"}
    for target, reason in reasons.items():
        link.symlink_to(target)
        refused(link.parent, reason)
        link.unlink()


def test_encrypted(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"ratings.csv": b"1"})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    refused(path, r"ratings\.csv is encrypted")


def test_a_member_over_the_limit(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"ratings.csv": b"0" * 5000})
    refused(path, r"ratings\.csv is 5,000 bytes, over the limit of 999", 999)
    # A header that lies about the size.
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 5000), struct.pack("<L", 10)))
    refused(path, r"ratings\.csv (is damaged|holds more)", 999)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "ratings.csv").write_bytes(b"0" * 1000)
    refused(folder, "over the limit of 999", 999)


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member(tmp_path: Path, kind: int) -> None:
    content = os.urandom(20_000)
    path = make_zip(tmp_path / "x.zip", {"ratings.csv": content}, kind)
    whole = path.read_bytes()
    for place in (60, 5000, 15_000):
        path.write_bytes(whole[:place] + b"\xff\x00" * 30 + whole[place + 60 :])
        refused(path, r"ratings\.csv is damaged.*[Ff]etch")


def test_a_full_disk_is_not_taken_for_a_damaged_member(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"ratings.csv": b"0" * 100_000})
    with open_zip(path) as opened, pytest.raises(OSError, match="No space left"):
        extract(opened, "ratings.csv", Path("/dev/full"))


def test_a_missing_member_names_what_was_expected_and_found(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a/ratings.csv": b"", "b/tags.csv": b""})
    with open_archive(path) as archive, pytest.raises(ArchiveError) as caught:
        archive.take(NAMES)
    assert "ratings.csv, movies.csv" in str(caught.value)
    assert "Found: ratings.csv, tags.csv" in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_ambiguous_members(tmp_path: Path) -> None:
    refused(make_zip(tmp_path / "x.zip", {"a/ratings.csv": b"", "b/ratings.csv": b""}), "more than once: in a, b")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as opened:
        opened.writestr("ratings.csv", "1")
        opened.writestr("ratings.csv", "2")
    refused(tmp_path / "y.zip", r"has ratings\.csv more than once")


def test_no_room_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_zip(tmp_path / "a.zip", {"ratings.csv": b"1"})
    monkeypatch.setattr(archives, "extract", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    wanted = r"No space left to write .*ratings\.csv\. .*Free some space or set TMPDIR to a larger disk"
    with open_archive(tmp_path / "a.zip") as opened, pytest.raises(DataFolderError, match=wanted):
        opened.take(["ratings.csv"])
    # Where no folder takes a file, Python has none for temporary ones.
    none = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    monkeypatch.setattr(tempfile, "TemporaryDirectory", Mock(side_effect=none))
    wanted = r"No usable temporary directory .*Free some space there, or set TMPDIR to another folder\.$"
    with pytest.raises(DataFolderError, match=wanted), open_archive(tmp_path / "a.zip"):
        pass
