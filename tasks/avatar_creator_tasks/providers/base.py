"""What a provider is: something that makes a portrait of a prompt and attributes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from PIL import Image

from avatar_creator_server.generations.routes import Route
from avatar_creator_server.people.person import Attributes


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture that the new one is to be made from."""

    image: Image.Image
    """Upright RGB, of any size: the provider fits it to the size asked for."""
    strength: float
    """0 to 1: how far the new picture may go from it; 0 keeps it, 1 ignores it."""


@dataclass(frozen=True, slots=True)
class PortraitRequest:
    """What is to be drawn."""

    route: Route
    prompt: str
    """The prompt as the model is to get it: what `Route.prompt_for` made."""
    attributes: Attributes
    seed: int
    """0 to 2^32-1."""
    width: int
    """Pixels, in multiples of 16."""
    height: int
    """Pixels, in multiples of 16."""
    negative_prompt: str = ""
    """What is to be kept out, where the route has such a thing; empty for nothing."""
    steps: int = 28
    guidance_scale: float = 3.5
    reference: Reference | None = None
    resume_request_id: str = ""
    """The provider's id of a request made by an earlier attempt: ask for its result instead of making
    another. Empty if there is none."""
    expected_seconds: float | None = None
    """How long this route took of late (the median), for estimates of progress; None if nobody knows."""


@dataclass(frozen=True, slots=True)
class Reports:
    """What a provider tells while it draws. Each may raise, which must reach the caller of `generate`."""

    submitted: Callable[[str], Awaitable[None]]
    """The request has this id at the provider; to be told as soon as it is known."""
    progress: Callable[[float], Awaitable[None]]
    """This part of the drawing is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A picture that was made, and what the provider says about its making."""

    image: Image.Image
    """RGB, fully decoded."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """The provider's own facts for the recipe, such as the seed it reports or the device it ran on. No
    secrets, no addresses with credentials in them."""
    warnings: tuple[str, ...] = ()
    """What turned out while drawing, in sentences for a person: words of the prompt that were cut, say."""


class ProviderError(Exception):
    """The provider did not make the picture."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        retryable: bool,
        retry_after: timedelta = timedelta(0),
        charged: bool = False,
        submit_unknown: bool = False,
        request_alive: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """Name of an `ErrorReason`."""
        self.message = message
        """For people; has no secrets in it."""
        self.retryable = retryable
        """Whether another attempt may mend it."""
        self.retry_after = retry_after
        """Least wait before that attempt."""
        self.charged = charged
        """Whether the provider may have charged for the request nevertheless."""
        self.submit_unknown = submit_unknown
        """Whether the answer to the submission was lost: there may be a request whose id nobody knows."""
        self.request_alive = request_alive
        """Whether the request still stands at the provider, so that the next attempt is to ask for it again
        and not to submit another."""


def request_of_others(request_id: str) -> ProviderError:
    """A request that the provider did not make and cannot drop."""
    return ProviderError("PROVIDER_REJECTED", f"{request_id} is no request of this provider", retryable=True)


class Provider(Protocol):
    """Makes portraits."""

    @property
    def estimates_progress(self) -> bool:
        """Whether its progress is a guess from elapsed time."""

    @property
    def most_at_once(self) -> int:
        """How many portraits it draws side by side; more would wait in a worker while another has room."""

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
        """Make the portrait. Cancelling the call stops the work on this side.

        Raises:
            ProviderError: it could not be made; says whether another try may help.
        """

    async def cancel(self, request_id: str) -> None:
        """Let the provider drop a request that nobody waits for; one that has ended or is unknown is none.

        Raises:
            ProviderError: the provider could not be told; asking again later may help.
        """

    async def close(self) -> None:
        """Give back what it holds: connections, the model."""
