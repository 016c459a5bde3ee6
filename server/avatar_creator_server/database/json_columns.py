"""Dataclasses in JSON columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from avatar_creator_server.database.records import field_names

T = TypeVar("T")


def from_json(kind: type[T], stored: Mapping[str, Any]) -> T:
    """Make a dataclass of the value of a JSON column.

    Unknown keys are left out: during an upgrade, older processes read rows that newer processes wrote.
    """
    known = field_names(kind)
    return kind(**{name: value for name, value in stored.items() if name in known})
