"""Records: dataclasses with the values of a row."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


_FIELD_NAMES: dict[type[Any], tuple[str, ...]] = {}


def field_names(kind: type[Any]) -> tuple[str, ...]:
    """Return the names of a dataclass's fields, in order. Names are cached, because hot reads use them."""
    names = _FIELD_NAMES.get(kind)
    if names is None:
        names = _FIELD_NAMES[kind] = tuple(field.name for field in fields(kind))
    return names


def read_row(kind: type[T], row: Any, **given: Any) -> T:
    """Make a record of a row: each field has the value of the row's attribute of the same name.

    Args:
        kind: the dataclass of the record.
        row: a Peewee model instance, or another row with named attributes.
        given: values of the fields that the row does not have, or has in another form.
    """
    values = {name: getattr(row, name) for name in field_names(kind) if name not in given}
    return kind(**values, **given)
