"""The record of a project."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Project:
    """A folder of avatars that belongs to one user."""

    id: str
    user_id: str
    name: str
    description: str
    avatar_count: int
    cover_avatar_id: str
    """The newest avatar in it; empty while it has none."""
    create_time: datetime
    update_time: datetime

    @classmethod
    def from_row(cls, row: Any) -> Project:
        """Read the row of a project that was selected together with its `cover_avatar_id`."""
        return cls(
            id=row.id,
            user_id=row.user_id,
            name=row.name,
            description=row.description,
            avatar_count=row.avatar_count,
            cover_avatar_id=row.cover_avatar_id or "",
            create_time=row.create_time,
            update_time=row.update_time,
        )
