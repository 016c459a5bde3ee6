"""Progress reports of a drawing that runs in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self


class DrawingAbandonedError(Exception):
    """The caller no longer waits for the picture."""


class StepReporter:
    """Passes a drawing thread's progress to the event loop, and stops the drawing when its caller leaves.

    The context manager wraps the wait for the thread. When it exits, for example because the generation was
    cancelled, the thread's next step raises `DrawingAbandonedError`.
    """

    def __init__(self, report: Callable[[float], Awaitable[None]]) -> None:
        """Create a reporter of the running event loop.

        Args:
            report: Receives the part of the drawing that is done, above 0 to 1.
        """
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._abandoned = threading.Event()

    def __enter__(self) -> Self:
        """Return the reporter."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the drawing, if it is not finished, before its next step."""
        self._abandoned.set()

    def step_done(self, part: float) -> None:
        """Report from the drawing thread that `part` of the drawing is done.

        The call blocks until the report is delivered, so that a cancelled drawing stops between two steps. It
        raises what the report raises.

        Raises:
            DrawingAbandonedError: The caller no longer waits for the picture.
        """
        if self._abandoned.is_set():
            raise DrawingAbandonedError
        asyncio.run_coroutine_threadsafe(self._deliver(part), self._loop).result()

    async def _deliver(self, part: float) -> None:
        # The caller may have left after the thread scheduled this report.
        if not self._abandoned.is_set():
            await self._report(part)
