"""Signals that a child process inherits."""

from __future__ import annotations

import signal

import pytest

_END_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def give_children_default_signals() -> None:
    """Let each process that we start from now on react to the signals that end a program.

    nohup, cron, many CI runners and `command &` in a script start us with some of these signals ignored. Our
    children would inherit that, and a test that interrupts its child would wait in vain. A child does not
    inherit a handler, so we ignore the signal with a handler that does nothing.
    """
    for number in _END_SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def default_signals() -> None:
    """Let the processes that tests start react to signals, even under nohup."""
    # Not when this file is imported: processes of pytest-xdist must inherit what nohup has set.
    give_children_default_signals()
