"""Memory of a process that runs for long: the defaults of Python and of the C library are costly for it."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Parameters of mallopt, as glibc's malloc.h has them."""
_KEPT: Final = 16 * 1024 * 1024
"""Free bytes at the end of the heap before any are returned to the kernel."""
_APART: Final = 1024 * 1024
"""Size in bytes from which a block is not part of the heap."""
_library: Final = ctypes.CDLL(None)
_malloc_trim: Final = getattr(_library, "malloc_trim", None)  # other C libraries than glibc do without
_mallopt: Final = getattr(_library, "mallopt", None)
_clear_attributes: Final[Callable[[], None]] = (
    getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache  # the latter until Python 3.12
)


def trim() -> None:
    """Return free memory to the kernel, wherever in the heap it is.

    A single object keeps a megabyte from being returned, so two stores of Python's own are emptied. Its cache of
    attributes keeps the names that they were looked up by: C code, that of `json` too, makes a new one each time. The
    collection empties the lists of free objects; it takes little, since `settle` has frozen nearly all that lives.
    """
    _clear_attributes()
    gc.collect()
    if _malloc_trim is not None:
        _malloc_trim(0)


def collect_settled() -> None:
    """Collect also what was frozen: large parts of it have been replaced. This stops the process for 20 ms or more."""
    gc.unfreeze()
    trim()
    gc.freeze()


def settle() -> None:
    """To be called when everything is loaded, and before the first request.

    What was loaded stays: the garbage collector need not traverse it again. And large pieces of bodies come and go:
    malloc, which returns the end of its heap as soon as 128 KiB are free, could have the kernel find and clear new
    pages for nearly every one of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    if _mallopt is not None:
        _mallopt(_TRIM_THRESHOLD, _KEPT)
        _mallopt(_MMAP_THRESHOLD, _APART)
