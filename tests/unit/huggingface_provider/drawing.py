"""Helpers that draw through the provider and record its reports and outputs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.images.decoding.decoders import Decoders
from avatar_creator_server.people.person import Attributes
from avatar_creator_server.settings import DEFAULT_MODEL, NO_LORA, Settings
from avatar_creator_server.settings.host_lists import HostList
from avatar_creator_tasks.providers.base import (
    Portrait,
    PortraitRequest,
    ProviderError,
)
from avatar_creator_tasks.providers.huggingface import Access, HuggingFaceProvider, Limits
from tests.support.decoders import DECODERS
from tests.support.huggingface_router import Fault, RouterFake
from tests.support.provider_recorder import LIMITS, Outputs, RecordedReports

KEY = "hf_QmVfKxTgLpZrWnYcDsAbEuHjMiOvXtRe"


def route_of(name: str = "fal-ai", **lora: Any) -> Route:
    """Return a route to FLUX.1-dev, or to Kontext if its name is `fal-ai-reference`.

    Args:
        name: Name of the route.
        lora: Settings of a LoRA; without any, the route has none.
    """
    is_reference = name == "fal-ai-reference"
    settings = Settings(
        provider="huggingface",
        huggingface_route="fal-ai" if is_reference else name,  # type: ignore[arg-type]
        model="black-forest-labs/FLUX.1-Kontext-dev" if is_reference else DEFAULT_MODEL,
        **({"lora_repository": NO_LORA} | lora),
    )
    route = routes_of(settings).route(has_reference=is_reference)
    assert route is not None
    return route


ROUTE = route_of()
LORA: dict[str, Any] = {"lora_repository": "XLabs-AI/flux-RealismLora", "lora_scale": 0.8}
REQUEST = PortraitRequest(
    route=ROUTE,
    prompt="a confident business woman",
    attributes=Attributes(),
    seed=4_294_967_295,
    width=128,
    height=160,
    steps=20,
    guidance_scale=2.75,
)


@asynccontextmanager
async def provider_of(
    fake: RouterFake | str, *, limits: Limits = LIMITS, decoders: Decoders = DECODERS, **access: Any
) -> AsyncIterator[HuggingFaceProvider]:
    """Create a provider that uses the fake or another address, and close it afterward.

    Lists of hosts are texts, as in the settings.
    """
    url = fake if isinstance(fake, str) else fake.url
    settings: dict[str, Any] = {"base_url": url, "endpoint_url": url, "deadline": timedelta(seconds=60)}
    hosts = {
        name: HostList.parse(access[name], networks=networks)
        for name, networks in (("result_hosts", False), ("result_private_hosts", True))
        if name in access
    }
    provider = HuggingFaceProvider(Access(KEY, **(settings | access | hosts)), decoders, limits=limits)
    try:
        yield provider
    finally:
        await provider.close()


async def draw(
    fake: RouterFake,
    outputs: Outputs,
    request: PortraitRequest = REQUEST,
    recorded: RecordedReports | None = None,
    **settings: Any,
) -> Portrait:
    """Draw a portrait without an error."""
    async with provider_of(fake, **settings) as provider:
        return outputs.portrait(await provider.generate(request, (recorded or RecordedReports()).reports))


async def draw_and_fail(
    fake: RouterFake | str,
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


def by_route(name: str, **changes: Any) -> PortraitRequest:
    """Return the usual request for another route."""
    return replace(REQUEST, route=route_of(name), **changes)


def header_of(headers: list[list[str]], name: str) -> list[str]:
    """Return all values of a header."""
    return [value for key, value in headers if key.lower() == name]


def only_submission(fake: RouterFake) -> dict[str, Any]:
    """Return the only submission that the fake received."""
    (submission,) = fake.submissions()
    return submission


def status(code: int, stage: str = "submit", **more: Any) -> Fault:
    """Create a fault that answers with a status."""
    return Fault(stage=stage, status=code, **more)  # type: ignore[arg-type]


def broken(how: str, stage: str = "submit", **more: Any) -> Fault:
    """Create a fault that breaks an answer in this way."""
    return Fault(stage=stage, how=how, **more)  # type: ignore[arg-type]
