"""Helpers that draw through the provider with the fake of Replicate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.people.person import Attributes
from avatar_creator_server.settings import Settings
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, ProviderError, Reference
from avatar_creator_tasks.providers.replicate import Access, Limits, ReplicateProvider
from tests import pictures
from tests.support.decoders import DECODERS
from tests.support.hosted_fake import Behavior, Fault
from tests.support.provider_recorder import LIMITS, Outputs, RecordedReports
from tests.support.replicate_api import ReplicateFake

KEY = "r8_WkPzTbNqYcLxRvHjGmDsFaEuXoIyQtBnKpSdM"
DEV = "black-forest-labs/FLUX.1-dev"


def route_of(model: str = DEV, *, has_reference: bool = False, lora: str = "none", **settings: Any) -> Route:
    """Return the route of a service with this model."""
    routes = routes_of(Settings(provider="replicate", model=model, lora_repository=lora, **settings))
    route = routes.route(has_reference=has_reference)
    assert route is not None
    return route


def request_of(route: Route, **changes: Any) -> PortraitRequest:
    """Return a request for a route, with a reference if the route needs one."""
    return replace(
        PortraitRequest(
            route=route,
            prompt="a confident business woman",
            attributes=Attributes(),
            seed=4_294_967_295,
            width=1024,
            height=1024,
            steps=route.steps_for(0),
            guidance_scale=route.guidance_scale_for(0),
            references=(Reference(pictures.scene(), 0.5),) if "reference" in route.supports else (),
        ),
        **changes,
    )


REQUEST = request_of(route_of(), width=512, height=512)


@asynccontextmanager
async def provider_of(
    fake: ReplicateFake | str, *, limits: Limits = LIMITS, deadline: timedelta = timedelta(seconds=60)
) -> AsyncIterator[ReplicateProvider]:
    """Create a provider that uses the fake or another address, and close it afterward."""
    url = fake if isinstance(fake, str) else fake.url
    provider = ReplicateProvider(Access(KEY, base_url=url, deadline=deadline), DECODERS, limits=limits)
    try:
        yield provider
    finally:
        await provider.close()


async def draw(
    fake: ReplicateFake, outputs: Outputs, request: PortraitRequest = REQUEST, **settings: Any
) -> Portrait:
    """Draw a portrait without an error."""
    async with provider_of(fake, **settings) as provider:
        return outputs.portrait(await provider.generate(request, RecordedReports().reports))


async def draw_and_fail(
    fake: ReplicateFake | str,
    outputs: Outputs,
    request: PortraitRequest = REQUEST,
    recorded: RecordedReports | None = None,
    **settings: Any,
) -> ProviderError:
    """Try to draw a portrait and return the error."""
    async with provider_of(fake, **settings) as provider:
        with pytest.raises(ProviderError) as caught:
            await provider.generate(request, (recorded or RecordedReports()).reports)
    outputs.error(caught.value)
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()
    return caught.value


def status(code: int, stage: str = "submit", **more: Any) -> Fault:
    """Create a fault that answers with a status."""
    return Fault(stage=stage, status=code, **more)  # type: ignore[arg-type]


def broken(how: str, stage: str = "submit", **more: Any) -> Fault:
    """Create a fault that breaks an answer in this way."""
    return Fault(stage=stage, how=how, **more)  # type: ignore[arg-type]


def ended(error_type: str | None = None, **prediction: Any) -> Behavior:
    """Create the behavior of a prediction that ends with an error, or with these fields."""
    fault = Fault(stage="result", error_type=error_type, body=prediction or None)
    return Behavior(run_seconds=0, faults=(fault,))
