"""The next steps of a person at a terminal, after `serve` has started."""

from __future__ import annotations

import shlex

from avatar_creator.targets import DEFAULT_TARGET, TARGET_VARIABLE
from avatar_creator.tokens import TOKEN_VARIABLE
from avatar_creator_server.addresses import Address, is_loopback, parse_address, reachable
from avatar_creator_server.operations.listening import Ports
from avatar_creator_server.settings import Settings
from avatar_creator_server.web.sign_in import signed_in_link

_USER = "me"


def next_steps(settings: Settings, ports: Ports) -> str:
    """Return the address of the page, the target of the clients, and the commands of a first call.

    The page of an embedded service that only this machine reaches has a link that signs in. It contains a
    token, so it must not be logged.

    Args:
        settings: The settings of the server.
        ports: The ports that it listens on.
    """
    host = parse_address(reachable(settings.listen_address)).host
    address = str(Address(host, ports.grpc))
    target = f"https://{address}" if settings.tls_certificate_file is not None else address
    is_default = target == DEFAULT_TARGET
    where = "in this folder and " if settings.embedded and not settings.data_path.is_absolute() else ""
    steps = [
        *_page(settings, ports.web),
        f"Clients connect to {target}. Press Ctrl-C to stop.",
        f"In another terminal, {where}with the same settings:",
        *([] if is_default else [f"  export {TARGET_VARIABLE}={shlex.quote(target)}"]),
        f"  export {TOKEN_VARIABLE}=$(avatar-creator token --user {_USER})",
        '  avatar-creator generate "confident business woman" --watch --to portrait.png',
    ]
    if settings.tls_certificate_file is not None:
        steps.append(
            "With a certificate that this machine does not trust, also set GRPC_DEFAULT_SSL_ROOTS_FILE_PATH."
        )
    return "".join(f"{step}\n" for step in steps)


def _page(settings: Settings, web_port: int | None) -> list[str]:
    url = settings.public_url(web_port)
    if web_port is None:
        return []
    if settings.embedded and is_loopback(parse_address(settings.web_listen_address).host):
        return [f"The page, signed in as {_USER} for an hour: {signed_in_link(settings, url, _USER)}"]
    return [f"The page is at {url}."]
