"""The settings page has every setting of the code with its default, and no other; the guides set no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from avatar_creator_server.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "settings.md"

CLIENT_VARIABLES = {"AVATAR_CREATOR_TARGET", "AVATAR_CREATOR_TOKEN", "POSE_GENERATOR_TOKEN"}
"""Environment variables of the guides' own examples."""

_EXPORT = re.compile(r"^(?:\$ )?export ([A-Z_]+)=", re.MULTILINE)
_ROW = re.compile(r"\| `([A-Z_]+)` \| (.+?) \| (.+) \|")


def rows() -> list[tuple[str, str]]:
    """Return the name and the default of every setting on the page, in order."""
    matches = (_ROW.fullmatch(line) for line in PAGE.read_text().splitlines())
    return [(match[1], match[2]) for match in matches if match]


def default_on_page(field: FieldInfo) -> str | None:
    """Return the default that the page must show; None if it is empty, so that the page describes it."""
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "" or value == {}:
        return None
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, int | float) else f"`{value}`"


def test_the_page_has_every_setting_once_and_no_other() -> None:
    assert sorted(name for name, _ in rows()) == sorted(name.upper() for name in Settings.model_fields)


def test_the_page_has_the_defaults_of_the_code() -> None:
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}

    for name, shown in rows():
        default = default_on_page(fields[name])
        if default is None:
            assert re.fullmatch(r"`[^`]*`", shown) is None, f"{name} is empty by default, not {shown}"
        else:
            assert shown == default, name


def test_the_guides_export_only_settings_that_exist() -> None:
    exported = {name for page in DOCS.glob("*.md") for name in _EXPORT.findall(page.read_text())}

    assert {"DATABASE_URL", "REDIS_URL", "JWT_SECRET", "UPLOAD_PATH"} <= exported
    assert exported - CLIENT_VARIABLES <= {name.upper() for name in Settings.model_fields}
