"""Keys that a person presses while a command shows a live screen."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def pressed_keys() -> Iterator[Callable[[float], str]]:
    """Read single keys from the terminal, without showing them, and restore the terminal at the end.

    Yields:
        A function that waits at most so many seconds, and returns the first key that is pressed;
        empty if there is none.
    """
    if not sys.stdin.isatty():
        yield _sleep
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def wait(seconds: float) -> str:
        if not select.select([terminal], [], [], seconds)[0]:
            return ""
        if not (key := os.read(terminal, 1)):
            # The terminal is gone.
            raise KeyboardInterrupt
        return key.decode(errors="replace")

    try:
        tty.setcbreak(terminal)
        yield wait
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> str:
    time.sleep(seconds)
    return ""
