"""Values of request fields, and the checks that the client makes before it sends them."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator.arguments import Arguments, article, described
from avatar_creator.conversion import Value
from avatar_creator.enums import Word
from avatar_creator.handles import BaseGenerationHandle
from avatar_creator.pictures import PictureSource, is_picture
from avatar_creator.v1.attributes_pb2 import Attributes as AttributesMessage
from avatar_creator.v1.persona_pb2 import Persona as PersonaMessage
from avatar_creator.values import Attributes, Avatar, Generation, Persona

_Fields = TypeVar("_Fields", Attributes, Persona)

LARGEST_UINT32 = 2**32 - 1
"""Largest seed."""
LARGEST_INT64 = 2**63 - 1
"""Largest number of a field with 64 bits."""

CONCURRENCY = 4
"""Number of files that are transferred at the same time, unless an argument says otherwise."""

_UUID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DEEPEST = 30
"""Deepest nesting of metadata. protobuf reads at most 100 messages inside each other, three for a level."""


class RequestArguments(Arguments):
    """Checks of the arguments of one call, and their conversion into the fields of its request."""

    def request_id(self, given: object) -> str:
        """Return the request id of the caller, or a new one if there is none."""
        if isinstance(given, uuid.UUID):
            return str(given)
        return self.text("request_id", given) or str(uuid.uuid4())

    def id(self, argument: str, kind: type[Value[Any]], given: object) -> str:
        """Return the id that an argument names: by itself, or by a value of this kind."""
        if isinstance(given, str) and not isinstance(given, Word):
            return self.text(argument, given)
        if kind is Generation and isinstance(given, BaseGenerationHandle):
            return given.id
        if isinstance(given, uuid.UUID):
            return str(given)
        if isinstance(given, kind):
            id: str = given.id  # type: ignore[attr-defined]
            return id
        name = kind.__name__
        self.refuse(argument, f"must be an id or {article(name)} {name} (got {described(given)})")
        return ""

    def optional_id(self, argument: str, kind: type[Value[Any]], given: object) -> str:
        """Return the id that an argument names; empty for None."""
        return "" if given is None else self.id(argument, kind, given)

    def ids(self, argument: str, kind: type[Value[Any]], given: object) -> list[str]:
        """Return the ids that an argument names, each by itself or by a value of this kind."""
        if given is None:
            self.refuse(argument, "must be a list, as in [first, second] (got None)")
        return [self.id(f"{argument}[{n}]", kind, each) for n, each in self.listed(argument, given)]

    def references(self, given: Any) -> list[str | PictureSource]:
        """Return the ids and the pictures that the argument `reference` names: one, or a list of them.

        A text is an id if it is a UUID, and the path of a picture otherwise.
        """
        if given is None or given == "":
            return []
        if not isinstance(given, Iterable) or is_picture(given):
            reference = self._reference("reference", given)
            return [] if reference is None else [reference]
        found = (self._reference(f"reference[{n}]", each) for n, each in enumerate(given))
        return [each for each in found if each is not None]

    def _reference(self, argument: str, given: Any) -> str | PictureSource | None:
        if isinstance(given, Avatar):
            return given.id
        if isinstance(given, uuid.UUID) or (isinstance(given, str) and _UUID.fullmatch(given)):
            return str(given)
        if is_picture(given):
            source = PictureSource(given, argument)
            self.collected(source.check)
            return source
        self.refuse(argument, f"must be an avatar, an id or a picture to upload (got {described(given)})")
        return None

    def enum(self, argument: str, kind: type[Word], given: object) -> Any:
        """Return the number of the member that an argument names, by itself or by its word; 0 for None.

        The result is `Any`, because each enum of the stubs has an integer type of its own.
        """
        member = self.optional_word(argument, kind, given)
        return 0 if member is None else member.number

    def enums(self, argument: str, kind: type[Word], given: object) -> list[Any]:
        """Return the numbers of the members that an argument names: one, or a list of them; none for None."""
        if given is None:
            return []
        listed = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
        return [member.number for each in listed if (member := self.word(argument, kind, each)) is not None]

    def persona(self, given: object) -> PersonaMessage | None:
        """Return the message of a persona that is given as a value or as a mapping; None for None."""
        persona = self._fields_of("persona", Persona, given)
        return None if persona is None else persona.message

    def attributes(self, given: object) -> AttributesMessage | None:
        """Return the message of attributes that are given as a value or as a mapping; None for None."""
        attributes = self._fields_of("attributes", Attributes, given)
        return None if attributes is None else attributes.message

    def _fields_of(self, argument: str, kind: type[_Fields], given: object) -> _Fields | None:
        if given is None or isinstance(given, kind):
            return given
        if not isinstance(given, Mapping):
            self.refuse(argument, f"must be a mapping or {kind.__name__} (got {described(given)})")
            return None
        known = [field.name for field in fields(kind)]
        for name in given:
            if name not in known:
                self.refuse(f"{argument}.{name}", f"is unknown; use {', '.join(known)}")
        named = {name: given[name] for name in known if name in given}
        return self.collected(lambda: kind(**named), f"{argument}.")

    def time(self, argument: str, given: object) -> Timestamp | None:
        """Return a time as a message of the contract; None for None."""
        if given is None:
            return None
        message = Timestamp()
        if not isinstance(given, datetime):
            self.refuse(argument, f"must be a datetime with a time zone (got {described(given)})")
        elif given.utcoffset() is None:
            self.refuse(
                argument, f"must have a time zone, as datetime.now(UTC) has (got {given.isoformat(' ')})"
            )
        else:
            try:
                message.FromDatetime(given)
            except (ValueError, OverflowError):
                self.refuse(argument, "must be from the year 1 to the year 9999 in UTC")
        return message

    def optional_path(self, argument: str, given: object) -> Path | None:
        """Return the path of a file or a folder to write; None for None."""
        return None if given is None else Path(self.path(argument, given))

    def concurrency(self, given: object) -> int:
        """Return how many files are transferred at the same time; 4 for None."""
        return self.whole("concurrency", CONCURRENCY if given is None else given, least=1)

    def mapping(self, argument: str, given: object) -> Struct | None:
        """Return a mapping of JSON values as a message of the contract; None for None."""
        if given is None:
            return None
        message = Struct()
        if not isinstance(given, Mapping):
            self.refuse(argument, f"must be a mapping (got {described(given)})")
            return message
        values = dict(self._json_of_mapping(argument, given, 1))
        if not self._violations:
            message.update(values)
        return message

    def _json_of_mapping(self, place: str, given: Mapping[Any, Any], depth: int) -> list[tuple[str, Any]]:
        found = []
        for name, each in given.items():
            if not isinstance(name, str):
                self.refuse(place, f"must have texts as keys (got {described(name)})")
            elif self.text(place, name) == name:
                found.append((name, self._json(f"{place}.{name}", each, depth)))
        return found

    def _json(self, place: str, given: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            self.refuse(place, f"is nested more than {_DEEPEST} levels deep")
            return None
        match given:
            case None | bool():
                return given
            case str():
                return self.text(place, given)
            case int() | float():
                number = self.number(place, given)
                if not math.isfinite(number):
                    self.refuse(place, f"must be a finite number (got {given})")
                    return None
                return number
            case Mapping():
                return dict(self._json_of_mapping(place, given, depth + 1))
            case list() | tuple():
                return [self._json(f"{place}[{n}]", each, depth + 1) for n, each in enumerate(given)]
        self.refuse(
            place,
            f"must be a text, a number, True, False, None, a list or a mapping (got {described(given)})",
        )
        return None

    def mask(self, paths: object, **changes: object) -> FieldMask:
        """Return the mask of an update: these paths, or the given changes if `paths` is None."""
        given = [name for name, value in changes.items() if value is not None]
        refused = len(self._violations)
        written = given if paths is None else self.texts("paths", paths)
        if len(self._violations) > refused:
            return FieldMask()
        if not written:
            # The service reads an empty mask as "all populated fields", so it would update them.
            self.refuse(
                next(iter(changes)) if paths is None else "paths",
                f"must be given, because there is nothing to update; give one of {', '.join(changes)}",
            )
            return FieldMask()
        for name in given:
            if not any(path == "*" or path.partition(".")[0] == name for path in written):
                self.refuse(
                    name,
                    "is given but not named in paths, so it would not be written; add it to paths or leave "
                    "it out",
                )
        return FieldMask(paths=written)
