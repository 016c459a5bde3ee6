"""The libraries of the extra `gpu`, which a worker needs only for some settings."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from avatar_creator_server.settings import SettingsError

INSTALL_HINT = "install the extra gpu from the wheel, see docs/providers.md"
"""Advice to the operator when a library is missing."""


def require_extra(setting: str, libraries: Iterable[str]) -> None:
    """Check that libraries are installed, without importing them.

    Args:
        setting: The setting that needs them, as the start of a sentence, such as `PROVIDER is diffusers`.
        libraries: Names of their packages.

    Raises:
        SettingsError: A library is missing.
    """
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise SettingsError(f"{setting}, which needs {', '.join(missing)} on each worker: {INSTALL_HINT}")
