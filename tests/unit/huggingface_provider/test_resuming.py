"""Resumed requests, cancellations and deadlines."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest

from avatar_creator_tasks.providers.base import (
    Provider,
    ProviderError,
    Reports,
)
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.huggingface_router.router_plan import PutRefusal
from tests.support.provider_recorder import LIMITS, Outputs, RecordedReports
from tests.unit.huggingface_provider.drawing import (
    REQUEST,
    broken,
    by_route,
    draw,
    draw_and_fail,
    header_of,
    only_submission,
    provider_of,
    status,
)

REFUSALS = get_args(PutRefusal)


async def test_a_resumed_request_is_polled_and_not_submitted(fake: RouterFake, outputs: Outputs) -> None:
    fake.behave(Behavior(run_seconds=0, faults=(status(500, "status", times=LIMITS.tries),)))
    recorded = RecordedReports()
    error = await draw_and_fail(fake, outputs, recorded=recorded)
    assert error.request_alive
    (path,) = recorded.ids

    resumed = RecordedReports()
    portrait = await draw(fake, outputs, replace(REQUEST, resume_request_id=path), resumed)
    assert portrait.image.size == (128, 160)
    assert portrait.facts["request"] == path
    assert (fake.counters()["submit"], resumed.ids) == (1, [])


async def test_a_resumed_request_that_is_unknown_cannot_be_resumed_again(
    fake: RouterFake, outputs: Outputs
) -> None:
    request = replace(REQUEST, resume_request_id="fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b")
    error = await draw_and_fail(fake, outputs, request)
    assert (error.reason, error.retryable, error.request_alive) == ("PROVIDER_UNAVAILABLE", True, False)
    assert fake.counters()["submit"] == 0


@pytest.mark.parametrize(
    "request_id",
    [
        "764cabcf-b745-4b3e-ae38-1200304cf45b",
        "fal-ai/flux/requests/..",
        "fal-ai/../flux/requests/764cabcf",
        "../flux/requests/764cabcf",
        "/fal-ai/flux/requests/764cabcf",
        "//evil.example/flux/requests/764cabcf",
        "https://evil.example/requests/764cabcf",
        "fal-ai/flux/requests/764cabcf?x=y",
        "fal-ai/flux/requests/764cabcf/../../other",
        "fal-ai/flux/requests/764cabcf\n",
        "fal-ai/flux/requests/%2e%2e",
        "fal-ai/flux/../dev/requests/764cabcf",
        "fal-ai/flux/./dev/requests/764cabcf",
        "fal-ai/flux//dev/requests/764cabcf",
        "fal-ai/flux/%2e%2e/dev/requests/764cabcf",
        "fal-ai/flux/de..v/requests/764cabcf",
        "fal-ai/flux/@evil.example/requests/764cabcf",
        "fal-ai/flux/dev?x=/requests/764cabcf",
        "fal-ai/flux/dev/requests/764cabcf/cancel",
        "fal-ai/a/b/c/d/e/requests/764cabcf",
    ],
)
async def test_an_id_that_could_lead_to_another_address_is_never_sent(
    fake: RouterFake, outputs: Outputs, request_id: str
) -> None:
    error = await draw_and_fail(fake, outputs, replace(REQUEST, resume_request_id=request_id))
    assert (error.retryable, error.request_alive) == (True, False)
    async with provider_of(fake) as provider:
        with pytest.raises(ProviderError, match="does not belong to this provider"):
            await provider.cancel(request_id)
    assert {name for name, count in fake.counters().items() if count} == set()


async def test_a_single_request_cannot_be_resumed_and_is_not_repeated(
    fake: RouterFake, outputs: Outputs
) -> None:
    path = "fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b"
    error = await draw_and_fail(fake, outputs, by_route("hf-inference", resume_request_id=path))
    assert (error.retryable, error.request_alive) == (True, False)
    assert fake.count == 0


@pytest.mark.parametrize(
    "behavior",
    [
        pytest.param(Behavior(queue_seconds=60), id="in the queue"),
        pytest.param(Behavior(hold=True), id="at the runner"),
        pytest.param(Behavior(run_seconds=0), id="completed"),
    ],
)
async def test_a_cancellation_reaches_the_provider(
    fake: RouterFake, outputs: Outputs, behavior: Behavior
) -> None:
    fake.behave(behavior)
    async with provider_of(fake) as provider:
        path = await submitted_path(provider)
        await provider.cancel(path)
        await provider.cancel(path)
    submission = only_submission(fake)
    assert submission["cancel_requests"] == 2
    assert submission["status"] == "COMPLETED"


async def test_cancelling_an_unknown_request_is_not_an_error(fake: RouterFake, outputs: Outputs) -> None:
    async with provider_of(fake) as provider:
        await provider.cancel("fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b")
    assert fake.counters()["cancel"] == 1


@pytest.mark.parametrize(
    ("fault", "reason", "retryable"),
    [
        pytest.param(status(500, "cancel"), "UNAVAILABLE", True, id="500"),
        pytest.param(status(401, "cancel"), "CREDENTIALS", False, id="401"),
        pytest.param(status(429, "cancel"), "OVERLOADED", True, id="429"),
        pytest.param(status(405, "cancel"), "BAD_ANSWER", True, id="405"),
        pytest.param(broken("hang", "cancel"), "TIMEOUT", True, id="hang"),
        pytest.param(broken("drop", "cancel"), "UNAVAILABLE", True, id="dropped"),
    ],
)
async def test_a_failed_cancellation_is_an_error(
    fake: RouterFake, outputs: Outputs, fault: Fault, reason: str, retryable: bool
) -> None:
    fake.behave(Behavior(hold=True, faults=(fault,)))
    async with provider_of(fake, limits=replace(LIMITS, cancel_seconds=0.25)) as provider:
        path = await submitted_path(provider)
        with pytest.raises(ProviderError) as caught:
            await provider.cancel(path)
    outputs.error(caught.value)
    assert (caught.value.reason, caught.value.retryable) == (f"PROVIDER_{reason}", retryable)


async def test_a_provider_that_no_longer_knows_the_request_confirms_a_cancellation(
    fake: RouterFake, outputs: Outputs
) -> None:
    async with provider_of(fake) as provider:
        path = await submitted_path(provider)
        fake.reset()
        await provider.cancel(path)
    assert fake.counters()["cancel"] == 1


@pytest.mark.parametrize("how", REFUSALS)
async def test_a_router_that_refuses_put_confirms_no_cancellation(
    fake: RouterFake, outputs: Outputs, how: PutRefusal
) -> None:
    fake.behave(Behavior(hold=True))
    fake.refuse_put(how)
    async with provider_of(fake) as provider:
        path = await submitted_path(provider)
        with pytest.raises(ProviderError) as caught:
            await provider.cancel(path)
    outputs.error(caught.value)
    submission = only_submission(fake)
    assert (submission["status"], submission["cancel_requests"]) == ("IN_PROGRESS", 0)


@pytest.mark.parametrize("how", REFUSALS)
async def test_a_request_that_could_not_be_cancelled_is_resumed_after_the_deadline(
    fake: RouterFake, outputs: Outputs, how: PutRefusal
) -> None:
    fake.behave(Behavior(hold=True))
    fake.refuse_put(how)
    recorded = RecordedReports()
    error = await draw_and_fail(fake, outputs, recorded=recorded, deadline=timedelta(seconds=0.3))
    assert (error.reason, error.retryable, error.charged, error.request_alive) == (
        "PROVIDER_TIMEOUT",
        True,
        True,
        True,
    )

    fake.finish()
    (path,) = recorded.ids
    await draw(fake, outputs, replace(REQUEST, resume_request_id=path))
    assert fake.counters()["submit"] == 1


@pytest.mark.parametrize(
    ("behavior", "is_alive"),
    [
        pytest.param(Behavior(hold=True), False, id="stops at once"),
        pytest.param(Behavior(hold=True, stop_seconds=0.2), False, id="stops soon"),
        pytest.param(Behavior(hold=True, stop_seconds=60), True, id="stops late"),
        pytest.param(Behavior(hold=True, ignores_cancel=True), True, id="goes on"),
        pytest.param(Behavior(run_seconds=0.5, ignores_cancel=True), True, id="completes in the meantime"),
        pytest.param(
            Behavior(hold=True, faults=(status(500, "status"),)), True, id="state unknown after the deadline"
        ),
        pytest.param(
            Behavior(run_seconds=0.5, ignores_cancel=True, faults=(broken("html", "result"),)),
            True,
            id="result unknown after the deadline",
        ),
    ],
)
async def test_a_request_is_repeated_only_if_it_certainly_ended(
    fake: RouterFake, outputs: Outputs, behavior: Behavior, is_alive: bool
) -> None:
    fake.behave(behavior)
    limits = replace(LIMITS, tries=1000, stop_seconds=1.0 if is_alive else 30.0)
    error = await draw_and_fail(fake, outputs, deadline=timedelta(seconds=0.3), limits=limits)
    assert (error.reason, error.retryable, error.charged, error.request_alive) == (
        "PROVIDER_TIMEOUT",
        True,
        True,
        is_alive,
    )


@pytest.mark.parametrize(
    ("changes", "reason", "retryable", "charged"),
    [
        pytest.param({"nsfw": True}, "NSFW", False, True, id="refused"),
        pytest.param({"faults": (status(500, "result"),)}, "UNAVAILABLE", True, False, id="failed"),
    ],
)
async def test_a_request_that_ends_otherwise_after_the_deadline_has_that_outcome(
    fake: RouterFake,
    outputs: Outputs,
    changes: dict[str, Any],
    reason: str,
    retryable: bool,
    charged: bool,
) -> None:
    fake.behave(Behavior(run_seconds=2.0, ignores_cancel=True, **changes))
    limits = replace(LIMITS, stop_seconds=30.0)
    error = await draw_and_fail(fake, outputs, deadline=timedelta(seconds=0.3), limits=limits)
    assert (error.reason, error.retryable, error.charged, error.request_alive) == (
        f"PROVIDER_{reason}",
        retryable,
        charged,
        False,
    )


async def test_a_request_that_stopped_late_is_found_to_have_ended_when_it_is_resumed(
    fake: RouterFake, outputs: Outputs
) -> None:
    fake.behave(Behavior(hold=True, stop_seconds=60))
    recorded = RecordedReports()
    limits = replace(LIMITS, stop_seconds=0.1)
    error = await draw_and_fail(
        fake, outputs, recorded=recorded, deadline=timedelta(seconds=0.3), limits=limits
    )
    assert error.request_alive

    fake.let_pass(60)
    request = replace(REQUEST, resume_request_id=recorded.ids[0])
    error = await draw_and_fail(fake, outputs, request)
    assert error.message.startswith("the request was cancelled at the provider (499)")
    assert (error.retryable, error.charged, error.request_alive) == (True, True, False)
    assert fake.counters()["submit"] == 1


@pytest.mark.parametrize("path", ["fal-ai/flux/dev", "fal-ai/flux-2/klein/4b", "fal-ai/a/b/c/d"])
async def test_a_request_with_a_longer_path_keeps_its_whole_path(
    fake: RouterFake, outputs: Outputs, path: str
) -> None:
    fake.behave(Behavior(run_seconds=0, address_path=path))
    recorded = RecordedReports()
    await draw(fake, outputs, recorded=recorded)
    submission = only_submission(fake)
    assert recorded.ids == [f"{path}/requests/{submission['request_id']}"]

    await draw(fake, outputs, replace(REQUEST, resume_request_id=recorded.ids[0]))
    async with provider_of(fake) as provider:
        await provider.cancel(recorded.ids[0])
    assert only_submission(fake)["cancel_requests"] == 1


async def test_an_expired_result_is_gone(fake: RouterFake, outputs: Outputs) -> None:
    async with provider_of(fake) as provider:
        path = await submitted_path(provider)
    request = replace(REQUEST, resume_request_id=path)
    fake.let_pass(3_000)
    await draw(fake, outputs, request)

    fake.let_pass(600)
    error = await draw_and_fail(fake, outputs, request)
    assert (error.reason, error.retryable, error.charged, error.request_alive) == (
        "PROVIDER_UNAVAILABLE",
        True,
        True,
        False,
    )


async def test_a_picture_is_gone_after_the_lifetime_of_objects(fake: RouterFake, outputs: Outputs) -> None:
    async with provider_of(fake, object_lifetime=timedelta(seconds=2_000)) as provider:
        path = await submitted_path(provider)
    request = replace(REQUEST, resume_request_id=path)
    fake.let_pass(1_900)
    await draw(fake, outputs, request)

    fake.let_pass(100)
    error = await draw_and_fail(fake, outputs, request)
    assert error.message == "the provider no longer has the picture (404)"
    assert (error.retryable, error.charged, error.request_alive) == (True, True, False)


async def submitted_path(provider: Provider) -> str:
    """Submit a request, stop waiting for it and return its path."""
    known: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def submitted(request_id: str) -> None:
        known.set_result(request_id)

    async def progress(part: float) -> None:
        await asyncio.Event().wait()

    generating = asyncio.create_task(provider.generate(REQUEST, Reports(submitted, progress)))
    path = await asyncio.wait_for(known, 5)
    generating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await generating
    return path


async def test_a_call_that_is_cancelled_while_it_reports_its_id_completes_the_report(
    fake: RouterFake, outputs: Outputs
) -> None:
    writing, may_end, written = asyncio.Event(), asyncio.Event(), list[str]()

    async def submitted(request_id: str) -> None:
        writing.set()
        await may_end.wait()
        written.append(request_id)

    async with provider_of(fake) as provider:
        reports = Reports(submitted, RecordedReports().reports.progress)
        generating = asyncio.create_task(provider.generate(REQUEST, reports))
        await asyncio.wait_for(writing.wait(), 5)
        # A call can be cancelled twice: when the project is deleted and when the grace period ends.
        for _ in range(2):
            generating.cancel()
            await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await generating
    assert len(written) == 1
    assert fake.counters()["submissions"] == 1


@pytest.mark.parametrize("route", ["fal-ai", "hf-inference"])
async def test_a_cancelled_call_stops_without_cancelling_the_request(
    fake: RouterFake, outputs: Outputs, route: str
) -> None:
    fake.behave(Behavior(hold=True))
    drawing = asyncio.Event()

    async def progress(part: float) -> None:
        drawing.set()

    async with provider_of(fake) as provider:
        reports = Reports(RecordedReports().reports.submitted, progress)
        generating = asyncio.create_task(provider.generate(by_route(route), reports))
        await asyncio.wait_for(drawing.wait(), 5)
        generating.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await generating
    assert fake.counters()["cancel"] == 0


async def test_a_request_that_is_removed_from_the_queue_at_the_deadline_costs_nothing(
    fake: RouterFake, outputs: Outputs
) -> None:
    fake.behave(Behavior(queue_seconds=60))
    error = await draw_and_fail(fake, outputs, deadline=timedelta(seconds=0.3))
    assert (error.reason, error.retryable, error.charged, error.request_alive) == (
        "PROVIDER_TIMEOUT",
        True,
        False,
        False,
    )
    assert only_submission(fake)["cancelled"]


async def test_the_deadline_cancels_the_request_at_the_provider(fake: RouterFake, outputs: Outputs) -> None:
    fake.behave(Behavior(hold=True))
    error = await draw_and_fail(fake, outputs, deadline=timedelta(seconds=0.3))
    assert (error.reason, error.retryable, error.charged, error.request_alive) == (
        "PROVIDER_TIMEOUT",
        True,
        True,
        False,
    )
    submission = only_submission(fake)
    assert submission["cancelled"]
    assert header_of(submission["headers"], "x-fal-request-timeout") == ["1"]


@pytest.mark.parametrize(
    "behavior",
    [
        pytest.param(Behavior(hold=True, faults=(status(500, "cancel"),)), id="cannot be cancelled"),
        pytest.param(Behavior(run_seconds=0, faults=(broken("stall", "image"),)), id="has completed"),
    ],
)
async def test_a_request_that_outlives_the_deadline_can_be_resumed(
    fake: RouterFake, outputs: Outputs, behavior: Behavior
) -> None:
    fake.behave(behavior)
    error = await draw_and_fail(fake, outputs, deadline=timedelta(seconds=0.3))
    assert (error.reason, error.retryable, error.charged, error.request_alive) == (
        "PROVIDER_TIMEOUT",
        True,
        True,
        True,
    )


@pytest.mark.parametrize("route", ["fal-ai", "hf-inference"])
async def test_the_deadline_ends_a_submission_that_hangs(
    fake: RouterFake, outputs: Outputs, route: str
) -> None:
    fake.behave(broken("hang", accepted=True))
    error = await draw_and_fail(fake, outputs, by_route(route), deadline=timedelta(seconds=0.1))
    assert (error.reason, error.charged, error.submit_unknown) == ("PROVIDER_TIMEOUT", True, True)


async def test_the_exception_of_a_report_reaches_the_caller(fake: RouterFake, outputs: Outputs) -> None:
    async def fail(_: object) -> None:
        raise LookupError("the lease is lost")

    for route in ("fal-ai", "hf-inference"):
        async with provider_of(fake) as provider:
            with pytest.raises(LookupError):
                await provider.generate(by_route(route), Reports(fail, fail))
