"""How far a request seems to be. Hosted models tell no steps, so mostly this is a guess from elapsed time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

_QUEUED = 0.01
_FURTHEST = 0.98
_AT_USUAL_TIME = 0.85
"""What the curve reaches after the usual time; it goes on ever more slowly and never arrives."""
_BAR = re.compile(r"(\d{1,3})%\|")
_COUNT = re.compile(r"(?<![\d/])(\d{1,4})/(\d{1,4})(?![\d/])")


class Estimate:
    """A part from 0 to 1 that never goes down and never reaches 1."""

    def __init__(self, usual_seconds: float) -> None:
        self._usual_seconds = max(usual_seconds, 0.1)
        self._part = 0.0

    def queued(self) -> float:
        """While it waits for its turn."""
        return self._at_least(_QUEUED)

    def drawing(self, elapsed_seconds: float, logs: object = None, steps: int = 0) -> float:
        """While it is drawn, for so long; of `steps` steps, if logs count them."""
        told = _part_in(logs, steps)
        if told is None:
            rate = -math.log(1 - _AT_USUAL_TIME) / self._usual_seconds
            told = 1 - math.exp(-rate * max(elapsed_seconds, 0.0))
        return self._at_least(told)

    def _at_least(self, part: float) -> float:
        self._part = max(self._part, min(part, _FURTHEST))
        return self._part


def _part_in(logs: object, steps: int) -> float | None:
    """The part that the last progress bar of a request's logs shows, as tqdm draws them.

    A bar that counts to something else than the steps is of something else, such as of loading files.
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
    for entry in entries:
        message = entry.get("message") if isinstance(entry, dict) else entry
        if isinstance(message, str):
            # A bar that redraws itself is one line of many.
            yield from re.split(r"[\r\n]+", message)
