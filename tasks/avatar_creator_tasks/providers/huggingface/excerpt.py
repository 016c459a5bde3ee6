"""Texts of the provider, made safe to show and to store."""

from __future__ import annotations

import re

_MAX_CHARACTERS = 200
_MAX_SEARCHED_CHARACTERS = 2_000
"""The patterns need time that grows with the square of the text, and the provider chooses the text."""
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{4,}|\b(?:Bearer|Key)\s+[A-Za-z0-9._:-]{8,}")
_ADDRESS = re.compile(
    r"([a-z][a-z0-9+.-]*://)(?:[^\s/?#\"'<>]*@)?([^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE
)
_ADDRESS_WITH_LOGIN = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/?#\"'<>]*@", re.IGNORECASE)


def excerpt(text: str, secret: str) -> str:
    """Return at most 200 characters of the start of the text in one line.

    The excerpt contains no secret and no other token, and addresses lose their credentials and
    signatures.
    """
    start = text[:_MAX_SEARCHED_CHARACTERS]
    line = "".join(character if character.isprintable() else " " * character.isspace() for character in start)
    if len(text) > len(start):
        # The last word may be the first part of a secret, which the patterns do not recognize.
        line = line[: line.rfind(" ") + 1]
    if secret:
        line = line.replace(secret, "[key]")
    line = _ADDRESS.sub(r"\1\2", line)
    line = _ADDRESS_WITH_LOGIN.sub(r"\1", line)
    line = " ".join(_TOKEN.sub("[key]", line).split())
    return line if len(line) <= _MAX_CHARACTERS else line[: _MAX_CHARACTERS - 1] + "…"
