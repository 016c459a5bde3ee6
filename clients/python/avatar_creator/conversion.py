"""Conversion between the values of this package and the messages of the contract, field by field.

The descriptor of a message says how a field is encoded. The type of the dataclass field says whether its
absence is `None`. A field of the contract therefore needs one line in `values.py`, and its docs. A test
compares them with the comment of the contract.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from importlib import import_module
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, get_args, get_type_hints

from avatar_creator.enums import Word

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

    MessageType = TypeVar("MessageType", bound=Message)
else:
    # Importing protobuf here would load it for programs that only import the package.
    MessageType = TypeVar("MessageType")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REPR_CHARACTERS = 80
_TEXT_CHARACTERS = 40
_Reader = Callable[[Any], Any]


class Value(Generic[MessageType]):
    """An immutable value of the service, made from a message of the contract.

    Two values are equal if they have the same class and the same fields. A value with an `id` has the hash of
    that id. Values can be pickled and copied, and hold no connection.
    """

    __slots__ = ("_source",)

    _shown: ClassVar[tuple[str, ...]] = ()
    """Fields that `repr` shows; empty means all."""
    _contract_names: ClassVar[Mapping[str, str]] = {}
    """Names in the contract of the fields that have another name here."""
    _source: bytes
    """Serialized message that the value came from, without the lists of values in it, which have their own: a
    page of thumbnails is large. A value that the app has made has none."""

    @classmethod
    def from_message(cls, message: MessageType) -> Self:
        """Return the value of a message, for example one from the stubs in `avatar_creator.v1`."""
        kind: Any = cls  # mypy takes the `__hash__` of the values for that of their class
        value = cls(**{name: read(message) for name, read in _readers(kind)})
        if lists := _lists_of_values(kind):
            given, message = message, type(message)()
            message.CopyFrom(given)
            for name in lists:
                message.ClearField(name)
        object.__setattr__(value, "_source", message.SerializeToString())
        return value

    @property
    def message(self) -> MessageType:
        """A copy of the message that this value came from, with the fields that only a newer service knows.

        A value that the app has made, also with `dataclasses.replace`, has the message of its fields.
        """
        message: MessageType = _message_of(self)
        return message

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as values that JSON can represent.

        Enums become their words, times RFC 3339 texts, bytes base64, and absent values None.
        """
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    def to_json(self, *, indent: int | None = None) -> str:
        """Return `to_dict()` as a JSON text.

        Args:
            indent: Number of blanks by which each level is indented; None writes one line.
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _parts(self) == _parts(other)

    def __hash__(self) -> int:
        id: str | None = getattr(self, "id", None)
        if id is not None:
            return hash((type(self), id))
        return hash((type(self), *(part for part in _parts(self) if not isinstance(part, Mapping))))

    def __repr__(self) -> str:
        return self._described(_REPR_CHARACTERS)

    def _described(self, room: int) -> str:
        """Return the class with the first facts for which there is room, in characters."""
        names = self._shown or tuple(field.name for field in fields(self))  # type: ignore[arg-type]
        facts = [(name, part) for name in names if (part := getattr(self, name)) not in (None, "", ())]
        shown = f"{type(self).__name__}("
        for number, (name, part) in enumerate(facts, 1):
            end = ")" if number == len(facts) else ", …)"
            begin = f"{shown}{name}="
            fact = _shortened(part, room - len(begin) - len(end))
            if len(begin) + len(fact) + len(end) > room:
                return f"{shown}…)"
            shown = f"{begin}{fact}{', ' if number < len(facts) else ''}"
        return f"{shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), _message_of(self).SerializeToString())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def usd(micros: int) -> Decimal:
    """Return an amount in millionths of a US dollar as US dollars, exactly."""
    return Decimal(micros) / 1_000_000


def _restored(cls: Any, source: bytes) -> Value[Any]:
    value: Value[Any] = cls.from_message(_message_class(cls).FromString(source))
    return value


def _message_of(value: Any) -> Any:
    kind: Any = type(value)
    contract = _message_class(kind)
    source: bytes | None = getattr(value, "_source", None)
    if source is None:
        message = contract()
        _write(value, message)
        return message
    message = contract.FromString(source)
    for name in _lists_of_values(kind):
        getattr(message, name).extend(map(_message_of, getattr(value, name)))
    return message


def _parts(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, field.name) for field in fields(value))


def _shortened(part: object, room: int) -> str:
    """Return the text of a part in `repr`, without the characters that control a terminal.

    Texts and values are cut to the room, in characters.
    """
    match part:
        case bytes():
            return f"<{len(part):,} bytes>"
        case Word():
            return repr(part.value)
        case str():
            return _quoted(part, min(room, _TEXT_CHARACTERS))
        case Value():
            return part._described(room)
        case tuple() if len(part) > 1 and isinstance(part[0], Value):
            return f"<{len(part):,} of {type(part[0]).__name__}>"
        case datetime():
            return f"<{part:%Y-%m-%d %H:%M:%S}Z>"
        case date():
            return f"<{part}>"
        case Mapping():
            return repr(dict(part))
    return repr(part)


def _quoted(text: str, room: int) -> str:
    quoted, kept = repr(text), text[: max(room, 0)]
    while len(quoted) > room and kept:
        kept = kept[:-1]
        quoted = repr(f"{kept}…")
    return quoted


def _plain(part: Any) -> Any:
    match part:
        case Word():
            return part.value
        case datetime():
            return part.isoformat().replace("+00:00", "Z")
        case date():
            return part.isoformat()
        case bytes():
            return base64.b64encode(part).decode()
        case tuple() | list():
            return [_plain(each) for each in part]
        case Mapping():
            return {name: _plain(each) for name, each in part.items()}
        case Value():
            return part.to_dict()
    return part


@cache
def _message_class(cls: Any) -> Any:
    """Return the message class of a value class: the argument of `Value` in its bases."""
    (base,) = cls.__orig_bases__
    module, name = get_args(base)[0].__forward_arg__.split(".")
    return getattr(import_module(f"avatar_creator.v1.{module}"), name)


@cache
def _value_classes() -> dict[str, Any]:
    """Return the value class of each message, by the full name of the message."""
    # Not `Value.__subclasses__()`: `dataclass(slots=True)` makes a second class, and the first one stays
    # there until it is collected.
    found: list[Any] = [
        each for each in vars(import_module("avatar_creator.values")).values() if isinstance(each, type)
    ]
    return {
        _message_class(cls).DESCRIPTOR.full_name: cls
        for cls in found
        if issubclass(cls, Value) and cls is not Value
    }


@cache
def _enum_classes() -> dict[str, type[Word]]:
    return {cls.__name__: cls for cls in Word.__subclasses__()}


@cache
def _readers(cls: Any) -> tuple[tuple[str, _Reader], ...]:
    """Return the function that reads each field of a value from its message."""
    descriptor = _message_class(cls).DESCRIPTOR.fields_by_name
    hints = get_type_hints(cls)
    return tuple(
        (
            field.name,
            _reader(descriptor[_contract_name(cls, field.name)], type(None) in get_args(hints[field.name])),
        )
        for field in fields(cls)
    )


@cache
def _lists_of_values(cls: Any) -> tuple[str, ...]:
    """Return the names of the fields whose items are values."""
    contract = _message_class(cls).DESCRIPTOR.fields_by_name
    return tuple(
        name
        for each in fields(cls)
        if _is_repeated(field := contract[name := _contract_name(cls, each.name)])
        and field.message_type is not None
        and field.message_type.full_name in _value_classes()
    )


def _contract_name(cls: type[Value[Any]], name: str) -> str:
    return cls._contract_names.get(name, name)


def _reader(field: FieldDescriptor, optional: bool) -> _Reader:
    get = attrgetter(field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return lambda message: MappingProxyType(dict(get(message)))
    convert = _from_message(field)
    if _is_repeated(field):
        return (lambda message: tuple(map(convert, get(message)))) if convert else lambda m: tuple(get(m))
    name = field.name
    if not optional:
        if convert is None:
            return get
        name_of_type = field.message_type.full_name if field.message_type else ""
        if name_of_type and name_of_type not in _KNOWN_TYPES:
            # Most generations have no persona and no attributes, and all of these share one value.
            empty = cache(lambda: convert(_message_class(_value_classes()[name_of_type])()))
            return lambda message: convert(get(message)) if message.HasField(name) else empty()
        return lambda message: convert(get(message))
    if field.has_presence:
        if convert is None:
            return lambda message: get(message) if message.HasField(name) else None
        return lambda message: convert(get(message)) if message.HasField(name) else None
    if convert is None:
        return lambda message: get(message) or None
    return lambda message: convert(number) if (number := get(message)) else None


def _from_message(field: FieldDescriptor) -> _Reader | None:
    """Return the function that converts one item of a field; None if the item stays as it is."""
    if field.enum_type is not None:
        return _enum_classes()[field.enum_type.name].of_number
    if field.message_type is not None:
        name = field.message_type.full_name
        if (known := _KNOWN_TYPES.get(name)) is not None:
            return known
        convert: _Reader = _value_classes()[name].from_message
        return convert
    return None


def _is_repeated(field: FieldDescriptor) -> bool:
    # `label` is deprecated in protobuf 7, and `is_repeated` does not exist before 6.33.
    repeated = getattr(field, "is_repeated", None)
    return bool(field.label == 3 if repeated is None else repeated)  # type: ignore[attr-defined]


def _utc(message: Any) -> datetime:
    # The same as `ToDatetime(UTC)`, in a third of the time.
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)


def _day(message: Any) -> date:
    if not message.year:
        return date.min  # not sent
    return date(message.year, message.month, message.day)


def _from_struct(struct: Any) -> Mapping[str, Any]:
    # Only the outer mapping is read-only: the JSON module takes no other kinds of mappings and lists inside.
    return MappingProxyType({name: _from_json_value(value) for name, value in struct.fields.items()})


def _from_json_value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    match kind:
        case "struct_value":
            return {name: _from_json_value(each) for name, each in value.struct_value.fields.items()}
        case "list_value":
            return [_from_json_value(each) for each in value.list_value.values]
        case None | "null_value":
            return None
        case "number_value" if value.number_value.is_integer():
            return int(value.number_value)  # JSON has one kind of number, so 12 comes as 12.0
    return getattr(value, kind)


_KNOWN_TYPES: dict[str, _Reader] = {
    "google.protobuf.Timestamp": _utc,
    "google.protobuf.Struct": _from_struct,
    "google.type.Date": _day,
}


def _write(value: Value[Any], message: Any) -> None:
    """Set the fields of a message to those of the value."""
    for field in fields(value):  # type: ignore[arg-type]
        part = getattr(value, field.name)
        if part is None or part == ():
            continue
        name = _contract_name(type(value), field.name)
        target = getattr(message, name)
        match part:
            case Word():
                setattr(message, name, part.number)
            case datetime():
                target.FromDatetime(part)
            case date():
                target.year, target.month, target.day = part.year, part.month, part.day
            case Value():
                written = _message_of(part)
                # A value without any fact is as good as none: `Persona()` is no persona.
                if written.ByteSize() or type(None) in get_args(get_type_hints(type(value))[field.name]):
                    target.CopyFrom(written)
            case Mapping():
                target.update({name: _plain(each) for name, each in part.items()})
            case tuple() | list():
                target.extend(_written(part))
            case _:
                setattr(message, name, part)


def _written(parts: Iterable[Any]) -> list[Any]:
    return [
        part.number if isinstance(part, Word) else _message_of(part) if isinstance(part, Value) else part
        for part in parts
    ]
