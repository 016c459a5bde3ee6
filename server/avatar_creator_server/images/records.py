"""The records of a stored picture: its file, and the verdict about it."""

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


@dataclass(frozen=True, slots=True)
class PictureModeration:
    """The verdict of the operator's picture moderation about a generated picture."""

    flagged: bool
    """True if the classifier's score reached the operator's threshold."""
    score: float
    """Probability that the picture is not safe for work, 0 to 1, by the classifier."""
    blurred: bool
    """True if the stored picture is blurred for this reason."""
