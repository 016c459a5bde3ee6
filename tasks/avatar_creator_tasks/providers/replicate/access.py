"""Address and credentials of Replicate's API."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from avatar_creator_server.settings.host_lists import HostList
from avatar_creator_server.shared.untrusted_http import EgressRules
from avatar_creator_tasks.providers.hosted.access import picture_rules, require_header_text


@dataclass(frozen=True, slots=True)
class Access:
    """The operator's settings for this provider."""

    api_token: str = field(repr=False)
    """Replicate API token, `r8_…`."""
    base_url: str = "https://api.replicate.com"
    deadline: timedelta = timedelta(minutes=10)
    """Maximum time for one picture, from its submission or resumption to its last byte."""
    result_hosts: HostList = field(default_factory=HostList)
    """The only hosts of pictures, from `PROVIDER_RESULT_HOSTS`; any public host if empty."""
    result_private_hosts: HostList = field(default_factory=HostList)
    """Hosts of pictures that are not public, from `PROVIDER_RESULT_PRIVATE_HOSTS`."""

    def __post_init__(self) -> None:
        """Reject characters that no HTTP header can carry.

        Raises:
            ValueError: The API token has such characters.
        """
        require_header_text("API token", self.api_token)

    @property
    def picture_rules(self) -> EgressRules:
        """The rules for addresses of pictures."""
        return picture_rules(self.base_url, self.result_hosts, self.result_private_hosts)
