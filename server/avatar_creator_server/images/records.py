"""The record of a stored file."""

from __future__ import annotations

from dataclasses import dataclass

from avatar_creator_server.database import models
from avatar_creator_server.database.records import read_row


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A picture file in the storage."""

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
        return read_row(cls, row)
