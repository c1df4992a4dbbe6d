"""Freed memory is kept within the block only."""

import resource

import numpy as np
import pytest

from utils.machine import memory

SIZE = 40 << 20
"""Bytes: more than glibc keeps by itself."""


def faults(times: int) -> int:
    """Return the page faults of filling and freeing an array of SIZE bytes, ``times`` times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(SIZE, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_an_array_takes_the_memory_of_the_one_before() -> None:
    with memory.kept():
        faults(1)
        inside = faults(10)
    assert inside * 5 < faults(10), "page faults again for every array"


def test_an_error_passes_and_the_memory_goes_back() -> None:
    with pytest.raises(KeyError), memory.kept():
        raise KeyError
    assert faults(4) > faults(0)
