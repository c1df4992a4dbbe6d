"""Keep the memory of freed arrays for the next ones, instead of returning it to the system."""

import contextlib
import ctypes
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3), the C library's."""
_KEPT = 1 << 30
_GIVEN_BACK = {_MMAP_THRESHOLD: 1 << 25, _TRIM_THRESHOLD: 1 << 26}
"""The highest thresholds that glibc sets by itself: larger pieces go back to the system when freed."""


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep up to 1 GB of freed memory during the block, and give it back at the end.

    Otherwise the C library returns arrays of many MB to the system as soon as they are freed, and the next array of the
    same size begins with page faults, which can take half of the time of a loop over large batches. Peaks stay as they
    are. Without glibc nothing changes.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    for parameter in _GIVEN_BACK:
        library.mallopt(parameter, _KEPT)
    try:
        yield
    finally:
        for parameter, size in _GIVEN_BACK.items():
            library.mallopt(parameter, size)
        library.malloc_trim(0)
