"""The command `avatar-creator`."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from avatar_creator_server.cli.interrupts import interrupt_on_sigterm

_LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")


def main() -> None:
    """Run the command. Print an error that the user can fix as one line, and exit with code 1."""
    # gRPC reads this once, when it is imported. By default it logs each lost connection on stderr.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    keep_loopback_direct(os.environ)
    try:
        interrupt_on_sigterm()
        _run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def keep_loopback_direct(environment: MutableMapping[str, str]) -> None:
    """Add this machine to `no_proxy`, which all HTTP libraries of the service read.

    A storage, router or moderation service on this machine cannot be reached through a proxy.
    """
    # Most libraries prefer the lower case, and some read only one of the two.
    entries = [environment.get("no_proxy") or environment.get("NO_PROXY", ""), *_LOOPBACK]
    environment["no_proxy"] = environment["NO_PROXY"] = ",".join(filter(None, entries))


def _run() -> None:
    # The imports take a while. Inside `main`, Ctrl-C during them prints no traceback either.
    try:
        from avatar_creator_server.cli.app import app

        app()
    except Exception as error:
        from avatar_creator_server.cli.errors import error_message, exit_with_error

        exit_with_error(error_message(error) or _defect_message(error))


def _defect_message(error: Exception) -> str:
    """Log the traceback, which the person who fixes the defect needs, and return a sentence for users."""
    import structlog

    from avatar_creator_server.logs import configure_logging
    from avatar_creator_server.redaction import Redactor

    configure_logging("error", Redactor(os.environ))
    structlog.get_logger().error("command_failed", exc_info=error)
    return f"a defect of Avatar Creator ({type(error).__name__}): report it with the log entry command_failed"
