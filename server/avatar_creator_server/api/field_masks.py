"""Field masks: which fields an update writes, and whether it may write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from avatar_creator_server.api.validation import refuse, violations_of
from avatar_creator_server.errors import FieldViolation

_MAX_PATHS = 100
_MAX_PATHS_IN_ERROR = 3
_MAX_PATH_CHARACTERS_IN_ERROR = 60


def written_paths(request: Any, place: str, *, writable: Sequence[str]) -> list[str]:
    """Return the paths of the fields that an update writes, after validating the request.

    The update writes the fields that the mask names. Without a mask, it writes the fields that are populated.

    Args:
        request: Request of the update. The paths in its `update_mask` are of a field, of a message with
            fields, or `*`.
        place: Field of the request that holds the message with the new values.
        writable: Paths of the fields that an update may write, such as `persona.age`, in this order.

    Raises:
        InvalidArgumentError: A path cannot be written, or a value breaks a limit. The error lists them all.
    """
    resource: Message = getattr(request, place)
    requested = list(dict.fromkeys(request.update_mask.paths))
    if len(requested) > _MAX_PATHS:
        refuse(
            [FieldViolation("update_mask", f"must have at most {_MAX_PATHS} paths (got {len(requested):,})")]
        )
    if requested:
        written = [path for path in writable if any(_covers(one, path) for one in requested)]
    else:
        written = [path for path in writable if value_at(resource, path)]
    unknown = [
        repr(one[:_MAX_PATH_CHARACTERS_IN_ERROR])
        for one in requested
        if not any(_covers(one, path) for path in writable)
    ]
    mask_violations = []
    if unknown:
        # Show only a few of the caller's paths: the error travels in headers, which have little space.
        shown = ", ".join(unknown[:_MAX_PATHS_IN_ERROR])
        mask_violations = [FieldViolation("update_mask", f"contains unknown or read-only fields: {shown}")]
    refuse(
        [
            *mask_violations,
            *violations_of(resource, f"{place}.", only={"id", *written}),
            *violations_of(request, "", only={"expected_revision", "request_id"}),
        ]
    )
    return written


def value_at(resource: Message, path: str) -> object:
    """Return the value of the field at a path."""
    value: object = resource
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _covers(requested: str, path: str) -> bool:
    return requested in ("*", path) or path.startswith(f"{requested}.")
