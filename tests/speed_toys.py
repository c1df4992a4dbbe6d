"""Functions that ``test_speed`` has the harness measure, in a module that is imported in no time."""

import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.speed.child import timed


def quick(**arguments: Any) -> dict[str, Any]:
    return {"seconds": 0.5, "answer": {"sum": 1.0}, "peak_mb": 100.0, "bytes_moved": 1e9, "count": 10}


def slow(seconds: float = 2.0, **arguments: Any) -> dict[str, Any]:
    return {"seconds": seconds, "answer": {"sum": arguments.get("sum", 1.0)}, "peak_mb": 400.0}


def broken(**arguments: Any) -> None:
    raise ValueError("no such thing")


def endless(**arguments: Any) -> None:
    time.sleep(60)


def large_then_small(size: int) -> dict[str, Any]:
    len(b"1" * size)
    with timed() as clock:
        len(b"1" * (size // 8))
    len(b"1" * size)
    return clock.told() | {"answer": {}}


def with_child(size: int) -> dict[str, Any]:
    work = f"import time; held = bytearray(b'1') * {size}; time.sleep(1)"
    subprocess.run([sys.executable, "-c", work], check=True)
    return {"seconds": 1.0, "answer": {}}


def agree(case: Any, ours: Mapping[str, float], other: Mapping[str, float]) -> str | None:
    return None if ours == other else f"{ours} is not {other}"
