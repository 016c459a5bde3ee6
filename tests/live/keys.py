"""The keys and addresses of the live checks, which come from the environment only."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from avatar_creator_server.settings import Settings
from avatar_creator_server.settings.host_lists import HostList
from avatar_creator_tasks.providers import huggingface, replicate
from avatar_creator_tasks.providers.base import Provider
from tests.live.checks import DEADLINE
from tests.support.decoders import DECODERS

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Target:
    """A provider to check."""

    provider: str
    """`huggingface` or `replicate`."""
    key: str = field(repr=False)
    url: str

    def open(self, url: str = "", key: str = "") -> Provider:
        """Create the service's provider for this target, or for another address or key."""
        # A fake on loopback serves its pictures there. A real provider's pictures are at public addresses.
        host = urlsplit(self.url)
        hosts = HostList.parse(host.netloc if host.hostname in _LOOPBACK else "", networks=True)
        if self.provider == "replicate":
            access = replicate.Access(
                key or self.key, base_url=url or self.url, deadline=DEADLINE, result_private_hosts=hosts
            )
            return replicate.ReplicateProvider(access, DECODERS)
        return huggingface.HuggingFaceProvider(
            huggingface.Access(
                key or self.key, base_url=url or self.url, deadline=DEADLINE, result_private_hosts=hosts
            ),
            DECODERS,
        )


def targets() -> list[Target]:
    """Return the providers for which the environment has a key."""
    settings = Settings()
    keys = {
        "huggingface": (settings.huggingface_api_key, settings.huggingface_base_url),
        "replicate": (settings.replicate_api_token, settings.replicate_base_url),
    }
    return [
        Target(provider, key.get_secret_value(), url)
        for provider, (key, url) in keys.items()
        if key.get_secret_value()
    ]
