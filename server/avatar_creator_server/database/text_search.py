"""Folding of words, so that a search ignores case and accents alike on both databases."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """`ÉVA` and `éva` both become `eva`. SQLite's own LIKE folds ASCII only, so both sides are."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
