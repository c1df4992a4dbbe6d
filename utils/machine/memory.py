"""Memory of the process: what large arrays give back is kept for the next ones."""

import contextlib
import ctypes
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3), the C library's."""
_KEPT = 1 << 30
_GIVEN_BACK = {_MMAP_THRESHOLD: 1 << 25, _TRIM_THRESHOLD: 1 << 26}
"""The highest values that glibc sets by itself: larger pieces go back to the system when freed."""


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep freed memory, up to 1 GB, for the block, and give it back after it.

    Otherwise the C library returns arrays of many MB to the system as soon as they are freed, and the next one of the
    same size begins with page faults: a loop over large batches spends up to half of its time on them. Where the C
    library is not glibc, nothing changes. Peaks stay as they are.
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
