"""The results of cancellations, with the same meaning for every provider."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

import structlog

from avatar_creator_tasks.providers.hosted.outcomes import RequestError, Signal, Stage, failure

log = structlog.get_logger()


class CancelResult(StrEnum):
    """The provider's answer to a cancellation."""

    NOT_STARTED = "the request is cancelled, and the model has not worked on it"
    STOPPED = "the request is cancelled, and the model may have worked on it"
    GONE = "the provider does not have the request any longer"
    REQUESTED = "the provider has asked the model to stop, which it may not do"
    COMPLETED = "the request had already ended, perhaps with a picture"

    @property
    def has_ended(self) -> bool:
        """True if the request certainly does not run any longer, and has no picture."""
        return self in (CancelResult.NOT_STARTED, CancelResult.STOPPED, CancelResult.GONE)

    @property
    def costs_nothing(self) -> bool:
        """True if the provider certainly does not charge for the request."""
        return self is CancelResult.NOT_STARTED


async def error_after_deadline(
    cancel: Callable[[], Awaitable[CancelResult]], error_after_stop: Callable[[], Awaitable[RequestError]]
) -> RequestError:
    """Cancel a request whose deadline has passed and return the error of the attempt.

    The next attempt resumes the request, unless the request has certainly ended.

    Args:
        cancel: Cancels the request.
        error_after_stop: Waits a little for the end of a request that was asked to stop, and returns the
            error of the attempt.
    """
    try:
        result = await cancel()
    except RequestError as error:
        log.warning("provider_cancellation_failed", reason=error.reason, message=error.message)
        return failure(Stage.POLL, (Signal.DEADLINE_ALIVE,))
    if result is CancelResult.REQUESTED:
        return await error_after_stop()
    return failure(
        Stage.POLL,
        (Signal.DEADLINE if result.has_ended else Signal.DEADLINE_ALIVE,),
        nothing_billed=result.costs_nothing,
    )
