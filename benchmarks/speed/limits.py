"""What the machine can do at best, measured: multiplications, memory and disk. A stage is judged by its share of it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed import ROOT

UNITS = {"matmul": ("GFLOP/s", 1e9), "memory": ("GB/s", 1e9), "disk": ("MB/s", 1e6)}
"""Limit to its unit and how many flop or bytes a second one of it is."""
NEEDS = {"matmul": "flop", "memory": "bytes_moved", "disk": "bytes_on_disk"}
"""Limit to what a measured function returns of the work it needs at least."""
_ROUNDS = 5


def measure(folder: Path = ROOT / "data", share: float = 1.0) -> dict[str, dict[str, float]]:
    """Return ``{"seconds": ..., "answer": {"matmul": GFLOP/s, "memory": GB/s, "disk": MB/s, "disk read": MB/s}}``.

    ``folder`` is where the disk is measured. ``share`` makes the arrays and the file smaller, for tests.
    """
    start = time.perf_counter()
    write, read = disk(Path(folder), int(share * (1 << 30)))
    answer = {"matmul": matmul(int(share * 4096)), "memory": memory(int(share * (1 << 27))), "disk": write}
    return {"seconds": time.perf_counter() - start, "answer": answer | {"disk read": read}}


def matmul(size: int) -> float:
    """Return the GFLOP/s of a product of two float32 matrices [size, size] on all threads: 2 size**3 / seconds."""
    left, right, out = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
    return 2 * size**3 / _best(lambda: torch.mm(left, right, out=out)) / 1e9


def memory(count: int) -> float:
    """Return the GB/s of the triad a = b + s * c over float32 arrays of ``count``, which moves 12 bytes an element.

    Source: J. McCalpin, "STREAM: Sustainable Memory Bandwidth in High Performance Computers".
    """
    b, c, a = torch.ones(count), torch.ones(count), torch.ones(count)
    return 12 * count / _best(lambda: torch.add(b, c, alpha=3.0, out=a)) / 1e9


def disk(folder: Path, size: int) -> tuple[float, float]:
    """Return the MB/s of writing ``size`` bytes until they are on disk, and of reading them, not from the cache."""
    folder.mkdir(parents=True, exist_ok=True)
    path, block = folder / f".{os.getpid()}.disk", np.random.default_rng(0).bytes(1 << 23)
    blocks = max(1, size // len(block))
    try:
        start = time.perf_counter()
        with path.open("wb", buffering=0) as stream:
            for _ in range(blocks):
                stream.write(block)
            os.fsync(stream.fileno())
            written = time.perf_counter() - start
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        with path.open("rb", buffering=0) as stream:
            while stream.read(len(block)):
                pass
        read = time.perf_counter() - start
    finally:
        path.unlink(missing_ok=True)
    return blocks * len(block) / written / 1e6, blocks * len(block) / read / 1e6


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of some rounds, after one to warm up."""
    work()
    seconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
