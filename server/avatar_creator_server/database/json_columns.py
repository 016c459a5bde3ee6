"""Dataclasses in JSON columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from avatar_creator_server.database.records import field_names, maker

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def from_json(kind: type[T], stored: Mapping[str, Any]) -> T:
    """Make a dataclass of the value of a JSON column.

    Unknown keys are left out: during an upgrade, older processes read rows that newer processes wrote.
    """
    known = field_names(kind)
    record: T = maker(kind)(**{name: value for name, value in stored.items() if name in known})
    return record
