"""Memory that was freed, but that the process still holds."""

from __future__ import annotations

import contextlib
import ctypes


def return_free_memory() -> None:
    """Return freed memory to the system. The allocator of glibc keeps it for later use otherwise."""
    with contextlib.suppress(AttributeError):  # other C libraries do not have it
        ctypes.CDLL(None).malloc_trim(0)
