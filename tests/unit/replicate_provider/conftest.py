"""Fixtures: the fake of Replicate, and the check that the API token never appears in an output."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.hosted_fake import Behavior
from tests.support.provider_recorder import Outputs, no_output_contains
from tests.support.replicate_api import ReplicateFake
from tests.unit.replicate_provider.drawing import KEY


@pytest.fixture
def fake(replicate_api: ReplicateFake) -> ReplicateFake:
    """Return the fake, whose predictions complete immediately."""
    replicate_api.behave(always=Behavior(run_seconds=0))
    return replicate_api


@pytest.fixture
def outputs() -> Outputs:
    """Return an empty record of outputs."""
    return Outputs()


@pytest.fixture(autouse=True)
def no_output_contains_the_token(outputs: Outputs, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Check after each test that no log line, error, fact or other output contains the token."""
    with no_output_contains(KEY[3:], outputs, capfd):
        yield
