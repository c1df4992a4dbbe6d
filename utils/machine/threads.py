"""How many threads may run here, and how they wait: settled before any library that starts threads is loaded.

Importing anything of ``utils`` settles it, for this process and all that it starts; notebooks import this module first.
Libraries look at the machine's processors, not at the share of a container, and OpenMP's threads spin while they wait:
with busy processors, or fewer than threads, training then takes many times as long. What the user has set is kept.
"""

import contextlib
import math
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

OPENMP = "OMP_NUM_THREADS"
"""PyTorch's threads and, in processes that start with it set, Arrow's."""
BLAS = ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Where these are not set, OPENMP holds for them, too."""
POOLS = ("POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
"""Polars, and the tokenizers of transformers."""
WAITING = "OMP_WAIT_POLICY"
OURS = "MULTIMODAL_THREADS"
"""Names the variables that were set here, so that processes started from here know them from the user's."""
_CGROUPS, _OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_PROCESSORS = Path("/sys/devices/system/cpu")


def quota(root: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> float:
    """Return how many processors' time the control groups (v1 or v2) of this process allow it; infinity for no limit.

    Source: cpu.max in https://docs.kernel.org/admin-guide/cgroup-v2.html, cpu.cfs_quota_us in that of v1.
    """
    limit = math.inf
    for line in _read(own).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        inside = Path(*(part for part in name.split("/") if part not in ("", "..")))
        for base in [controllers, "cpu"] if controllers else ["", "unified"]:
            # A limit above holds, too; and in a container the name may be one of the host, not below its root.
            for folder in (inside, *inside.parents):
                limit = min(limit, _quota_of(root / base / folder))
    return limit


def _quota_of(folder: Path) -> float:
    numbers = _read(folder / "cpu.max").split()
    numbers = numbers or [_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    allowed = all(number.isdigit() and int(number) for number in numbers)  # "max" and -1 are no limit
    return int(numbers[0]) / int(numbers[1]) if allowed else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def processors() -> int:
    """Return how many processors this process may use: by its affinity and its quota, rounded up."""
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), quota())))


def cores() -> int:
    """Return how many of the ``processors`` are cores of their own: products gain nothing from two threads of one."""
    siblings = {number: f"cpu{number}/topology/thread_siblings_list" for number in os.sched_getaffinity(0)}
    own = {_read(_PROCESSORS / path) or str(number) for number, path in siblings.items()}
    return min(len(own), processors())


def settle(environment: MutableMapping[str, str] = os.environ) -> int:
    """Set the variables that are not set yet; return the threads of OpenMP."""
    environment.setdefault(WAITING, "PASSIVE")
    wanted = dict.fromkeys(POOLS, processors())
    if OPENMP not in environment:
        wanted |= dict.fromkeys((OPENMP, *BLAS), cores())
    missing = wanted.keys() - environment.keys()
    if missing:
        environment.update({name: str(wanted[name]) for name in missing})
        environment[OURS] = " ".join(sorted({*environment.get(OURS, "").split(), *missing}))
    first = environment[OPENMP].partition(",")[0].strip()
    return int(first) if first.isdigit() and int(first) else cores()


@contextlib.contextmanager
def divided(processes: int) -> Iterator[None]:
    """Give processes that are started within the block their share of the threads; what the user has set is kept."""
    before = {name: os.environ[name] for name in os.environ.get(OURS, "").split() if name in os.environ}
    os.environ |= {name: str(max(1, int(threads) // processes)) for name, threads in before.items()}
    try:
        yield
    finally:
        os.environ |= before


THREADS = settle()
"""The threads that products of matrices run on here."""
