"""The interface of a provider, which draws a portrait from a prompt and attributes."""

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
    """A picture from which the portrait is drawn."""

    image: Image.Image
    """Upright RGB picture of any size; the provider fits it to the requested size."""
    strength: float
    """Allowed difference of the portrait from the reference, 0 to 1: 0 keeps the reference, 1 ignores it."""


@dataclass(frozen=True, slots=True)
class PortraitRequest:
    """Everything a provider needs to draw one portrait."""

    route: Route
    prompt: str
    """The prompt exactly as the model receives it: the result of `provider_prompt_of`."""
    attributes: Attributes
    """Given attributes, with the age range of the persona's age."""
    seed: int
    """Random seed, 0 to 2^32-1."""
    width: int
    """Width in pixels, a multiple of 16."""
    height: int
    """Height in pixels, a multiple of 16."""
    caller_prompt: str = ""
    """The caller's own words, without attributes and persona: for `sketch`, which has no model."""
    negative_prompt: str = ""
    """Content that the picture must not show; empty if the route has no negative prompt."""
    steps: int | None = None
    """Number of denoising steps; None leaves the number to the model."""
    guidance_scale: float | None = None
    """Guidance scale; None leaves the guidance to the model."""
    references: tuple[Reference, ...] = ()
    """Pictures to draw from, at most `Route.max_references`; empty if the portrait is drawn from text or
    an earlier request is resumed."""
    resume_request_id: str = ""
    """The provider's id of a request that an earlier attempt made; empty if there is none. The provider then
    fetches the result of that request and submits no new one."""
    expected_seconds: float | None = None
    """Median duration of recent requests on this route, to estimate progress; None if unknown."""


@dataclass(frozen=True, slots=True)
class Reports:
    """Callbacks through which a provider reports. `generate` must raise what a callback raises."""

    submitted: Callable[[str], Awaitable[None]]
    """Receives the provider's id of the request, as soon as the provider knows the id."""
    progress: Callable[[float], Awaitable[None]]
    """Receives the part of the drawing that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A finished picture, with the provider's facts and warnings."""

    image: Image.Image
    """RGB picture, fully decoded."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """The provider's own facts for the recipe, such as the seed it reports or the device it used. Contains no
    secrets and no addresses with credentials."""
    warnings: tuple[str, ...] = ()
    """Problems found while drawing, as sentences for people; for example words that the prompt lost."""


class ProviderError(Exception):
    """The provider did not draw the picture."""

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
        """Text for people; contains no secrets."""
        self.retryable = retryable
        """True if another attempt may succeed."""
        self.retry_after = retry_after
        """Minimum delay before that attempt."""
        self.charged = charged
        """True if the provider may have charged for the request despite the error."""
        self.submit_unknown = submit_unknown
        """True if the answer to the submission was lost, so that a request with an unknown id may exist."""
        self.request_alive = request_alive
        """True if the request still exists at the provider; the next attempt must then resume the request
        instead of submitting another."""


def foreign_request_error(request_id: str) -> ProviderError:
    """Return the error for a request that another provider made and that this one cannot cancel."""
    return ProviderError(
        "PROVIDER_REJECTED", f"request {request_id} does not belong to this provider", retryable=True
    )


class Provider(Protocol):
    """A way to draw portraits."""

    @property
    def estimates_progress(self) -> bool:
        """True if the reported progress is an estimate from the elapsed time."""

    @property
    def max_concurrency(self) -> int:
        """Portraits that the provider draws at the same time.

        A worker claims at most this many: a surplus generation would wait here while another worker is free.
        """

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
        """Draw the portrait. Cancelling the call stops the work in this process.

        Raises:
            ProviderError: The picture could not be drawn; `retryable` says whether another attempt may help.
        """

    async def cancel(self, request_id: str) -> None:
        """Cancel a request at the provider. A request that has ended or is unknown is not an error.

        Raises:
            ProviderError: The cancellation did not reach the provider; a later call may succeed.
        """

    async def close(self) -> None:
        """Release all resources, such as connections and the model."""
