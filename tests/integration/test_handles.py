"""Handles at the port of a real service: outcomes, variations, and watches that end or reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from avatar_creator import (
    AsyncAvatarCreator,
    AsyncGenerationHandle,
    DeadlineExceededError,
    GenerationCancelledError,
    GenerationFailedError,
    ReconnectEvent,
    ResourceExhaustedError,
    UnavailableError,
)
from avatar_creator_tasks.providers.base import ProviderError
from tests.support.generations import COMPLETED, PENDING, PROCESSING, SMALLEST
from tests.support.in_process import InProcessService
from tests.support.proxy import Proxy
from tests.support.scripted_provider import ScriptedProvider
from tests.support.service import Deployment
from tests.support.studio import Studio

REFUSED = ProviderError("PROVIDER_REJECTED", "not that prompt", retryable=False)


@pytest.fixture
async def studio(embedded: Deployment, user: str) -> AsyncIterator[Studio]:
    """A user of a service without a worker, who may have one watch at a time."""
    async with (
        InProcessService.serving(embedded, WATCHES_AT_ONCE_PER_USER="1") as service,
        service.client(user) as client,
    ):
        yield Studio(service, client, (await client.projects.create("Handles")).id)


@pytest.fixture
def proxy(embedded: Deployment) -> Iterator[Proxy]:
    """A proxy in front of the service."""
    proxy = Proxy(f"http://{embedded.target}")
    yield proxy
    proxy.close()


async def start(studio: Studio) -> AsyncGenerationHandle:
    return await studio.client.generations.create(
        studio.project_id, "a portrait", width=SMALLEST, height=SMALLEST
    )


async def test_waiting_gives_the_avatar_or_raises_the_outcome(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        handle = await start(studio)
        with pytest.raises(DeadlineExceededError):
            await handle.wait(timeout=0.2)
        assert (await handle.refresh()).state in (PENDING, PROCESSING)
        (await provider.next_drawing()).succeed()
        avatar = await handle.wait()
        assert (avatar.id, avatar.generation_prompt) == (handle.generation.avatar_id, "a portrait")
        assert handle.generation.state == COMPLETED

        failing = await start(studio)
        (await provider.next_drawing()).fail(REFUSED)
        with pytest.raises(GenerationFailedError, match="not that prompt"):
            await failing.wait()
        again = await failing.retry()
        assert again.generation.retry_of == failing.id
        waiting = asyncio.create_task(again.wait())
        await again.cancel()
        with pytest.raises(GenerationCancelledError):
            await waiting


async def test_variations_come_in_the_order_in_which_they_end(studio: Studio) -> None:
    provider = ScriptedProvider()
    async with studio.service.working(provider):
        group = await studio.client.generations.create_variations(
            studio.project_id, "a portrait", 3, width=SMALLEST, height=SMALLEST, seed=7
        )
        drawings = {}
        for _ in range(2):
            drawing = await provider.next_drawing()
            drawings[drawing.request.seed] = drawing
        order = []
        async with group.as_completed() as ended:
            drawings[8].succeed()
            order.append((await anext(ended)).generation.seed_used)
            (await provider.next_drawing()).fail(REFUSED)
            order.append((await anext(ended)).generation.seed_used)
            drawings[7].succeed()
            order.append((await anext(ended)).generation.seed_used)
            assert [handle.id async for handle in ended] == []
        with pytest.raises(GenerationFailedError):
            await group.wait_all()

    assert order == [8, 9, 7]
    listed = studio.client.generations.list(group_id=group.id)
    assert {generation.id async for generation in listed} == {handle.id for handle in group}


async def test_leaving_a_watch_frees_its_place_on_the_server(studio: Studio) -> None:
    handle = await start(studio)
    async with handle.watch() as states:
        await anext(states)
        with pytest.raises(ResourceExhaustedError) as refusal:
            await anext(handle.watch(reconnect_for=0.0))
        assert refusal.value.reason == "CALL_LIMIT"
    for _ in range(3):
        async with handle.watch(reconnect_for=10.0) as states:
            assert (await anext(states)).id == handle.id


async def test_a_screen_learns_that_its_watch_reconnects(
    studio: Studio, proxy: Proxy, embedded: Deployment, user: str
) -> None:
    events: list[ReconnectEvent] = []
    provider = ScriptedProvider()
    async with AsyncAvatarCreator(proxy.url, token=embedded.token(user), proxy=False) as client:
        handle = client.generations.handle((await start(studio)).id)
        async with handle.watch(on_reconnect=events.append) as states:
            assert (await anext(states)).state == PENDING
            assert events == []
            proxy.cut_connections()
            async with studio.service.working(provider):
                (await provider.next_drawing()).succeed()
                assert [state.state async for state in states][-1] == COMPLETED
    assert events[0].attempt == 1
    assert isinstance(events[0].error, UnavailableError | ResourceExhaustedError)
