"""Fixtures of the suite: the provider with its fake, and the check that its key appears in no output."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import pytest

from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Provider, ProviderError
from avatar_creator_tasks.providers.hosted.limits import Limits
from tests.conformance.under_test import Cause, ProviderUnderTest
from tests.support.hosted_fake import Behavior, RunningFake
from tests.support.provider_recorder import (
    HURRIED,
    LIMITS,
    Outputs,
    RecordedReports,
    no_output_contains,
)

DEADLINE = timedelta(seconds=60)


@dataclass(frozen=True)
class Trial:
    """A provider and its fake in one test."""

    under_test: ProviderUnderTest
    fake: RunningFake | None
    outputs: Outputs

    @property
    def request(self) -> PortraitRequest:
        """The usual request."""
        return self.under_test.request

    def cause(self, cause: Cause) -> None:
        """Let the fake cause this with the next request."""
        assert self.fake is not None
        self.fake.behave(self.under_test.causes[cause])

    def submissions(self) -> int:
        """Return the number of requests that the fake has received."""
        assert self.fake is not None
        return self.fake.count

    def counters(self) -> dict[str, int]:
        """Return the counters of the fake."""
        assert self.fake is not None
        return self.fake.counters()

    @asynccontextmanager
    async def provider(
        self, limits: Limits = LIMITS, deadline: timedelta = DEADLINE, url: str = ""
    ) -> AsyncIterator[Provider]:
        """Create the provider as a worker does, for its fake or another address, and close it afterward."""
        provider = self.under_test.open(url or (self.fake.url if self.fake else ""), limits, deadline)
        try:
            yield provider
        finally:
            await provider.close()

    async def draw(
        self,
        request: PortraitRequest | None = None,
        recorded: RecordedReports | None = None,
        limits: Limits = LIMITS,
    ) -> Portrait:
        """Draw a portrait without an error."""
        reports = (recorded or RecordedReports()).reports
        async with self.provider(limits) as provider:
            return self.outputs.portrait(await provider.generate(request or self.request, reports))

    async def draw_and_fail(
        self,
        request: PortraitRequest | None = None,
        recorded: RecordedReports | None = None,
        *,
        hurried: bool = False,
        deadline: timedelta = DEADLINE,
    ) -> ProviderError:
        """Try to draw a portrait and return the error."""
        reports = (recorded or RecordedReports()).reports
        async with self.provider(HURRIED if hurried else LIMITS, deadline) as provider:
            with pytest.raises(ProviderError) as caught:
                await provider.generate(request or self.request, reports)
        error = caught.value
        self.outputs.error(error)
        assert len(error.message) < 400
        assert error.message.isprintable()
        return error


@pytest.fixture
def trial(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[Trial]:
    """A provider, which `with_each` names, and a fake whose requests complete at once."""
    under_test: ProviderUnderTest = request.param
    fake = request.getfixturevalue(under_test.fake) if under_test.fake else None
    if fake is not None:
        fake.behave(always=Behavior(run_seconds=0))
    outputs = Outputs()
    key = under_test.key[3:]
    with no_output_contains(key, outputs, capfd) if key else nullcontext():
        yield Trial(under_test, fake, outputs)
