"""Operators drain workers, pause the queue, change many generations, and limit users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from structlog.testing import capture_logs

from avatar_creator import (
    AsyncAvatarCreator,
    FailedPreconditionError,
    Generation,
    GenerationState,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    QueuePause,
    ResourceExhaustedError,
    WorkerState,
)
from avatar_creator_tasks.providers.base import ProviderError
from tests import pictures
from tests.support.generations import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING
from tests.support.in_process import InProcessService
from tests.support.locked_table import is_waited_for
from tests.support.scripted_provider import ScriptedProvider
from tests.support.service import Deployment
from tests.support.studio import Studio

LATE = timedelta(seconds=31)
"""Longer than the time after which a worker counts as lost."""
OPERATOR = "olga"


@dataclass
class Office(Studio):
    """A user of a service, and its operator."""

    operator: AsyncAvatarCreator
    user: str

    async def fail(self, provider: ScriptedProvider, reason: str = "PROVIDER_REJECTED") -> Generation:
        """Create a generation, let it fail for this reason, and return its last state."""
        created = await self.create_generation()
        (await provider.next_drawing()).fail(ProviderError(reason, "no", retryable=False))
        return await self.wait_for_end(created.id)

    async def thumbnail(self) -> None:
        """Upload a picture, and wait until a worker has made its thumbnail."""
        avatar = await self.client.avatars.upload(self.project_id, pictures.png(), name="Sarah")
        row = "SELECT thumbnail_file_id FROM avatars WHERE id = %s"
        await self.eventually(lambda: self.service.deployment.execute(row, avatar.id)[0]["thumbnail_file_id"])


@pytest.fixture(params=["embedded", "distributed"])
async def office(request: pytest.FixtureRequest, user: str) -> AsyncIterator[Office]:
    """A service without a worker: once on SQLite, and once on PostgreSQL and Redis."""
    deployment = request.getfixturevalue(request.param)
    async with (
        InProcessService.serving(deployment) as service,
        service.client(user) as client,
        AsyncAvatarCreator(deployment.target, token=deployment.token(OPERATOR, role="ops")) as operator,
    ):
        project = await client.projects.create("Operated")
        yield Office(service, client, project.id, operator, user)


async def test_a_drained_worker_finishes_its_work_and_takes_no_more_until_it_is_resumed(
    office: Office,
) -> None:
    provider = ScriptedProvider()
    operations = office.operator.operations
    with capture_logs() as logs:
        async with office.service.working(provider):
            running = await office.create_generation(priority="interactive")
            drawing = await provider.next_drawing()
            [worker] = [each async for each in operations.list_workers()]
            [attempt] = worker.running
            assert (worker.state, worker.slots, worker.drain_time) == (WorkerState.LIVE, 2, None)
            assert (attempt.generation_id, attempt.user_id) == (running.id, office.user)
            assert (attempt.attempt_number, attempt.priority) == (1, "interactive")
            assert worker.start_time <= attempt.start_time

            office.service.deployment.execute(
                "INSERT INTO workers (name, version, host, provider, slots, start_time, last_seen_time)"
                " VALUES ('-first', '1', 'host', 'other', 1, %s, %s)",
                *(worker.start_time, worker.start_time),
            )
            pages = [each async for each in operations.list_workers(page_size=1)]
            assert [(each.name, len(each.running)) for each in pages] == [("-first", 0), (worker.name, 1)]

            drained = await operations.drain_worker(worker)
            again = await operations.drain_worker(worker.name)
            assert drained.state == WorkerState.DRAINING
            assert drained.running
            assert again.drain_time == drained.drain_time
            await office.eventually(lambda: _events(logs, "worker_drained"))
            waiting = await office.create_generation()
            drawing.succeed()
            assert (await office.wait_for_end(running.id)).state == COMPLETED
            await office.thumbnail()

            assert not provider.has_begun()
            found = await office.client.generations.get(waiting.id)
            assert (found.state, found.expected_seconds) == (PENDING, None)
            assert found.warnings[-1].startswith("an operator drains all workers")

            resumed = await operations.resume_worker(worker)
            assert (resumed.state, resumed.drain_time) == (WorkerState.LIVE, None)
            (await provider.next_drawing()).succeed()
            assert (await office.wait_for_end(waiting.id)).state == COMPLETED
    assert [(each["operation"], each["user"]) for each in _events(logs, "operation_requested")] == [
        ("ListWorkers", OPERATOR),
        ("ListWorkers", OPERATOR),
        ("ListWorkers", OPERATOR),
        ("DrainWorker", OPERATOR),
        ("DrainWorker", OPERATOR),
        ("ResumeWorker", OPERATOR),
    ]
    assert _events(logs, "operation_requested")[3]["request"] == {"worker_name": worker.name}
    with pytest.raises(NotFoundError):
        await operations.drain_worker(worker)


async def test_a_dead_worker_is_lost_after_thirty_seconds(office: Office) -> None:
    deployment = office.service.deployment
    aged = "UPDATE workers SET last_seen_time = %s RETURNING name"
    async with office.service.working(ScriptedProvider()):
        await office.eventually(lambda: deployment.execute(aged, datetime.now(UTC) - LATE))
        [worker] = [each async for each in office.operator.operations.list_workers()]

    assert worker.state == WorkerState.LOST


async def test_nothing_is_claimed_while_the_queue_is_paused(office: Office) -> None:
    operations = office.operator.operations
    provider = ScriptedProvider()
    async with office.service.working(provider):
        running = await office.create_generation()
        drawing = await provider.next_drawing()
        queue = await operations.pause_queue(note="new model")
        [pause] = queue.pauses
        assert (pause.route, pause.paused_by, pause.note) == (None, OPERATOR, "new model")
        assert queue.running_count == 1
        deployment = office.service.deployment
        async with AsyncAvatarCreator(deployment.target, token=deployment.token("otto", role="ops")) as otto:
            [again] = (await otto.operations.pause_queue(note="newer model")).pauses
        assert again == replace(pause, note="newer model")

        waiting = await office.create_generation()
        estimate = await office.client.generations.estimate(office.project_id, "a portrait")
        watched = await anext(office.client.generations.watch(waiting.id))
        for warnings, seconds in (
            (waiting.warnings, waiting.expected_seconds),
            (watched.warnings, watched.expected_seconds),
            (estimate.warnings, estimate.expected_seconds),
        ):
            assert "the queue has been paused since" in warnings[-1]
            assert "(newer model)" in warnings[-1]
            assert seconds is None
        drawing.succeed()
        assert (await office.wait_for_end(running.id)).state == COMPLETED
        await office.service.wake_workers()
        await office.thumbnail()
        assert not provider.has_begun()
        [normal] = [depth for depth in (await operations.get_queue()).depths if depth.due_count]
        assert (normal.priority, normal.due_count, normal.waiting_to_retry_count) == ("normal", 1, 0)

        assert (await operations.resume_queue()).pauses == ()
        (await provider.next_drawing()).succeed()
        ended = await office.wait_for_end(waiting.id)
        assert ended.state == COMPLETED
        assert not any("paused" in warning for warning in ended.warnings)


async def test_a_pause_of_a_route_stops_only_the_generations_that_take_it(
    request: pytest.FixtureRequest, user: str
) -> None:
    deployment = request.getfixturevalue("distributed")
    settings = {"PROVIDER": "replicate", "REPLICATE_API_TOKEN": "r8_x"}
    provider = ScriptedProvider()
    async with (
        InProcessService.serving(deployment, **settings) as service,
        service.client(user) as client,
        AsyncAvatarCreator(deployment.target, token=deployment.token(OPERATOR, role="ops")) as operator,
    ):
        project = await client.projects.create("Routes")
        face = await client.avatars.upload(project.id, pictures.png(), name="Sarah")
        studio = Office(service, client, project.id, operator, user)
        with pytest.raises(InvalidArgumentError, match="replicate or replicate-reference"):
            await operator.operations.pause_queue("local")
        queue = await operator.operations.pause_queue("replicate-reference")
        assert [(each.name, each.draws_from_text, each.draws_from_reference) for each in queue.routes] == [
            ("replicate", True, False),
            ("replicate-reference", False, True),
        ]
        assert queue.pauses == (
            QueuePause(
                route="replicate-reference",
                pause_time=queue.pauses[0].pause_time,
                paused_by=OPERATOR,
                note=None,
            ),
        )

        paused = await studio.create_generation(reference=face)
        free = await studio.create_generation()
        assert any("the route replicate-reference has been paused" in each for each in paused.warnings)
        assert not any("paused" in each for each in free.warnings)
        async with service.working(provider):
            # The paused one is the first of the user's queue.
            (await provider.next_drawing()).succeed()
            assert (await studio.wait_for_end(free.id)).state == COMPLETED
            assert (await client.generations.get(paused.id)).state == PENDING
            assert not provider.has_begun()
            await operator.operations.resume_queue("replicate-reference")
            (await provider.next_drawing()).succeed()
            assert (await studio.wait_for_end(paused.id)).state == COMPLETED


async def test_a_waiting_retry_starts_now_with_the_same_id(office: Office) -> None:
    operations = office.operator.operations
    provider = ScriptedProvider()
    async with office.service.working(provider):
        generation = await office.create_generation()
        (await provider.next_drawing()).fail(ProviderError("PROVIDER_UNAVAILABLE", "not now", retryable=True))
        delayed = await office.wait_for(generation.id, lambda state: state.stage == "waiting_to_retry")
        await operations.pause_queue()
        watch = office.client.generations.watch(generation.id, known_revision=delayed.revision)

        started = await operations.retry_now(generation.id)
        again = await operations.retry_now(started)

        seen = await anext(watch)
        assert (started.id, started.state, started.stage) == (generation.id, PENDING, "queued")
        assert started.revision == again.revision == seen.revision == delayed.revision + 1
        assert started.queue_position == 0
        await operations.resume_queue()
        drawing = await provider.next_drawing()
        running = await operations.retry_now(generation.id)  # as after a lost answer
        assert (running.state, running.attempt_number) == (PROCESSING, 2)
        drawing.succeed()
        ended = await office.wait_for_end(generation.id)
        with pytest.raises(FailedPreconditionError) as refused:
            await operations.retry_now(generation.id)

    assert (ended.state, ended.attempt_number, ended.retry_count) == (COMPLETED, 2, 1)
    assert refused.value.reason == "GENERATION_NOT_WAITING"


async def test_generations_are_cancelled_and_retried_in_bulk(office: Office) -> None:
    operations = office.operator.operations
    provider = ScriptedProvider()
    async with office.service.working(provider):
        nsfw = await office.fail(provider, "PROVIDER_NSFW")
        failed = [await office.fail(provider) for _ in range(3)]
        await operations.pause_queue()
        listed = [
            each.id
            async for each in office.operator.generations.list(
                user_id="-", error_reasons=["PROVIDER_REJECTED"], order="oldest_first"
            )
        ]
        assert listed == [each.id for each in failed]

        planned = await operations.bulk_retry(
            user_id="-", error_reasons="PROVIDER_REJECTED", max_count=2, dry_run=True
        )
        assert planned.generation_ids == tuple(listed[:2])
        assert (planned.generation_count, planned.retry_ids, planned.has_more) == (2, (), True)
        assert await _count(office, PENDING) == 0

        retried = await operations.bulk_retry(user_id="-", error_reasons="PROVIDER_REJECTED", max_count=2)
        rest = await operations.bulk_retry(user_id=office.user, error_reasons=["PROVIDER_REJECTED"])
        none = await operations.bulk_retry(user_id=office.user, error_reasons=["PROVIDER_REJECTED"])
        assert (retried.generation_ids, retried.has_more) == (tuple(listed[:2]), True)
        assert (rest.generation_ids, rest.has_more) == (tuple(listed[2:]), False)
        assert none.generation_count == 0
        retries = [*retried.retry_ids, *rest.retry_ids]
        assert [(await office.client.generations.get(each)).retry_of for each in retries] == listed

        bulk = await office.create_generation(priority="bulk")
        cancelled = await operations.bulk_cancel(user_id=office.user, priorities=["bulk"])
        assert cancelled.generation_ids == (bulk.id,)
        young = await operations.bulk_cancel(
            user_id="-", create_time_to=datetime.now(UTC) - timedelta(hours=1)
        )
        assert young.generation_count == 0
        everything = await operations.bulk_cancel(user_id="-", project=office.project_id)
        assert everything.generation_ids == tuple(retries)
        assert await _count(office, CANCELLED) == 4
        assert (await office.client.generations.get(nsfw.id)).state == FAILED

        await operations.set_limits(office.user, concurrent=1)
        over = await operations.bulk_retry(user_id=office.user, states=["cancelled"])
        assert (over.generation_count, over.failure_count) == (1, 3)
        assert {failure.error.reason for failure in over.failures} == {"GENERATION_LIMIT"}

    with pytest.raises(InvalidArgumentError) as refused:
        await operations.bulk_cancel(user_id="*", states=["failed"])
    assert {each.field for each in refused.value.field_violations} == {"user_id", "states[0]"}


async def test_a_bulk_retry_leaves_out_what_its_user_retries_in_the_meantime(
    distributed: Deployment, user: str
) -> None:
    lock = "SELECT id FROM avatar_generations WHERE id = %s FOR UPDATE"
    async with InProcessService.serving(distributed) as service, service.client(user) as client:
        project = await client.projects.create("Retried")
        own = [(await client.generations.create(project, "a portrait")).id for _ in range(3)]
        await client.operations.bulk_cancel()
        with closing(psycopg2.connect(distributed.settings["DATABASE_URL"])) as connection:
            connection.cursor().execute(lock, (own[0],))
            bulk = asyncio.create_task(client.operations.bulk_retry(states="cancelled"))
            await Studio(service, client, project.id).eventually(
                lambda: is_waited_for(distributed, "avatar_generations")
            )
            retry = await client.generations.retry(own[1])
        retried = await bulk
        pending = [each async for each in client.generations.list(states="pending", order="oldest_first")]

    assert retried.generation_ids == (own[0], own[2])
    assert (retried.generation_count, retried.failure_count) == (2, 0)
    assert {each.retry_of: each.id for each in pending} == {
        own[1]: retry.id,
        **dict(zip(retried.generation_ids, retried.retry_ids, strict=True)),
    }
    assert len(pending) == 3


async def test_a_bulk_cancel_leaves_out_what_no_longer_matches_when_its_turn_comes(
    distributed: Deployment, user: str
) -> None:
    lock = "SELECT id FROM avatar_generations WHERE id = %s FOR UPDATE"
    provider = ScriptedProvider()
    # With a second slot the worker could claim the first generation before the bulk cancel gets its lock.
    provider.max_concurrency = 1
    async with InProcessService.serving(distributed) as service, service.client(user) as client:
        project = await client.projects.create("Cancelled")
        own = [(await client.generations.create(project, "a portrait")).id for _ in range(3)]
        with closing(psycopg2.connect(distributed.settings["DATABASE_URL"])) as connection:
            connection.cursor().execute(lock, (own[0],))
            bulk = asyncio.create_task(client.operations.bulk_cancel(states="pending"))
            await Studio(service, client, project.id).eventually(
                lambda: is_waited_for(distributed, "avatar_generations")
            )
            await client.generations.cancel(own[2])
            async with service.working(provider):
                drawing = await provider.next_drawing()
                connection.rollback()
                cancelled = await bulk
                assert (await client.generations.get(own[1])).state == PROCESSING
                drawing.succeed()

    assert cancelled.generation_ids == (own[0],)
    assert cancelled.generation_count == 1


async def test_users_change_their_own_generations_in_bulk_without_the_role(office: Office) -> None:
    async with office.service.client("sarah") as sarah:
        hers = await sarah.generations.create(await sarah.projects.create("Others"), "a portrait")
    own = [(await office.create_generation()).id for _ in range(2)]
    with capture_logs() as logs:
        first = await office.client.operations.bulk_cancel(max_count=1)
        second = await office.client.operations.bulk_cancel(user_id=office.user)
        retried = await office.client.operations.bulk_retry(states="cancelled", project=office.project_id)
        for other in ("sarah", "-"):
            for change in (office.client.operations.bulk_cancel, office.client.operations.bulk_retry):
                with pytest.raises(PermissionDeniedError) as refused:
                    await change(user_id=other)
                assert refused.value.reason == "ROLE_REQUIRED"
        assert _events(logs, "operation_requested") == []
        nothing = await office.operator.operations.bulk_cancel()
        of_project = await office.operator.operations.bulk_cancel(project=office.project_id)

    assert (first.generation_ids, first.has_more) == ((own[0],), True)
    assert second.generation_ids == (own[1],)
    assert retried.generation_ids == tuple(own)
    assert (nothing.generation_count, of_project.generation_ids) == (0, retried.retry_ids)
    assert [each["request"] for each in _events(logs, "operation_requested")] == [
        {"filter": {"project_id": office.project_id}}
    ]
    assert (await office.operator.generations.get(hers.id)).state == PENDING


async def test_users_are_ranked_by_queue_failures_and_spending(office: Office) -> None:
    operations = office.operator.operations
    provider = ScriptedProvider()
    async with office.service.client("sarah") as sarah:
        project = await sarah.projects.create("Others")
        async with office.service.working(provider):
            await office.fail(provider)
        for _ in range(2):
            await office.create_generation()
        for _ in range(3):
            await sarah.generations.create(project, "a portrait")
        today = datetime.now(UTC).date()
        for user, price in ((office.user, 5_000), ("sarah", 2_000)):
            office.service.deployment.execute(
                "INSERT INTO daily_spend (user_id, day, app_id, price_micros, attempt_count)"
                " VALUES (%s, %s, '', %s, 1)",
                user,
                today.isoformat(),
                price,
            )

        by_queue = [each async for each in operations.list_users(page_size=1)]
        by_failures = [each async for each in operations.list_users(order="failures")]
        by_spending = [each async for each in operations.list_users(order="spending", page_size=1)]
        later = operations.list_users(order="failures", since=datetime.now(UTC) + timedelta(minutes=1))

        assert [(each.user_id, each.due_count, each.pending_count) for each in by_queue] == [
            ("sarah", 3, 3),
            (office.user, 2, 2),
        ]
        assert [(each.user_id, each.failed_count) for each in by_failures] == [(office.user, 1)]
        assert [(each.user_id, each.price_micros) for each in by_spending] == [
            (office.user, 5_000),
            ("sarah", 2_000),
        ]
        assert by_spending[0].failed_count == 1
        assert [each async for each in later] == []
        [failure] = (await operations.get_queue()).recent_failures
        assert (failure.reason, failure.generation_count) == ("PROVIDER_REJECTED", 1)


async def test_limits_of_a_user_replace_those_of_the_settings(office: Office) -> None:
    operations = office.operator.operations
    defaults = await operations.get_limits(office.user)
    assert (defaults.effective.concurrent, defaults.own.concurrent, defaults.updated_by) == (50, None, None)
    assert defaults.effective.spend_per_day_usd == 20

    lowered = await operations.set_limits(office.user, concurrent=1)
    await office.create_generation()
    with pytest.raises(
        ResourceExhaustedError,
        match="that wait or run at the same time is 1, and this call would make it 2; try again in",
    ):
        await office.create_generation()
    raised = await operations.set_limits(office.user, per_day=2, concurrent=0)
    await office.create_generation()
    with pytest.raises(
        ResourceExhaustedError,
        match="started within 24 hours is 2, and this call would make it 3; try again in 24 h",
    ):
        await office.create_generation()
    used = await operations.get_limits(office.user)
    cleared = await operations.clear_limits(office.user)
    await office.create_generation()

    assert (lowered.own.concurrent, lowered.effective.per_day, lowered.updated_by) == (1, 1000, OPERATOR)
    assert (raised.own.concurrent, raised.own.per_day, raised.own.per_minute) == (0, 2, None)
    assert (used.used.concurrent, used.used.per_day, used.used.spend_per_day_micros) == (2, 2, 0)
    assert (cleared.own, cleared.effective) == (defaults.own, defaults.effective)
    with pytest.raises(InvalidArgumentError, match="at least one limit"):
        await operations.set_limits(office.user)


async def test_only_operators_may_operate_the_service(office: Office) -> None:
    with pytest.raises(PermissionDeniedError) as refused:
        await office.client.operations.pause_queue()

    assert refused.value.reason == "ROLE_REQUIRED"
    assert (await office.operator.operations.get_queue()).pauses == ()


def _events(logs: list[MutableMapping[str, Any]], event: str) -> list[MutableMapping[str, Any]]:
    return [entry for entry in logs if entry["event"] == event]


async def _count(office: Office, state: GenerationState) -> int:
    return len([each async for each in office.client.generations.list(states=state)])
