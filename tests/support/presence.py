"""Parts of the client's values that a test knows to be there."""

from __future__ import annotations

from typing import TypeVar

Part = TypeVar("Part")


def present(part: Part | None) -> Part:
    """Return a part that must not be None, for example the avatar's id of a completed generation."""
    assert part is not None
    return part
