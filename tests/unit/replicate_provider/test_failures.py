"""Every failure of Replicate causes its defined error."""

from __future__ import annotations

import pytest

from tests.support.hosted_fake import Behavior
from tests.support.provider_recorder import LIMITS, Outputs, RecordedReports
from tests.support.replicate_api import ReplicateFake
from tests.unit.replicate_provider.drawing import draw_and_fail
from tests.unit.replicate_provider.failure_cases import (
    AT_SUBMISSION,
    AT_THE_END,
    EVERY_TRY,
    WHILE_POLLING,
    Case,
)


@pytest.mark.parametrize("case", AT_SUBMISSION, ids=lambda case: case.name)
async def test_a_failed_submission_is_not_repeated(fake: ReplicateFake, outputs: Outputs, case: Case) -> None:
    recorded = await check(fake, outputs, case)

    assert recorded.ids == []


@pytest.mark.parametrize("case", [*WHILE_POLLING, *AT_THE_END], ids=lambda case: case.name)
async def test_a_prediction_that_brings_no_picture_causes_no_new_one(
    fake: ReplicateFake, outputs: Outputs, case: Case
) -> None:
    recorded = await check(fake, outputs, case)

    assert len(recorded.ids) == 1


async def check(fake: ReplicateFake, outputs: Outputs, case: Case) -> RecordedReports:
    """Draw with the fault of the case and check the error and the number of requests."""
    fake.behave(case.how if isinstance(case.how, Behavior) else Behavior(run_seconds=0, faults=(case.how,)))
    recorded = RecordedReports()
    error = await draw_and_fail(fake, outputs, recorded=recorded)
    names = ("retryable", "charged", "submit_unknown", "request_alive")
    flags = {name for name in names if getattr(error, name)}
    assert (error.reason, flags) == (f"PROVIDER_{case.reason}", set(case.flags.split())), error.message
    assert error.retry_after.total_seconds() == case.wait_seconds
    counters = fake.counters()
    assert counters["submissions"] == 1
    if case.queries is not None:
        assert counters["status"] == (LIMITS.tries if case.queries == EVERY_TRY else case.queries)
    return recorded
