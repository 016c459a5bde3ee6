"""The columns of reference avatars, which generations and avatars have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def reference_columns(avatar_ids: Sequence[str]) -> dict[str, Any]:
    """Return the values of the columns for these reference avatars."""
    return {
        "reference_avatar_id": avatar_ids[0] if avatar_ids else "",
        "further_reference_avatar_ids": list(avatar_ids[1:]),
    }


def reference_avatar_ids(row: Any) -> tuple[str, ...]:
    """Return the ids of the reference avatars of a row, in order."""
    if not row.reference_avatar_id:
        return ()
    return (row.reference_avatar_id, *row.further_reference_avatar_ids)
