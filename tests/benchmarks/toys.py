"""What ``test_speed`` runs in processes of their own, in a module that is imported in no time."""

from benchmarks.measure import Measured, timed


def broken() -> None:
    raise ValueError("no such thing")


def large_then_small(size: int) -> Measured:
    len(b"1" * size)
    with timed() as run:
        len(b"1" * (size // 8))
    return run
