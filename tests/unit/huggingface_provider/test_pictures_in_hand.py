"""Pictures that have arrived and that the worker cannot use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from avatar_creator_server.images.decoding.decoders import Decoders
from avatar_creator_tasks.providers.base import ProviderError
from tests.support.huggingface_router import RouterFake
from tests.support.provider_recorder import Outputs, RecordedReports
from tests.unit.huggingface_provider.drawing import by_route, draw_and_fail, provider_of


@pytest.fixture
async def small() -> AsyncIterator[Decoders]:
    """Return decoders with too little memory for the pictures of these tests."""
    decoders = Decoders(at_once=1, memory_mib=32, cpu_seconds=10)
    yield decoders
    await decoders.close()


@pytest.mark.parametrize("route", ["fal-ai", "endpoint"])
async def test_a_picture_beyond_the_limits_of_the_service_is_not_requested_again(
    fake: RouterFake, outputs: Outputs, small: Decoders, route: str
) -> None:
    request = by_route(route, width=1440, height=1440)
    error = await draw_and_fail(fake, outputs, request, decoders=small)

    assert (error.reason, error.retryable, error.charged) == ("PROVIDER_BAD_ANSWER", False, True)
    assert "takes more memory or time" in error.message


async def test_a_worker_that_stops_with_the_only_copy_reports_the_loss(fake: RouterFake) -> None:
    decoders = _Busy(at_once=1, memory_mib=64, cpu_seconds=10)
    async with provider_of(fake, decoders=decoders) as provider:
        drawing = asyncio.create_task(provider.generate(by_route("endpoint"), RecordedReports().reports))
        await decoders.reached.wait()
        drawing.cancel()
        with pytest.raises(ProviderError) as caught:
            await drawing

    error = caught.value
    assert (error.reason, error.retryable, error.charged) == ("WORKER_LOST", False, True)


class _Busy(Decoders):
    """Decoders that never have time."""

    def __init__(self, *, at_once: int, memory_mib: int, cpu_seconds: int) -> None:
        super().__init__(at_once=at_once, memory_mib=memory_mib, cpu_seconds=cpu_seconds)
        self.reached = asyncio.Event()

    async def accept(self, *_: object) -> None:  # type: ignore[override]
        self.reached.set()
        await asyncio.Event().wait()
