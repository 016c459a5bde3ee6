"""The settings that a command uses, and where each comes from. No secret is shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from avatar_creator_server.operations.checks import CheckResult
from avatar_creator_server.redaction import HIDDEN, is_secret_name
from avatar_creator_server.settings import Settings

Source = Literal["environment", "default"]

_STORAGE_PREFIX = "AWS_"
"""Beginning of the variables that the storage library reads itself."""


@dataclass(frozen=True, slots=True)
class UsedSetting:
    """A setting."""

    name: str
    """Name of the environment variable."""
    value: str
    """Value, without secrets of its own; empty for a setting that is not set."""
    source: Source


def used_settings(environment: Mapping[str, str] = os.environ) -> list[UsedSetting]:
    """Return all settings, also of an environment that has invalid ones, in the order of their definition."""
    given = {name.upper(): value for name, value in environment.items() if value.strip()}
    used = []
    for field_name, field in Settings.model_fields.items():
        name = field_name.upper()
        default = field.get_default(call_default_factory=True)
        if name in given:
            is_secret = is_secret_name(name) or isinstance(default, SecretStr)
            used.append(UsedSetting(name, HIDDEN if is_secret else given[name], "environment"))
        else:
            is_empty = default is None or isinstance(default, SecretStr)
            used.append(UsedSetting(name, "" if is_empty else str(default), "default"))
    return used + [
        UsedSetting(name, HIDDEN if is_secret_name(name) else value, "environment")
        for name, value in sorted(given.items())
        if name.startswith(_STORAGE_PREFIX)
    ]


def describe_sources(settings: Settings | None) -> CheckResult:
    """Return the settings of the environment, and the defaults that decide where the service is.

    Args:
        settings: The settings; None if one of them is invalid.
    """
    used = used_settings()
    given = [f"{each.name}={each.value}" for each in used if each.source == "environment"]
    found = f"from the environment: {', '.join(given)}" if given else "nothing is set in the environment"
    names = {each.name for each in used if each.source == "environment"}
    if settings is not None:
        places = {"LISTEN_ADDRESS": settings.listen_address}
        if settings.embedded and not settings.database_url:
            places["DATA_PATH"] = str(settings.data_path.absolute())
        if not settings.storage_url:
            places["UPLOAD_PATH"] = str(settings.upload_path.absolute())
        defaults = [f"{name}={value}" for name, value in places.items() if name not in names]
        found += f"; by default: {', '.join(defaults)}" if defaults else ""
    return CheckResult("sources", True, f"{found}; every other setting has its default")
