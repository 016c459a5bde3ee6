"""Revisions of projects and avatars: an update can name the one that it is based on."""

from __future__ import annotations

from avatar_creator_server.errors import AbortedError

FIRST_REVISION = 1
"""Revision of a new resource."""


def require_revision(resource_type: str, current: int, expected: int) -> None:
    """Refuse an update that is based on another revision.

    Args:
        resource_type: `project` or `avatar`.
        current: The revision of the resource, which the current transaction has locked.
        expected: The revision that the caller has read; 0 if the caller accepts any.

    Raises:
        AbortedError: The revisions differ.
    """
    if expected not in (0, current):
        raise AbortedError(
            "REVISION_MISMATCH",
            f"the {resource_type} has changed: its revision is {current:,}, not {expected:,}; read it again",
            metadata={"current_revision": str(current)},
        )
