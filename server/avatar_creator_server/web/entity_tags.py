"""Entity tags: what a browser has cached is still the same (RFC 9110, sections 8.8.3 and 13)."""

from __future__ import annotations


def is_unchanged(if_none_match: str, tag: str) -> bool:
    """Return whether the reader already has this version.

    Args:
        if_none_match: Header `if-none-match` of the request; empty if there is none.
        tag: Entity tag of the current version, a quoted text without a comma.
    """
    given = (each.strip().removeprefix("W/") for each in if_none_match.split(","))
    return any(each in (tag, "*") for each in given)
