"""Settings from environment variables, their rules, and the valid combinations of them."""

from __future__ import annotations

from avatar_creator_server.settings.errors import SettingsError, system_reason
from avatar_creator_server.settings.settings import DEFAULT_MODEL, NO_LORA, Settings

__all__ = ["DEFAULT_MODEL", "NO_LORA", "Settings", "SettingsError", "system_reason"]
