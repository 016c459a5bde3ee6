"""Repetition of queries about a request that exists, until its end or a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from avatar_creator_tasks.providers.hosted.http_client import Deadline, NoAnswerError
from avatar_creator_tasks.providers.hosted.limits import Limits
from avatar_creator_tasks.providers.hosted.outcomes import RequestError, Signal, Stage, failure

log = structlog.get_logger()

_PAUSE_GROWTH = 1.5
"""Factor by which each pause between two queries is longer than the one before."""

T = TypeVar("T")


class DeadlinePassedError(Exception):
    """The deadline passed while a request with a known id was running."""


async def _pause(seconds: float, deadline: Deadline) -> None:
    """Wait, at most until the deadline.

    Raises:
        DeadlinePassedError: The deadline has passed.
    """
    left = deadline.seconds_left()
    await asyncio.sleep(min(seconds, left))
    if seconds >= left:
        raise DeadlinePassedError


def unanswered(stage: Stage, error: NoAnswerError) -> RequestError | DeadlinePassedError:
    """Return the error for a query without an answer."""
    if error.signal is Signal.DEADLINE and stage is not Stage.SUBMIT:
        return DeadlinePassedError()
    return failure(stage, (error.signal,))


async def repeat(query: Callable[[], Awaitable[T]], deadline: Deadline, limits: Limits) -> T:
    """Run a query, and repeat it while the table allows an immediate repetition.

    Raises:
        RequestError: The query failed for good, or too often.
        DeadlinePassedError: The deadline passed between two tries.
    """
    seconds = limits.first_pause_seconds
    tries = 1
    while True:
        try:
            return await query()
        except RequestError as error:
            retry_after = error.retry_after.total_seconds()
            if not error.repeatable or tries >= limits.tries or retry_after > limits.max_pause_seconds:
                raise
            log.info("provider_query_repeated", reason=error.reason, message=error.message)
        await _pause(max(seconds, retry_after), deadline)
        seconds = min(seconds * _PAUSE_GROWTH, limits.max_pause_seconds)
        tries += 1


async def wait_until(
    has_ended: Callable[[T], bool],
    query: Callable[[], Awaitable[T]],
    report: Callable[[T], Awaitable[None]],
    deadline: Deadline,
    limits: Limits,
) -> T:
    """Query the state of a request until it has ended, with growing pauses, and return the last state.

    Args:
        has_ended: Returns whether a state is the last one.
        query: Reads the state. It is repeated as `repeat` says.
        report: Receives each state before the last one.
        deadline: Latest end of the call.
        limits: The pauses, and the number of repetitions.

    Raises:
        RequestError: The state stays unknown.
        DeadlinePassedError: The deadline passed before the end.
    """
    seconds = limits.first_pause_seconds
    while True:
        state = await repeat(query, deadline, limits)
        if has_ended(state):
            return state
        await report(state)
        await _pause(seconds, deadline)
        seconds = min(seconds * _PAUSE_GROWTH, limits.max_pause_seconds)
