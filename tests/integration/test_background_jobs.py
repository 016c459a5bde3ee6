"""Background jobs: urgent kinds first, turns between users, and no wait for other work of the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import BackgroundJob
from avatar_creator_server.database.models.states import JobKind
from avatar_creator_server.shared.background_jobs import BackgroundJobQueue, enqueue_jobs
from tests.support.locked_table import is_waited_for, locked_table
from tests.support.service import Deployment
from tests.support.sqlite_template import create_database
from tests.support.waiting import wait_until


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        create_database(tmp_path / "jobs.db")
        return f"sqlite:///{tmp_path / 'jobs.db'}"
    return str(request.getfixturevalue("database_url"))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()


async def enqueue(database: Database, kind: JobKind, user_id: str, *subject_ids: str) -> None:
    await database.write(lambda: enqueue_jobs(kind, user_id, subject_ids, database.now()))


async def claimed(queue: BackgroundJobQueue, number: int, *, with_bulk: bool = True) -> list[str]:
    jobs = [await queue.claim(with_bulk=with_bulk) for _ in range(number)]
    return [job.subject_id for job in jobs if job is not None]


async def test_urgent_kinds_come_before_the_removals_that_are_due_longer(url: str) -> None:
    async with opened(url) as database:
        queue = BackgroundJobQueue(database)
        await enqueue(database, JobKind.REMOVE_FILES, "a", "a")
        await enqueue(database, JobKind.REMOVE_PROJECT, "a", "project")
        await enqueue(database, JobKind.CANCEL_REQUEST, "a", "request")
        await enqueue(database, JobKind.THUMBNAIL, "a", "avatar")
        assert await claimed(queue, 4) == ["avatar", "request", "a", "project"]


async def test_users_take_turns_however_many_jobs_one_of_them_has(url: str) -> None:
    async with opened(url) as database:
        queue = BackgroundJobQueue(database)
        await enqueue(database, JobKind.THUMBNAIL, "a", *(f"a{number}" for number in range(1000)))
        assert await claimed(queue, 3) == ["a0", "a1", "a2"]
        await enqueue(database, JobKind.THUMBNAIL, "b", "b0", "b1")
        await enqueue(database, JobKind.THUMBNAIL, "c", "c0")
        next_jobs = await claimed(queue, 6)
        assert sorted(next_jobs[:3]) == ["a3", "b0", "c0"]
        assert sorted(next_jobs[3:5]) == ["a4", "b1"]
        assert next_jobs[5] == "a5"


async def test_a_job_that_goes_on_lets_the_others_of_its_priority_go_first(url: str) -> None:
    async with opened(url) as database:
        queue = BackgroundJobQueue(database)
        await enqueue(database, JobKind.REMOVE_PROJECT, "a", "a0", "a1")
        await enqueue(database, JobKind.REMOVE_PROJECT, "b", "b0")
        job = await queue.claim(with_bulk=True)
        assert job is not None
        assert job.subject_id == "a0"
        await queue.again(job)
        assert await claimed(queue, 3) == ["b0", "a1", "a0"]


async def test_a_slot_for_urgent_jobs_leaves_bulk_jobs_alone(url: str) -> None:
    async with opened(url) as database:
        queue = BackgroundJobQueue(database)
        await enqueue(database, JobKind.REMOVE_FILES, "a", "a")
        assert await claimed(queue, 1, with_bulk=False) == []
        await enqueue(database, JobKind.THUMBNAIL, "b", "avatar")
        assert await claimed(queue, 1, with_bulk=False) == ["avatar"]


async def test_a_cancellation_that_fails_for_an_hour_is_given_up(url: str) -> None:
    async with opened(url) as database:
        queue = BackgroundJobQueue(database)
        await enqueue(database, JobKind.CANCEL_REQUEST, "a", "request")
        job = await queue.claim(with_bulk=True)
        assert job is not None
        assert await queue.failed(job)
        await database.write(
            lambda: BackgroundJob.update(create_time=database.now() - timedelta(minutes=61)).execute()
        )
        assert not await queue.failed(job)
        assert await database.read(lambda: BackgroundJob.select().count()) == 0


def test_a_job_without_a_wake_up_runs_while_leftovers_are_cleared_away(distributed: Deployment) -> None:
    # The worker waits for this table when it deletes old keys.
    with locked_table(distributed, "idempotency_keys"):
        distributed.start_worker()
        wait_until(lambda: is_waited_for(distributed, "idempotency_keys"))

        distributed.execute(
            "INSERT INTO quick_work (id, kind, subject_id, try_count, due_time, create_time)"
            " VALUES ('1', 'remove_files', 'sarah', 0, now(), now())"
        )
        wait_until(lambda: not distributed.rows("quick_work"), 5.0)

        assert is_waited_for(distributed, "idempotency_keys")
