"""Text for single values on a terminal: names, enum values, times, image sizes, prices."""

from __future__ import annotations

from datetime import UTC

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from avatar_creator import Avatar, Generation, Image

UNLIMITED_WIDTH = 10_000
"""Columns of output that is not a terminal: programs that read the tables need whole lines."""

_JOINERS = "\u200c\u200d"
"""Not printable themselves, but Persian words and composed emoji need them."""


def printable(text: str) -> str:
    """Return the text on one line, without the characters that control a terminal or reverse its text."""
    return "".join(
        character if character.isprintable() or character in _JOINERS else "\N{REPLACEMENT CHARACTER}"
        for character in " ".join(text.split())
    )


def enum_label(message: Message, field: str) -> str:
    """Return an enum field's value in words, for example `from preset`; empty if the field is not set.

    A value that only a later version of the contract defines is returned as its number.
    """
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    assert enum is not None
    number = getattr(message, field)
    if number not in enum.values_by_number:
        return str(number)
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    name = enum.values_by_number[number].name.removeprefix(prefix)
    return "" if number == 0 else name.lower().replace("_", " ")


def local_time(message: Message, field: str) -> str:
    """Return a timestamp field in this machine's time zone, to the second; empty if it is not set."""
    if not message.HasField(field):
        return ""
    timestamp: Timestamp = getattr(message, field)
    return timestamp.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def calendar_day(day: Date) -> str:
    """Return a day as `2026-11-22`."""
    return f"{day.year:04}-{day.month:02}-{day.day:02}"


def dimensions(image: Image) -> str:
    """Return width and height in pixels as `256x256`; empty while there is no picture."""
    return f"{image.width}x{image.height}" if image.width else ""


def dollars(micros: int) -> str:
    """Return an amount in millionths of a US dollar as `$1.50`, with fractions of a cent as in `$0.035`."""
    amount = f"{micros / 1_000_000:,.6f}"
    return f"${amount[:-4]}{amount[-4:].rstrip('0')}"


def moderation_label(message: Avatar | Generation, *, passed: str = "") -> str:
    """Return the verdict about a picture, for example `flagged 0.98, blurred`.

    Args:
        message: An avatar or a generation.
        passed: The text for a picture that was checked and not flagged.
    """
    verdict = message.picture_moderation
    if not message.HasField("picture_moderation"):
        return ""
    return (
        f"flagged {verdict.score:.2f}{', blurred' if verdict.blurred else ''}" if verdict.flagged else passed
    )
