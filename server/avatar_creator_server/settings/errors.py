"""The error of an invalid setting, and the part of a system error that a sentence may contain."""

from __future__ import annotations


class SettingsError(Exception):
    """A setting or a combination of settings is invalid; the message names it and says what to do."""


def system_reason(error: OSError) -> str:
    """Return the system's words without its number and the path, for example `Permission denied`."""
    return error.strerror or type(error).__name__
