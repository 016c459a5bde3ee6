"""Settings from environment variables, their rules, and the valid combinations of them."""

from __future__ import annotations

from avatar_creator_server.settings.errors import SettingsError, system_reason
from avatar_creator_server.settings.settings import (
    DEFAULT_MODEL,
    DEFAULT_WEB_ADDRESS,
    NO_LORA,
    NO_WEB_PORT,
    ROUTES,
    Settings,
)
from avatar_creator_server.settings.web_urls import is_web_url

__all__ = [
    "DEFAULT_MODEL",
    "DEFAULT_WEB_ADDRESS",
    "NO_LORA",
    "NO_WEB_PORT",
    "ROUTES",
    "Settings",
    "SettingsError",
    "is_web_url",
    "system_reason",
]
