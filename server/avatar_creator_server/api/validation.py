"""Validation of requests: one table with every limit of the contract.

The table gives the rules of each field of a message. A message inside a message is checked by its own rules.
The error lists every rule that the request breaks.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.message import Message

from avatar_creator_server.api.validation_rules import (
    Rule,
    distinct,
    fraction,
    max_entries,
    not_empty,
    not_negative,
    number,
    request_id,
    search,
    small_json,
    specified,
    text,
    timestamp,
    user_id,
    user_id_filter,
    user_id_or_empty,
    user_or_all,
)
from avatar_creator_server.errors import FieldViolation, InvalidArgumentError

_MAX_VIOLATIONS = 20
"""Maximum number of violations in one error. Errors travel in headers, which must be small."""

MAX_REFERENCES = 8
"""Maximum number of references of a generation. No model takes more; most routes take fewer."""

_MAX_ENTRIES_CHECKED = 100
"""Number of entries of a list that are checked. No list of the contract may have more."""

NAME = text(120, required=True)
ID = text(100, required=True)
OPTIONAL_ID = text(100)
DESCRIPTION = text(2000, multiline=True)
SEARCH = search(200, max_words=8)
"""Words of a search. The database compares each word with each row, so their number decides the time."""

RULES: dict[str, dict[str, tuple[Rule, ...]]] = {
    "Persona": {
        "name": (text(120),),
        "age": (number(1, 120),),
        "personality": (max_entries(12),),
        "personality[]": (text(60, required=True),),
        "background": (text(4000, multiline=True),),
    },
    "Attributes": {"ethnicity": (text(60),)},
    "GenerationOptions": {
        "width": (number(256, 1440, multiple_of=16),),
        "height": (number(256, 1440, multiple_of=16),),
        "steps": (number(1, 50),),
        "guidance_scale": (fraction(1.0, 20.0),),
        "negative_prompt": (text(2000, multiline=True),),
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
    "ListProjectsRequest": {"page_size": (not_negative,), "user_id": (user_id_filter,)},
    "UpdateProjectRequest": {"expected_revision": (not_negative,), "request_id": (request_id,)},
    "DeleteProjectRequest": {"project_id": (ID,)},
    "UploadAvatarMetadata": {"project_id": (ID,), "name": (NAME,), "request_id": (request_id,)},
    "GetAvatarRequest": {"avatar_id": (ID,)},
    "BatchGetAvatarsRequest": {"avatar_ids": (not_empty, max_entries(100)), "avatar_ids[]": (ID,)},
    "ListAvatarsRequest": {
        "project_id": (OPTIONAL_ID,),
        "page_size": (not_negative,),
        "source_types": (max_entries(10),),
        "source_types[]": (specified,),
        "ethnicity": (text(60),),
        "query": (SEARCH,),
        "user_id": (user_id_filter,),
    },
    "UpdateAvatarRequest": {"expected_revision": (not_negative,), "request_id": (request_id,)},
    "DeleteAvatarRequest": {"avatar_id": (ID,)},
    "DownloadImageRequest": {"avatar_id": (ID,)},
    "CreateGenerationRequest": {
        "project_id": (ID,),
        "prompt": (text(2000, multiline=True),),
        "avatar_name": (text(120),),
        "preset_id": (OPTIONAL_ID,),
        "persona_example_id": (OPTIONAL_ID,),
        "request_id": (request_id,),
        "reference_avatar_id": (OPTIONAL_ID,),
        "reference_avatar_ids": (max_entries(MAX_REFERENCES), distinct),
        "reference_avatar_ids[]": (ID,),
        "reproduce_generation_id": (OPTIONAL_ID,),
        "variation_count": (number(1, 8),),
    },
    "EstimateGenerationRequest": {},
    "GetGenerationRequest": {"generation_id": (ID,)},
    "ListGenerationsRequest": {
        "project_id": (OPTIONAL_ID,),
        "states": (max_entries(10),),
        "states[]": (specified,),
        "create_time_from": (timestamp,),
        "create_time_to": (timestamp,),
        "page_size": (not_negative,),
        "user_id": (user_id_filter,),
        "group_id": (OPTIONAL_ID,),
        "error_reasons": (max_entries(10),),
        "error_reasons[]": (specified,),
        "priorities": (max_entries(3),),
        "priorities[]": (specified,),
    },
    "WatchGenerationRequest": {"generation_id": (ID,), "known_revision": (not_negative,)},
    "WatchTarget": {"generation_id": (ID,), "known_revision": (not_negative,)},
    "WatchTargets": {"targets": (not_empty, max_entries(100))},
    "WatchAll": {"user_id": (user_id_or_empty,)},
    "WatchGenerationsRequest": {
        "project_id": (ID,),
        "changed_since": (timestamp,),
        "group_id": (ID,),
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
    "SummarizeUsageRequest": {"avatar_id": (ID,), "page_size": (not_negative,)},
    "GetStatsRequest": {"user_id": (user_id_filter,)},
    "ListPresetsRequest": {
        "category": (text(60),),
        "query": (SEARCH,),
        "page_size": (not_negative,),
    },
    "GetPresetRequest": {"preset_id": (ID,)},
    "ListPersonaExamplesRequest": {"category": (text(60),), "page_size": (not_negative,)},
    "GetPersonaExampleRequest": {"persona_example_id": (ID,)},
    "GenerationFilter": {
        "user_id": (user_or_all,),
        "project_id": (OPTIONAL_ID,),
        "states": (max_entries(10),),
        "states[]": (specified,),
        "error_reasons": (max_entries(10),),
        "error_reasons[]": (specified,),
        "priorities": (max_entries(3),),
        "priorities[]": (specified,),
        "create_time_to": (timestamp,),
    },
    "GenerationLimits": {
        "concurrent": (not_negative,),
        "per_minute": (not_negative,),
        "per_day": (not_negative,),
        "spend_per_day_micros": (not_negative,),
    },
    "ListWorkersRequest": {"page_size": (not_negative,)},
    "DrainWorkerRequest": {"worker_name": (ID,)},
    "ResumeWorkerRequest": {"worker_name": (ID,)},
    "GetQueueRequest": {},
    "PauseQueueRequest": {"route": (OPTIONAL_ID,), "note": (text(200),)},
    "ResumeQueueRequest": {"route": (OPTIONAL_ID,)},
    "RetryNowRequest": {"generation_id": (ID,)},
    "BulkCancelGenerationsRequest": {"max_count": (number(1, 1000),)},
    "BulkRetryGenerationsRequest": {"max_count": (number(1, 1000),)},
    "ListUsersRequest": {"since": (timestamp,), "page_size": (not_negative,)},
    "GetUserLimitsRequest": {"user_id": (user_id,)},
    "SetUserLimitsRequest": {"user_id": (user_id,)},
    "ClearUserLimitsRequest": {"user_id": (user_id,)},
}


def validate(request: Message, *further: FieldViolation) -> None:
    """Check a request against the table.

    Args:
        request: The request.
        further: Violations that the servicer has found itself.

    Raises:
        InvalidArgumentError: The request breaks a rule. The error lists every violation.
    """
    refuse([*_violations(request, ""), *further])


def violations_of(message: Message, place: str, *, only: Container[str]) -> list[FieldViolation]:
    """Return the violations in some fields of a message.

    Args:
        message: The message.
        place: Path of the message in its request, with a dot at the end; empty for the request itself. Each
            violation's path begins with it.
        only: Paths, in the message, of the fields to check.
    """
    return [
        violation
        for violation in _violations(message, place)
        if _without_index(violation.field.removeprefix(place)) in only
    ]


def refuse(violations: Sequence[FieldViolation]) -> None:
    """Refuse a request that has violations.

    Raises:
        InvalidArgumentError: There are violations. The error lists the first `_MAX_VIOLATIONS`.
    """
    if violations:
        listed = violations[:_MAX_VIOLATIONS]
        sentences = [f"{violation.field}: {violation.description}" for violation in listed]
        if omitted := len(violations) - len(listed):
            sentences.append(f"and {omitted:,} more")
        raise InvalidArgumentError("INVALID_FIELD", "; ".join(sentences), violations=listed)


@dataclass(frozen=True, slots=True)
class _Checks:
    """The checks of a field."""

    field: str
    rules: tuple[Rule, ...]
    """Rules of the whole value."""
    entry_rules: tuple[Rule, ...]
    """Rules of each entry of a list."""
    is_repeated: bool
    has_presence: bool
    enum: EnumDescriptor | None
    has_message: bool
    """True if the field is a message with rules of its own."""


@cache
def _checks_of(message: Descriptor) -> Sequence[_Checks]:
    """Return the checks of a message, without the fields that have no rules."""
    rules = RULES.get(message.name, {})
    checks = [
        _Checks(
            field.name,
            rules.get(field.name, ()),
            rules.get(f"{field.name}[]", ()),
            is_repeated=field.is_repeated,
            has_presence=field.has_presence,
            enum=field.enum_type,
            has_message=field.message_type is not None and field.message_type.name in RULES,
        )
        for field in message.fields
    ]
    return [each for each in checks if each.rules or each.entry_rules or each.enum or each.has_message]


def _violations(message: Message, path: str) -> Iterator[FieldViolation]:
    for checks in _checks_of(message.DESCRIPTOR):
        if checks.has_presence and not message.HasField(checks.field):
            continue
        value = getattr(message, checks.field)
        place = path + checks.field
        for rule in checks.rules:
            if (problem := rule(value)) is not None:
                yield FieldViolation(place, problem)
        if checks.is_repeated:
            for index, entry in enumerate(value[:_MAX_ENTRIES_CHECKED]):
                for rule in checks.entry_rules:
                    if (problem := rule(entry)) is not None:
                        yield FieldViolation(f"{place}[{index}]", problem)
                if checks.enum is not None or checks.has_message:
                    yield from _violations_inside(checks, entry, f"{place}[{index}]")
        else:
            yield from _violations_inside(checks, value, place)


def _violations_inside(checks: _Checks, value: Any, place: str) -> Iterator[FieldViolation]:
    if checks.enum is not None:
        if value not in checks.enum.values_by_number:
            yield FieldViolation(place, f"must be a value of {checks.enum.name} (got {value})")
    elif checks.has_message:
        yield from _violations(value, f"{place}.")


def _without_index(path: str) -> str:
    return path.partition("[")[0]
