"""Archives: members are found at any depth, and each way to be hostile or broken is refused by name."""

import stat
import struct
import zipfile
from pathlib import Path

import pytest

from utils.fetching.archives import ArchiveError, open_archive

NAMES = ("ratings.csv", "movies.csv")


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            # Written through ZipInfo, which keeps a hostile name as it is.
            info = zipfile.ZipInfo("x")
            info.filename = name
            opened.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


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


def test_not_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "page.zip"
    path.write_text("<html>log in</html>")
    with pytest.raises(ArchiveError, match=r"page\.zip is not a zip.*fetch it again"), open_archive(path):
        pass
    with pytest.raises(ArchiveError, match=r"absent\.zip does not exist"), open_archive(tmp_path / "absent.zip"):
        pass


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "C:/evil", "a\\evil", "..\\evil", "a//etc/evil", "./evil", "a/.."]
)
def test_unsafe_names(tmp_path: Path, name: str) -> None:
    path = make_zip(tmp_path / "x.zip", {"ratings.csv": b"", name: b""})
    with pytest.raises(ArchiveError, match="unsafe name") as caught, open_archive(path):
        pass
    assert repr(name) in str(caught.value)


def test_a_name_with_nul_is_unsafe(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"ratings.csvQ.exe": b""})
    path.write_bytes(path.read_bytes().replace(b"csvQ", b"csv\0"))
    with pytest.raises(ArchiveError, match="unsafe name"), open_archive(path):
        pass


def test_symbolic_links(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("ratings.csv")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        opened.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match=r"ratings\.csv is a symbolic link"), open_archive(tmp_path / "x.zip"):
        pass
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "ratings.csv").symlink_to("/etc/passwd")
    (folder / "movies.csv").symlink_to(folder / "nothing")
    with open_archive(folder) as archive:
        with pytest.raises(ArchiveError, match="symbolic link out of"):
            archive.take(["ratings.csv"])
        with pytest.raises(ArchiveError, match="symbolic link to nothing"):
            archive.take(["movies.csv"])


def test_encrypted(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"ratings.csv": b"1"})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(ArchiveError, match=r"ratings\.csv is encrypted"), open_archive(path):
        pass


def test_a_member_over_the_limit(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"ratings.csv": b"0" * 1000})
    with (
        open_archive(path, member_limit=999) as archive,
        pytest.raises(ArchiveError, match=r"ratings\.csv is 1,000 bytes, over the limit of 999"),
    ):
        archive.take(["ratings.csv"])
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "ratings.csv").write_bytes(b"0" * 1000)
    with open_archive(folder, member_limit=999) as archive, pytest.raises(ArchiveError, match="over the limit of 999"):
        archive.take(["ratings.csv"])


def test_a_header_that_lies_about_the_size(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"ratings.csv": b"0" * 5000})
    raw = path.read_bytes()
    path.write_bytes(raw.replace(struct.pack("<L", 5000), struct.pack("<L", 10)))
    with (
        open_archive(path, member_limit=999) as archive,
        pytest.raises(ArchiveError, match=r"ratings\.csv (is damaged|holds more)"),
    ):
        archive.take(["ratings.csv"])


def test_a_damaged_member(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"ratings.csv": bytes(range(256)) * 40})
    raw = bytearray(path.read_bytes())
    raw[60:70] = b"\xff" * 10
    path.write_bytes(raw)
    with open_archive(path) as archive, pytest.raises(ArchiveError, match=r"ratings\.csv is damaged"):
        archive.take(["ratings.csv"])


def test_a_missing_member_names_what_was_expected_and_found(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a/ratings.csv": b"", "b/tags.csv": b""})
    with open_archive(path) as archive, pytest.raises(ArchiveError) as caught:
        archive.take(NAMES)
    message = str(caught.value)
    assert "ratings.csv, movies.csv" in message
    assert "Found: ratings.csv, tags.csv" in message


def test_ambiguous_members(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {f"{folder}/{name}": b"" for folder in "ab" for name in NAMES})
    with open_archive(path) as archive, pytest.raises(ArchiveError, match="more than once: in a, b"):
        archive.take(NAMES)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        opened.writestr("ratings.csv", "1")
        opened.writestr("ratings.csv", "2")
    with pytest.raises(ArchiveError, match=r"has ratings\.csv more than once"), open_archive(tmp_path / "x.zip"):
        pass
