"""Records: dataclasses with the values of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@cache
def field_names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    """Return the names of a dataclass's fields, in order."""
    return tuple(field.name for field in fields(kind))


@cache
def maker(kind: type[T]) -> Callable[..., T]:
    """Return the function that makes a record of the values of its fields, as the dataclass itself does.

    It takes a fifth of the time of the dataclass itself: the `__init__` of a frozen dataclass looks up
    `object.__setattr__` and calls it for each field. So this fills a plain object with the same slots, and
    then makes it a record.

    Args:
        kind: A frozen dataclass with slots.

    Returns:
        The dataclass itself if its `__init__` does more than to set each field to its argument.
    """
    if hasattr(kind, "__post_init__") or not all(map(_is_plain, fields(kind))):
        return kind
    names = field_names(kind)
    # A record can change its class only to one with the same bases and slots.
    attributes = {"__slots__": vars(kind)["__slots__"], "__setattr__": object.__setattr__}
    blank = type(kind.__name__, kind.__bases__, attributes)
    # With underscores, because a field may have any other name.
    defaults = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    known: dict[str, Any] = {"_new": object.__new__, "_blank": blank, "_kind": kind, "_defaults": defaults}
    parameters = [f"{name}=_defaults[{name!r}]" if name in defaults else name for name in names]
    lines = [
        f"def make({', '.join(parameters)}):",
        "_record = _new(_blank)",
        *(f"_record.{name} = {name}" for name in names),
        "_record.__class__ = _kind",
        "return _record",
    ]
    exec("\n    ".join(lines), known)
    make: Callable[..., T] = known["make"]
    return make


def _is_plain(field: Field[Any]) -> bool:
    """Return whether a field is an argument that can be given without its name, and has no made default."""
    return field.init and not field.kw_only and field.default_factory is MISSING


def field_values(record: DataclassInstance) -> dict[str, Any]:
    """Return the values of a dataclass's fields by name, for a JSON column or a message.

    Unlike `dataclasses.asdict`, which takes ten times as long, it does not copy the values.
    """
    return {name: getattr(record, name) for name in field_names(type(record))}


def with_values(record: T, **values: Any) -> T:
    """Return a copy of a record with other values of some fields, in half the time of `dataclasses.replace`.

    Args:
        record: A record as `maker` makes it.
        values: The new values by field.
    """
    copy: T = maker(type(record))(**(field_values(record) | values))
    return copy


def read_row(kind: type[T], row: Any, **given: Any) -> T:
    """Make a record of a row: each field has the value of the row's attribute of the same name.

    Args:
        kind: The dataclass of the record.
        row: A Peewee model instance, or another row with named attributes.
        given: Values of the fields that the row does not have, or has in another form.
    """
    values = {name: getattr(row, name) for name in field_names(kind) if name not in given}
    record: T = maker(kind)(**values, **given)
    return record
