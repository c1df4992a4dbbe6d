"""How many threads this process may use, and that idle ones sleep. ``utils/__init__`` settles both before torch loads.

The runtime of OpenMP reads its settings when it is loaded, so a notebook imports ``utils`` first. Idle threads that
spin keep the cores from those that work: on two busy cores training took 81 s instead of 10 s.
"""

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

CGROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")
"""Variables by which libraries that count the machine's cores are told another number; pyarrow reads the first, too."""


def allowed(root: Path = CGROUPS, own: Path = OWN) -> int:
    """Return how many threads can run at once, at least 1: by affinity and by the quota of the container's cgroups.

    Source: cgroups(7); ``cpu.max`` of version 2, ``cpu.cfs_quota_us`` of version 1, of the group and those above it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas(root, own))]))


def _quotas(root: Path, own: Path) -> list[float]:
    """Return the cores that each cgroup above this process grants."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / controllers if controllers else root
        inside = Path(path.lstrip("/"))
        if ".." in inside.parts:
            inside = Path()
        for group in (base / inside, *(base / parent for parent in inside.parents), base):
            found += _quota(group)
    return found


def _quota(group: Path) -> list[float]:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text() for name in names).split()
            if quota not in ("max", "-1"):
                return [int(quota) / int(period)]
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return []


def settle(environment: MutableMapping[str, str] = os.environ) -> None:
    """Say in ``environment`` that idle threads sleep and, where fewer are allowed than there are cores, how many.

    What the user has set stays. Processes started from here, such as kernels, inherit it.
    """
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if (threads := allowed()) < (os.cpu_count() or 1):
        for name in COUNTS:
            environment.setdefault(name, str(threads))
