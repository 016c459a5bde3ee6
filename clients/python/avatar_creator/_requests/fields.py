"""Values of request fields, and the checks that the client makes before it sends them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp


def given_or_new(request_id: str | None) -> str:
    """Return the request id of the caller, or a new one if it is missing."""
    return request_id or str(uuid.uuid4())


def at_least_one(name: str, count: int) -> int:
    """Return the count of this argument, or raise ValueError if it is below 1."""
    if count < 1:
        # The service reads 0 as 1, so a caller whose count reaches 0 would pay for one generation.
        raise ValueError(f"{name} must be 1 or more (got {count})")
    return count


def avatar_ids(name: str, ids: Iterable[str]) -> list[str]:
    """Return the ids of this argument, or raise TypeError if they are not a list of texts."""
    problem = f"{name} must be a list of ids, as in [avatar.id]"
    if isinstance(ids, str):
        # A text is iterable too, and each of its characters would be an id.
        raise TypeError(f"{problem} (got one text)")
    listed = list(ids)
    for each in listed:
        if not isinstance(each, str):
            raise TypeError(f"{problem} (got a list of {type(each).__name__})")
    return listed


def field_mask(paths: Iterable[str] | None, **changes: object) -> FieldMask:
    """Return the mask of an update: these paths, or the given changes if `paths` is None.

    Raises:
        ValueError: The update would write nothing, or would leave out a given change.
    """
    given = [name for name, value in changes.items() if value is not None]
    written = given if paths is None else list(paths)
    if not written:
        # The service reads an empty mask as "all populated fields", so an empty update would not be empty.
        raise ValueError(f"nothing to update; give at least one of {', '.join(changes)}")
    for name in given:
        if not any(path == "*" or path.partition(".")[0] == name for path in written):
            raise ValueError(
                f"{name} is given but not named in paths, so it would not be written; "
                "add it to paths or leave it out"
            )
    return FieldMask(paths=written)


def timestamp(time: datetime | None) -> Timestamp | None:
    """Return the time as a message of the contract; None if none is given.

    Raises:
        ValueError: The time has no time zone.
    """
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone; give one, for example datetime.now(UTC)")
    message = Timestamp()
    message.FromDatetime(time)
    return message


def struct(metadata: Mapping[str, Any] | None) -> Struct | None:
    """Return the mapping as a message of the contract; None if none is given."""
    if metadata is None:
        return None
    message = Struct()
    message.update(dict(metadata))
    return message
