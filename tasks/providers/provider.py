"""What a provider is: something that makes a portrait of a prompt and attributes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from server.domain.images import Picture
from server.domain.people import Attributes


@dataclass(frozen=True, slots=True)
class PortraitRequest:
    """What is to be drawn."""

    prompt: str
    """The prompt as the provider is to get it: what `Provider.prompt_for` made."""
    attributes: Attributes
    seed: int
    """0 to 2^32-1."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    resume_request_id: str
    """The provider's id of a request made by an earlier attempt: ask for its result instead of making
    another. Empty if there is none."""


@dataclass(frozen=True, slots=True)
class Reports:
    """What a provider tells while it draws. Each may raise, which must reach the caller of `generate`."""

    submitted: Callable[[str], Awaitable[None]]
    """The request has this id at the provider; to be told as soon as it is known."""
    progress: Callable[[float], Awaitable[None]]
    """This part of the drawing is done, 0 to 1."""


class ProviderError(Exception):
    """The provider did not make the picture."""

    def __init__(
        self, reason: str, message: str, *, retryable: bool, retry_after: timedelta = timedelta(0)
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """Name of an `ErrorReason`."""
        self.message = message
        """For people; has no secrets in it."""
        self.retryable = retryable
        self.retry_after = retry_after


class Provider(Protocol):
    """Makes portraits."""

    @property
    def name(self) -> str:
        """What the record of a generation calls it."""

    @property
    def charges(self) -> bool:
        """Whether a request may cost money."""

    @property
    def estimates_progress(self) -> bool:
        """Whether its progress is a guess from elapsed time."""

    def prompt_for(self, enhanced_prompt: str) -> str:
        """The prompt as it is sent to the provider."""

    async def generate(self, request: PortraitRequest, reports: Reports) -> Picture:
        """Make the portrait.

        Raises:
            ProviderError: it could not be made; says whether another try may help.
        """
