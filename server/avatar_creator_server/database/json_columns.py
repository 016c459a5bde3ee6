"""Dataclasses in JSON columns."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def from_json(kind: type[T], stored: dict[str, Any]) -> T:
    """Read a dataclass from a JSON column.

    Unknown keys are left out: during an upgrade, older processes read rows that newer ones wrote.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in stored.items() if name in known})
