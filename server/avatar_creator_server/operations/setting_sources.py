"""The settings that a command uses, and where each comes from. No secret is shown."""

from __future__ import annotations

import re
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
_PARAMETERS = re.compile("[?#]")
_MAY_BE_SECRET = re.compile("[@?#]")


@dataclass(frozen=True, slots=True)
class UsedSetting:
    """A setting."""

    name: str
    """Name of the environment variable."""
    value: str
    """Value, without secrets of its own; empty for a setting that is not set."""
    source: Source


def used_settings(settings: Settings | None, environment: Mapping[str, str]) -> list[UsedSetting]:
    """Return all settings in the order of their definition, and the variables of the storage library.

    Args:
        settings: The settings; None if one is invalid. Then no value of the environment is shown, because a
            part of an invalid URL may be a secret that nothing recognizes.
        environment: The variables of the process.
    """
    given = {name.upper(): value for name, value in environment.items() if value.strip()}
    used = []
    for field_name, field in Settings.model_fields.items():
        name = field_name.upper()
        default = field.get_default(call_default_factory=True)
        value = default if settings is None else getattr(settings, field_name)
        is_secret = is_secret_name(name) or isinstance(default, SecretStr)
        if name in given:
            is_hidden = is_secret or settings is None
            used.append(UsedSetting(name, HIDDEN if is_hidden else _place(str(value)), "environment"))
        else:
            used.append(UsedSetting(name, "" if is_secret or value is None else str(value), "default"))
    return used + [
        # Nothing has checked these, so credentials in a URL may have any form.
        UsedSetting(
            name, HIDDEN if is_secret_name(name) or _MAY_BE_SECRET.search(value) else value, "environment"
        )
        for name, value in sorted(given.items())
        if name.startswith(_STORAGE_PREFIX)
    ]


def _place(value: str) -> str:
    """Return a checked URL without its credentials and parameters; any other value as it is."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        return value
    return scheme + separator + _PARAMETERS.split(rest, maxsplit=1)[0].rpartition("@")[2]


def describe_sources(settings: Settings | None, environment: Mapping[str, str]) -> CheckResult:
    """Return the settings of the environment, and the defaults that decide where the service is.

    The arguments are those of `used_settings`.
    """
    used = [each for each in used_settings(settings, environment) if each.source == "environment"]
    given = [each.name if settings is None else f"{each.name}={each.value}" for each in used]
    found = f"from the environment: {', '.join(given)}" if given else "nothing is set in the environment"
    if settings is not None:
        places = {"LISTEN_ADDRESS": settings.listen_address}
        if settings.embedded and not settings.database_url:
            places["DATA_PATH"] = str(settings.data_path.absolute())
        if not settings.storage_url:
            places["UPLOAD_PATH"] = str(settings.upload_path.absolute())
        names = {each.name for each in used}
        defaults = [f"{name}={value}" for name, value in places.items() if name not in names]
        found += f"; by default: {', '.join(defaults)}" if defaults else ""
    return CheckResult("sources", True, f"{found}; every other setting has its default")
