"""The next steps of a person at a terminal, after `serve` has started."""

from __future__ import annotations

import shlex

from avatar_creator.targets import DEFAULT_TARGET, TARGET_VARIABLE
from avatar_creator.tokens import TOKEN_VARIABLE
from avatar_creator_server.addresses import Address, parse_address, reachable
from avatar_creator_server.settings import Settings


def next_steps(settings: Settings, port: int) -> str:
    """Return the target of the clients, the command that makes a token, and a first call.

    Args:
        settings: The settings of the server.
        port: The port that it listens on.
    """
    host = parse_address(reachable(settings.listen_address)).host
    address = str(Address(host, port))
    target = f"https://{address}" if settings.tls_certificate_file is not None else address
    is_default = target == DEFAULT_TARGET
    where = "in this folder and " if settings.embedded and not settings.data_path.is_absolute() else ""
    steps = [
        f"Clients connect to {target}. Press Ctrl-C to stop.",
        f"In another terminal, {where}with the same settings:",
        *([] if is_default else [f"  export {TARGET_VARIABLE}={shlex.quote(target)}"]),
        f"  export {TOKEN_VARIABLE}=$(avatar-creator token --user me)",
        '  avatar-creator generate "confident business woman" --watch --to portrait.png',
    ]
    if settings.tls_certificate_file is not None:
        steps.append(
            "With a certificate that this machine does not trust, also set GRPC_DEFAULT_SSL_ROOTS_FILE_PATH."
        )
    return "".join(f"{step}\n" for step in steps)
