"""Addresses and credentials of Hugging Face's router and endpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from avatar_creator_server.settings.host_lists import HostList
from avatar_creator_server.shared.untrusted_http import EgressRules
from avatar_creator_tasks.providers.hosted.access import picture_rules, require_header_text


@dataclass(frozen=True, slots=True)
class Access:
    """The operator's settings for this provider."""

    api_key: str = field(repr=False)
    """Hugging Face token that may call inference providers; empty for an endpoint without authorization."""
    base_url: str = "https://router.huggingface.co"
    endpoint_url: str = ""
    """Address of a dedicated Inference Endpoint, for the route `endpoint`."""
    bill_to: str = ""
    """Hugging Face organization that pays; empty means the owner of the token."""
    deadline: timedelta = timedelta(minutes=10)
    """Maximum time for one picture, from its submission or resumption to its last byte."""
    object_lifetime: timedelta = timedelta(days=1)
    """Time for which fal keeps the file of a picture, from `PROVIDER_OBJECT_SECONDS`."""
    result_hosts: HostList = field(default_factory=HostList)
    """The only hosts of pictures, from `PROVIDER_RESULT_HOSTS`; any public host if empty."""
    result_private_hosts: HostList = field(default_factory=HostList)
    """Hosts of pictures that are not public, from `PROVIDER_RESULT_PRIVATE_HOSTS`."""

    def __post_init__(self) -> None:
        """Reject characters that no HTTP header can carry.

        Raises:
            ValueError: The API key or the organization has such characters.
        """
        require_header_text("API key", self.api_key)
        require_header_text("organization to bill", self.bill_to)

    @property
    def picture_rules(self) -> EgressRules:
        """The rules for addresses of pictures."""
        return picture_rules(self.base_url, self.result_hosts, self.result_private_hosts)
