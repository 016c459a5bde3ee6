"""Reports and outputs of a provider in one test, and limits that make its failures fast."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from avatar_creator_tasks.providers.base import Portrait, Reports
from avatar_creator_tasks.providers.hosted.limits import Limits

LIMITS = Limits(
    first_pause_seconds=0.01,
    max_pause_seconds=0.02,
    tries=3,
    answer_bytes=64 * 1024,
    picture_bytes=512 * 1024,
    picture_pixels=4_000_000,
)
HURRIED = replace(
    LIMITS, connect_seconds=0.1, read_seconds=0.1, work_seconds=0.1, answer_seconds=0.15, cancel_seconds=0.1
)
"""Limits for a submission that hangs."""
PATIENT = replace(LIMITS, read_seconds=0.25, work_seconds=0.25, tries=2)
"""Limits for an answer that hangs after the submission; the submission itself must not time out."""


@dataclass
class RecordedReports:
    """The reports of a provider."""

    ids: list[str] = field(default_factory=list)
    parts: list[float] = field(default_factory=list)

    @property
    def reports(self) -> Reports:
        """Callbacks for the provider."""

        async def submitted(request_id: str) -> None:
            self.ids.append(request_id)

        async def progress(part: float) -> None:
            self.parts.append(part)

        return Reports(submitted, progress)


class Outputs:
    """All outputs of the provider in one test, to search them for the API key."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def portrait(self, portrait: Portrait) -> Portrait:
        """Record and return a portrait."""
        self.texts += [*portrait.facts, *portrait.facts.values(), *portrait.warnings, repr(portrait)]
        return portrait

    def error(self, error: BaseException) -> None:
        """Record an error with its traceback and local variables."""
        self.texts += [str(error), repr(error), str(getattr(error, "message", ""))]
        self.texts += traceback.TracebackException.from_exception(error, capture_locals=True).format()


class _LogRecorder(logging.Handler):
    """Records the log lines of all libraries, at all levels."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@contextmanager
def no_output_contains(secret: str, outputs: Outputs, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Check at the end that no log line, error, fact or other output contains the secret."""
    root, handler = logging.getLogger(), _LogRecorder(outputs.texts)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
    root.removeHandler(handler)
    assert not [text for text in (*capfd.readouterr(), *outputs.texts) if secret in text]
