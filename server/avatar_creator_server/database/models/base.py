"""Base class, id field and time field of all models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import uuid_utils
from peewee import DatabaseProxy, Field, Model, TextField

database_proxy = DatabaseProxy()
"""The database of the process, which `Database` binds once at start-up."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> str:
    """Return a new UUIDv7: later ids sort after earlier ones."""
    return str(uuid_utils.uuid7())


CLOCK_DIFFERENCE = timedelta(days=1)
"""More than the difference between the time in an id and the creation time of the row. The clock of a server
gives the first, before the transaction; the clock of the database gives the second."""


def least_id(instant: datetime, change: timedelta) -> str:
    """Return the least id that `new_id` can make at an instant, moved by `change`, or later."""
    milliseconds = (instant - _EPOCH + change) // timedelta(milliseconds=1)
    # An id has 48 bits for the milliseconds since 1970: RFC 9562, section 5.7.
    digits = f"{min(max(milliseconds, 0), 2**48 - 1):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"


class UtcDateTimeField(Field):
    """An instant: TIMESTAMPTZ on PostgreSQL, ISO 8601 text of fixed width in UTC on SQLite.

    The text sorts and compares like the instants, which SQLite's own formats do not guarantee.
    """

    field_type = "UTCDATETIME"

    def db_value(self, value: datetime | None) -> Any:
        """Encode for SQLite. PostgreSQL's driver accepts an aware datetime."""
        if value is None or database_proxy.for_update:
            return value
        # Not with strftime, which writes the year 300 with three digits.
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def python_value(self, value: Any) -> datetime | None:
        """Decode to an aware datetime in UTC."""
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        assert isinstance(value, str)
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


class IdField(TextField):
    """A primary key made by `new_id`."""

    def __init__(self) -> None:
        super().__init__(primary_key=True, default=new_id)


class BaseModel(Model):
    """A table of this service."""

    class Meta:
        database = database_proxy
        legacy_table_names = False
