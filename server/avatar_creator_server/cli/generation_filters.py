"""Filters that select generations, for commands that list or change many of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from avatar_creator.enums import ErrorReason, GenerationPriority, GenerationState
from avatar_creator_server.cli.option_groups import OptionGroup
from avatar_creator_server.cli.options import OlderThan, ago, given
from avatar_creator_server.cli.words import word_option

FAILURE_REASONS = (
    ErrorReason.STORAGE_UNAVAILABLE,
    ErrorReason.INTERNAL,
    ErrorReason.PROVIDER_UNAVAILABLE,
    ErrorReason.PROVIDER_REJECTED,
    ErrorReason.WORKER_LOST,
    ErrorReason.MODERATION_UNAVAILABLE,
    ErrorReason.OPTION_NOT_SUPPORTED,
    ErrorReason.PROVIDER_CREDENTIALS,
    ErrorReason.PROVIDER_CREDIT,
    ErrorReason.PROVIDER_CONTENT_REFUSED,
    ErrorReason.PROVIDER_NSFW,
    ErrorReason.PROVIDER_OVERLOADED,
    ErrorReason.PROVIDER_TIMEOUT,
    ErrorReason.PROVIDER_BAD_ANSWER,
    ErrorReason.PROVIDER_GONE,
    ErrorReason.REFERENCE_GONE,
    ErrorReason.IMAGE_TOO_EXPENSIVE,
    ErrorReason.OVERLOADED,
)
"""Reasons with which an attempt at a generation can fail. The other reasons are errors of calls."""

_REPEAT = "Repeat it for several."


@dataclass(frozen=True, slots=True)
class GenerationFilters(OptionGroup):
    """The filters that a command names. A generation must match all of them."""

    user: Annotated[
        str,
        typer.Option(
            metavar="USER_ID",
            help="For operators: generations of this user; - for all users.",
            show_default="yourself",
            callback=given,
        ),
    ] = ""
    project: Annotated[
        str,
        typer.Option(metavar="PROJECT_ID", help="Only generations of this project.", callback=given),
    ] = ""
    state: Annotated[
        list[str] | None,
        word_option(GenerationState, metavar="STATE", help=f"Only this state. {_REPEAT}", show_default=False),
    ] = None
    reason: Annotated[
        list[str] | None,
        word_option(
            ErrorReason,
            words=FAILURE_REASONS,
            metavar="REASON",
            help=f"Only this reason of the last failure, such as PROVIDER_TIMEOUT. {_REPEAT}",
            show_default=False,
        ),
    ] = None
    priority: Annotated[
        list[str] | None,
        word_option(
            GenerationPriority, metavar="PRIORITY", help=f"Only this priority. {_REPEAT}", show_default=False
        ),
    ] = None
    older_than: OlderThan = None

    @property
    def any(self) -> bool:
        """True if the command names a filter or a user."""
        return any((self.user, self.project, self.state, self.reason, self.priority, self.older_than))

    def arguments(self) -> dict[str, Any]:
        """Return the filters as arguments of the client's methods."""
        return {
            "user_id": self.user,
            "project": self.project,
            "states": self.state or (),
            "error_reasons": self.reason or (),
            "priorities": self.priority or (),
            "create_time_to": ago(self.older_than),
        }
