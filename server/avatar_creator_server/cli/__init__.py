"""The command `avatar-creator`."""

from __future__ import annotations


def main() -> None:
    """Run the command; what the user can mend is said in one line, with exit code 1."""
    try:
        _run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run() -> None:
    # Imported here, so that Ctrl-C is quiet while that takes its time, too.
    try:
        from avatar_creator_server.cli.app import app

        app()
    except Exception as error:
        from avatar_creator_server.cli.errors import refusal_of, refuse

        why = refusal_of(error)
        if why is None:
            raise
        refuse(why)
