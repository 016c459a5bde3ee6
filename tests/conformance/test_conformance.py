"""Every provider draws, fails, resumes and cancels in the same way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image, ImageChops

from avatar_creator_server.generations.records import Options
from avatar_creator_server.generations.routes import Route
from avatar_creator_tasks.providers.base import Provider, ProviderError, Reference, Reports
from tests.conformance.conftest import Trial
from tests.conformance.providers import PROVIDERS
from tests.conformance.under_test import Cause, ProviderUnderTest
from tests.support.ports import free_port
from tests.support.provider_recorder import RecordedReports
from tests.support.waiting import wait_until

SUBMIT_UNKNOWN = "retryable charged submit_unknown"
ALIVE = "retryable charged request_alive"
SHORT = timedelta(seconds=0.4)


@dataclass(frozen=True)
class Outcome:
    """The error that a cause must have with every provider."""

    cause: Cause
    reason: str
    flags: str = ""
    """The flags of the error that are set."""
    wait_seconds: float = 0
    """Least `retry_after`."""
    hurried: bool = False
    """True if the test must not wait for the usual timeouts."""


OUTCOMES = (
    Outcome(Cause.KEY_REFUSED, "CREDENTIALS"),
    Outcome(Cause.NO_CREDIT, "CREDIT"),
    Outcome(Cause.MODEL_UNKNOWN, "GONE"),
    Outcome(Cause.INPUT_REFUSED, "REJECTED"),
    Outcome(Cause.CONTENT_REFUSED, "CONTENT_REFUSED"),
    Outcome(Cause.CONTENT_REFUSED_LATER, "CONTENT_REFUSED", "charged"),
    Outcome(Cause.NSFW, "NSFW", "charged"),
    Outcome(Cause.OVERLOADED, "OVERLOADED", "retryable", wait_seconds=30),
    Outcome(Cause.SUBMISSION_FAILS, "UNAVAILABLE", SUBMIT_UNKNOWN),
    Outcome(Cause.ANSWER_LOST, "UNAVAILABLE", SUBMIT_UNKNOWN),
    Outcome(Cause.SUBMISSION_HANGS, "TIMEOUT", SUBMIT_UNKNOWN, hurried=True),
    Outcome(Cause.ENDLESS_ANSWER, "BAD_ANSWER", SUBMIT_UNKNOWN),
    Outcome(Cause.STATUS_FAILS, "UNAVAILABLE", ALIVE),
    Outcome(Cause.RESULT_EXPIRED, "UNAVAILABLE", "retryable charged"),
    Outcome(Cause.PICTURE_ENDLESS, "BAD_ANSWER", "charged"),
    Outcome(Cause.PICTURE_HUGE, "BAD_ANSWER", "charged"),
    Outcome(Cause.PICTURE_BROKEN, "BAD_ANSWER", "retryable charged"),
    Outcome(Cause.PICTURE_FORBIDDEN, "BAD_ANSWER", "charged"),
)


def with_each(*causes: Cause, suits: Callable[[ProviderUnderTest], bool] = bool) -> pytest.MarkDecorator:
    """Run a test with each provider that can meet these causes and that suits it."""
    chosen = [each for each in PROVIDERS if each.causes.keys() >= {*causes} and suits(each)]
    return pytest.mark.parametrize("trial", chosen, indirect=True, ids=lambda each: each.name)


def has_ids(under_test: ProviderUnderTest) -> bool:
    """Return whether a request of the provider has an id."""
    return under_test.has_ids


def is_hosted(under_test: ProviderUnderTest) -> bool:
    """Return whether the provider calls another service."""
    return bool(under_test.fake)


def flags_of(error: ProviderError) -> set[str]:
    """Return the names of the error's flags that are set."""
    names = ("retryable", "charged", "submit_unknown", "request_alive")
    return {name for name in names if getattr(error, name)}


@pytest.mark.parametrize("under_test", PROVIDERS, ids=lambda under_test: under_test.name)
def test_every_case_is_described_or_has_a_reason(under_test: ProviderUnderTest) -> None:
    assert under_test.causes.keys() ^ under_test.inapplicable.keys() == set(Cause)


@with_each()
async def test_a_picture_has_the_requested_size_and_reports_its_progress(trial: Trial) -> None:
    recorded = RecordedReports()
    portrait = await trial.draw(recorded=recorded)

    assert (portrait.image.mode, portrait.image.size) == ("RGB", (256, 320))
    assert len(recorded.ids) == trial.under_test.has_ids
    assert recorded.parts == sorted(recorded.parts)
    assert all(0 <= part <= 1 for part in recorded.parts)
    for warning in portrait.warnings:
        assert warning[0].islower(), warning
        assert "256x320" in warning


@with_each()
async def test_equal_requests_give_equal_pictures_and_another_seed_another_one(trial: Trial) -> None:
    first, second = await trial.draw(), await trial.draw()
    other = await trial.draw(replace(trial.request, seed=7, prompt=trial.request.prompt))

    assert first.image.tobytes() == second.image.tobytes()
    if not trial.request.references or trial.under_test.fake:
        assert first.image.tobytes() != other.image.tobytes()


@with_each()
@pytest.mark.parametrize(
    ("option", "options", "value"),
    [
        ("steps", Options(steps=12), 12),
        ("guidance_scale", Options(guidance_scale=4.75), 4.75),
        ("negative_prompt", Options(negative_prompt="blurry"), "blurry"),
    ],
)
async def test_an_option_changes_the_picture_or_causes_a_warning(
    trial: Trial, option: str, options: Options, value: object
) -> None:
    route: Route = trial.under_test.route
    has_reference = bool(trial.request.references)
    warned = {
        violation.field for violation in route.unsupported_options(options, has_reference=has_reference)
    }
    changes: dict[str, Any] = {option: value}
    usual, changed = await trial.draw(), await trial.draw(replace(trial.request, **changes))

    has_changed = usual.image.tobytes() != changed.image.tobytes()
    assert has_changed == (option in route.supports)
    assert (f"options.{option}" in warned) != has_changed


@with_each(suits=lambda each: bool(each.request.references))
async def test_the_picture_depends_on_the_reference(trial: Trial) -> None:
    other = Reference(Image.new("RGB", (64, 64), "teal"), strength=0.5)
    first, second = await trial.draw(), await trial.draw(replace(trial.request, references=(other,)))

    assert ImageChops.difference(first.image, second.image).getbbox() is not None


@pytest.mark.parametrize(
    ("trial", "outcome"),
    [
        pytest.param(each, outcome, id=f"{each.name}: {outcome.cause.name.lower()}")
        for each in PROVIDERS
        for outcome in OUTCOMES
        if outcome.cause in each.causes
    ],
    indirect=["trial"],
)
async def test_a_failure_has_the_same_outcome_everywhere(trial: Trial, outcome: Outcome) -> None:
    trial.cause(outcome.cause)
    error = await trial.draw_and_fail(hurried=outcome.hurried)

    assert (error.reason, flags_of(error)) == (f"PROVIDER_{outcome.reason}", set(outcome.flags.split()))
    assert outcome.wait_seconds <= error.retry_after.total_seconds() <= 3600
    assert trial.submissions() == 1


@with_each(Cause.JOB_FAILED)
async def test_a_failed_job_may_be_tried_again(trial: Trial) -> None:
    trial.cause(Cause.JOB_FAILED)
    error = await trial.draw_and_fail()

    assert error.reason in ("PROVIDER_UNAVAILABLE", "PROVIDER_BAD_ANSWER")
    expected = {"retryable"} | ({"charged"} if trial.under_test.may_charge_failed_jobs else set())
    assert flags_of(error) == expected
    assert trial.submissions() == 1


@with_each(suits=is_hosted)
async def test_a_refused_connection_costs_nothing(trial: Trial) -> None:
    async with trial.provider(url=f"http://127.0.0.1:{free_port()}") as provider:
        with pytest.raises(ProviderError) as caught:
            await provider.generate(trial.request, RecordedReports().reports)

    assert (caught.value.reason, flags_of(caught.value)) == ("PROVIDER_UNAVAILABLE", {"retryable"})


@with_each(Cause.KEY_IN_MESSAGE)
async def test_a_message_that_contains_the_key_is_shown_without_it(trial: Trial) -> None:
    trial.cause(Cause.KEY_IN_MESSAGE)
    error = await trial.draw_and_fail()

    assert "[secret]" in error.message
    assert trial.under_test.key[3:] not in error.message


@with_each(Cause.SLOW)
async def test_the_deadline_ends_a_slow_request(trial: Trial) -> None:
    trial.cause(Cause.SLOW)
    error = await trial.draw_and_fail(deadline=SHORT)

    assert error.reason == "PROVIDER_TIMEOUT"
    assert trial.submissions() == 1
    if trial.under_test.has_ids:
        # It was cancelled, so another attempt submits a new one.
        assert flags_of(error) == {"retryable", "charged"}
        assert trial.counters()["cancelled"] == 1
    else:
        assert flags_of(error) == set(SUBMIT_UNKNOWN.split())


@with_each(Cause.CANCEL_FAILS)
async def test_a_request_that_cannot_be_cancelled_at_its_deadline_can_be_resumed(trial: Trial) -> None:
    trial.cause(Cause.CANCEL_FAILS)
    error = await trial.draw_and_fail(deadline=SHORT)

    assert (error.reason, flags_of(error)) == ("PROVIDER_TIMEOUT", set(ALIVE.split()))


@with_each(Cause.STATUS_FAILS)
async def test_another_process_can_resume_a_request_and_pays_no_second_one(trial: Trial) -> None:
    trial.cause(Cause.STATUS_FAILS)
    recorded = RecordedReports()
    error = await trial.draw_and_fail(recorded=recorded)
    assert error.request_alive
    (request_id,) = recorded.ids

    resumed = RecordedReports()
    portrait = await trial.draw(replace(trial.request, resume_request_id=request_id), resumed)

    assert portrait.image.size == (256, 320)
    assert portrait.facts["request"] == request_id
    assert (trial.submissions(), resumed.ids) == (1, [])


@with_each(suits=has_ids)
async def test_a_resumed_request_that_is_unknown_can_be_submitted_again(trial: Trial) -> None:
    request = replace(trial.request, resume_request_id=trial.under_test.unknown_id)
    error = await trial.draw_and_fail(request)

    assert (error.reason, flags_of(error)) == ("PROVIDER_UNAVAILABLE", {"retryable", "charged"})
    assert trial.submissions() == 0


@with_each(Cause.SLOW, suits=has_ids)
async def test_a_running_request_can_be_cancelled(trial: Trial) -> None:
    trial.cause(Cause.SLOW)
    async with trial.provider() as provider:
        await provider.cancel(await submitted_id(provider, trial))

    # A model may work for a moment until it stops.
    wait_until(lambda: trial.counters()["cancelled"] == 1, 20.0)


@with_each(suits=has_ids)
async def test_cancelling_a_request_that_has_ended_is_not_an_error(trial: Trial) -> None:
    recorded = RecordedReports()
    await trial.draw(recorded=recorded)
    async with trial.provider() as provider:
        await provider.cancel(recorded.ids[0])

    assert (trial.counters()["cancel"], trial.counters()["cancelled"]) == (1, 0)


@with_each(suits=has_ids)
async def test_cancelling_a_request_that_is_unknown_is_not_an_error(trial: Trial) -> None:
    async with trial.provider() as provider:
        await provider.cancel(trial.under_test.unknown_id)

    assert trial.counters()["cancel"] == 1


@with_each(Cause.CANCEL_FAILS)
async def test_a_cancellation_that_fails_is_an_error(trial: Trial) -> None:
    trial.cause(Cause.CANCEL_FAILS)
    async with trial.provider() as provider:
        request_id = await submitted_id(provider, trial)
        with pytest.raises(ProviderError) as caught:
            await provider.cancel(request_id)

    assert (caught.value.reason, caught.value.retryable) == ("PROVIDER_UNAVAILABLE", True)


@with_each()
@pytest.mark.parametrize(
    "request_id", ["", "..", "../../admin", "https://evil.example/", "//evil.example/x", "a b", "x\n"]
)
async def test_an_id_that_could_lead_to_another_address_is_never_sent(trial: Trial, request_id: str) -> None:
    if request_id and trial.under_test.has_ids:
        error = await trial.draw_and_fail(replace(trial.request, resume_request_id=request_id))
        assert (error.retryable, error.request_alive) == (True, False)
    async with trial.provider() as provider:
        # Another provider's worker may still be running, and can cancel it.
        with pytest.raises(ProviderError, match="does not belong to this provider") as caught:
            await provider.cancel(request_id)

    assert caught.value.retryable
    if trial.fake:
        assert {name for name, count in trial.counters().items() if count} == set()


@with_each(Cause.SLOW)
async def test_a_cancelled_call_ends_and_does_not_cancel_the_request(trial: Trial) -> None:
    trial.cause(Cause.SLOW)
    drawing = asyncio.Event()

    async def progress(part: float) -> None:
        drawing.set()

    async with trial.provider() as provider:
        reports = Reports(RecordedReports().reports.submitted, progress)
        generating = asyncio.create_task(provider.generate(trial.request, reports))
        await asyncio.wait_for(drawing.wait(), 20)
        generating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await generating

    assert trial.counters()["cancel"] == 0


@with_each()
async def test_the_exception_of_a_report_reaches_the_caller(trial: Trial) -> None:
    async def fail(_: object) -> None:
        raise LookupError("the lease is lost")

    async with trial.provider() as provider:
        with pytest.raises(LookupError):
            await provider.generate(trial.request, Reports(fail, fail))


async def submitted_id(provider: Provider, trial: Trial) -> str:
    """Submit a request, stop waiting for it and return its id."""
    known: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def submitted(request_id: str) -> None:
        known.set_result(request_id)

    async def progress(part: float) -> None:
        await asyncio.Event().wait()

    generating = asyncio.create_task(provider.generate(trial.request, Reports(submitted, progress)))
    request_id = await asyncio.wait_for(known, 20)
    generating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await generating
    return request_id
