"""Threads: as many as the container grants, asleep when idle, settled before torch is loaded wherever work begins."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.handoff.atomic import ROOT
from utils.machine import threads

CORES = len(os.sched_getaffinity(0))
GROUPS = {
    "no limit": ("0::/", {"cpu.max": "max 100000"}, CORES),
    "a quota of one core": ("0::/", {"cpu.max": "100000 100000"}, 1),
    "one and a half: the half needs a thread, too": ("0::/", {"cpu.max": "150000 100000"}, min(2, CORES)),
    "a tenth of a core": ("0::/", {"cpu.max": "10000 100000"}, 1),
    "a group above grants less": ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 1),
    "version 1": (
        "4:memory:/x\n3:cpu,cpuacct:/x",
        {"cpu,cpuacct/x/cpu.cfs_quota_us": "100000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
        1,
    ),
    "version 1 without a limit": ("3:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1"}, CORES),
    "files that make no sense": ("0::/../..", {"cpu.max": "many"}, CORES),
}


@pytest.mark.parametrize(("own", "files", "cores"), GROUPS.values(), ids=GROUPS)
def test_threads_follow_the_quota_of_the_container(own: str, files: dict[str, str], cores: int, tmp_path: Path) -> None:
    (tmp_path / "self").write_text(own + "\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert threads.allowed(tmp_path, tmp_path / "self") == cores
    assert threads.allowed(tmp_path, tmp_path / "none") == CORES


def test_libraries_are_told_only_what_the_user_has_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(threads, "allowed", lambda: 2)
    environment = {"OMP_NUM_THREADS": "7"}
    threads.settle(environment)
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE" and environment["OMP_NUM_THREADS"] == "7"
    assert all(environment[name] == "2" for name in threads.COUNTS[1:])
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    environment = {"OMP_WAIT_POLICY": "ACTIVE"}
    threads.settle(environment)
    assert environment == {"OMP_WAIT_POLICY": "ACTIVE"}, "all cores may be used: nothing needs saying"


STARTS = ["import utils", "import utils.series.runner", "import utils.model.training.worker", "import tests.conftest"]


@pytest.mark.parametrize("start", STARTS)
def test_it_is_settled_before_torch_is_loaded(start: str) -> None:
    code = f"""
import builtins, os
load = builtins.__import__
def watched(name, *rest):
    assert name != "torch" or os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    return load(name, *rest)
builtins.__import__ = watched
{start}
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
"""
    free = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=free, check=True, timeout=300)


@pytest.mark.parametrize("path", sorted(ROOT.glob("0*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_imports_utils_before_torch(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    lines = [line.split() for cell in cells for line in cell["source"] if line.startswith(("import ", "from "))]
    roots = [words[1].split(".")[0] for words in lines]
    heavy = [roots.index(name) for name in ("torch", "transformers") if name in roots]
    assert not heavy or roots.index("utils") < min(heavy)
