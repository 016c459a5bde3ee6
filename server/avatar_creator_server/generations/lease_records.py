"""The values that a worker and the lease transitions exchange."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from avatar_creator_server.database.models.states import AttemptOutcome
from avatar_creator_server.generations.recipes.recipe import Recipe
from avatar_creator_server.generations.records import Generation, Reproduction, RouteChoice
from avatar_creator_server.images.records import PictureModeration, StoredFile


class LeaseLostError(Exception):
    """The worker no longer owns the generation; it must throw its result away."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to one attempt at a generation."""

    generation: Generation
    epoch: int
    resume_request_id: str
    """Provider's id of the request that an earlier attempt left unfinished; empty if none."""
    resume_route: str = ""
    """Route of that request."""
    lost_attempt: str = ""
    """Outcome of the lost worker's attempt that this lease takes over; empty if none."""
    lost_worker: str = ""
    """Name of the lost worker."""
    resume_choice: RouteChoice | None = None
    """The app and the LoRA of that request; see `attempts.choice_of_request`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why an attempt failed."""

    reason: str
    """Name of an `ErrorReason`."""
    message: str
    """Text for people, without secrets."""
    retryable: bool
    """True if a retry may succeed."""
    retry_after: timedelta = timedelta(0)
    """Minimum delay before the next attempt."""
    charged: bool = True
    """True if the provider may have charged for the request."""
    submit_unknown: bool = False
    """True if the provider's answer to the submission was lost."""
    resumable: bool = True
    """True if the request is still alive at the provider, so that the next attempt can fetch its result."""

    @property
    def outcome(self) -> AttemptOutcome:
        """The outcome of the attempt."""
        if self.submit_unknown:
            return AttemptOutcome.SUBMIT_UNKNOWN
        return AttemptOutcome.RETRYABLE if self.retryable else AttemptOutcome.FATAL


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of a successful attempt: staged files, and their recipe."""

    image: StoredFile
    thumbnail: StoredFile
    recipe: Recipe
    warnings: tuple[str, ...]
    """Warnings that came up while drawing, in sentences for a person."""
    reproduction: Reproduction | None
    """Comparison with the picture whose recipe was run again; None if there is none."""
    picture_moderation: PictureModeration | None
    """Verdict about the picture; None if no classifier has checked it."""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """The end of an attempt, and the state in which it leaves the generation."""

    generation: Generation
    outcome: str
    """An `AttemptOutcome`."""
    reason: str = ""
    """Name of an `ErrorReason`; empty if the attempt did not fail."""
