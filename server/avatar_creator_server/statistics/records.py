"""The records of a user's figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DailySpend:
    """What the generations of an app cost on one day."""

    day: str
    """Date in UTC, `2026-01-31`."""
    app_id: str
    """Empty for tokens that name no app."""
    price_micros: int
    """Millionths of a US dollar."""
    attempt_count: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures about all of a user's avatars and generations."""

    avatar_count: int
    recent_upload_count: int
    """Of these, uploaded in the last 7 days."""
    usage_count: int
    generations: dict[str, int]
    """How many are in each state."""
    spending: tuple[DailySpend, ...]
    """By day and app, newest day first."""
