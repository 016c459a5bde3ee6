"""Fixtures: the fake of the router, and the check that the API key never appears in an output."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.support.huggingface_router import Behavior, RouterFake
from tests.unit.huggingface_provider.drawing import (
    KEY,
    Outputs,
)


@pytest.fixture
def fake(router: RouterFake) -> RouterFake:
    """Return the fake of the router, whose jobs complete immediately."""
    router.behave(always=Behavior(run_seconds=0))
    return router


@pytest.fixture
def outputs() -> Outputs:
    """Return an empty record of outputs."""
    return Outputs()


class LogRecorder(logging.Handler):
    """Records the log lines of all libraries, at all levels."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@pytest.fixture(autouse=True)
def no_output_contains_the_key(outputs: Outputs, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Check after each test that no log line, error, fact or other output contains the API key."""
    root, handler = logging.getLogger(), LogRecorder(outputs.texts)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
    root.removeHandler(handler)
    assert not [text for text in (*capfd.readouterr(), *outputs.texts) if KEY[3:] in text]
