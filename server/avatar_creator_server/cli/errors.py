"""How a command says what it cannot do. What errors mean to the person who ran it is decided here alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.markup import escape

from avatar_creator_server.cli.format import plain

if TYPE_CHECKING:
    from avatar_creator import AvatarCreatorError


class Refusal(Exception):
    """A command cannot do its work; the message says why, and what to do."""


def refusal_of(error: Exception) -> str | None:
    """What to say of an error; None: it is a defect, and whoever mends it needs the traceback."""
    # Imported when there is an error, because they take longer than most commands do.
    from peewee import PeeweeException
    from pydantic import ValidationError

    from avatar_creator import AvatarCreatorError
    from avatar_creator_server.database.migrator import SchemaError
    from avatar_creator_server.settings import SettingsError

    match error:
        case AvatarCreatorError():
            return _answered(error)
        case ValidationError():
            return "; ".join(
                f"{'.'.join(map(str, wrong['loc'])).upper()}: {wrong['msg']}" for wrong in error.errors()
            )
        case PeeweeException():
            return f"the database does not work: {error}; `avatar-creator doctor` says what to do"
        case Refusal() | SettingsError() | SchemaError() | ValueError() | OSError():
            return str(error)
    return None


def refuse(why: str) -> NoReturn:
    """Say why in one line and end with exit code 1."""
    Console(stderr=True).print(f"[red]error:[/] {escape(plain(why))}", soft_wrap=True)
    raise SystemExit(1) from None


def _answered(error: AvatarCreatorError) -> str:
    from avatar_creator import GenerationCancelledError

    kind = "CANCELLED" if isinstance(error, GenerationCancelledError) else error.reason or error.code.name
    sentences = [error.message]
    sentences += [f"{violation.field}: {violation.description}" for violation in error.field_violations]
    sentences += [f"{violation.subject}: {violation.description}" for violation in error.quota_violations]
    # The service's own message often has its violations in it.
    told = [sentence for sentence in sentences[1:] if sentence not in error.message]
    if error.retry_after:
        told.append(f"try again in {error.retry_after:.0f} s")
    return f"{kind}: {'; '.join([error.message, *told])}"
