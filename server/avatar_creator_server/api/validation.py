"""Every limit of the contract, in one table. A request that breaks any is refused with all it breaks.

The table is keyed by message and field; messages inside messages are checked by their own entries.
"""

from __future__ import annotations

import json
import unicodedata
import uuid
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator_server.contract.mapping import metadata_from_proto
from avatar_creator_server.errors import FieldViolation, InvalidArgumentError
from avatar_creator_server.shared.caller import ALL_USERS, is_user_id

Rule = Callable[[Any], str | None]
"""Given a field's value: what is wrong with it, or None."""


def text(longest: int, *, required: bool = False, lines: bool = False) -> Rule:
    """At most `longest` characters. `required`: not only blanks. `lines`: line breaks and tabs too."""
    allowed = {"\n", "\r", "\t"} if lines else set()

    def check(value: str) -> str | None:
        if required and not value.strip():
            return "must not be empty"
        if len(value) > longest:
            return f"has {len(value):,} characters, at most {longest:,} are allowed"
        if any(unicodedata.category(character) == "Cc" and character not in allowed for character in value):
            return "has control characters"
        return None

    return check


def number(least: int, most: int, *, multiple_of: int = 1) -> Rule:
    """A whole number from `least` to `most`, or 0 for none."""

    def check(value: int) -> str | None:
        if value == 0:
            return None
        if not least <= value <= most or value % multiple_of:
            steps = f" in multiples of {multiple_of}" if multiple_of > 1 else ""
            return f"is {value:,}, must be {least:,} to {most:,}{steps}"
        return None

    return check


def fraction(least: float, most: float) -> Rule:
    """A number from `least` to `most`, or 0 for none."""

    def check(value: float) -> str | None:
        if value == 0 or least <= value <= most:
            return None
        return f"is {value:,}, must be {least:g} to {most:g}"

    return check


def not_negative(value: int) -> str | None:
    """A whole number of at least 0."""
    return f"is {value:,}, must not be negative" if value < 0 else None


def at_most(most: int) -> Rule:
    """A list of at most `most` entries."""

    def check(value: Any) -> str | None:
        return f"has {len(value)} entries, at most {most} are allowed" if len(value) > most else None

    return check


def not_empty(value: Any) -> str | None:
    """A list of at least one entry."""
    return None if value else "must not be empty"


def user_filter(value: str) -> str | None:
    """A user id, `-` for all users, or nothing."""
    if not value or value == ALL_USERS or is_user_id(value):
        return None
    return f"must be a user id, or {ALL_USERS} for all users"


def small_json(value: Struct) -> str | None:
    """What JSON can say, and PostgreSQL keep, in at most 8 KiB."""
    if value.ByteSize() > _MOST_ENCODED_BYTES:
        return f"has more than {_MOST_JSON_BYTES:,} bytes as JSON"
    try:
        content = metadata_from_proto(value)
    except ValueError as error:
        return str(error)
    length = len(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())
    if length > _MOST_JSON_BYTES:
        return f"has {length:,} bytes as JSON, at most {_MOST_JSON_BYTES:,} are allowed"
    return None


def instant(value: Timestamp) -> str | None:
    """A time in the years 1 to 9999, as `Timestamp` has it; a field that is absent is one too."""
    try:
        value.ToJsonString()
    except ValueError:
        return "must be a time from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z"
    return None


def specified(value: int) -> str | None:
    """An enum value other than zero, which would match nothing."""
    return None if value else "must not be unspecified"


def request_id(value: str) -> str | None:
    """A UUID in its usual notation, or nothing."""
    try:
        valid = not value or str(uuid.UUID(value)) == value.lower()
    except ValueError:
        valid = False
    return None if valid else "must be a UUID, for example 123e4567-e89b-12d3-a456-426614174000"


MOST_VIOLATIONS = 20
"""How many are told of one request: they travel in headers, of which a client takes 8 KiB."""

_ENTRIES_CHECKED = 100
"""No list of the contract may be longer; the entries past that of one that is are not looked at."""

_MOST_JSON_BYTES = 8192
_MOST_ENCODED_BYTES = 8 * _MOST_JSON_BYTES
"""No `Struct` is this much longer than its JSON: a list of zeros has 11 bytes where JSON has 2."""

NAME = text(120, required=True)
ID = text(100, required=True)
OPTIONAL_ID = text(100)
DESCRIPTION = text(2000, lines=True)

RULES: dict[str, dict[str, tuple[Rule, ...]]] = {
    "Persona": {
        "name": (text(120),),
        "age": (number(1, 120),),
        "personality": (at_most(12),),
        "personality[]": (text(60, required=True),),
        "background": (text(4000, lines=True),),
    },
    "Attributes": {"ethnicity": (text(60),)},
    "GenerationOptions": {
        "width": (number(256, 1440, multiple_of=16),),
        "height": (number(256, 1440, multiple_of=16),),
        "steps": (number(1, 50),),
        "guidance_scale": (fraction(1.0, 20.0),),
        "negative_prompt": (text(2000, lines=True),),
        "reference_strength": (fraction(0.0, 1.0),),
    },
    "AvatarProject": {"id": (ID,), "name": (NAME,), "description": (DESCRIPTION,)},
    "Avatar": {"id": (ID,), "name": (NAME,)},
    "CreateProjectRequest": {
        "name": (NAME,),
        "description": (DESCRIPTION,),
        "request_id": (request_id,),
    },
    "GetProjectRequest": {"project_id": (ID,)},
    "ListProjectsRequest": {"page_size": (not_negative,), "user_id": (user_filter,)},
    "DeleteProjectRequest": {"project_id": (ID,)},
    "UploadAvatarMetadata": {"project_id": (ID,), "name": (NAME,), "request_id": (request_id,)},
    "GetAvatarRequest": {"avatar_id": (ID,)},
    "BatchGetAvatarsRequest": {"avatar_ids": (not_empty, at_most(100)), "avatar_ids[]": (ID,)},
    "ListAvatarsRequest": {
        "project_id": (OPTIONAL_ID,),
        "page_size": (not_negative,),
        "source_types": (at_most(10),),
        "source_types[]": (specified,),
        "ethnicity": (text(60),),
        "query": (text(200),),
        "user_id": (user_filter,),
    },
    "DeleteAvatarRequest": {"avatar_id": (ID,)},
    "DownloadImageRequest": {"avatar_id": (ID,)},
    "CreateGenerationRequest": {
        "project_id": (ID,),
        "prompt": (text(2000, lines=True),),
        "avatar_name": (text(120),),
        "preset_id": (OPTIONAL_ID,),
        "persona_example_id": (OPTIONAL_ID,),
        "request_id": (request_id,),
        "reference_avatar_id": (OPTIONAL_ID,),
        "reproduce_generation_id": (OPTIONAL_ID,),
        "variation_count": (number(1, 8),),
    },
    "EstimateGenerationRequest": {},
    "GetGenerationRequest": {"generation_id": (ID,)},
    "ListGenerationsRequest": {
        "project_id": (OPTIONAL_ID,),
        "states": (at_most(10),),
        "states[]": (specified,),
        "create_time_from": (instant,),
        "create_time_to": (instant,),
        "page_size": (not_negative,),
        "user_id": (user_filter,),
        "group_id": (OPTIONAL_ID,),
    },
    "WatchGenerationRequest": {"generation_id": (ID,), "known_revision": (not_negative,)},
    "WatchTarget": {"generation_id": (ID,), "known_revision": (not_negative,)},
    "WatchGenerationsRequest": {
        "targets": (at_most(100),),
        "project_id": (OPTIONAL_ID,),
        "changed_since": (instant,),
        "group_id": (OPTIONAL_ID,),
    },
    "CancelGenerationRequest": {"generation_id": (ID,)},
    "RetryGenerationRequest": {"generation_id": (ID,), "request_id": (request_id,)},
    "RecordUsageRequest": {
        "avatar_id": (ID,),
        "app_id": (text(120),),
        "app_name": (text(120),),
        "action": (NAME,),
        "reference_id": (text(200),),
        "reference_type": (text(120),),
        "metadata": (small_json,),
        "request_id": (request_id,),
    },
    "ListUsageRequest": {
        "avatar_id": (ID,),
        "app_id": (text(120),),
        "action": (text(120),),
        "page_size": (not_negative,),
    },
    "SummarizeUsageRequest": {"avatar_id": (ID,)},
    "GetStatsRequest": {"user_id": (user_filter,)},
    "ListPresetsRequest": {
        "category": (text(60),),
        "query": (text(200),),
        "page_size": (not_negative,),
    },
    "GetPresetRequest": {"preset_id": (ID,)},
    "ListPersonaExamplesRequest": {"category": (text(60),), "page_size": (not_negative,)},
    "GetPersonaExampleRequest": {"persona_example_id": (ID,)},
}


def validate(request: Message, *further: FieldViolation) -> None:
    """Hold a request against the table, together with what its servicer found wrong with it.

    Raises:
        InvalidArgumentError: lists every violation.
    """
    refuse([*_violations(request, ""), *further])


def violations_of(resource: Message, place: str, *, only: Container[str]) -> list[FieldViolation]:
    """What is wrong with these fields of a message, by their paths in it; `place` goes before each path."""
    return [
        violation
        for violation in _violations(resource, f"{place}.")
        if _field_of(violation.field.removeprefix(f"{place}.")) in only
    ]


def refuse(violations: Sequence[FieldViolation]) -> None:
    """Refuse a request for these violations, if there are any.

    Raises:
        InvalidArgumentError: lists every violation, or the first `MOST_VIOLATIONS`.
    """
    if violations:
        told = violations[:MOST_VIOLATIONS]
        sentences = [f"{violation.field}: {violation.description}" for violation in told]
        if untold := len(violations) - len(told):
            sentences.append(f"and {untold:,} more")
        raise InvalidArgumentError("INVALID_FIELD", "; ".join(sentences), violations=told)


def _violations(message: Message, path: str) -> Iterator[FieldViolation]:
    rules = RULES.get(message.DESCRIPTOR.name, {})
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        place = path + field.name
        for rule in rules.get(field.name, ()):
            yield from _violation(place, rule(value))
        if field.is_repeated:
            for index, entry in enumerate(value[:_ENTRIES_CHECKED]):
                entry_place = f"{place}[{index}]"
                for rule in rules.get(f"{field.name}[]", ()):
                    yield from _violation(entry_place, rule(entry))
                yield from _inside(field, entry, entry_place)
        elif not field.has_presence or message.HasField(field.name):
            yield from _inside(field, value, place)


def _inside(field: Any, value: Any, place: str) -> Iterator[FieldViolation]:
    if field.enum_type is not None:
        if value not in field.enum_type.values_by_number:
            yield FieldViolation(place, f"{value} is not a value of {field.enum_type.name}")
    elif field.message_type is not None and field.message_type.name in RULES:
        yield from _violations(value, f"{place}.")


def _field_of(path: str) -> str:
    """The path without the index of an entry."""
    return path.partition("[")[0]


def _violation(place: str, description: str | None) -> Iterator[FieldViolation]:
    if description is not None:
        yield FieldViolation(place, description)
