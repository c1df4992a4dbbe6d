"""Files and folders are whole or not there, whatever happens while they are written."""

import errno
from pathlib import Path

import pytest

from utils.handoff.atomic import DataFolderError, make_folder, sha256, writing


def write_half(path: Path, failure: BaseException | None, folder: bool = False) -> None:
    """Write something at ``path``, and fail before it is complete."""
    with writing(path) as temporary:
        if folder:
            temporary.mkdir()
        (temporary / "half" if folder else temporary).write_text("half")
        if failure is not None:
            raise failure


def temporaries(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*.tmp")]


@pytest.mark.parametrize("folder", [False, True])
def test_a_failing_block_leaves_what_was_there_and_a_complete_one_replaces_it(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "it"
    if folder:
        path.mkdir()
    (path / "old" if folder else path).write_text("old")
    for failure in (ZeroDivisionError, KeyboardInterrupt):
        with pytest.raises(failure):
            write_half(path, failure(), folder)
    assert (path / "old" if folder else path).read_text() == "old"
    assert temporaries(tmp_path) == []
    write_half(path, None, folder)
    assert [child.name for child in path.iterdir()] == ["half"] if folder else path.read_text() == "half"
    assert temporaries(tmp_path) == []


def test_the_old_folder_comes_back_when_the_new_one_cannot_be_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == path and (self / "half").exists():
            raise OSError(errno.EIO, "broken disk")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="broken disk"):
        write_half(path, None, folder=True)
    assert [child.name for child in path.iterdir()] == ["old"]
    assert temporaries(tmp_path) == []


FULL = (
    r"No space left to write .*file. What was there before is unharmed. Free some space or set DATA_DIR to a larger "
    r"disk, then run this notebook again\.$"
)
IN_THE_WAY = r"Cannot write .*file: as it is. Remove or rename what is in its place, then run this again\.$"


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        *((OSError(number, "as it is"), FULL) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
        (OSError("1494 requested and 0 written"), FULL),  # numpy's, which names no number
        *((OSError(number, "as it is"), IN_THE_WAY) for number in (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)),
        (
            OSError(errno.EACCES, "as it is"),
            r"Cannot write .*file: as it is. Set DATA_DIR to a folder you may write\.$",
        ),
        (DataFolderError("said already"), "^said already$"),
    ],
)
def test_what_the_operating_system_says_comes_with_a_remedy(tmp_path: Path, error: OSError, wanted: str) -> None:
    with pytest.raises(DataFolderError, match=wanted):
        write_half(tmp_path / "file", error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_never_replaces_a_folder_nor_a_folder_a_file(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "it"
    path.write_text("mine") if folder else (path / "mine").mkdir(parents=True)
    with pytest.raises(DataFolderError, match=r"Cannot write .*it: .*Remove or rename what is in its place"):
        write_half(path, None, folder)
    assert path.read_text() == "mine" if folder else (path / "mine").is_dir()
    assert temporaries(tmp_path) == []


def test_a_file_where_a_folder_is_made(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir() and make_folder(tmp_path / "a").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataFolderError, match=r"Cannot write .*file.*Remove or rename what is in its place"):
            make_folder(path)


def test_the_hash_of_a_folder_depends_on_names_and_contents(tmp_path: Path) -> None:
    seen = set()
    for number, (name, text) in enumerate([("a", "x"), ("b", "x"), ("a", "y"), ("sub/a", "x")]):
        path = tmp_path / str(number) / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        seen.add(sha256(tmp_path / str(number)))
    assert len(seen) == 4
    assert sha256(tmp_path / "0") == sha256(tmp_path / "0")
