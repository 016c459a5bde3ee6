"""What the provider says, made fit to be shown and kept."""

from __future__ import annotations

import re

_LONGEST = 200
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{4,}|\b(?:Bearer|Key)\s+[A-Za-z0-9._:-]{8,}")
_ADDRESS = re.compile(
    r"([a-z][a-z0-9+.-]*://)(?:[^\s/?#\"'<>]*@)?([^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE
)
_ADDRESS_WITH_LOGIN = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/?#\"'<>]*@", re.IGNORECASE)


def excerpt(text: str, secret: str) -> str:
    """At most 200 characters of it in one line, without the secret, other tokens and what signs addresses."""
    line = "".join(character if character.isprintable() else " " * character.isspace() for character in text)
    if secret:
        line = line.replace(secret, "[key]")
    line = _ADDRESS.sub(r"\1\2", line)
    line = _ADDRESS_WITH_LOGIN.sub(r"\1", line)
    line = " ".join(_TOKEN.sub("[key]", line).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
