"""The records of uses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from avatar_creator_server.database import models


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
        return cls(**{field.name: getattr(row, field.name) for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class AppUsage:
    """The uses of one avatar by one app, summed."""

    app_id: str
    app_name: str
    usage_count: int
    first_used_time: datetime
    last_used_time: datetime
    actions: tuple[tuple[str, int], ...]
    """Each action and how often it was recorded, most first."""
