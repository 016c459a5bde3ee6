"""Validation of requests by the limits that the contract's fields have as options.

A message inside a message is checked by its own limits. The error lists every limit that the request breaks.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from avatar_creator.v1.options_pb2 import TextFormat
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
)
from avatar_creator_server.contract.field_options import FieldOptions, field_options, limits_of
from avatar_creator_server.errors import FieldViolation, InvalidArgumentError

_MAX_VIOLATIONS = 20
"""Maximum number of violations in one error. Errors travel in headers, which must be small."""

_MAX_ENTRIES_CHECKED = 100
"""Number of entries of a list that are checked. No list of a request may have more."""

NAME = text(limits_of("CreateProjectRequest.name").max_length, required=True)
"""Rule of the names of projects and avatars, and of the ids of apps."""

_RULES_OF_FORMATS: dict[TextFormat.ValueType, tuple[Rule | None, Rule | None]] = {
    TextFormat.TEXT_FORMAT_UUID: (request_id, request_id),
    TextFormat.TEXT_FORMAT_USER_ID: (user_id_or_empty, user_id),
    TextFormat.TEXT_FORMAT_USER_ID_OR_ALL: (user_id_filter, user_id_filter),
    # The calls check them, with reasons of their own.
    TextFormat.TEXT_FORMAT_PAGE_TOKEN: (None, None),
    TextFormat.TEXT_FORMAT_MEDIA_TYPE: (None, None),
}
"""Rules of a text with a form: where it may be empty, and where not."""


def validate(request: Message, *further: FieldViolation) -> None:
    """Check a request against the limits of its fields.

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
    """True if the field is a message with checks of its own."""
    requires_message: bool
    """True if the field is a message that must not be absent."""


@cache
def _checks_of(message: Descriptor) -> Sequence[_Checks]:
    """Return the checks of a message, without the fields that have no rules."""
    checks = []
    for field in message.fields:
        options = field_options()[f"{message.name}.{field.name}"]
        if "OUTPUT_ONLY" in options.behaviors:
            continue
        nested = field.message_type
        checks.append(
            _Checks(
                field.name,
                _rules_of_list(options) if field.is_repeated else _rules_of_value(field, options),
                _rules_of_value(field, options) if field.is_repeated else (),
                is_repeated=field.is_repeated,
                has_presence=field.has_presence,
                enum=field.enum_type,
                has_message=nested is not None
                and nested.file.package == message.file.package
                # An own message without checks costs nothing.
                and bool(_checks_of(nested)),
                requires_message=nested is not None
                and not field.is_repeated
                and "REQUIRED" in options.behaviors,
            )
        )
    return [
        each
        for each in checks
        if each.rules or each.entry_rules or each.enum or each.has_message or each.requires_message
    ]


def _rules_of_list(options: FieldOptions) -> tuple[Rule, ...]:
    rules: list[Rule] = [not_empty] if "REQUIRED" in options.behaviors else []
    if options.limits.max_entries:
        rules.append(max_entries(options.limits.max_entries))
    if options.limits.distinct:
        rules.append(distinct)
    return tuple(rules)


def _rules_of_value(field: FieldDescriptor, options: FieldOptions) -> tuple[Rule, ...]:
    """Return the rules of a single value, or of each entry of a list."""
    limits = options.limits
    if field.message_type is not None:
        match field.message_type.full_name:
            case "google.protobuf.Timestamp":
                return (timestamp,)
            case "google.protobuf.Struct":
                return (small_json(limits.max_bytes),)
        return ()
    if field.enum_type is not None:
        return (specified,) if field.is_repeated else ()
    if field.type == field.TYPE_STRING:
        # An entry of a list, and the text that a `oneof` has, cannot be empty either.
        required = field.is_repeated or field.containing_oneof is not None
        required = required or not options.behaviors.isdisjoint(("REQUIRED", "IDENTIFIER"))
        if limits.format:
            rule = _RULES_OF_FORMATS[limits.format][required]
            return () if rule is None else (rule,)
        if limits.max_words:
            return (search(limits.max_length, max_words=limits.max_words),)
        return (text(limits.max_length, required=required, multiline=limits.multiline),)
    if limits.HasField("maximum"):
        if field.cpp_type == field.CPPTYPE_DOUBLE:
            return (fraction(limits.minimum, limits.maximum),)
        return (number(int(limits.minimum), int(limits.maximum), multiple_of=limits.multiple_of or 1),)
    return (not_negative,) if limits.HasField("minimum") else ()


def _violations(message: Message, path: str) -> Iterator[FieldViolation]:
    for checks in _checks_of(message.DESCRIPTOR):
        place = path + checks.field
        if checks.has_presence and not message.HasField(checks.field):
            if checks.requires_message:
                yield FieldViolation(place, "must not be empty")
            continue
        value = getattr(message, checks.field)
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
