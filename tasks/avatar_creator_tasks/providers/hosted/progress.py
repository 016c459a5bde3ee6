"""Progress of a request, estimated from the elapsed time: hosted models rarely report their steps."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from avatar_creator_tasks.providers.base import PortraitRequest
from avatar_creator_tasks.providers.hosted.limits import Limits

_QUEUED = 0.01
_FURTHEST = 0.98
_AT_USUAL_TIME = 0.85
"""Progress after the usual time. The curve then rises more and more slowly and never reaches 1."""
_BAR = re.compile(r"(\d{1,3})%\|")
_MAX_ENTRIES, _MAX_CHARACTERS = 20, 2_000
"""The last entries of the logs that are read, and the last characters of each: models may log much."""
_COUNT = re.compile(r"(?<![\d/])(\d{1,4})/(\d{1,4})(?![\d/])")


class Estimate:
    """Progress from 0 to 1 that never falls and never reaches 1."""

    def __init__(self, usual_seconds: float) -> None:
        self._usual_seconds = max(usual_seconds, 0.1)
        self._part = 0.0

    def queued(self) -> float:
        """Return the progress while the request waits in the queue."""
        return self._at_least(_QUEUED)

    def drawing(self, elapsed_seconds: float, logs: object = None, steps: int = 0) -> float:
        """Return the progress while the model draws.

        Args:
            elapsed_seconds: Time since the drawing started.
            logs: The request's logs, which may contain a progress bar.
            steps: Number of requested steps.
        """
        part = _part_in(logs, steps)
        if part is None:
            rate = -math.log(1 - _AT_USUAL_TIME) / self._usual_seconds
            part = 1 - math.exp(-rate * max(elapsed_seconds, 0.0))
        return self._at_least(part)

    def _at_least(self, part: float) -> float:
        self._part = max(self._part, min(part, _FURTHEST))
        return self._part


class ProgressReports:
    """Reports the progress of a request from its states."""

    def __init__(
        self, request: PortraitRequest, limits: Limits, progress: Callable[[float], Awaitable[None]]
    ) -> None:
        self._estimate = Estimate(request.expected_seconds or limits.usual_seconds)
        self._steps = request.steps or 0
        self._progress = progress
        self._start: float | None = None

    async def queued(self) -> None:
        """Report that the request waits in the queue."""
        await self._progress(self._estimate.queued())

    async def drawing(self, logs: object) -> None:
        """Report that the model draws, with the logs of the request so far."""
        now = asyncio.get_running_loop().time()
        self._start = self._start or now
        await self._progress(self._estimate.drawing(now - self._start, logs, self._steps))


def _part_in(logs: object, steps: int) -> float | None:
    """Return the progress that the last bar in the logs shows, in tqdm's format; None without a bar.

    A bar that does not count to the number of steps shows something else, such as loading files.
    """
    for line in reversed(list(_lines(logs))):
        count = _COUNT.search(line)
        if count is not None:
            if int(count[2]) == steps:
                return int(count[1]) / steps
        elif (bar := _BAR.search(line)) is not None:
            return min(int(bar[1]), 100) / 100
    return None


def _lines(logs: object) -> Iterable[str]:
    entries: list[Any] = logs if isinstance(logs, list) else []
    for entry in entries[-_MAX_ENTRIES:]:
        message = entry.get("message") if isinstance(entry, dict) else entry
        if isinstance(message, str):
            # A bar that redraws itself puts many lines into one message.
            yield from re.split(r"[\r\n]+", message[-_MAX_CHARACTERS:])
