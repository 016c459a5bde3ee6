"""What all models share: the database they are bound to, and times that mean the same on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import uuid_utils
from peewee import DatabaseProxy, Field, Model, TextField

database_proxy = DatabaseProxy()
"""Bound once at start-up by `Database`; a process has one database."""


def new_id() -> str:
    """A fresh UUIDv7: ids made later sort later."""
    return str(uuid_utils.uuid7())


class UtcDateTimeField(Field):
    """An instant: TIMESTAMPTZ on PostgreSQL, fixed-width ISO 8601 text in UTC on SQLite.

    The text sorts and compares as the instants do, which SQLite's own notations do not promise.
    """

    field_type = "UTCDATETIME"

    def db_value(self, value: datetime | None) -> Any:
        """Encode for SQLite; PostgreSQL's driver takes an aware datetime as it is."""
        if value is None or database_proxy.for_update:
            return value
        # Not by strftime, which writes the year 300 with three digits.
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def python_value(self, value: Any) -> datetime | None:
        """Decode to an aware datetime in UTC."""
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        assert isinstance(value, datetime)
        return value.astimezone(UTC)


class IdField(TextField):
    """A primary key made by `new_id`."""

    def __init__(self) -> None:
        super().__init__(primary_key=True, default=new_id)


class BaseModel(Model):
    """A table of this service."""

    class Meta:
        database = database_proxy
        legacy_table_names = False
