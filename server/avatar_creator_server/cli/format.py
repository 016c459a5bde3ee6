"""How single values read in a terminal, whoever wrote them."""

from __future__ import annotations

from datetime import UTC

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator import Image

_JOINERS = "\u200c\u200d"
"""Not printable themselves, but Persian words and composed emoji need them."""


def plain(text: str) -> str:
    """The text on one line, without the characters that steer a terminal or turn its writing around."""
    return "".join(
        character if character.isprintable() or character in _JOINERS else "\N{REPLACEMENT CHARACTER}"
        for character in " ".join(text.split())
    )


def label(message: Message, field: str) -> str:
    """An enum field's value in words, for example `from preset`; empty if not given.

    A value that only a later version of the contract knows is its number.
    """
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    assert enum is not None
    number = getattr(message, field)
    if number not in enum.values_by_number:
        return str(number)
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    name = enum.values_by_number[number].name.removeprefix(prefix)
    return "" if number == 0 else name.lower().replace("_", " ")


def when(message: Message, field: str) -> str:
    """A time in this machine's time zone, to the second; empty if absent."""
    if not message.HasField(field):
        return ""
    moment: Timestamp = getattr(message, field)
    return moment.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(image: Image) -> str:
    """Width and height in pixels; empty while there is no picture."""
    return f"{image.width}x{image.height}" if image.width else ""


def dollars(micros: int) -> str:
    """Millionths of a US dollar in dollars and cents, with more digits where there is more, as `$0.035`."""
    amount = f"{micros / 1_000_000:,.6f}"
    return f"${amount[:-4]}{amount[-4:].rstrip('0')}"
