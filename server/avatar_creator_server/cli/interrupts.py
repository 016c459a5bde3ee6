"""Ctrl-C and SIGTERM as interruptions that a command can react to."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_STREAM_START = "_UnaryStreamMultiCallable.__call__"
"""The function of gRPC that begins a call with a stream of responses, and returns at once."""
_AGAIN_SECONDS = 0.01


class TerminatedError(SystemExit):
    """The process received SIGTERM."""

    def __init__(self) -> None:
        # The exit status that shells expect after a signal.
        super().__init__(128 + signal.SIGTERM)


def interrupt_on_sigterm() -> None:
    """Raise `TerminatedError` in the main thread when SIGTERM arrives, but not while gRPC begins a stream."""
    signal.signal(signal.SIGTERM, _interrupt)


def interrupt_no_stream_start() -> None:
    """Raise `KeyboardInterrupt` for Ctrl-C as before, but not while gRPC begins a stream.

    It would have a call whose thread never starts, and wait for that thread forever when its channel closes.
    Not for commands with an event loop, which asyncio lets Ctrl-C end in its own way.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not with nohup or in the background
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _begins_stream(frame):
        again = threading.Timer(
            _AGAIN_SECONDS, signal.pthread_kill, (threading.main_thread().ident, signal.Signals(number))
        )
        again.daemon = True
        again.start()
    elif number == signal.SIGTERM:
        raise TerminatedError
    else:
        raise KeyboardInterrupt


def _begins_stream(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_qualname == _STREAM_START:
            return True
        frame = frame.f_back
    return False
