"""URLs of web services. The errors complete a sentence that begins with the setting's name."""

from __future__ import annotations

import re

from avatar_creator_server.settings.urls import split_host

_URL = re.compile(r"https?://(?P<authority>[^/?#]+)[^\s]*", re.IGNORECASE)
_MAX_CHARACTERS = 2048


def is_web_url(text: str) -> bool:
    """Return whether a setting that can also be a path is meant as a URL."""
    return text.lower().startswith(("https://", "http://"))


def parse_web_url(text: str) -> str:
    """Return the URL if it names a web service. Keys belong to their own settings, not into the URL.

    Raises:
        ValueError: The text is not such a URL; the message does not contain it.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"must have at most {_MAX_CHARACTERS:,} characters")
    url = _URL.fullmatch(text)
    if url is None:
        raise ValueError("must be a full URL that begins with https:// or http://, without blanks")
    if "@" in url["authority"]:
        raise ValueError("must be a URL without a user name and a password: remove them")
    split_host(url["authority"])
    return text
