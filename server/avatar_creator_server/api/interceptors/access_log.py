"""The access log: one log event and one set of metrics for each call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog

from avatar_creator_server import metrics
from avatar_creator_server.api.access import user_for_log
from avatar_creator_server.api.interceptors.context import Context

log = structlog.get_logger()


@asynccontextmanager
async def log_request(method: str, context: Context) -> AsyncIterator[None]:
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
        if not method.rpartition("/")[2].startswith("Watch"):
            metrics.REQUEST_SECONDS.labels(method).observe(seconds)
        log.info(
            "call_finished",
            method=method,
            user=user_for_log(),
            code=code,
            milliseconds=round(seconds * 1000, 1),
        )


def _code_name(context: Context) -> str:
    # grpc.aio returns a StatusCode, or its number. While the call is OK it returns 0 or None.
    code: Any = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    for status in grpc.StatusCode:
        if status.value[0] == (code or 0):
            return status.name
    return str(code)
