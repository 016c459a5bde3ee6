"""Bulk changes: users, or operators for all users, cancel or retry the generations that match a filter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from avatar_creator_server.database.connection import Database
from avatar_creator_server.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from avatar_creator_server.generations.lists import GenerationFilter, list_generations
from avatar_creator_server.generations.records import Generation
from avatar_creator_server.generations.service import Generations
from avatar_creator_server.shared.caller import Caller

_OF_ONE_GENERATION = (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
"""Errors that concern one generation or its user, so that the call goes on with the others."""


@dataclass(frozen=True, slots=True)
class BulkFailure:
    """A generation that could not be changed."""

    generation_id: str
    reason: str
    """Name of an `ErrorReason`."""
    message: str


@dataclass(frozen=True, slots=True)
class BulkResult:
    """The result of a bulk change."""

    ids: Sequence[str]
    """Ids of the generations that were changed, or would be, oldest first."""
    result_ids: Sequence[str]
    """Ids of what the changes resulted in, in the same order; empty for a dry run."""
    failures: Sequence[BulkFailure]
    has_more: bool
    """True if more generations match than the maximum."""


class BulkChanges:
    """Cancels and retries many generations, one after the other."""

    def __init__(self, database: Database, generations: Generations) -> None:
        self._database = database
        self._generations = generations

    async def cancel(
        self, caller: Caller, filters: GenerationFilter, *, most: int, dry_run: bool
    ) -> BulkResult:
        """Cancel the oldest generations that match.

        Args:
            caller: The user whose generations to cancel, or an operator who sees those of all users.
            filters: The selection, with states of which all can be cancelled.
            most: Maximum number of generations.
            dry_run: True changes nothing.
        """

        async def cancel(generation_id: str) -> Generation | None:
            return await self._generations.cancel_matching(caller, generation_id, filters)

        return await self._change(caller, filters, cancel, most, dry_run)

    async def retry(
        self, caller: Caller, filters: GenerationFilter, *, most: int, dry_run: bool
    ) -> BulkResult:
        """Retry the oldest generations that match and have not been retried. Arguments as for `cancel`."""

        async def retry(generation_id: str) -> Generation | None:
            return await self._generations.retry_once(caller, generation_id)

        return await self._change(caller, replace(filters, not_retried=True), retry, most, dry_run)

    async def _change(
        self,
        caller: Caller,
        filters: GenerationFilter,
        change: Callable[[str], Awaitable[Generation | None]],
        most: int,
        dry_run: bool,
    ) -> BulkResult:
        oldest = replace(filters, oldest_first=True)
        found = await self._database.read(list_generations, caller, oldest, most + 1, None)
        selected = [generation.id for generation in found[:most]]
        has_more = len(found) > most
        if dry_run:
            return BulkResult(selected, (), (), has_more)
        changed, results, failures = list[str](), list[str](), list[BulkFailure]()
        for generation_id in selected:
            try:
                result = await change(generation_id)
            except _OF_ONE_GENERATION as error:
                failures.append(BulkFailure(generation_id, error.reason, error.message))
                continue
            # None: a worker or another call has changed the generation since the selection.
            if result is not None:
                changed.append(generation_id)
                results.append(result.id)
        return BulkResult(changed, results, failures, has_more)
