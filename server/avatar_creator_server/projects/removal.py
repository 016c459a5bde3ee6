"""Removal in batches: a deleted project hides its contents at once, and a background job removes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from avatar_creator_server.database.models import AvatarProject, new_id
from avatar_creator_server.database.models.states import JobKind
from avatar_creator_server.shared.background_jobs import enqueue_jobs


@dataclass(frozen=True, slots=True)
class SubtractedNumbers:
    """Numbers of rows that remain although the user's statistics no longer include them.

    The column `AvatarProject.subtracted` stores them.
    """

    usages: int = 0
    """Number of uses."""
    generations: Mapping[str, int] = field(default_factory=dict)
    """Number of generations, by state."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the column."""
        return cls(value["usages"], value["generations"])

    def to_json(self) -> dict[str, Any]:
        """Return the value for the column."""
        return {"usages": self.usages, "generations": dict(self.generations)}

    def without(self, removed: SubtractedNumbers) -> SubtractedNumbers:
        """Return the numbers after the removal of rows."""
        generations = Counter(self.generations)
        generations.subtract(removed.generations)
        return SubtractedNumbers(self.usages - removed.usages, generations)


def start_removal(user_id: str, usage_count: int, now: datetime) -> str:
    """Create a deleted project for rows to remove, in the current transaction, and return its id.

    The caller moves the rows there. No query finds them from then on.

    Args:
        user_id: Owner of the rows.
        usage_count: Number of uses among them, which the caller subtracts from the user's statistics.
        now: Current time.
    """
    project_id = new_id()
    AvatarProject.create(
        id=project_id,
        user_id=user_id,
        name="",
        description="",
        create_time=now,
        update_time=now,
        delete_time=now,
        subtracted=SubtractedNumbers(usages=usage_count).to_json(),
    )
    enqueue_jobs(JobKind.REMOVE_PROJECT, user_id, [project_id], now)
    return project_id
