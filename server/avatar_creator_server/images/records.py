"""The record of a stored picture."""

from __future__ import annotations

from dataclasses import dataclass

from avatar_creator_server.database import models


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A picture in the storage."""

    id: str
    key: str
    content_type: str
    size_bytes: int
    sha256: str
    width: int
    height: int

    @classmethod
    def from_row(cls, row: models.File) -> StoredFile:
        """Read the row of a file."""
        return cls(row.id, row.key, row.content_type, row.size_bytes, row.sha256, row.width, row.height)
