"""A command of the service whose process is killed or frozen at one exact point of its work.

    fault="kill before avatar_creator_tasks.generation_runner:GenerationRunner._draw"
    python -m tests.support.fault_point "$fault" worker

A point is the first call of a method, before it runs or after it has returned. With `ended`, it is the first
call whose argument is an ended generation; with `found`, the first one that has returned something. The
fault `set MODULE:NUMBER VALUE` changes a number in a module instead, for example to switch off a timer.
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
    """Prepare the fault: send a signal to this process at a point, or change a number.

    Raises:
        ValueError: `fault` has another form than `set MODULE:NUMBER VALUE` or
            `kill|suspend before|after MODULE:CLASS.METHOD [ended|found]`.
    """
    if fault.startswith("set "):
        _, place, value = fault.split()
        module, _, name = place.partition(":")
        changed = importlib.import_module(module)
        setattr(changed, name, type(getattr(changed, name))(value))
        return
    action, when, place, *conditions = fault.split()
    if (
        action not in _SIGNALS
        or when not in ("before", "after")
        or conditions not in ([], ["ended"], ["found"])
    ):
        raise ValueError(f"not a fault: {fault!r}")
    module, _, path = place.partition(":")
    owner_name, _, name = path.partition(".")
    owner = getattr(importlib.import_module(module), owner_name)
    method = getattr(owner, name)

    passed = False
    resumed = threading.Event()
    signal.signal(signal.SIGCONT, lambda *_: resumed.set())

    def send_signal(moment: str, arguments: tuple[Any, ...], result: object = None) -> None:
        nonlocal passed
        if passed or moment != when:
            return
        if ("ended" in conditions and not arguments[1].ended) or ("found" in conditions and result is None):
            return
        passed = True
        os.kill(os.getpid(), _SIGNALS[action])
        # Block this thread: another thread may handle the SIGSTOP, and this one would continue for a moment.
        # Poll, because a signal that another thread handles does not end a wait of the main thread.
        while not resumed.wait(0.02):
            pass

    setattr(owner, name, _wrap(method, send_signal))


def _wrap(method: Callable[..., Any], send_signal: Callable[..., None]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def called_async(*arguments: Any, **named: Any) -> Any:
            send_signal("before", arguments)
            result = await method(*arguments, **named)
            send_signal("after", arguments, result)
            return result

        return called_async

    @functools.wraps(method)
    def called(*arguments: Any, **named: Any) -> Any:
        send_signal("before", arguments)
        result = method(*arguments, **named)
        send_signal("after", arguments, result)
        return result

    return called


if __name__ == "__main__":
    arm(sys.argv.pop(1))
    main()
