"""Rules for the text of every setting. The errors complete a sentence that begins with the setting's name."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

_BYTE_ORDER_MARK = "\ufeff"
_HEADER_TEXT = re.compile(r"[!-~]+")
_STORAGE_VARIABLES = "AWS_"


def is_blank(text: str) -> bool:
    """Return whether the text means that the setting is not set: compose makes `${X:-}` an empty variable."""
    return not text.strip()


def require_text(text: str) -> None:
    """Reject bytes that are not text.

    Raises:
        ValueError: The variable is not UTF-8.
    """
    if not text.isprintable() and any(unicodedata.category(character) == "Cs" for character in text):
        raise ValueError("is not UTF-8 text: set it again")


def require_single_line(text: str) -> None:
    """Reject blanks around a value, which files and quotes leave there, and control characters in it.

    Raises:
        ValueError: The text has such characters.
    """
    if text != text.strip().strip(_BYTE_ORDER_MARK):
        raise ValueError("has blanks or a line break at its beginning or end: remove them")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError("has control characters such as line breaks: remove them")


def header_text(text: str) -> str:
    """Return the text if an HTTP header can carry it.

    Raises:
        ValueError: The text has blanks or non-ASCII characters.
    """
    if not _HEADER_TEXT.fullmatch(text):
        raise ValueError("has blanks or non-ASCII characters: copy the value again")
    return text


def expand_home(path: str) -> str:
    """Replace a leading `~` by the home folder, as a shell does. Compose and systemd pass it on unchanged.

    Raises:
        ValueError: The home folder is unknown.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        raise ValueError("begins with ~, but that home folder is unknown: write the whole path") from error


def unset_blank_storage_variables() -> None:
    """Remove blank `AWS_…` variables from the environment, where the storage library reads them itself."""
    for name, value in list(os.environ.items()):
        if name.startswith(_STORAGE_VARIABLES) and is_blank(value):
            del os.environ[name]
