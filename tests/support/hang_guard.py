"""Limits on the parts of a test run that `pytest-timeout` leaves without one.

`pytest-timeout` interrupts a test after `timeout` seconds (see `pyproject.toml`): the test fails, and its
`with` blocks and fixtures still clean up. Pytest ends the process after `faulthandler_timeout` seconds, in
case the interrupt has no effect. Both stop their timers when a test fails, before its fixtures clean up, and
have none while Python exits. `tests/conftest.py` imports these hooks, which set the missing timers.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Generator

import pytest
from pytest_timeout import Settings

_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep standard error as it is before pytest captures it."""
    assert sys.__stderr__ is not None
    config.stash[_STDERR] = os.dup(sys.__stderr__.fileno())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Limit the time that fixtures take to clean up, also after a failed test."""
    config, hooks = item.config, item.config.pluginmanager.hook
    hooks.pytest_timeout_cancel_timer(item=item)
    hooks.pytest_timeout_set_timer(item=item, settings=Settings(_seconds(item), "signal", False, False))
    _end_process_after(float(config.getini("faulthandler_timeout")), config)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        hooks.pytest_timeout_cancel_timer(item=item)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Limit the time that Python takes to exit: it waits for each thread that is not a daemon."""
    _end_process_after(_timeout(config), config)


def _seconds(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    seconds = marker and marker.kwargs.get("timeout", next(iter(marker.args), None))
    return _timeout(item.config) if seconds is None else float(seconds)


def _timeout(config: pytest.Config) -> float:
    option = config.getoption("timeout")
    return float(config.getini("timeout") if option is None else option)


def _end_process_after(seconds: float, config: pytest.Config) -> None:
    if seconds <= 0:  # no limit, for a debugger
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=config.stash[_STDERR])
