"""The command `avatar-creator`."""

from __future__ import annotations

import os


def main() -> None:
    """Run the command. Print an error that the user can fix as one line, and exit with code 1."""
    # gRPC reads this once, when it is imported. By default it logs each lost connection on stderr.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        _run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run() -> None:
    # The imports take a while. Inside `main`, Ctrl-C during them prints no traceback either.
    try:
        from avatar_creator_server.cli.app import app

        app()
    except Exception as error:
        from avatar_creator_server.cli.errors import error_message, exit_with_error

        message = error_message(error)
        if message is None:
            raise
        exit_with_error(message)
