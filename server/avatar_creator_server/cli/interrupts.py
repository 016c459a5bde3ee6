"""SIGTERM as an interruption that a command can react to, like Ctrl-C."""

from __future__ import annotations

import signal
from typing import NoReturn


class TerminatedError(SystemExit):
    """The process received SIGTERM."""

    def __init__(self) -> None:
        # The exit status that shells expect after a signal.
        super().__init__(128 + signal.SIGTERM)


def interrupt_on_sigterm() -> None:
    """Raise `TerminatedError` in the main thread when SIGTERM arrives."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    raise TerminatedError
