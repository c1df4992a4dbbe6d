"""The runner, on two tiny notebooks of its own: what runs, with which parameters, and what is left alone."""

import errno
import functools
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import nbformat
import papermill
import pytest
from nbclient.exceptions import CellTimeoutError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.places import ROOT
from utils.handoff import lock
from utils.handoff.manifest import HandOffError
from utils.handoff.parameters import ParameterError
from utils.series import runner

FIRST, SECOND = "01-Download-Convert", "02-Data-Enrichment"
COMMON = 'DATA_DIR = "data"  # folder\nDATASET = "toy"  # name\nSEED = 42  # of everything\n'

READ_RATINGS = f"""\
import pyarrow as pa

from utils.handoff.store import open_store

store = open_store(DATA_DIR, DATASET, SEED, "{FIRST}", USERS=USERS)
ids = pa.array(range(USERS), pa.int64())
store.write("train", pa.table({{"userId": ids, "movieId": ids, "rating": ids, "timestamp": ids}}))
"""
ENRICH = f"""\
import os
import time
from pathlib import Path

import pyarrow as pa

from utils import toy
from utils.handoff.store import open_store

store = open_store(DATA_DIR, DATASET, SEED, "{SECOND}", STORY=STORY)
movies = store.read("train")["movieId"]
if Path("slow").exists():
    Path("started").write_text(str(os.getpid()))
    time.sleep(60)
assert STORY != "fail", "the story failed"
if STORY == "die":
    os.kill(os.getpid(), 9)
text = pa.array([toy.tell(STORY)] * len(movies))
columns = ("synopsis", "synopsis_source", "poster_path", "poster_source")
store.write("enriched", pa.table({{"movieId": movies}} | dict.fromkeys(columns, text)))
"""


def save(path: Path, parameters: str, code: str) -> None:
    cells = [
        new_markdown_cell(f"# {path.stem}", id="a"),
        new_code_cell(COMMON + parameters, id="b", metadata={"tags": ["parameters"]}),
        new_code_cell(code, id="c"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def make_root(root: Path) -> Path:
    """A repository with the real hand-offs, one module of its own, and two notebooks named like the real ones."""
    for room in ("handoff", "machine"):
        shutil.copytree(ROOT / "utils" / room, root / "utils" / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "utils" / "__init__.py", root / "utils")
    (root / "utils" / "toy.py").write_text(
        "from utils import words\n\n\ndef tell(story):\n    return words.LOUD + story\n"
    )
    (root / "utils" / "words.py").write_text('LOUD = "!"\n')
    (root / "utils" / "unused.py").write_text("NOBODY = 1\n")
    (root / "utils" / "handoff" / "table.csv").write_text("read by a module beside it,1\n")
    save(root / f"{FIRST}.ipynb", "USERS = 3  # how many\n", READ_RATINGS)
    save(root / f"{SECOND}.ipynb", 'STORY = "once"  # what is told\nWORDS = [  # a list\n    1,\n    2,\n]\n', ENRICH)
    return root


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root where everything has been run once."""
    root = make_root(tmp_path_factory.mktemp("pristine") / "root")
    assert runner.run_all({}, root) == 2
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "root")


def undone(root: Path, **given: object) -> list[str]:
    """The notebooks that a run would run first, as of now (a rerun of the first may leave the second alone)."""
    return [
        step.name[:2]
        for step in runner.plan(given, root)
        if not runner.is_done(step, root / "runs" / "toy" / step.path.name, root / "data" / "toy", root)
    ]


def executed(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "runs" / "toy").iterdir())


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# Values and plans


VALUES = {
    "1": 1, "1e-3": 0.001, "None": None, "True": True, "true": True, "[1, 2]": [1, 2], '["ids"]': ["ids"],
    "[ids,ids+genres]": ["ids", "ids+genres"], "ids+genres+poster": "ids+genres+poster", '"quoted"': "quoted",
    "ml-100k": "ml-100k", "tcp://10.0.0.1:8786": "tcp://10.0.0.1:8786", "a: b": "a: b", "2020-01-01": "2020-01-01",
    "{movieId:isbn}": {"movieId": "isbn"}, "{movieId: isbn, userId: who}": {"movieId": "isbn", "userId": "who"},
    "{synopsis}": "{synopsis}", "{title}: {synopsis}": "{title}: {synopsis}",
    "/data/ml 1m.zip": "/data/ml 1m.zip", "": "", "[": "[", "__import__('os')": "__import__('os')",
}  # fmt: skip


def test_values() -> None:
    for text, value in VALUES.items():
        parsed = runner.parse(text)
        assert parsed == value and type(parsed) is type(value), text


def test_parameters_go_to_those_that_declare_them(root: Path) -> None:
    first, second = runner.plan({"SEED": 7, "STORY": "twice"}, root)
    assert (first.name, second.name) == (FIRST, SECOND)
    assert first.given == {"SEED": 7}
    assert second.given == {"SEED": 7, "STORY": "twice"}
    assert first.defaults == {"DATA_DIR": "data", "DATASET": "toy", "SEED": 42, "USERS": 3}
    assert second.defaults["WORDS"] == [1, 2]
    for order in (1, -1):
        first, second = runner.plan(dict([("SEED", 7), ("02:SEED", 8)][::order]), root)
        assert (first.given, second.given) == ({"SEED": 7}, {"SEED": 8}), "that for one notebook goes before"


@pytest.mark.parametrize("name", ["EPOCH", "03:SEED", "01:STORY", "2:STORY"])
def test_a_parameter_that_no_notebook_declares(root: Path, name: str) -> None:
    wanted = f"No notebook has a parameter '{name}'. There are: DATASET, DATA_DIR, SEED, STORY, USERS, WORDS."
    with pytest.raises(ParameterError) as caught:
        runner.plan({"SEED": 7, name: 1}, root)
    assert str(caught.value) == wanted


# What is run again


def test_a_second_run_does_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def times() -> dict[Path, int]:
        files = (path for path in root.rglob("*") if path.is_file() and path.name != lock.FILE)
        return {path: path.stat().st_mtime_ns for path in files}

    before = times()
    assert runner.run_all({}, root) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"[1/2] {FIRST}: unchanged",
        f"[2/2] {SECOND}: unchanged",
        "Executed notebooks: runs/toy/   Files: data/toy/",
    ]
    assert times() == before
    assert executed(root) == [f"{FIRST}.ipynb", f"{SECOND}.ipynb"]


def touch_everything(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, (1, 1))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (touch_everything, []),
        (lambda root: edit(root / f"{FIRST}.ipynb", "# 01", "# 01 in prose"), []),
        (lambda root: edit(root / f"{FIRST}.ipynb", "range(USERS)", "range(0, USERS)"), ["01"]),
        (lambda root: edit(root / f"{FIRST}.ipynb", "USERS = 3", "USERS = 4"), ["01"]),
        (lambda root: edit(root / "utils" / "toy.py", "LOUD + story", "LOUD * 2 + story"), ["02"]),
        (lambda root: edit(root / "utils" / "words.py", '"!"', '"?"'), ["02"]),
        (lambda root: edit(root / "utils" / "handoff" / "table.csv", "1", "2"), ["01", "02"]),
        (lambda root: edit(root / "utils" / "unused.py", "1", "2"), []),
        (lambda root: edit(root / "utils" / "handoff" / "store.py", "import json", "import json  #"), ["01", "02"]),
        (lambda root: (root / "utils" / "handoff" / "__init__.py").write_text("# New."), ["01", "02"]),
        (lambda root: (root / "data" / "toy" / "enriched.parquet").write_bytes(b"tampered"), ["02"]),
        (lambda root: (root / "data" / "toy" / "train.parquet").unlink(), ["01"]),
        (lambda root: shutil.rmtree(root / "data"), ["01", "02"]),
        (lambda root: (root / "data" / "toy" / "manifest.json").unlink(), ["01", "02"]),
        (lambda root: shutil.rmtree(root / "runs"), ["01", "02"]),
        (lambda root: (root / "runs" / "toy" / f"{SECOND}.ipynb").write_text("{"), ["02"]),
        (lambda root: (root / "runs" / "toy" / f"{SECOND}.ipynb").write_text("{}"), ["02"]),
    ],
)
def test_a_change_reruns_what_it_touches(root: Path, change: Callable[[Path], object], wanted: list[str]) -> None:
    change(root)
    assert undone(root) == wanted


def test_a_changed_parameter_reruns_those_that_have_it(root: Path) -> None:
    assert undone(root, USERS=4) == ["01"]
    assert undone(root, STORY="twice") == ["02"]
    assert undone(root, SEED=43) == ["01", "02"]
    assert undone(root, STORY="long " * 1000) == ["02"], "a very long value is no path"


def test_only_what_is_made_differently_is_followed_up(root: Path) -> None:
    edit(root / f"{FIRST}.ipynb", "range(USERS)", "range(0, USERS)")
    assert runner.run_all({}, root) == 1
    assert undone(root) == []
    assert runner.run_all({"USERS": 5}, root) == 2
    assert undone(root, USERS=5) == []


def test_files_that_parameters_name_are_watched_and_the_data_folder_is_not(root: Path) -> None:
    own = root / "own"
    own.mkdir()
    (own / "1.txt").write_text("a story")
    given = {"DATA_DIR": "data", "STORY": "own"}  # the first is what it would be anyway
    assert runner.run_all(given, root) == 1
    assert undone(root, **given) == []
    (root / "data" / "elsewhere").mkdir()
    assert undone(root, **given) == []
    (own / "2.txt").write_text("another")
    assert undone(root, **given) == ["02"]


def test_a_file_below_the_home_folder_is_watched_with_the_ids_beside_it(root: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    for name in ("v.npy", "v.ids.txt", "other.ids.txt"):
        (root / name).write_text("1")
    given = {"STORY": "~/v.npy"}
    assert runner.run_all(given, root) == 1
    (root / "other.ids.txt").write_text("1\n2")
    assert undone(root, **given) == []
    (root / "v.ids.txt").write_text("2\n1")
    assert undone(root, **given) == ["02"]


def test_the_home_folder_is_meant_by_a_tilde(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    given = {"DATA_DIR": "~/mine"}
    assert runner.run_all(given, root) == 2 and runner.run_all(given, root) == 0
    assert (tmp_path / "mine" / "toy" / "enriched.parquet").is_file() and not (root / "~").exists()


# Failures


@pytest.fixture
def main(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``runner.main`` on the tiny root."""
    monkeypatch.setattr(runner, "run_all", functools.partial(runner.run_all, root=root))
    for name in ("JUPYTER_PREFER_ENV_PATH", "PYDEVD_DISABLE_FILE_VALIDATION"):
        monkeypatch.setenv(name, "1")
    return lambda *arguments: runner.main(list(arguments))


NO_PAIRS = ["SEED", "=3", "01:=3", "SE ED=3", "1:SEED=3", "-x"]


@pytest.mark.parametrize(
    ("pair", "wanted"),
    [
        *((pair, f"FAILED: {pair!r} is not of the form NAME=VALUE or 03:NAME=VALUE.\n") for pair in NO_PAIRS),
        ("EPOCHS=3", "FAILED: No notebook has a parameter 'EPOCHS'. There are: "),
        ("DATASET=../x", "FAILED: DATASET='../x' must be 1 to 64 letters"),
        ("DATA_DIR=5", "FAILED: DATA_DIR=5 must be the path of a file or folder, as text."),
    ],
)
def test_parameters_are_refused_before_anything_runs(
    main: Callable[..., int], pair: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("--params", f"'{pair}'") == 1
    out, error = capsys.readouterr()
    assert error.startswith(wanted)
    assert out == ""


def test_a_damaged_manifest_is_named(main: Callable[..., int], root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "data" / "toy" / "manifest.json").write_text("{")
    assert main() == 1
    assert "manifest.json is damaged" in capsys.readouterr().err


def test_a_failing_notebook(main: Callable[..., int], root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(root / "runs" / "toy")
    before = (root / "data" / "toy" / "enriched.parquet").read_bytes()
    assert main("USERS=3", "--params", "SEED=42 02:STORY=fail") == 1
    out, error = capsys.readouterr()
    assert out.splitlines()[-1] == f"[2/2] {SECOND} ..."
    assert "FAILED: AssertionError: the story failed" in error
    assert executed(root) == [f"{FIRST}.ipynb", f"{SECOND}.failed.ipynb"]
    failed = root / "runs" / "toy" / f"{SECOND}.failed.ipynb"
    again = failed.read_bytes()
    assert (root / "data" / "toy" / "enriched.parquet").read_bytes() == before
    assert list((root / "data" / "toy").glob(".*.tmp")) == []
    # Mended, only the one that failed runs, and what it left is gone.
    assert main("USERS=3", "STORY=once") == 0
    assert f"[1/2] {FIRST}: unchanged" in capsys.readouterr().out
    assert not failed.exists()
    # Where another run did it meanwhile, nothing is left to run, and the old failure goes all the same.
    failed.write_bytes(again)
    assert main("USERS=3", "STORY=once") == 0
    assert f"[2/2] {SECOND}: unchanged" in capsys.readouterr().out and not failed.exists()


def test_quotes_that_do_not_close_and_an_interrupt_are_one_line(
    main: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("--params", "STORY='x") == 1
    assert (
        capsys.readouterr().err == 'FAILED: PARAMS="STORY=\'x" cannot be cut into NAME=VALUE: No closing quotation.\n'
    )

    def interrupted(given: dict[str, object]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_all", interrupted)
    assert main() == 1
    assert capsys.readouterr().err == "\nStopped. Run this again: it goes on where it stopped.\n"


@pytest.mark.parametrize("name", ["2024", "no", "1e3"])
def test_a_data_set_may_have_any_name(main: Callable[..., int], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    monkeypatch.setattr(runner, "run_all", seen.update)
    assert main(f"DATASET={name}") == 0
    assert seen == {"DATASET": name}


def test_a_notebook_whose_process_is_killed(
    main: Callable[..., int], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("STORY=die") == 1
    assert "FAILED: the notebook's process was killed, most often because memory ran out." in capsys.readouterr().err
    assert executed(root) == [f"{FIRST}.ipynb", f"{SECOND}.ipynb"]
    assert undone(root, STORY="die") == ["02"]


def test_a_notebook_whose_process_is_killed_while_it_starts(
    main: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    startup = tmp_path / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("import os; os.kill(os.getpid(), 9)")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    started = time.monotonic()
    assert main("STORY=again") == 1
    assert time.monotonic() - started < 60
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("FAILED: the notebook's process was killed, most often because memory ran out. Lower")


def test_a_process_that_does_not_start_or_answer_is_one_line(
    main: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, wanted in (
        (RuntimeError("Kernel didn't respond in 60 seconds"), "the notebook's process did not start. Lower BATCH_SIZE"),
        (CellTimeoutError("Timeout\nin a cell"), "the notebook's process stopped answering. Run this again"),
        (OSError(errno.ENOSPC, "No space left on device"), r"No space left to write .*running.ipynb. What was there"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
    ):
        monkeypatch.setattr(papermill, "execute_notebook", Mock(side_effect=error))
        assert main("STORY=again") == 1
        assert re.search(f"FAILED: .*{wanted}", capsys.readouterr().err.strip().splitlines()[-1])


def test_too_few_open_files(
    main: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "run_all", lambda given: 0)
    allowed = Mock()
    monkeypatch.setattr(resource, "setrlimit", allowed)
    for limits in ((runner.FILES, 4096), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        assert main() == 0 and not allowed.called
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 4096))
    assert main() == 0
    allowed.assert_called_once_with(resource.RLIMIT_NOFILE, (runner.FILES, 4096))
    allowed.side_effect = ValueError
    assert main() == 1
    assert capsys.readouterr().err == "FAILED: only 4096 files may be open at once. Allow 512: `ulimit -n 512`.\n"


def test_two_runs_are_not_at_once_and_after_a_kill_it_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    root = make_root(tmp_path / "root")
    (root / "slow").touch()
    code = f"from pathlib import Path; from utils.series import runner; runner.run_all({{}}, Path({str(root)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)
    started = root / "started"
    try:
        deadline = time.monotonic() + 60
        while not (started.exists() and started.read_text()) and process.poll() is None:
            assert time.monotonic() < deadline, "the second notebook did not start"
            time.sleep(0.02)
        wanted = rf"Another run is at work in .*toy: make run, process {process.pid} on "
        with pytest.raises(HandOffError, match=wanted):
            runner.run_all({}, root)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        if started.exists():
            os.kill(int(started.read_text()), signal.SIGKILL)
    assert not (root / "runs" / "toy" / f"{SECOND}.ipynb").exists()
    (root / "slow").unlink()
    assert runner.run_all({}, root) == 1
    assert f"[1/2] {FIRST}: unchanged" in capsys.readouterr().out
    assert executed(root) == [f"{FIRST}.ipynb", f"{SECOND}.ipynb"]
    assert undone(root) == []
