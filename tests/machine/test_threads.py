"""Threads follow what this process may use, wait without spinning, and are settled before PyTorch is loaded."""

import ast
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest

from tests.places import ROOT
from utils.machine import threads
from utils.machine.dask_cluster import cluster

COUNTED = (
    "import utils, polars, pyarrow, torch\n"
    "print(torch.get_num_threads(), polars.thread_pool_size(), pyarrow.cpu_count())"
)
NAMES = {threads.OPENMP, *threads.BLAS, *threads.POOLS, threads.WAITING, threads.OURS}


@pytest.mark.parametrize(
    ("own", "files", "allowed"),
    [
        pytest.param("0::/", {}, math.inf, id="no files"),
        pytest.param("", {"cpu.max": "200000 100000"}, math.inf, id="no control groups"),
        pytest.param("0::/", {"cpu.max": "max 100000"}, math.inf, id="v2 without a limit"),
        pytest.param("0::/", {"cpu.max": "200000 100000"}, 2, id="v2 in a container"),
        pytest.param("0::/a/b", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "400000 100000"}, 1.5, id="v2, below"),
        pytest.param("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5, id="v2, above"),
        pytest.param("0::/../x", {"x/cpu.max": "100000 100000"}, 1, id="v2, outside of the name space"),
        pytest.param("1:name=systemd:/\n0::/", {"unified/cpu.max": "300000 100000"}, 3, id="v2 beside v1"),
        pytest.param(
            "4:cpu,cpuacct:/docker/1f",
            {"cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            2, id="v1, named as on the host",
        ),
        pytest.param(
            "3:cpuset:/\n1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf,
            id="v1 without a limit",
        ),
        pytest.param("1:cpu:/", {"cpu/cpu.cfs_quota_us": "9", "cpu/cpu.cfs_period_us": "0"}, math.inf, id="v1, broken"),
    ],
)  # fmt: skip
def test_the_quota(tmp_path: Path, own: str, files: Mapping[str, str], allowed: float) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert threads.quota(tmp_path / "cgroup", tmp_path / "own") == allowed


@pytest.mark.parametrize(
    ("affinity", "quota", "a_core", "processors", "cores"),
    [(64, 2, 1, 2, 2), (64, 2.5, 2, 3, 3), (64, math.inf, 2, 64, 32), (3, 8, 1, 3, 3), (1, 0.1, 1, 1, 1)],
)
def test_processors_and_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    affinity: int, quota: float, a_core: int, processors: int, cores: int,
) -> None:  # fmt: skip
    for number in range(affinity):
        path = tmp_path / f"cpu{number}" / "topology" / "thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(f"core {number // a_core}")
    monkeypatch.setattr(threads, "_PROCESSORS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)))
    monkeypatch.setattr(threads, "quota", lambda: quota)
    assert (threads.processors(), threads.cores()) == (processors, cores)
    environment: dict[str, str] = {}
    assert threads.settle(environment) == cores
    assert {environment[name] for name in (threads.OPENMP, *threads.BLAS)} == {str(cores)}
    assert {environment[name] for name in threads.POOLS} == {str(processors)}
    assert environment[threads.WAITING] == "PASSIVE"


@pytest.mark.parametrize(
    ("given", "found", "ours"),
    [
        ({"OMP_NUM_THREADS": "7"}, 7, {"POLARS_MAX_THREADS", "RAYON_NUM_THREADS"}),
        ({"OMP_NUM_THREADS": "5,2", "POLARS_MAX_THREADS": "3"}, 5, {"RAYON_NUM_THREADS"}),
        (
            {"OMP_WAIT_POLICY": "ACTIVE", "MKL_NUM_THREADS": "9"}, 3,
            NAMES - {"OMP_WAIT_POLICY", "MKL_NUM_THREADS", threads.OURS},
        ),
    ],
)  # fmt: skip
def test_what_the_user_set_is_kept(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], found: int, ours: set[str]
) -> None:
    monkeypatch.setattr(threads, "processors", lambda: 3)
    monkeypatch.setattr(threads, "cores", lambda: 3)
    environment = dict(given)
    assert threads.settle(environment) == found
    assert given.items() <= environment.items()
    assert set(environment[threads.OURS].split()) == ours
    assert threads.settle(environment) == found, "in a process that inherits them"
    assert set(environment[threads.OURS].split()) == ours


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process, which inherits nothing about threads."""
    inherited = {name: value for name, value in os.environ.items() if name not in NAMES}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize(
    "first",
    [
        "from utils.machine.threads import THREADS",  # a notebook, however it was started
        "import utils.series.runner",  # what kernels and their children inherit
        "import utils.model.training.worker",
        "import tests",
    ],
)
def test_openmp_does_not_spin_whatever_was_started(first: str) -> None:
    found = python(f"{first}\nimport torch", OMP_DISPLAY_ENV="TRUE").stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in found and "'ACTIVE'" not in found


def test_libraries_follow_the_affinity_of_the_process() -> None:
    code = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    assert python(code + COUNTED).stdout.split() == ["1", "1", "1"]


def test_libraries_follow_the_variables() -> None:
    """As in a container: settled numbers hold for PyTorch, Polars and Arrow alike."""
    assert python(COUNTED, OMP_NUM_THREADS="1", POLARS_MAX_THREADS="1").stdout.split() == ["1", "1", "1"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("0*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_settles_threads_before_all_other_imports(path: Path) -> None:
    imports = [
        node
        for cell in nbformat.read(path, 4).cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert ast.unparse(imports[0]) == "from utils.machine.threads import THREADS"


def test_workers_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.OURS, "OMP_NUM_THREADS OPENBLAS_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    with cluster("local:2") as client:
        found = client.run(lambda: [os.environ[name] for name in names])
    assert list(found.values()) == [["2", "1", "5"]] * 2
    assert os.environ["OMP_NUM_THREADS"] == "5"
