"""The records of a user's statistics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DailySpend:
    """Price of an app's generations on one day."""

    day: str
    """Date in UTC, `2026-01-31`."""
    app_id: str
    """Empty for tokens that name no app."""
    price_micros: int
    """Price in millionths of a US dollar."""
    attempt_count: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Numbers about all avatars and generations of a user."""

    avatar_count: int
    recent_upload_count: int
    """Number of avatars uploaded in the last 7 days."""
    usage_count: int
    generations: dict[str, int]
    """Number of generations by state."""
