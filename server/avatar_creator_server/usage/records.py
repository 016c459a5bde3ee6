"""The records of recorded uses and their sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from avatar_creator_server.database import models
from avatar_creator_server.database.records import read_row


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One use of an avatar by an app."""

    id: str
    avatar_id: str
    user_id: str
    app_id: str
    app_name: str
    action: str
    reference_id: str
    reference_type: str
    metadata: dict[str, Any]
    create_time: datetime

    @classmethod
    def from_row(cls, row: models.AvatarUsage) -> UsageRecord:
        """Read the row of a use."""
        return read_row(cls, row)


@dataclass(frozen=True, slots=True)
class AppUsage:
    """Sums of the uses of one avatar by one app."""

    app_id: str
    app_name: str
    usage_count: int
    first_used_time: datetime
    last_used_time: datetime
    actions: tuple[tuple[str, int], ...]
    """The most frequent actions, each with its number of uses, most used first."""
    action_count: int
    """Number of different actions."""

    @classmethod
    def from_row(
        cls, row: models.AvatarAppUsage, actions: Iterable[tuple[str, int]], action_count: int
    ) -> AppUsage:
        """Read the row of an app's sums, with the sums by action from their own table."""
        return read_row(cls, row, actions=tuple(actions), action_count=action_count)


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Totals of the uses of one avatar by all apps."""

    app_count: int
    usage_count: int
