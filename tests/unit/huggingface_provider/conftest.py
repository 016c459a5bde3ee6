"""Fixtures: the fake of the router, and the check that the API key never appears in an output."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.provider_recorder import Outputs, no_output_contains
from tests.unit.huggingface_provider.drawing import KEY


@pytest.fixture
def fake(router: RouterFake) -> RouterFake:
    """Return the fake of the router, whose jobs complete immediately."""
    router.behave(always=Behavior(run_seconds=0))
    return router


@pytest.fixture
def outputs() -> Outputs:
    """Return an empty record of outputs."""
    return Outputs()


@pytest.fixture(autouse=True)
def no_output_contains_the_key(outputs: Outputs, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Check after each test that no log line, error, fact or other output contains the API key."""
    with no_output_contains(KEY[3:], outputs, capfd):
        yield
