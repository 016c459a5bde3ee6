"""The parts of an operator's access that every hosted provider has."""

from __future__ import annotations

import httpx

from avatar_creator_server.settings.host_lists import HostList
from avatar_creator_server.shared.untrusted_http import EgressRules, Target


def require_header_text(name: str, value: str) -> None:
    """Reject characters that no HTTP header can carry.

    The error does not repeat the value. HTTP libraries would repeat a key in their errors.

    Raises:
        ValueError: The value has such characters.
    """
    if not all("!" <= character <= "~" for character in value):
        raise ValueError(f"the {name} has characters that no header can carry")


def picture_rules(base_url: str, hosts: HostList, private_hosts: HostList) -> EgressRules:
    """Return the rules for addresses of pictures. The API, or a stand-in for it, may serve them itself.

    Args:
        base_url: Address of the API.
        hosts: The only hosts of pictures; any public host if empty.
        private_hosts: Hosts of pictures that are not public.
    """
    return EgressRules(hosts, private_hosts, Target.of(httpx.URL(base_url)))
