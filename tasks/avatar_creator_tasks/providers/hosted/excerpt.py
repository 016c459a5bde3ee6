"""Texts of the provider, made safe to show and to store."""

from __future__ import annotations

from avatar_creator_server.redaction import HIDDEN, hide_patterns

_MAX_CHARACTERS = 200
_MAX_SEARCHED_CHARACTERS = 2_000
"""The provider chooses the text, and its length."""


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
        line = line.replace(secret, HIDDEN)
    line = " ".join(hide_patterns(line).split())
    return line if len(line) <= _MAX_CHARACTERS else line[: _MAX_CHARACTERS - 1] + "…"
