"""The access log: one log event and one set of metrics for each call."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog

from avatar_creator_server import metrics
from avatar_creator_server.api.access import is_refused, user_for_log
from avatar_creator_server.api.call_classes import CallClass, class_of
from avatar_creator_server.api.interceptors.authentication import HEALTH
from avatar_creator_server.api.interceptors.context import Context

log = structlog.get_logger()

REFUSALS_PER_SECOND = 20
"""Refused calls that are logged in any second. A flood of them must not fill the disk."""
REFUSALS_PER_USER = 5
"""Share of one user, and of all callers without a user, so that a flood does not hide the others."""

_REPORT_SECONDS = 1.0
_REFUSED = frozenset({"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"})
_WITHOUT_PROBLEM = frozenset({"OK", "CANCELLED"})


class AccessLog:
    """Logs and counts the calls of one server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = 0
        self._logged: Counter[str] = Counter()
        """Refusals that were logged in this second, by user."""
        self._not_logged = 0

    @asynccontextmanager
    async def log_call(self, method: str, context: Context) -> AsyncIterator[None]:
        """Log method, user, code and duration when the call ends, and count it."""
        started = time.perf_counter()
        cancelled = False
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            cancelled = True
            raise
        finally:
            code = grpc.StatusCode.CANCELLED.name if cancelled else _code_name(context)
            seconds = time.perf_counter() - started
            metrics.REQUESTS.labels(method, code).inc()
            if class_of(method) not in (CallClass.WATCH, CallClass.ANONYMOUS_STREAM):
                metrics.REQUEST_SECONDS.labels(method).observe(seconds)
            self._log(method, code, seconds)

    def log_refusal(self, method: str, user: str, code: grpc.StatusCode) -> None:
        """Log and count a call that was refused before anything else."""
        metrics.REQUESTS.labels(method, code.name).inc()
        if self._may_log_refusal(user):
            log.info("call_finished", method=method, user=user, code=code.name, milliseconds=0.0)

    def _log(self, method: str, code: str, seconds: float) -> None:
        user = user_for_log()
        entry = {
            "method": method,
            "user": user,
            "code": code,
            "milliseconds": round(seconds * 1000, 1),
        }
        is_refusal = is_refused() or code in _REFUSED or (not user and code not in _WITHOUT_PROBLEM)
        if method.startswith(HEALTH) and code in _WITHOUT_PROBLEM:
            log.debug("call_finished", **entry)  # several a second, from every load balancer
        elif not is_refusal or self._may_log_refusal(user):
            log.info("call_finished", **entry)

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


def _code_name(context: Context) -> str:
    # grpc.aio returns a StatusCode, or its number. While the call is OK it returns 0 or None.
    code: Any = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _NAME_OF_CODE.get(code or 0, str(code))


_NAME_OF_CODE = {status.value[0]: status.name for status in grpc.StatusCode}
