"""Folding of words, so that a search ignores case and accents on both databases, and LIKE patterns."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """Return a text without case and accents: `ÉVA` and `éva` become `eva`.

    Both the column and the words of a search must be folded, because LIKE folds only ASCII on SQLite.
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def contained(word: str) -> str:
    """Return the pattern of LIKE, with `!` as its escape character, for texts that contain a folded word."""
    escaped = word.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{escaped}%"
