"""Text for single values on a terminal: names, enum values, times, image sizes, prices."""

from __future__ import annotations

from datetime import datetime

from avatar_creator import Avatar, Generation, Image
from avatar_creator.enums import Word

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


def label(word: Word) -> str:
    """Return a member of an enum in words, for example `from preset`."""
    return word.replace("_", " ")


def local_time(time: datetime | None) -> str:
    """Return a time in this machine's time zone, to the second; empty if there is none."""
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}" if time else ""


def age(time: datetime | None, now: datetime) -> str:
    """Return how long ago a time was, in its largest unit, as people type it: `90s`, `30m`, `24h` or `7d`."""
    if time is None:
        return ""
    seconds = max(0, int((now - time).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def dimensions(image: Image | None) -> str:
    """Return width and height in pixels as `256x256`; empty while there is no picture."""
    return f"{image.width}x{image.height}" if image else ""


def dollars(micros: int) -> str:
    """Return an amount in millionths of a US dollar as `$1.50`, with fractions of a cent as in `$0.035`."""
    amount = f"{micros / 1_000_000:,.6f}"
    return f"${amount[:-4]}{amount[-4:].rstrip('0')}"


def moderation_label(shown: Avatar | Generation, *, passed: str = "") -> str:
    """Return the verdict about a picture, for example `flagged 0.98, blurred`.

    Args:
        shown: An avatar or a generation.
        passed: The text for a picture that was checked and not flagged.
    """
    verdict = shown.picture_moderation
    if verdict is None:
        return ""
    return (
        f"flagged {verdict.score:.2f}{', blurred' if verdict.blurred else ''}" if verdict.flagged else passed
    )
