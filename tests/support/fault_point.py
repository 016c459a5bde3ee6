"""Runs a command of the service and kills, or freezes, its process at one exact point of its work.

    python -m tests.support.fault_point "kill before
    avatar_creator_tasks.generation_runner:GenerationRunner._draw" worker

A point is the first call of a method, before it runs or after it has returned. Of a method that is given a
generation, `ended` picks the first call about one that has ended. Instead, `set MODULE:NUMBER VALUE` gives a
module's number another value, to see what happens without what it paces.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from avatar_creator_server.cli import main

_SIGNALS = {"kill": signal.SIGKILL, "suspend": signal.SIGSTOP}


def arm(fault: str) -> None:
    """Have a signal sent to this process at a point.

    Raises:
        ValueError: `fault` is not `kill|suspend before|after MODULE:CLASS.METHOD [ended]`, nor
            `set MODULE:NUMBER VALUE`.
    """
    if fault.startswith("set "):
        _, place, value = fault.split()
        module, _, name = place.partition(":")
        changed = importlib.import_module(module)
        setattr(changed, name, type(getattr(changed, name))(value))
        return
    action, when, place, *conditions = fault.split()
    if action not in _SIGNALS or when not in ("before", "after") or conditions not in ([], ["ended"]):
        raise ValueError(f"not a fault: {fault!r}")
    module, _, path = place.partition(":")
    owner_name, _, name = path.partition(".")
    owner = getattr(importlib.import_module(module), owner_name)
    method = getattr(owner, name)

    passed = False
    resumed = threading.Event()
    signal.signal(signal.SIGCONT, lambda *_: resumed.set())

    def strike(now: str, arguments: tuple[Any, ...]) -> None:
        nonlocal passed
        if passed or now != when or (conditions and not arguments[1].ended):
            return
        passed = True
        os.kill(os.getpid(), _SIGNALS[action])
        # Another thread may take the SIGSTOP, and this one would go on until all have stopped. And a wait of
        # the main thread is not ended by a signal that another thread has got.
        while not resumed.wait(0.02):
            pass

    setattr(owner, name, _around(method, strike))


def _around(method: Callable[..., Any], strike: Callable[[str, tuple[Any, ...]], None]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def called_async(*arguments: Any, **named: Any) -> Any:
            strike("before", arguments)
            answer = await method(*arguments, **named)
            strike("after", arguments)
            return answer

        return called_async

    @functools.wraps(method)
    def called(*arguments: Any, **named: Any) -> Any:
        strike("before", arguments)
        answer = method(*arguments, **named)
        strike("after", arguments)
        return answer

    return called


if __name__ == "__main__":
    arm(sys.argv.pop(1))
    main()
