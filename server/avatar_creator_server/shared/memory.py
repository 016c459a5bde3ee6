"""Memory that was freed, but that the process still holds."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc

_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2
_RETURN_SECONDS = 2.0
"""Delay of a return, which takes some milliseconds and may hold other threads up."""


def keep_few_arenas() -> None:
    """Let all threads share two heaps. Call it before there are threads.

    By default, glibc gives threads heaps of their own. After 200 uploads that stood still, a server kept
    169 MiB, and with two heaps 133.
    """
    with contextlib.suppress(AttributeError):  # other C libraries do not have it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


_YOUNG_OBJECTS = 5_000
"""Objects that are new since the last collection, at the next one. Python's default is 700."""


def collect_less_often() -> None:
    """Let the garbage collector run less often, and never look at what the process has so far.

    Each open watch has some fifty objects, which the collector visits again and again: it took a fifth of the
    time of an event to a thousand watchers.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


class MemoryReturn:
    """Returns free memory to the system, in a thread, shortly after it was asked to."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Return the memory that is free in two seconds."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_RETURN_SECONDS, self._begin)

    def _begin(self) -> None:
        self._timer = None
        asyncio.get_running_loop().run_in_executor(None, return_free_memory)


def return_free_memory() -> None:
    """Return freed memory to the system. The allocator of glibc keeps it for later use otherwise."""
    with contextlib.suppress(AttributeError):  # other C libraries do not have it
        ctypes.CDLL(None).malloc_trim(0)
