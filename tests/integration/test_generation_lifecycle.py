"""Every course that a generation can take, with a provider that fails and succeeds on command."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from avatar_creator import (
    AttemptOutcome,
    ErrorReason,
    FailedPreconditionError,
    GenerationAttempt,
    NotFoundError,
)
from avatar_creator_server.generations.lease_records import Lease
from avatar_creator_server.generations.leases import GenerationLeases
from avatar_creator_tasks.providers.base import ProviderError
from tests.support.generations import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    PROCESSING,
)
from tests.support.in_process import InProcessService
from tests.support.presence import present
from tests.support.scripted_provider import ScriptedProvider
from tests.support.service import Deployment
from tests.support.studio import Studio

SUCCEEDED = AttemptOutcome.SUCCEEDED
RETRYABLE = AttemptOutcome.RETRYABLE
FATAL = AttemptOutcome.FATAL
WORKER_LOST = AttemptOutcome.WORKER_LOST
RELEASED = AttemptOutcome.RELEASED
ATTEMPT_CANCELLED = AttemptOutcome.CANCELLED
SUBMIT_UNKNOWN = AttemptOutcome.SUBMIT_UNKNOWN

BUSY = "the provider is busy"


@pytest.fixture
async def studio(databases: Deployment, user: str) -> AsyncIterator[Studio]:
    """A user of a service without a worker."""
    charging = InProcessService.serving(databases, HUGGINGFACE_API_KEY="hf_test")
    async with charging as service, service.client(user) as client:
        project = await client.projects.create("Lifecycle")
        yield Studio(service, client, project.id)


def busy(retry_after: timedelta = timedelta(0)) -> ProviderError:
    return ProviderError("PROVIDER_UNAVAILABLE", BUSY, retryable=True, retry_after=retry_after)


def outcomes(attempts: list[GenerationAttempt]) -> list[AttemptOutcome]:
    assert [attempt.attempt_number for attempt in attempts] == list(range(1, len(attempts) + 1))
    return [attempt.outcome for attempt in attempts]


async def test_failures_are_retried_after_10_and_100_seconds_until_a_success(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        for attempt, delay in ((1, 10), (2, 100)):
            (await provider.next_drawing()).fail(busy())
            waiting, retry_delay = await studio.wait_for_backoff(generation.id, attempt)
            assert retry_delay == timedelta(seconds=delay)
            assert waiting.retry_count == attempt
            assert present(waiting.error).reason == ErrorReason.PROVIDER_UNAVAILABLE
            assert present(waiting.error).explanation == BUSY
            await studio.retry_now(generation.id, attempt=attempt)
        (await provider.next_drawing()).succeed()
        completed = await studio.wait_for_end(generation.id)

    assert completed.state == COMPLETED
    assert completed.error is None
    attempts = await studio.attempts(generation.id)
    assert outcomes(attempts) == [RETRYABLE, RETRYABLE, SUCCEEDED]
    assert [attempt.error and attempt.error.explanation for attempt in attempts] == [BUSY, BUSY, None]


async def test_a_generation_fails_with_the_last_reason_after_three_retries(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        for attempt, delay in ((1, 10), (2, 100), (3, 1000)):
            (await provider.next_drawing()).fail(busy())
            _, retry_delay = await studio.wait_for_backoff(generation.id, attempt)
            assert retry_delay == timedelta(seconds=delay)
            await studio.retry_now(generation.id, attempt=attempt)
        (await provider.next_drawing()).fail(busy())
        failed = await studio.wait_for_end(generation.id)

    assert failed.state == FAILED
    assert failed.retry_count == 3
    assert present(failed.error).reason == ErrorReason.PROVIDER_UNAVAILABLE
    assert present(failed.error).explanation == BUSY
    assert outcomes(await studio.attempts(generation.id)) == [RETRYABLE] * 4
    await studio.wait_until_nothing_is_stored()


async def test_a_fatal_refusal_is_not_retried(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        (await provider.next_drawing()).fail(
            ProviderError("PROVIDER_REJECTED", "the prompt was refused", retryable=False)
        )
        failed = await studio.wait_for_end(generation.id)

    assert failed.state == FAILED
    assert failed.retry_count == 0
    assert present(failed.error).reason == ErrorReason.PROVIDER_REJECTED
    assert outcomes(await studio.attempts(generation.id)) == [FATAL]


@pytest.mark.parametrize(("requested", "expected"), [(3600, 3600), (3, 10)])
async def test_the_provider_can_lengthen_the_delay_but_not_shorten_it(
    studio: Studio, requested: int, expected: int
) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        (await provider.next_drawing()).fail(busy(timedelta(seconds=requested)))
        _, retry_delay = await studio.wait_for_backoff(generation.id, 1)

    assert retry_delay == timedelta(seconds=expected)


async def test_an_unexpected_exception_fails_the_attempt_and_reveals_no_details(
    studio: Studio,
) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        drawing = await provider.next_drawing()
        drawing.submitted("request-1")
        drawing.fail(KeyError("password=hunter2"))
        waiting, _ = await studio.wait_for_backoff(generation.id, 1)

    assert present(waiting.error).reason == ErrorReason.INTERNAL
    (attempt,) = await studio.attempts(generation.id)
    assert attempt.outcome == RETRYABLE
    for message in (present(waiting.error).explanation, present(attempt.error).explanation):
        assert message
        assert "hunter2" not in message
        assert "KeyError" not in message


async def test_a_generation_cancelled_while_pending_is_never_drawn(studio: Studio) -> None:
    provider = ScriptedProvider()
    to_cancel = await studio.create_generation()
    cancelled = await studio.client.generations.cancel(to_cancel.id)
    other = await studio.create_generation()
    async with studio.service.working(provider):
        (await provider.next_drawing()).succeed()
        assert (await studio.wait_for_end(other.id)).state == COMPLETED

    assert cancelled.state == CANCELLED
    assert not provider.has_begun()
    assert await studio.attempts(to_cancel.id) == []
    assert await studio.client.generations.get(to_cancel.id) == cancelled


async def test_the_picture_of_a_generation_cancelled_while_drawn_is_discarded(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        drawing = await provider.next_drawing()
        await studio.client.generations.cancel(generation.id)
        drawing.succeed()  # too late
        await drawing.over.wait()
        await studio.eventually(lambda: provider.drawing_now == 0)
        cancelled = await studio.wait_for_end(generation.id)
        await studio.wait_until_nothing_is_stored()

    assert cancelled.state == CANCELLED
    assert outcomes(await studio.attempts(generation.id)) == [ATTEMPT_CANCELLED]
    assert await studio.client.generations.get(generation.id) == cancelled


async def test_a_cancellation_stops_a_provider_that_reports_nothing(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        drawing = await provider.next_drawing()
        await studio.client.generations.cancel(generation.id)
        async with asyncio.timeout(10):
            await drawing.over.wait()  # the cancellation alone ends it


async def test_an_ended_generation_cannot_be_cancelled_and_a_second_cancellation_changes_nothing(
    studio: Studio,
) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        (await provider.next_drawing()).succeed()
        completed = await studio.wait_for_end(generation.id)
    with pytest.raises(FailedPreconditionError) as refused:
        await studio.client.generations.cancel(generation.id)
    pending = await studio.create_generation()
    cancelled = await studio.client.generations.cancel(pending.id)

    assert refused.value.reason == "GENERATION_FINISHED"
    assert refused.value.metadata["state"] == "COMPLETED"
    assert await studio.client.generations.get(generation.id) == completed
    assert await studio.client.generations.cancel(pending.id) == cancelled


async def test_a_concurrent_completion_and_cancellation_have_one_winner(studio: Studio) -> None:
    provider = ScriptedProvider()
    rounds = 24
    winners = []
    async with studio.service.working(provider):
        for number in range(rounds):
            # Between these percentages the worker saves the picture and writes the avatar.
            cancel_at = (70, 80, 90)[number % 3]
            generation = await studio.create_generation()
            drawing = await provider.next_drawing()
            saving = asyncio.create_task(
                studio.wait_for(generation.id, lambda state, at=cancel_at: state.progress_percent >= at)  # type: ignore[misc]
            )
            drawing.succeed()
            await saving
            try:
                await studio.client.generations.cancel(generation.id)
            except FailedPreconditionError:
                winners.append(COMPLETED)
            else:
                winners.append(CANCELLED)
            assert (await studio.wait_for_end(generation.id)).state == winners[-1]
            avatars = studio.service.deployment.execute(
                "SELECT id FROM avatars WHERE generation_id = %s", generation.id
            )
            assert len(avatars) == (winners[-1] == COMPLETED)
            assert outcomes(await studio.attempts(generation.id)) == [
                SUCCEEDED if avatars else ATTEMPT_CANCELLED
            ]
        kept = 2 * winners.count(COMPLETED)
        await studio.eventually(lambda: studio.stored() == (kept, ["owned"] * kept))

    assert (await studio.client.projects.get(studio.project_id)).avatar_count == winners.count(COMPLETED)


async def test_deleting_the_project_during_drawing_leaves_no_data(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        drawing = await provider.next_drawing()
        await studio.client.projects.delete(studio.project_id)
        drawing.succeed()
        await drawing.over.wait()
        await studio.wait_until_nothing_is_stored()
        for table in ("avatar_projects", "avatar_generations", "generation_attempts"):
            assert studio.service.deployment.rows(table) == [], table
        await studio.eventually(lambda: not studio.service.deployment.rows("quick_work"))
    with pytest.raises(NotFoundError):
        await studio.client.generations.get(generation.id)


async def test_the_next_attempt_resumes_the_request_of_a_lost_worker(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        lost = await provider.next_drawing()
        lost.submitted("request-7")
        deployment = studio.service.deployment
        await studio.eventually(
            lambda: deployment.rows("generation_attempts")[0]["provider_request_id"] == "request-7"
        )
        await studio.take_over(generation.id, attempt=1)
        taken_over = await provider.next_drawing()
        assert lost.request.resume_request_id == ""
        assert taken_over.request.resume_request_id == "request-7"
        lost.progress(0.9)  # the worker is alive, only its lease has expired
        lost.succeed()
        await lost.over.wait()
        assert (await studio.client.generations.get(generation.id)).progress_percent == 20
        taken_over.succeed()
        assert (await studio.wait_for_end(generation.id)).state == COMPLETED
        await studio.eventually(lambda: studio.stored() == (2, ["owned"] * 2))

    first, second = await studio.attempts(generation.id)
    assert (first.outcome, second.outcome) == (WORKER_LOST, SUCCEEDED)
    assert first.provider_request_id == second.provider_request_id == "request-7"
    assert first.possibly_charged
    assert not second.possibly_charged


async def test_a_lost_worker_without_a_request_id_may_have_been_charged(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        await provider.next_drawing()
        await studio.take_over(generation.id, attempt=1)
        taken_over = await provider.next_drawing()
        assert taken_over.request.resume_request_id == ""
        taken_over.succeed()
        await studio.wait_for_end(generation.id)

    first, second = await studio.attempts(generation.id)
    assert (first.outcome, second.outcome) == (SUBMIT_UNKNOWN, SUCCEEDED)
    assert first.possibly_charged
    assert second.possibly_charged


async def test_a_lost_worker_of_a_free_route_was_not_charged(embedded: Deployment, user: str) -> None:
    provider = ScriptedProvider()
    async with (
        InProcessService.serving(embedded) as service,
        service.client(user) as client,
        service.working(provider),
    ):
        studio = Studio(service, client, (await client.projects.create("Lifecycle")).id)
        generation = await studio.create_generation()
        await provider.next_drawing()
        await studio.take_over(generation.id, attempt=1)
        (await provider.next_drawing()).succeed()
        await studio.wait_for_end(generation.id)
        first, second = await studio.attempts(generation.id)
    assert (first.outcome, second.outcome) == (WORKER_LOST, SUCCEEDED)
    assert not first.possibly_charged
    assert not second.possibly_charged


async def test_a_picture_that_could_not_be_stored_is_fetched_again_without_a_new_request(
    studio: Studio,
) -> None:
    provider = ScriptedProvider()
    folder = studio.service.deployment.upload_path / "avatar-creator"
    if folder.exists():
        folder.rmdir()
    folder.write_bytes(b"a file where the folder should be")
    async with studio.service.working(provider, storage_seconds=0):
        generation = await studio.create_generation()
        unstored = await provider.next_drawing()
        unstored.submitted("request-7")
        unstored.succeed()
        waiting, _ = await studio.wait_for_backoff(generation.id, 1)
        assert present(waiting.error).reason == ErrorReason.STORAGE_UNAVAILABLE
        folder.unlink()
        await studio.retry_now(generation.id, attempt=1)
        retry = await provider.next_drawing()
        assert retry.request.resume_request_id == "request-7"
        retry.succeed()
        assert (await studio.wait_for_end(generation.id)).state == COMPLETED

    first, second = await studio.attempts(generation.id)
    assert outcomes([first, second]) == [RETRYABLE, SUCCEEDED]
    assert first.price_micros > second.price_micros == 0


async def test_two_of_ten_queued_generations_are_drawn_at_once_oldest_first(studio: Studio) -> None:
    provider = ScriptedProvider()
    generations = [await studio.create_generation(seed=number) for number in range(10)]
    async with studio.service.working(provider):
        drawings = [await provider.next_drawing(), await provider.next_drawing()]
        assert {drawing.request.seed for drawing in drawings} == {0, 1}
        for number in range(2, 10):
            processing = [row async for row in studio.client.generations.list(states=[PROCESSING])]
            assert len(processing) == provider.drawing_now == 2
            assert not provider.has_begun()
            drawings.pop(0).succeed()
            drawings.append(await provider.next_drawing())
            assert drawings[-1].request.seed == number
        for drawing in drawings:
            drawing.succeed()
        ended = [await studio.wait_for_end(generation.id) for generation in generations]

    assert {generation.state for generation in ended} == {COMPLETED}


async def test_a_claim_that_goes_on_at_shutdown_does_not_take_what_the_worker_releases(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = ScriptedProvider()
    claim, release = GenerationLeases.claim, GenerationLeases.release
    claims, released = 0, asyncio.Event()

    async def second_claim_is_late(leases: GenerationLeases, worker: str) -> Lease | None:
        nonlocal claims
        claims += 1
        if claims == 2:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(released.wait(), 1.0)
        return await claim(leases, worker)

    async def release_and_say(leases: GenerationLeases, lease: Lease) -> None:
        await release(leases, lease)
        released.set()

    monkeypatch.setattr(GenerationLeases, "claim", second_claim_is_late)
    monkeypatch.setattr(GenerationLeases, "release", release_and_say)
    # Before the worker starts, which then wakes both of its slots.
    generation = await studio.create_generation()
    async with studio.service.working(provider):
        await provider.next_drawing()
        await studio.eventually(lambda: claims == 2)

    assert len(await studio.attempts(generation.id)) == 1
    assert (await studio.client.generations.get(generation.id)).state == PENDING


async def test_an_unfinished_generation_is_released_at_shutdown_and_uses_no_retry(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider, grace_seconds=0.2):
        generation = await studio.create_generation()
        released_drawing = await provider.next_drawing()
        released_drawing.submitted("request-7")
        released_drawing.progress(0.5)
        await studio.wait_for(generation.id, lambda state: state.progress_percent > 20)
    assert released_drawing.over.is_set()
    released = await studio.client.generations.get(generation.id)
    assert released.state == PENDING
    assert released.retry_count == 0
    assert released.error is None
    assert outcomes(await studio.attempts(generation.id)) == [RELEASED]

    async with studio.service.working(provider):
        next_drawing = await provider.next_drawing()
        assert next_drawing.request.resume_request_id == "request-7", "a new request would be paid for twice"
        next_drawing.succeed()
        completed = await studio.wait_for_end(generation.id)
    assert completed.state == COMPLETED
    assert completed.retry_count == 0
    assert outcomes(await studio.attempts(generation.id)) == [RELEASED, SUCCEEDED]
