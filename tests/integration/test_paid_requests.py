"""Paid requests: none is lost or counted twice, and one refusal opens a circuit once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from avatar_creator import (
    AttemptOutcome,
    ErrorReason,
    FailedPreconditionError,
    Generation,
    InvalidArgumentError,
)
from avatar_creator_server.errors import UnavailableError
from avatar_creator_tasks.providers.base import ProviderError
from tests import pictures
from tests.support.generations import CANCELLED, COMPLETED, FAILED, SMALLEST
from tests.support.in_process import InProcessService
from tests.support.presence import present
from tests.support.scripted_provider import ScriptedProvider
from tests.support.service import Deployment, run_in_turn
from tests.support.studio import Studio

RELEASED = AttemptOutcome.RELEASED
RETRYABLE = AttemptOutcome.RETRYABLE
SUCCEEDED = AttemptOutcome.SUCCEEDED
UNKNOWN = AttemptOutcome.SUBMIT_UNKNOWN
PRICE = 35_000
REFERENCE_PRICE = 25_000
"""Price of a picture by FLUX.1-Kontext without a LoRA."""
REQUEST_ID = "request-7"

NO_CREDIT = ProviderError("PROVIDER_CREDIT", "no credit left", retryable=False)
LOST = ProviderError(
    "PROVIDER_UNAVAILABLE", "the connection was lost", retryable=True, charged=True, request_alive=True
)
NOT_CHARGED = ProviderError("PROVIDER_UNAVAILABLE", "the job failed", retryable=True)


@asynccontextmanager
async def serving(deployment: Deployment, user: str, **settings: str) -> AsyncIterator[Studio]:
    """Start a service with a paid provider and without a worker, and connect a user."""
    service_of = InProcessService.serving(deployment, **{"HUGGINGFACE_API_KEY": "hf_test", **settings})
    async with service_of as service, service.client(user) as client:
        yield Studio(service, client, (await client.projects.create("Paid")).id)


@pytest.fixture(params=["embedded", "distributed"])
async def studio(request: pytest.FixtureRequest, user: str) -> AsyncIterator[Studio]:
    """Start such a service on each of the two databases."""
    async with serving(request.getfixturevalue(request.param), user) as opened:
        yield opened


async def lose_connection(studio: Studio, provider: ScriptedProvider, generation_id: str) -> None:
    """Let the first attempt lose the connection to a request that is still running."""
    drawing = await provider.next_drawing()
    drawing.submitted(REQUEST_ID)
    drawing.fail(LOST)
    await studio.wait_for_backoff(generation_id, 1)


async def test_a_running_request_is_fetched_although_the_circuit_is_open(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        await lose_connection(studio, provider, generation.id)
        other = await studio.create_generation()
        (await provider.next_drawing()).fail(NO_CREDIT)
        assert (await studio.wait_for_end(other.id)).state == FAILED
        assert len(studio.service.deployment.rows("route_circuits")) == 1

        await studio.retry_now(generation.id, attempt=1)
        resumed = await provider.next_drawing()
        assert resumed.request.resume_request_id == REQUEST_ID
        resumed.succeed()

        assert (await studio.wait_for_end(generation.id)).state == COMPLETED
        assert len(studio.service.deployment.rows("route_circuits")) == 1, "the attempt made no new request"


async def test_a_refused_query_about_a_running_request_opens_no_circuit(studio: Studio) -> None:
    refused = ProviderError(
        "PROVIDER_CREDENTIALS", "a proxy refused the key", retryable=True, charged=True, request_alive=True
    )
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        drawing = await provider.next_drawing()
        drawing.submitted(REQUEST_ID)
        drawing.fail(refused)
        await studio.wait_for_backoff(generation.id, 1)

    assert studio.service.deployment.rows("route_circuits") == []


async def lose_connection_with_reference(studio: Studio, provider: ScriptedProvider) -> Generation:
    """Do the same for a generation that starts from the picture of an avatar."""
    scene = pictures.png(pictures.scene())
    reference = await studio.client.avatars.upload(studio.project_id, scene, name="Reference")
    generation = await studio.create_generation(reference=reference)
    await lose_connection(studio, provider, generation.id)
    return generation


async def fetch(studio: Studio, provider: ScriptedProvider, generation: Generation) -> Generation:
    """Let the second attempt fetch the picture of the running request."""
    await studio.retry_now(generation.id, attempt=1)
    resumed = await provider.next_drawing()
    assert resumed.request.resume_request_id == REQUEST_ID
    resumed.succeed()
    return await studio.wait_for_end(generation.id)


async def test_a_running_request_is_fetched_although_its_reference_is_deleted(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await lose_connection_with_reference(studio, provider)
        [deleted] = generation.reference_avatar_ids
        await studio.client.avatars.delete(deleted)
        completed = await fetch(studio, provider, generation)
        recipe = await studio.client.generations.recipe(generation.id)

    assert (completed.state, completed.price_micros) == (COMPLETED, REFERENCE_PRICE)
    assert [deleted in warning for warning in completed.warnings if "deleted" in warning] == [True]
    assert recipe is not None
    assert recipe.reference_avatar_ids == (deleted,)
    assert recipe.reference_sha256s == ("",)
    assert provider.cancelled == []


async def test_a_running_request_is_fetched_although_the_storage_does_not_return_its_reference(
    studio: Studio,
) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await lose_connection_with_reference(studio, provider)
        [avatar] = [
            await studio.client.avatars.get(avatar_id) for avatar_id in generation.reference_avatar_ids
        ]
        for file in studio.service.deployment.files():
            make_unreadable(file)
        completed = await fetch(studio, provider, generation)
        recipe = await studio.client.generations.recipe(generation.id)

    assert (completed.state, completed.price_micros) == (COMPLETED, REFERENCE_PRICE)
    assert recipe is not None
    assert recipe.reference_sha256s == (avatar.image.sha256,)


async def test_a_running_request_is_cancelled_when_the_next_attempt_cannot_continue(
    embedded: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with serving(embedded, user) as studio, studio.service.working(provider):
        generation = await lose_connection_with_reference(studio, provider)
    # This route draws from no reference.
    other_route = serving(embedded, user, HUGGINGFACE_ROUTE="hf-inference")
    async with other_route as studio, studio.service.working(provider):
        await studio.retry_now(generation.id, attempt=1)
        failed = await studio.wait_for_end(generation.id)

        assert present(failed.error).reason == ErrorReason.PROVIDER_REJECTED
        assert failed.price_micros == REFERENCE_PRICE
        await studio.eventually(lambda: provider.cancelled == [REQUEST_ID])


async def test_a_request_of_version_0_1_0_is_fetched_although_its_route_has_another_name(
    studio: Studio,
) -> None:
    provider, deployment = ScriptedProvider(), studio.service.deployment
    reference = await studio.client.avatars.upload(
        studio.project_id, pictures.png(pictures.scene()), name="Reference"
    )
    async with studio.service.working(provider):
        generation = await studio.create_generation(reference=reference)
        await lose_connection(studio, provider, generation.id)
    [row] = deployment.rows("generation_attempts")
    assert row["route"] == "fal-ai-reference"
    deployment.execute("UPDATE generation_attempts SET route = 'fal-ai-kontext'")
    deployment.execute("UPDATE avatar_generations SET route_choice = NULL")

    async with studio.service.working(provider):
        await studio.retry_now(generation.id, attempt=1)
        resumed = await provider.next_drawing()
        assert resumed.request.resume_request_id == REQUEST_ID
        resumed.succeed()
        assert (await studio.wait_for_end(generation.id)).state == COMPLETED

        [row] = deployment.rows("generation_recipes")
        embedded = isinstance(row["recipe"], str)
        recipe = json.loads(row["recipe"]) if embedded else row["recipe"]
        earlier = json.dumps({**recipe, "route": "fal-ai-kontext"})
        deployment.execute("UPDATE generation_recipes SET recipe = %s", earlier)
        read = await studio.client.generations.recipe(generation.id)
        assert read is not None
        assert read.route == "fal-ai-reference"
        again = await studio.client.generations.reproduce(generation.id, project=studio.project_id)
        (await provider.next_drawing()).succeed()
        assert (await studio.wait_for_end(again.id)).state == COMPLETED
    assert provider.cancelled == []


async def test_a_request_of_another_route_is_cancelled_and_not_resumed(
    embedded: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with serving(embedded, user) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        await lose_connection(studio, provider, generation.id)
    async with serving(embedded, user, HUGGINGFACE_ROUTE="hf-inference") as studio:
        async with studio.service.working(provider):
            await studio.retry_now(generation.id, attempt=1)
            drawing = await provider.next_drawing()
            assert drawing.request.resume_request_id == ""
            drawing.succeed()
            assert (await studio.wait_for_end(generation.id)).state == COMPLETED
            await studio.eventually(lambda: provider.cancelled == [REQUEST_ID])
        first, second = await studio.attempts(generation.id)
    assert first.provider_request_id == REQUEST_ID
    assert second.provider_request_id is None


UNPRICED = {"HUGGINGFACE_ROUTE": "hf-inference"}


async def test_an_unanswered_submission_without_a_price_stays_on_record(
    embedded: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with serving(embedded, user, **UNPRICED) as studio:
        async with studio.service.working(provider):
            generation = await studio.create_generation()
            await provider.next_drawing()
        [attempt] = await studio.attempts(generation.id)

    assert (attempt.outcome, attempt.possibly_charged, attempt.price_micros) == (UNKNOWN, True, 0)


async def test_an_unanswered_submission_without_a_price_of_a_lost_worker_stays_on_record(
    embedded: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with serving(embedded, user, **UNPRICED) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        await provider.next_drawing()
        await studio.take_over(generation.id, attempt=1)
        first, *_ = await studio.attempts(generation.id)

    assert (first.outcome, first.possibly_charged, first.price_micros) == (UNKNOWN, True, 0)


async def test_an_unanswered_picture_of_the_worker_itself_is_not_on_record(
    embedded: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with serving(embedded, user, PROVIDER="sketch") as studio:
        async with studio.service.working(provider):
            generation = await studio.create_generation()
            await provider.next_drawing()
        [attempt] = await studio.attempts(generation.id)

    assert (attempt.outcome, attempt.possibly_charged) == (RELEASED, False)


async def test_a_request_without_a_price_that_was_not_charged_leaves_no_trace_in_the_spending(
    embedded: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    free = {"PRICES_PER_MEGAPIXEL": '{"fal-ai": 0}'}
    async with serving(embedded, user, **free) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        await lose_connection(studio, provider, generation.id)
        await studio.retry_now(generation.id, attempt=1)
        (await provider.next_drawing()).fail(NOT_CHARGED)
        await studio.wait_for_backoff(generation.id, 2)
        attempts = await studio.attempts(generation.id)

    assert [attempt.possibly_charged for attempt in attempts] == [False, False]
    assert not embedded.rows("daily_spend")


async def test_a_price_that_was_not_charged_is_removed_from_the_attempt_that_made_the_request(
    studio: Studio,
) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generation = await studio.create_generation()
        await lose_connection(studio, provider, generation.id)
        await studio.retry_now(generation.id, attempt=1)
        (await provider.next_drawing()).fail(NOT_CHARGED)
        await studio.wait_for_backoff(generation.id, 2)
        await studio.retry_now(generation.id, attempt=2)
        third = await provider.next_drawing()
        assert third.request.resume_request_id == ""
        third.succeed()
        completed = await studio.wait_for_end(generation.id)

    attempts = await studio.attempts(generation.id)
    assert [attempt.price_micros for attempt in attempts] == [0, 0, PRICE]
    assert [attempt.possibly_charged for attempt in attempts] == [False, False, True]
    assert completed.price_micros == PRICE
    [spent] = studio.service.deployment.rows("daily_spend")
    assert (spent["price_micros"], spent["attempt_count"]) == (PRICE, 1)


async def test_a_picture_waits_in_the_worker_until_the_storage_is_back(studio: Studio) -> None:
    provider = ScriptedProvider()
    with capture_logs() as logs:
        async with studio.service.working(provider):
            with storage_away(studio):
                generation = await studio.create_generation()
                (await provider.next_drawing()).succeed()
                await studio.eventually(lambda: retries_of_storage(logs) >= 2)
            completed = await studio.wait_for_end(generation.id)

    assert completed.state == COMPLETED
    assert [attempt.outcome for attempt in await studio.attempts(generation.id)] == [SUCCEEDED]
    assert not provider.has_begun()


@pytest.mark.parametrize("route", ["hf-inference", "endpoint"])
async def test_a_picture_of_a_single_request_is_not_paid_twice_if_the_storage_stays_away(
    embedded: Deployment, user: str, route: str
) -> None:
    provider = ScriptedProvider()
    settings = {
        "HUGGINGFACE_ROUTE": route,
        "HUGGINGFACE_ENDPOINT_URL": "https://endpoint.invalid",
        "PRICES_PER_MEGAPIXEL": f'{{"{route}": 0.035}}',
    }
    async with serving(embedded, user, **settings) as studio:
        async with studio.service.working(provider, storage_seconds=0):
            with storage_away(studio):
                generation = await studio.create_generation()
                (await provider.next_drawing()).succeed()
                failed = await studio.wait_for_end(generation.id)

        assert (failed.state, failed.price_micros) == (FAILED, PRICE)
        assert present(failed.error).reason == ErrorReason.STORAGE_UNAVAILABLE
        assert "does not retry" in present(failed.error).explanation
        [attempt] = await studio.attempts(generation.id)
        assert (attempt.possibly_charged, attempt.price_micros) == (True, PRICE)
        assert not provider.has_begun()


SINGLE = {"HUGGINGFACE_ROUTE": "hf-inference", "PRICES_PER_MEGAPIXEL": '{"hf-inference": 0.035}'}


@pytest.mark.parametrize(
    "error",
    [UnavailableError("OVERLOADED", "no decoder is free"), RuntimeError("a defect")],
    ids=["no decoder is free", "a defect of the service"],
)
async def test_a_picture_of_a_single_request_that_the_worker_cannot_read_is_not_paid_twice(
    embedded: Deployment, user: str, error: Exception
) -> None:
    provider = ScriptedProvider()
    async with serving(embedded, user, **SINGLE) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        (await provider.next_drawing()).fail(error)
        failed = await studio.wait_for_end(generation.id)

    assert (failed.state, failed.price_micros) == (FAILED, PRICE)
    assert "does not retry" in present(failed.error).explanation


async def test_a_picture_of_a_single_request_that_its_worker_loses_when_it_stops_is_not_paid_twice(
    embedded: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with serving(embedded, user, **SINGLE) as studio:
        with capture_logs() as logs, storage_away(studio):
            async with studio.service.working(provider):
                generation = await studio.create_generation()
                (await provider.next_drawing()).succeed()
                await studio.eventually(lambda: retries_of_storage(logs) >= 1)
        failed = await studio.client.generations.get(generation.id)

    assert (failed.state, failed.price_micros) == (FAILED, PRICE)
    assert present(failed.error).reason == ErrorReason.WORKER_LOST
    assert present(failed.error).explanation == (
        "the worker stopped before it had stored the picture; a picture that may be paid for is lost, "
        "so the service does not retry"
    )


async def test_a_picture_of_the_worker_itself_is_drawn_again_if_the_storage_stays_away(
    embedded: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    async with (
        serving(embedded, user, PROVIDER="sketch") as studio,
        studio.service.working(provider, storage_seconds=0),
    ):
        with storage_away(studio):
            generation = await studio.create_generation()
            (await provider.next_drawing()).succeed()
            await studio.wait_for_backoff(generation.id, 1)
        await studio.retry_now(generation.id, attempt=1)
        (await provider.next_drawing()).succeed()
        assert (await studio.wait_for_end(generation.id)).state == COMPLETED


async def test_a_reproduction_completes_although_the_storage_does_not_return_the_original(
    studio: Studio,
) -> None:
    provider = ScriptedProvider()
    with capture_logs() as logs:
        async with studio.service.working(provider):
            original = await studio.create_generation()
            (await provider.next_drawing()).succeed()
            await studio.wait_for_end(original.id)
            for file in studio.service.deployment.files():
                make_unreadable(file)
            again = await studio.client.generations.reproduce(original.id, project=studio.project_id)
            (await provider.next_drawing()).succeed()
            completed = await studio.wait_for_end(again.id)

    assert (completed.state, completed.price_micros) == (COMPLETED, PRICE)
    assert present(completed.reproduction).identical_pixels
    assert present(completed.reproduction).color_difference is None
    assert "reproduction_not_compared" in {entry["event"] for entry in logs}


def make_unreadable(file: Path) -> None:
    """Let the storage return an error for this file. It still accepts others."""
    file.unlink()
    file.symlink_to(file)


@contextmanager
def storage_away(studio: Studio) -> Iterator[None]:
    """Let the storage accept no file while the context is open."""
    folder = studio.service.deployment.upload_path / "avatar-creator"
    folder.write_bytes(b"a file where the folder should be")
    try:
        yield
    finally:
        folder.unlink()


def retries_of_storage(logs: list[MutableMapping[str, Any]]) -> int:
    """Return how often a worker has repeated to store a picture."""
    return sum(entry["event"] == "picture_storage_retried" for entry in logs)


async def test_possibly_charged_retries_count_against_the_limit_immediately(
    embedded: Deployment, user: str
) -> None:
    provider = ScriptedProvider()
    charged = ProviderError("PROVIDER_BAD_ANSWER", "no picture", retryable=True, charged=True)
    async with serving(embedded, user) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        (await provider.next_drawing()).fail(charged)
        await studio.wait_for_backoff(generation.id, 1)
        await studio.retry_now(generation.id, attempt=1)
        await provider.next_drawing()
        await studio.eventually(
            lambda: [row["price_micros"] for row in embedded.rows("generation_starts")] == [2 * PRICE]
        )


async def test_refusals_of_simultaneous_requests_open_a_circuit_once(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        generations = [await studio.create_generation() for _ in range(2)]
        drawings = [await provider.next_drawing() for _ in generations]
        for drawing in drawings:
            drawing.fail(NO_CREDIT)
        for generation in generations:
            assert (await studio.wait_for_end(generation.id)).state == FAILED

    [circuit] = studio.service.deployment.rows("route_circuits")
    assert circuit["failure_count"] == 1
    assert circuit["probe_time"] - circuit["open_time"] == timedelta(seconds=60)


async def test_a_circuit_closes_when_the_provider_accepts_a_request(
    studio: Studio,
) -> None:
    provider = ScriptedProvider()
    deployment = studio.service.deployment
    async with studio.service.working(provider):
        refused = await studio.create_generation()
        (await provider.next_drawing()).fail(NO_CREDIT)
        await studio.wait_for_end(refused.id)
        deployment.execute("UPDATE route_circuits SET probe_time = %s", datetime.now(UTC) - timedelta(1))
        probe = await studio.create_generation()
        drawing = await provider.next_drawing()
        drawing.submitted(REQUEST_ID)
        await studio.eventually(lambda: not deployment.rows("route_circuits"))
        assert (await studio.client.generations.get(probe.id)).end_time is None


async def test_the_circuit_of_an_unused_route_is_not_reported(embedded: Deployment, user: str) -> None:
    provider = ScriptedProvider()
    async with serving(embedded, user) as studio, studio.service.working(provider):
        refused = await studio.create_generation()
        (await provider.next_drawing()).fail(NO_CREDIT)
        await studio.wait_for_end(refused.id)
        settings = {"HUGGINGFACE_API_KEY": "hf_test", "HUGGINGFACE_BASE_URL": f"http://{embedded.target}"}
        used, unused = run_in_turn(
            [
                (["doctor"], embedded.settings | settings | change, embedded.directory)
                for change in ({}, {"HUGGINGFACE_ROUTE": "hf-inference"})
            ]
        )
        assert "PROVIDER_CREDIT" in used.stdout
        assert "PROVIDER_CREDIT" not in unused.stdout
        assert "huggingface" in unused.stdout


async def test_the_retry_of_a_variation_keeps_its_seed(embedded: Deployment, user: str) -> None:
    async with serving(embedded, user) as studio:
        *_, third = await studio.client.generations.create_variations(
            studio.project_id, "a portrait", 3, width=SMALLEST, height=SMALLEST, seed=5
        )
        assert (await third.cancel()).state == CANCELLED
        fourth = await third.retry()
        assert fourth.generation.seed_used == third.generation.seed_used == 7


@pytest.mark.parametrize("change", ["another LoRA", "the original is deleted"])
async def test_a_reproduction_that_can_no_longer_be_one_is_not_retried(
    embedded: Deployment, user: str, change: str
) -> None:
    provider = ScriptedProvider()
    async with serving(embedded, user) as studio:
        other = await studio.client.projects.create("Originals")
        async with studio.service.working(provider):
            original = await studio.client.generations.create(
                other.id, "a portrait", width=SMALLEST, height=SMALLEST
            )
            (await provider.next_drawing()).succeed()
            await studio.wait_for_end(original.id)
        again = await studio.client.generations.reproduce(original.id, project=studio.project_id)
        await studio.client.generations.cancel(again.id)
        retried = await studio.client.generations.retry(again.id)
        assert retried.generation.reproduce_of == original.id
        await studio.client.generations.cancel(retried.id)
        if change == "the original is deleted":
            await studio.client.projects.delete(other.id)
    settings = {"LORA_REPOSITORY": "none"} if change == "another LoRA" else {}
    async with serving(embedded, user, **settings) as studio:
        with pytest.raises(FailedPreconditionError) as refused:
            await studio.client.generations.retry(again.id)

    assert refused.value.reason == "NOT_REPRODUCIBLE"
    assert refused.value.metadata["difference"] == ("lora" if settings else "recipe")


async def test_a_prompt_that_was_denied_later_is_not_reproduced(
    embedded: Deployment, user: str, tmp_path: Path
) -> None:
    provider = ScriptedProvider()
    denied = tmp_path / "denied"
    denied.write_text("portrait")
    async with serving(embedded, user) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        (await provider.next_drawing()).succeed()
        await studio.wait_for_end(generation.id)
    async with serving(embedded, user, PROMPT_DENY_LIST_FILE=str(denied)) as studio:
        with pytest.raises(InvalidArgumentError) as refused:
            await studio.client.generations.reproduce(generation.id, project=studio.project_id)
    assert refused.value.reason == "PROMPT_REFUSED"
