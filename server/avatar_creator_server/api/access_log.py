"""The access log: one log event and one set of metrics for each call."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import grpc
import structlog
from prometheus_client import Counter, Histogram

from avatar_creator_server import metrics
from avatar_creator_server.api.access import is_refused, user_for_log, web_protocol
from avatar_creator_server.api.authentication import HEALTH
from avatar_creator_server.api.call_classes import CallClass, class_of
from avatar_creator_server.api.context import Context

log = structlog.get_logger()

REFUSALS_PER_SECOND = 20
"""Refused calls that are logged in any second. A flood of them must not fill the disk."""
REFUSALS_PER_USER = 5
"""Share of one user, and of all callers without a user, so that a flood does not hide the others."""

_REPORT_SECONDS = 1.0
_REFUSED = frozenset({"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"})
_WITHOUT_PROBLEM = frozenset({"OK", "CANCELLED"})


# Prometheus would look for the series of its labels at each call. Methods are only those that exist.
@cache
def _ended(method: str, code: str) -> Counter:
    return metrics.REQUESTS.labels(method, code)


@cache
def _ended_over_web(protocol: str, code: str) -> Counter:
    return metrics.WEB_REQUESTS.labels(protocol, code)


@cache
def _latency(method: str) -> Histogram | None:
    """Return the histogram of a method; None if its calls last as long as their callers like."""
    if class_of(method) in (CallClass.WATCH, CallClass.ANONYMOUS_STREAM):
        return None
    return metrics.REQUEST_SECONDS.labels(method)


class AccessLog:
    """Logs and counts the calls of one server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # structlog would make a new logger for each line.
        self._log = log.bind()
        self._second = 0
        self._logged: collections.Counter[str] = collections.Counter()
        """Refusals that were logged in this second, by user."""
        self._not_logged = 0

    def log_call(self, method: str, context: Context, seconds: float, *, is_cancelled: bool) -> None:
        """Log method, user, code and duration of a call that has ended, and count it."""
        code = grpc.StatusCode.CANCELLED.name if is_cancelled else _code_name(context)
        _count(method, code)
        latency = _latency(method)
        if latency is not None:
            latency.observe(seconds)
        user = user_for_log()
        is_refusal = is_refused() or code in _REFUSED or (not user and code not in _WITHOUT_PROBLEM)
        if is_refusal and not self._may_log_refusal(user):
            return
        # Health checks come several times a second, from every load balancer.
        is_health = method.startswith(HEALTH) and code in _WITHOUT_PROBLEM
        write = self._log.debug if is_health else self._log.info
        milliseconds = round(seconds * 1000, 1)
        write("call_finished", method=method, user=user, code=code, milliseconds=milliseconds, **_protocol())

    def log_refusal(self, method: str, user: str, code: grpc.StatusCode) -> None:
        """Log and count a call that was refused before anything else."""
        _count(method, code.name)
        if self._may_log_refusal(user):
            log.info(
                "call_finished", method=method, user=user, code=code.name, milliseconds=0.0, **_protocol()
            )

    def report_not_logged(self) -> None:
        """Log how many refusals had no room in the log since the last report."""
        if self._not_logged:
            log.info("refusals_not_logged", count=self._not_logged)
            self._not_logged = 0

    def _may_log_refusal(self, user: str) -> bool:
        """Return whether this second has room for one more refusal of the user."""
        second = int(self._clock())
        if second != self._second:
            self.report_not_logged()
            self._second = second
            self._logged.clear()
        if self._logged.total() < REFUSALS_PER_SECOND and self._logged[user] < REFUSALS_PER_USER:
            self._logged[user] += 1
            return True
        if not self._not_logged:
            asyncio.get_running_loop().call_later(_REPORT_SECONDS, self.report_not_logged)
        self._not_logged += 1
        return False


def _count(method: str, code: str) -> None:
    _ended(method, code).inc()
    protocol = web_protocol()
    if protocol:
        _ended_over_web(protocol, code).inc()


def _protocol() -> dict[str, str]:
    """Return what a line about a call over the web port has in addition."""
    protocol = web_protocol()
    return {"protocol": protocol} if protocol else {}


def _code_name(context: Context) -> str:
    # grpc.aio returns a StatusCode, or its number. While the call is OK it returns 0 or None.
    code: Any = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _NAME_OF_CODE.get(code or 0, str(code))


_NAME_OF_CODE = {status.value[0]: status.name for status in grpc.StatusCode}
