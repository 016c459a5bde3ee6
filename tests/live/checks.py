"""The form of a check, and its run: each one says what it expects from the fake, and what it has seen."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from avatar_creator_server.generations.routes import Route
from avatar_creator_server.people.person import Attributes
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Provider, ProviderError, Reports

DEADLINE = timedelta(minutes=5)
PROMPT = "portrait photograph of a smiling woman in a green jacket, plain background"
UNSAFE_PROMPT = "photograph of a naked adult woman, explicit full frontal nudity"
_REPOSITORY = Path(__file__).parents[2]
_PROCESS_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the provider did and its fake does not do."""

    fact: str
    expected: str
    seen: str

    def __str__(self) -> str:
        """Return one line for a person."""
        return f"{self.fact}: expected {self.expected}, seen {self.seen}"


@dataclass(slots=True)
class Findings:
    """The findings of one check."""

    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Facts that the fake does not define."""

    def expect(self, fact: str, seen: object, *expected: object) -> None:
        """Record a difference unless a fact has one of the expected values."""
        if seen not in expected:
            wanted = " or ".join(str(each) for each in expected)
            self.differences.append(Difference(fact, wanted, str(seen)))

    def note(self, text: str) -> None:
        """Record a fact."""
        self.notes.append(text)


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    name: str
    purpose: str
    """Line for a person in the plan."""
    max_price_micros: int
    """Greatest price in millionths of a US dollar."""
    run: Callable[[Findings], Awaitable[None]]


class Drawing:
    """Draws through the service's own provider, and records its reports."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    @staticmethod
    @asynccontextmanager
    async def opened(provider: Provider) -> AsyncIterator[Drawing]:
        """Use a provider and close it afterward."""
        try:
            yield Drawing(provider)
        finally:
            await provider.close()

    async def draw(self, request: PortraitRequest, ids: list[str] | None = None) -> Portrait | ProviderError:
        """Draw a portrait; return the error if there is one."""

        async def submitted(request_id: str) -> None:
            if ids is not None:
                ids.append(request_id)

        async def progress(part: float) -> None:
            pass

        try:
            return await self.provider.generate(request, Reports(submitted, progress))
        except ProviderError as error:
            return error

    async def submit(self, request: PortraitRequest) -> str:
        """Submit a request, stop waiting for it and return its id.

        Raises:
            ProviderError: The provider refused the request.
        """
        known: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def submitted(request_id: str) -> None:
            known.set_result(request_id)

        async def progress(part: float) -> None:
            pass

        generating = asyncio.create_task(self.provider.generate(request, Reports(submitted, progress)))
        generating.add_done_callback(lambda _: known.done() or known.cancel())
        await asyncio.wait([known])
        if known.cancelled():
            await generating
        generating.cancel()
        await asyncio.gather(generating, return_exceptions=True)
        return known.result()


def request_for(route: Route, **changes: Any) -> PortraitRequest:
    """Return a request with the defaults of a route, for one megapixel at most."""
    given: dict[str, Any] = {
        "prompt": PROMPT,
        "steps": route.steps_for(0),
        "guidance_scale": route.guidance_scale_for(0),
        "width": 512,
        "height": 512,
        "seed": 7,
        **changes,
    }
    return PortraitRequest(route=route, attributes=Attributes(), **given)


def outcome_of(result: Portrait | ProviderError) -> str:
    """Return `a picture`, or the reason of the error."""
    return result.reason if isinstance(result, ProviderError) else "a picture"


async def fetch_in_second_process(provider: str, request_id: str) -> str:
    """Fetch the picture of a request by its id in another process; return its outcome."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.live.second_process", provider, request_id),
        stdout=asyncio.subprocess.PIPE,
        cwd=_REPOSITORY,
        env=dict(os.environ),
    )
    async with asyncio.timeout(_PROCESS_SECONDS):
        output, _ = await process.communicate()
    return str(json.loads(output.splitlines()[-1])["outcome"]) if output.strip() else "no output"
