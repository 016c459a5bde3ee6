"""Parts of a file that a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A part of a file, at least one byte."""

    start: int
    """Place of the first byte."""
    end: int
    """Place after the last byte."""

    def __len__(self) -> int:
        return self.end - self.start

    def content_range(self, size: int) -> str:
        """Return the header `content-range` of the part, for a file of `size` bytes."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


def parse_range(header: str, size: int) -> ByteRange | None:
    """Return the part of a file of `size` bytes that the header `range` asks for; None for the whole file.

    A header that is malformed or has several ranges means the whole file, as the standard allows: many small
    or overlapping ranges cost a server more than the file.

    Raises:
        ValueError: The file has no such part.
    """
    found = _ONE_RANGE.fullmatch(header)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    elif last and int(last) < int(first):
        return None
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise ValueError("no such part")
    return ByteRange(start, end)
