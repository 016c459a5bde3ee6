"""Values of request fields, and the checks that the client makes before it sends them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator.conversion import Value
from avatar_creator.enums import Word
from avatar_creator.errors import FieldViolation, InvalidArgumentError
from avatar_creator.handles import BaseGenerationHandle
from avatar_creator.pictures import PictureSource, is_picture
from avatar_creator.v1.attributes_pb2 import Attributes as AttributesMessage
from avatar_creator.v1.persona_pb2 import Persona as PersonaMessage
from avatar_creator.values import Attributes, AttributesFields, Avatar, Generation, Persona, PersonaFields

_Fields = TypeVar("_Fields", Attributes, Persona)

_UUID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def given_or_new(request_id: str | None) -> str:
    """Return the request id of the caller, or a new one if it is missing."""
    return request_id or str(uuid.uuid4())


def at_least_one(name: str, count: int) -> int:
    """Return the count of this argument, or raise ValueError if it is below 1."""
    if count < 1:
        # The service reads 0 as 1, so a caller whose count reaches 0 would pay for one generation.
        raise ValueError(f"{name} must be 1 or more (got {count})")
    return count


def id_of(argument: str, kind: type[Value[Any]], given: object) -> str:
    """Return the id that an argument names: by itself, or by a value of this kind.

    Raises:
        InvalidArgumentError: It is neither.
    """
    if isinstance(given, str) and not isinstance(given, Word):
        return given
    if kind is Generation and isinstance(given, BaseGenerationHandle):
        return given.id
    if isinstance(given, kind):
        id: str = given.id  # type: ignore[attr-defined]
        return id
    name = kind.__name__
    raise refused(argument, f"must be an id or {_article(name)} {name} (got {_article_and_type(given)})")


def ids_of(argument: str, kind: type[Value[Any]], given: object) -> list[str]:
    """Return the ids that an argument names, each by itself or by a value of this kind.

    Raises:
        InvalidArgumentError: It is not a list of them.
    """
    # A text is iterable too, and each of its characters would be an id.
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise refused(argument, f"must be a list, as in [first, second] (got {_article_and_type(given)})")
    return [id_of(argument, kind, each) for each in given]


def references_of(given: Any) -> list[str | PictureSource]:
    """Return the ids and the pictures that the argument `reference` names: one, or a list of them.

    A text is an id if it is a UUID, and the path of a picture otherwise.

    Raises:
        InvalidArgumentError: It names something else.
    """
    if given is None or given == "":
        return []
    several = isinstance(given, Iterable) and not is_picture(given)
    return [_reference_of(each) for each in (given if several else [given])]


def _reference_of(given: Any) -> str | PictureSource:
    if isinstance(given, Avatar):
        return given.id
    if isinstance(given, str) and _UUID.fullmatch(given):
        return given
    if is_picture(given):
        return PictureSource(given)
    raise refused(
        "reference", f"must be an avatar, an id or a picture to upload (got {_article_and_type(given)})"
    )


def number_of(argument: str, kind: type[Word], given: object) -> Any:
    """Return the number of the member that an argument names, by itself or by its word; 0 for None.

    The result is `Any`, because each enum of the stubs has an integer type of its own.

    Raises:
        InvalidArgumentError: It is neither.
    """
    return 0 if given is None else kind.given(argument, given).number


def numbers_of(argument: str, kind: type[Word], given: object) -> list[Any]:
    """Return the numbers of the members that an argument names: one, or a list of them.

    Raises:
        InvalidArgumentError: It names something else.
    """
    listed = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    return [number_of(argument, kind, each) for each in listed]


def persona_of(given: Persona | PersonaFields | None) -> PersonaMessage | None:
    """Return the message of a persona that is given as a value or as a mapping; None if none is given."""
    return None if given is None else _fields_of("persona", Persona, given).message


def attributes_of(given: Attributes | AttributesFields | None) -> AttributesMessage | None:
    """Return the message of attributes that are given as a value or as a mapping; None if none are given."""
    return None if given is None else _fields_of("attributes", Attributes, given).message


def _fields_of(argument: str, kind: type[_Fields], given: object) -> _Fields:
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        name = kind.__name__
        raise refused(argument, f"must be a mapping or {name} (got {_article_and_type(given)})")
    known = [field.name for field in fields(kind)]
    for name in given:
        if name not in known:
            raise refused(f"{argument}.{name}", f"is unknown; use {', '.join(known)}")
    return kind(**given)


def refused(argument: str, problem: str) -> InvalidArgumentError:
    """Return the error of an argument that the client refuses."""
    return InvalidArgumentError(f"{argument} {problem}", field_violations=[FieldViolation(argument, problem)])


def _article_and_type(given: object) -> str:
    if given is None:
        return "None"
    name = "text" if isinstance(given, str) else type(given).__name__
    return f"{_article(name)} {name}"


def _article(noun: str) -> str:
    return "an" if noun[0] in "AEIOUaeiou" else "a"


def field_mask(paths: Iterable[str] | None, **changes: object) -> FieldMask:
    """Return the mask of an update: these paths, or the given changes if `paths` is None.

    Raises:
        ValueError: The update would write nothing, or would leave out a given change.
    """
    given = [name for name, value in changes.items() if value is not None]
    written = given if paths is None else list(paths)
    if not written:
        # The service reads an empty mask as "all populated fields", so an empty update would not be empty.
        raise ValueError(f"nothing to update; give at least one of {', '.join(changes)}")
    for name in given:
        if not any(path == "*" or path.partition(".")[0] == name for path in written):
            raise ValueError(
                f"{name} is given but not named in paths, so it would not be written; "
                "add it to paths or leave it out"
            )
    return FieldMask(paths=written)


def timestamp(time: datetime | None) -> Timestamp | None:
    """Return the time as a message of the contract; None if none is given.

    Raises:
        ValueError: The time has no time zone.
    """
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone; give one, for example datetime.now(UTC)")
    message = Timestamp()
    message.FromDatetime(time)
    return message


def struct(metadata: Mapping[str, Any] | None) -> Struct | None:
    """Return the mapping as a message of the contract; None if none is given."""
    if metadata is None:
        return None
    message = Struct()
    message.update(dict(metadata))
    return message
