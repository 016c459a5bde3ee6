"""The record of a project."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from avatar_creator_server.database.records import read_row


@dataclass(frozen=True, slots=True)
class Project:
    """A folder of avatars that belongs to one user."""

    id: str
    user_id: str
    name: str
    description: str
    avatar_count: int
    cover_avatar_id: str
    """Id of the newest avatar in the project; empty while the project has no avatar."""
    create_time: datetime
    update_time: datetime
    revision: int

    @classmethod
    def from_row(cls, row: Any) -> Project:
        """Read the row of a project that was selected together with its `cover_avatar_id`."""
        return read_row(cls, row, cover_avatar_id=row.cover_avatar_id or "")
