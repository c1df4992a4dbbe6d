"""The process that runs one measured function once: ``python -m benchmarks.speed.child MODULE:FUNCTION ARGUMENTS OUT``.

Each measurement has a process of its own, so that imports, caches and the peak of memory are its own. Linux only:
peaks come from ``VmHWM`` in ``/proc``. ``ru_maxrss`` will not do: a new process inherits it from the one that made it.
"""

import contextlib
import hashlib
import importlib
import json
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.speed import ROOT


@dataclass
class Clock:
    """What ``timed`` measured: wall-clock ``seconds``, and the peak of memory within the block in MB."""

    seconds: float = 0.0
    peak_mb: float = 0.0

    def told(self) -> dict[str, float]:
        """Return both as a measured function returns them."""
        return {"seconds": self.seconds, "peak_mb": self.peak_mb}


@contextlib.contextmanager
def timed() -> Iterator[Clock]:
    """Time a block and take its peak of memory, so that what comes before and after does not count."""
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM: proc(5)
    clock, start = Clock(), time.perf_counter()
    yield clock
    clock.seconds = time.perf_counter() - start
    clock.peak_mb = high_water("self")


def high_water(process: int | str) -> float:
    """Return the peak of resident memory of a process in MB (10**6 bytes), 0.0 where it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


@dataclass
class Children:
    """The largest sum of the peaks of a process's children that were alive at a time, in MB, as far as one looked.

    A child counts from the second look on: between fork and exec it looks as large as its parent.
    """

    process: psutil.Process
    largest: float = 0.0
    seen: set[int] = field(default_factory=set)

    def look(self) -> None:
        """Look at the children now; a process that has ended has none."""
        with contextlib.suppress(psutil.NoSuchProcess):
            now = {child.pid for child in self.process.children(recursive=True)}
            self.largest = max(self.largest, sum(high_water(child) for child in now & self.seen))
            self.seen = now


def digest(path: Path) -> str:
    """Return the start of the sha256 of a source file: enough to tell versions apart."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def code() -> dict[str, str]:
    """Return the project's modules that this process has loaded: path below the root to digest."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    below = (Path(file).relative_to(ROOT) for file in files if file and Path(file).is_relative_to(ROOT))
    # Not what is installed below the root, in .venv.
    own = sorted(path for path in below if not any(part.startswith(".") for part in path.parts))
    return {path.as_posix(): digest(ROOT / path) for path in own}


def call(target: str, arguments: dict[str, Any]) -> Any:
    """Call "module:function" with ``arguments``."""
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)(**arguments)


def main(target: str, arguments: str, out: str) -> None:
    """Run ``target``; write what it returned, or its ``error``, and its ``code`` to the file ``out``.

    ``peak_mb`` is that of the process where the function does not tell it (``Clock.told``).
    """
    try:
        returned = call(target, json.loads(arguments)) or {}
    except Exception as error:
        returned = {"error": f"{type(error).__name__}: {error}"}
        traceback.print_exc()
    Path(out).write_text(json.dumps({"peak_mb": high_water("self")} | returned | {"code": code()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
