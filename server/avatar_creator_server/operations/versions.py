"""The installed versions of the service and of its client."""

from __future__ import annotations

from importlib.metadata import version

from avatar_creator_server import DISTRIBUTION, __version__

CLIENT_DISTRIBUTION = "avatar-creator-client"


def installed_versions() -> str:
    """Return `avatar-creator 0.1.0`, and the client's version too if it is a different one."""
    service = f"{DISTRIBUTION} {__version__}"
    client_version = version(CLIENT_DISTRIBUTION)
    return service if client_version == __version__ else f"{service}, {CLIENT_DISTRIBUTION} {client_version}"
