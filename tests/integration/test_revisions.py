"""Revisions of projects and avatars: what raises them, and updates that are based on one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from avatar_creator import AbortedError, AlreadyExistsError, AsyncAvatarCreator
from tests import pictures
from tests.support.in_process import InProcessService
from tests.support.scripted_provider import ScriptedProvider

NAMES = ("First", "Second", "Third")


@pytest.fixture(params=["embedded", "distributed"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[InProcessService]:
    """A service without a worker: once on SQLite, and once on PostgreSQL."""
    async with InProcessService.serving(request.getfixturevalue(request.param)) as serving:
        yield serving


@pytest.fixture
async def client(service: InProcessService, user: str) -> AsyncIterator[AsyncAvatarCreator]:
    """A client of a user of this test alone."""
    async with service.client(user) as opened:
        yield opened


@pytest.fixture(params=["project", "avatar"])
async def resource(request: pytest.FixtureRequest, client: AsyncAvatarCreator) -> Resource:
    """A new project or avatar."""
    project = await client.projects.create("New")
    if request.param == "project":
        return Resource(project.id, client.projects)
    avatar = await client.avatars.upload(project.id, pictures.png(), name="New", defer_thumbnail=True)
    return Resource(avatar.id, client.avatars)


class Resource:
    """A project or an avatar."""

    def __init__(self, resource_id: str, namespace: Any) -> None:
        self._id = resource_id
        self.get: Callable[[], Awaitable[Any]] = lambda: namespace.get(resource_id)
        self._update = namespace.update

    async def rename(self, name: str, **arguments: Any) -> Any:
        """Change the name, and return the resource."""
        return await self._update(self._id, name=name, **arguments)


async def test_every_update_raises_the_revision_and_the_time(resource: Resource) -> None:
    seen = [await resource.get(), *[await resource.rename(name) for name in NAMES]]

    assert [each.revision for each in seen] == [1, 2, 3, 4]
    times = [each.update_time.ToNanoseconds() for each in seen]
    assert times == sorted(set(times))
    assert await resource.get() == seen[-1]


async def test_an_update_based_on_an_earlier_revision_changes_nothing(resource: Resource) -> None:
    first = await resource.get()
    second = await resource.rename("Second", expected_revision=first.revision)

    with pytest.raises(AbortedError, match="has changed: its revision is 2, not 1") as refused:
        await resource.rename("Lost update", expected_revision=first.revision)

    assert refused.value.reason == "REVISION_MISMATCH"
    assert refused.value.metadata == {"current_revision": "2"}
    assert await resource.get() == second


async def test_one_of_many_concurrent_updates_of_a_revision_wins(resource: Resource) -> None:
    names = [f"Writer {number}" for number in range(8)]

    answers = await asyncio.gather(
        *(resource.rename(name, expected_revision=1) for name in names), return_exceptions=True
    )

    (winner,) = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert {type(answer) for answer in answers} == {type(winner), AbortedError}
    assert await resource.get() == winner


async def test_a_repeated_update_returns_the_result_and_keeps_later_changes(resource: Resource) -> None:
    request_id = str(uuid.uuid4())
    changed = await resource.rename("Second", expected_revision=1, request_id=request_id)

    assert await resource.rename("Second", expected_revision=1, request_id=request_id) == changed
    later = await resource.rename("Third")
    assert await resource.rename("Second", expected_revision=1, request_id=request_id) == later
    with pytest.raises(AlreadyExistsError):
        await resource.rename("Other", request_id=request_id)
    assert await resource.get() == later


async def test_a_refused_update_does_not_reserve_its_request_id(resource: Resource) -> None:
    request_id = str(uuid.uuid4())
    with pytest.raises(AbortedError):
        await resource.rename("Second", expected_revision=7, request_id=request_id)

    changed = await resource.rename("Second", expected_revision=1, request_id=request_id)

    assert changed.name == "Second"


async def test_uses_thumbnails_and_counters_do_not_raise_a_revision(
    service: InProcessService, client: AsyncAvatarCreator
) -> None:
    project = await client.projects.create("New")
    async with service.working(ScriptedProvider()):
        uploaded = await client.avatars.upload(project.id, pictures.png(), name="New")
        await client.usage.record(uploaded.id, app_id="pose-generator", action="pose")

    avatar, counted = await client.avatars.get(uploaded.id), await client.projects.get(project.id)

    assert (avatar.thumbnail_pending, avatar.usage_count, counted.avatar_count) == (False, 1, 1)
    assert (avatar.revision, counted.revision) == (1, 1)
    assert avatar.update_time == avatar.create_time
    assert counted.update_time == project.create_time
