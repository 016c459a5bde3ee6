"""Messages between the service and a decoding child: a JSON header and bytes.

Not pickle: a child that a malicious picture took over must not run code in the service.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

_PREFIX = struct.Struct(">II")
"""Length of the JSON header and of the bytes that follow it."""

MAX_HEADER_BYTES = 64 * 1024
MAX_CONTENT_BYTES = 256 * 1024 * 1024


class BrokenMessageError(Exception):
    """The other side has ended, or has sent something else than a message."""


def pack(header: dict[str, Any], content: bytes = b"") -> tuple[bytes, bytes]:
    """Return the two parts of a message, to be written one after the other."""
    encoded = json.dumps(header).encode()
    return _PREFIX.pack(len(encoded), len(content)) + encoded, content


def unpack(read: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes]:
    """Read one message with a function that returns exactly so many bytes, or fewer at the end.

    Raises:
        BrokenMessageError: There is no whole message.
    """
    header_length, content_length = _PREFIX.unpack(_exactly(read, _PREFIX.size))
    if header_length > MAX_HEADER_BYTES or content_length > MAX_CONTENT_BYTES:
        raise BrokenMessageError(f"a message of {header_length} and {content_length} bytes")
    try:
        header = json.loads(_exactly(read, header_length))
    except (ValueError, RecursionError) as error:
        raise BrokenMessageError("a header that is not JSON") from error
    if not isinstance(header, dict):
        raise BrokenMessageError("a header that is no object")
    return header, _exactly(read, content_length)


def _exactly(read: Callable[[int], bytes], length: int) -> bytes:
    data = read(length)
    if len(data) != length:
        raise BrokenMessageError(f"{len(data)} of {length} bytes")
    return data
