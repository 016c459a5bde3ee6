"""Error messages of the command: the only place that decides how an error reads on the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.markup import escape

from avatar_creator_server.cli.format import printable

if TYPE_CHECKING:
    from avatar_creator import AvatarCreatorError


class CommandError(Exception):
    """A command cannot do its work; the message says why, and what to do."""


def error_message(error: Exception) -> str | None:
    """Return the message for an error that the user can fix.

    None means that the error is a defect: the person who fixes it needs the traceback.
    """
    # Imported only after an error, because these imports take longer than most commands.
    import structlog
    from peewee import PeeweeException

    from avatar_creator import AvatarCreatorError
    from avatar_creator_server.database.migrator import SchemaError
    from avatar_creator_server.database.problems import database_problem
    from avatar_creator_server.demo.errors import DemoError
    from avatar_creator_server.settings import SettingsError

    # A task group wraps the error of the service that it runs.
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    match error:
        case ExceptionGroup():
            messages = [error_message(part) for part in error.exceptions]
            return "; ".join(filter(None, messages)) if all(messages) else None
        case AvatarCreatorError():
            return _service_error_message(error)
        case PeeweeException():
            structlog.get_logger().debug("database_failed", error=repr(error))
            problem = database_problem(error)
            return f"the database cannot be used: {problem}; run `avatar-creator doctor` to see how to fix it"
        case UnicodeError():
            return "an argument or a file has text that is not UTF-8"
        case CommandError() | DemoError() | SettingsError() | SchemaError() | ValueError():
            return str(error)
        case OSError():
            return _system_error_message(error)
    return None


def exit_with_error(message: str) -> NoReturn:
    """Print the message as one line on standard error and exit with code 1."""
    from avatar_creator_server.redaction import Redactor

    shown = printable(Redactor(os.environ).redact(message))
    Console(stderr=True).print(f"[red]error:[/] {escape(shown)}", soft_wrap=True)
    raise SystemExit(1) from None


def _system_error_message(error: OSError) -> str:
    """Return for example `data/jwt-secret: Permission denied`."""
    cause = error.strerror or "the operating system refuses an operation"
    places = [
        os.fsdecode(each) for each in (error.filename, error.filename2) if isinstance(each, str | bytes)
    ]
    return ": ".join([*places, cause])


def _service_error_message(error: AvatarCreatorError) -> str:
    from avatar_creator import GenerationCancelledError

    kind = "CANCELLED" if isinstance(error, GenerationCancelledError) else error.reason or error.code.name
    violations = [f"{violation.field}: {violation.description}" for violation in error.field_violations]
    violations += [f"{violation.subject}: {violation.description}" for violation in error.quota_violations]
    # The service's own message often repeats its violations.
    parts = [error.message, *(violation for violation in violations if violation not in error.message)]
    if error.reason == "ROLE_REQUIRED":
        parts.append("create one with `avatar-creator token --user USER_ID --role ops`")
    if error.retry_after and "try again in" not in error.message:
        parts.append(f"try again in {error.retry_after:.0f} s")
    return f"{kind}: {'; '.join(parts)}"
