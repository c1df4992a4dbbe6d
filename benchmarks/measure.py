"""One run of one side: its seconds, its peak of memory and its answer, in a process of its own.

Ours, because pytest-benchmark repeats a function in one process and knows nothing of memory, and because asv and
pyperf, which start processes, cannot compare two answers. Linux only: the peak is ``VmHWM`` of ``/proc``.
"""

import contextlib
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT = 1800.0
"""Seconds after which a run is ended and counts as failed."""
_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Measured:
    """One run: seconds, peak of memory in MB (10**6 bytes), numbers or arrays found, and what it needs at least.

    ``limit`` names a limit of the machine (``benchmarks.speed.limits``); ``work`` is in its unit, operations or bytes.
    """

    seconds: float = 0.0
    peak_mb: float = 0.0
    answer: dict[str, Any] = field(default_factory=dict)
    limit: str | None = None
    work: float = 0.0


@dataclass(frozen=True)
class Row:
    """Two sides of a stage to compare, and what ours should reach.

    ``faster`` is the least seconds(other) / seconds(ours), ``tolerance`` the largest gap of an answer by name (0 for
    other names), ``memory`` the largest peak(ours) / peak(other), ``peak_mb`` the largest peak of ours. ``why`` says in
    ten words why a target is missed.
    """

    ours: str
    other: str
    faster: float
    tolerance: Mapping[str, float] = field(default_factory=dict)
    memory: float = float("inf")
    peak_mb: float = float("inf")
    why: str = "not profiled yet"


@dataclass(frozen=True)
class Stage:
    """Sides that are measured by turns, by name, and the rows made of them. ``prepare`` is run once before."""

    name: str
    sides: dict[str, Callable[[], Measured]]
    rows: list[Row]
    prepare: Callable[[], object] | None = None


@contextlib.contextmanager
def timed() -> Iterator[Measured]:
    """Measure a block: its seconds, and the peak of memory of this process, or of one that it started and ended."""
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM: proc(5)
    run, start = Measured(), time.perf_counter()
    yield run
    run.seconds = time.perf_counter() - start
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    # Not their sum: a process begins with the peak of the one that started it.
    largest = max(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    run.peak_mb = largest * 1024 / 1e6


def run_once(side: Callable[[], object], timeout: float = TIMEOUT) -> Any:
    """Return what ``side`` returns in a fresh process, or as text what went wrong; what it started is ended with it."""
    receiver, sender = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_child, args=(sender, side))
    process.start()
    sender.close()
    try:
        found = receiver.recv() if receiver.poll(timeout) else f"not done after {timeout:.0f} s"
    except EOFError:  # it died, which closed the pipe
        process.join()
        found = f"ended with exit code {process.exitcode}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
    return found


def _child(sender: Any, side: Callable[[], object]) -> None:
    os.setsid()
    os.environ["TQDM_DISABLE"] = "1"
    try:
        with contextlib.redirect_stdout(None):
            found = side()
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    sender.send(found)
