"""What an update writes: the fields its mask names, or without a mask those that are populated."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from avatar_creator_server.api.validation import refuse, violations_of
from avatar_creator_server.errors import FieldViolation

_MOST_PATHS = 100
_SHOWN_PATHS = 3
_SHOWN_CHARACTERS = 60


def written_paths(resource: Message, mask: FieldMask, *, place: str, writable: Sequence[str]) -> list[str]:
    """Which of the `writable` paths an update writes, all of them valid.

    `place` is the field of the request that holds `resource`; `writable` are paths of single fields, such as
    `persona.age`, in the order they are written. A mask may name one, a message that holds some, or `*`.

    Raises:
        InvalidArgumentError: lists every path that cannot be written, and every value that breaks a limit.
    """
    paths = list(dict.fromkeys(mask.paths))
    if len(paths) > _MOST_PATHS:
        refuse(
            [FieldViolation("update_mask", f"has {len(paths):,} paths, at most {_MOST_PATHS} are allowed")]
        )
    if paths:
        written = [path for path in writable if any(_covers(asked, path) for asked in paths)]
    else:
        written = [path for path in writable if value_at(resource, path)]
    unknown = [
        repr(asked[:_SHOWN_CHARACTERS])
        for asked in paths
        if not any(_covers(asked, path) for path in writable)
    ]
    wrong_mask = []
    if unknown:
        # One violation that shows a few: they are the caller's text, and all of it travels in headers.
        shown = ", ".join(unknown[:_SHOWN_PATHS])
        wrong_mask = [FieldViolation("update_mask", f"has what is no field that can be written: {shown}")]
    refuse([*wrong_mask, *violations_of(resource, place, only={"id", *written})])
    return written


def value_at(resource: Message, path: str) -> object:
    """The value of the field at a path."""
    value: object = resource
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _covers(asked: str, path: str) -> bool:
    return asked in ("*", path) or path.startswith(f"{asked}.")
