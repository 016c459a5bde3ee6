"""Cancellations, deadlines and progress of predictions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from avatar_creator_tasks.providers.base import ProviderError, Reports
from tests.support.hosted_fake import Behavior, Fault
from tests.support.provider_recorder import LIMITS, Outputs, RecordedReports
from tests.support.replicate_api import ReplicateFake
from tests.unit.replicate_provider.drawing import (
    REQUEST,
    broken,
    draw_and_fail,
    provider_of,
    status,
)

SHORT = timedelta(seconds=0.3)


def flags_of(error: ProviderError) -> tuple[bool, bool, bool]:
    """Return retryable, charged and request_alive."""
    return error.retryable, error.charged, error.request_alive


@pytest.mark.parametrize(
    ("behavior", "flags"),
    [
        pytest.param(Behavior(queue_seconds=60), (True, False, False), id="has not started"),
        pytest.param(Behavior(hold=True), (True, True, False), id="has started"),
        pytest.param(Behavior(hold=True, ignores_cancel=True), (True, True, True), id="goes on"),
        pytest.param(
            Behavior(run_seconds=0, faults=(broken("stall", "image"),)),
            (True, True, True),
            id="has succeeded",
        ),
        pytest.param(
            Behavior(hold=True, faults=(status(404, "cancel", body="<html>"),)),
            (True, True, True),
            id="cannot be cancelled through the proxy",
        ),
        pytest.param(
            Behavior(hold=True, faults=(status(404, "cancel"),)),
            (True, True, False),
            id="is unknown to the API",
        ),
        pytest.param(
            Behavior(hold=True, faults=(status(200, "cancel", body={"ok": True}),)),
            (True, True, True),
            id="has no status in the answer",
        ),
    ],
)
async def test_the_deadline_ends_only_a_prediction_that_is_over(
    fake: ReplicateFake, outputs: Outputs, behavior: Behavior, flags: tuple[bool, bool, bool]
) -> None:
    fake.behave(behavior)
    limits = replace(LIMITS, stop_seconds=0.2)
    error = await draw_and_fail(fake, outputs, deadline=SHORT, limits=limits)

    assert (error.reason, flags_of(error)) == ("PROVIDER_TIMEOUT", flags)
    assert fake.counters()["cancel"] == 1


async def test_the_deadline_waits_a_little_for_a_prediction_that_was_asked_to_stop(
    fake: ReplicateFake, outputs: Outputs
) -> None:
    # Cancel-After is at least 5 s, so Replicate itself ends this one after the deadline of the attempt.
    fake.behave(Behavior(hold=True, ignores_cancel=True))
    error = await draw_and_fail(fake, outputs, deadline=SHORT, limits=replace(LIMITS, stop_seconds=30))

    assert (error.reason, flags_of(error)) == ("PROVIDER_TIMEOUT", (True, True, False))


async def test_replicate_ends_a_prediction_that_no_one_fetches(fake: ReplicateFake, outputs: Outputs) -> None:
    # The first attempt cannot cancel it, and the worker of the second one comes after Cancel-After.
    fake.behave(
        Behavior(hold=True, faults=(status(500, "cancel"), status(500, "status", times=LIMITS.tries)))
    )
    recorded = RecordedReports()
    first = await draw_and_fail(fake, outputs, recorded=recorded)
    assert first.request_alive
    [submission] = fake.submissions()
    sent = {name.lower(): value for name, value in submission["headers"]}
    assert sent["cancel-after"] == "60s"
    fake.pass_deadline(recorded.ids[0])

    second = await draw_and_fail(fake, outputs, replace(REQUEST, resume_request_id=recorded.ids[0]))

    assert (second.reason, flags_of(second)) == ("PROVIDER_UNAVAILABLE", (True, True, False))
    assert "cancelled at the provider" in second.message
    assert fake.counters()["submissions"] == 1


@pytest.mark.parametrize(
    ("fault", "reason", "retryable"),
    [
        pytest.param(status(401, "cancel"), "CREDENTIALS", False, id="401"),
        pytest.param(status(429, "cancel"), "OVERLOADED", True, id="429"),
        pytest.param(status(405, "cancel"), "BAD_ANSWER", True, id="405"),
        pytest.param(status(404, "cancel", body="<html>"), "BAD_ANSWER", True, id="404 of a proxy"),
        pytest.param(status(200, "cancel", body={"ok": True}), "BAD_ANSWER", True, id="unreadable"),
        pytest.param(broken("hang", "cancel"), "TIMEOUT", True, id="hang"),
        pytest.param(broken("drop", "cancel"), "UNAVAILABLE", True, id="dropped"),
    ],
)
async def test_a_cancellation_without_a_clear_answer_is_an_error(
    fake: ReplicateFake, outputs: Outputs, fault: Fault, reason: str, retryable: bool
) -> None:
    fake.behave(Behavior(hold=True, faults=(fault,)))
    known: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def submitted(request_id: str) -> None:
        known.set_result(request_id)

    async def progress(part: float) -> None:
        await asyncio.Event().wait()

    async with provider_of(fake, limits=replace(LIMITS, cancel_seconds=0.25)) as provider:
        generating = asyncio.create_task(provider.generate(REQUEST, Reports(submitted, progress)))
        request_id = await asyncio.wait_for(known, 20)
        generating.cancel()
        with pytest.raises(ProviderError) as caught:
            await provider.cancel(request_id)
        await asyncio.gather(generating, return_exceptions=True)
    outputs.error(caught.value)
    assert (caught.value.reason, caught.value.retryable) == (f"PROVIDER_{reason}", retryable)


async def test_progress_is_low_until_the_model_starts_and_never_falls(
    fake: ReplicateFake, outputs: Outputs
) -> None:
    fake.behave(Behavior(queue_seconds=0.1, run_seconds=0.3))
    recorded = RecordedReports()
    async with provider_of(fake) as provider:
        await provider.generate(replace(REQUEST, expected_seconds=0.3), recorded.reports)

    assert recorded.parts[0] <= 0.02
    assert recorded.parts == sorted(recorded.parts)
    assert 0.3 < recorded.parts[-1] < 1
