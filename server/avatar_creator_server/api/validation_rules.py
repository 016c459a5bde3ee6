"""Rules for single values. `validation` makes them from the limits of the contract."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator_server.contract.mapping import metadata_from_proto
from avatar_creator_server.shared.caller import ALL_USERS, is_user_id

Rule = Callable[[Any], str | None]
"""Function that returns the error text for a field's value, or None if the value is valid.

The text says what is allowed and what the request has, without the name of the field.
"""

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""The characters of Unicode's category Cc. A pattern finds one in a twentieth of the time of a loop."""
_CONTROL_CHARACTERS_OTHER_THAN_LINE_BREAKS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ENCODED_BYTES = 8
"""Bytes of a `Struct` for each byte of JSON, at most: a list of zeros has 11 bytes where JSON has 2."""


def text(max_length: int, *, required: bool = False, multiline: bool = False) -> Rule:
    """Allow at most `max_length` characters.

    Args:
        max_length: Maximum number of characters.
        required: Refuse empty and blank text.
        multiline: Allow line breaks and tabs. All other control characters are always refused.
    """
    refused = _CONTROL_CHARACTERS_OTHER_THAN_LINE_BREAKS if multiline else _CONTROL_CHARACTERS
    length = f"1 to {max_length:,}" if required else f"at most {max_length:,}"
    exception = " other than line breaks and tabs" if multiline else " such as line breaks"

    def check(value: str) -> str | None:
        if required and not value.strip():
            return "must not be empty"
        if len(value) > max_length:
            return f"must have {length} characters (got {len(value):,})"
        if refused.search(value):
            return f"must not have control characters{exception}"
        return None

    return check


def search(max_length: int, *, max_words: int) -> Rule:
    """Allow at most `max_length` characters on one line, and at most `max_words` words."""
    check_text = text(max_length)

    def check(value: str) -> str | None:
        if (problem := check_text(value)) is not None:
            return problem
        words = len(value.split())
        return f"must have at most {max_words} words (got {words:,})" if words > max_words else None

    return check


def number(minimum: int, maximum: int, *, multiple_of: int = 1) -> Rule:
    """Allow whole numbers from `minimum` to `maximum`, and 0 for a field that is not set."""
    kind = f"a multiple of {multiple_of} " if multiple_of > 1 else ""

    def check(value: int) -> str | None:
        if value == 0:
            return None
        if not minimum <= value <= maximum or value % multiple_of:
            return f"must be {kind}from {minimum:,} to {maximum:,} (got {value:,})"
        return None

    return check


def fraction(minimum: float, maximum: float) -> Rule:
    """Allow numbers from `minimum` to `maximum`, and 0 for a field that is not set."""

    def check(value: float) -> str | None:
        if value == 0 or minimum <= value <= maximum:
            return None
        return f"must be from {minimum:g} to {maximum:g} (got {value:,})"

    return check


def not_negative(value: int) -> str | None:
    """Allow whole numbers from 0."""
    return f"must not be negative (got {value:,})" if value < 0 else None


def max_entries(maximum: int) -> Rule:
    """Allow lists of at most `maximum` entries."""

    def check(value: Any) -> str | None:
        return f"must have at most {maximum} entries (got {len(value):,})" if len(value) > maximum else None

    return check


def distinct(value: Any) -> str | None:
    """Allow lists without the same entry twice."""
    return "must not have the same entry twice" if len(set(value)) < len(value) else None


def not_empty(value: Any) -> str | None:
    """Allow lists of at least one entry."""
    return None if value else "must not be empty"


def user_id_filter(value: str) -> str | None:
    """Allow a user id, `-` for all users, or an empty text."""
    if not value or value == ALL_USERS or is_user_id(value):
        return None
    return f"must be a user id, or {ALL_USERS} for all users"


def user_id(value: str) -> str | None:
    """Allow a user id."""
    return None if is_user_id(value) else "must be a user id"


def user_id_or_empty(value: str) -> str | None:
    """Allow a user id, or an empty text."""
    return user_id(value) if value else None


def small_json(max_bytes: int) -> Rule:
    """Allow content that JSON can express and PostgreSQL can store, of this length as JSON without spaces."""

    def check(value: Struct) -> str | None:
        if value.ByteSize() > max_encoded_bytes(max_bytes):
            return f"must have at most {max_bytes:,} bytes as JSON"
        try:
            content = metadata_from_proto(value)
        except ValueError as error:
            return str(error)
        length = len(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())
        return (
            f"must have at most {max_bytes:,} bytes as JSON (got {length:,})" if length > max_bytes else None
        )

    return check


def max_encoded_bytes(max_json_bytes: int) -> int:
    """Return a length that no encoded `Struct` exceeds if its JSON does not exceed `max_json_bytes`."""
    return _ENCODED_BYTES * max_json_bytes


def timestamp(value: Timestamp) -> str | None:
    """Allow a time in the years 1 to 9999, the range of `Timestamp`. A field that is not set is valid too."""
    try:
        value.ToJsonString()
    except ValueError:
        return "must be a time from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z"
    return None


def specified(value: int) -> str | None:
    """Allow every enum value except UNSPECIFIED, which would match nothing."""
    return None if value else "must not be UNSPECIFIED"


def request_id(value: str) -> str | None:
    """Allow a UUID in its usual notation, or an empty text."""
    try:
        valid = not value or str(uuid.UUID(value)) == value.lower()
    except ValueError:
        valid = False
    return None if valid else "must be a UUID, for example 123e4567-e89b-12d3-a456-426614174000"
