"""JPEG files without metadata. Sources: ITU-T T.81 annex B (markers) and CIPA DC-007 (MPF second images)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from avatar_creator_server.images.metadata.exif import UPRIGHT, read_orientation
from avatar_creator_server.images.metadata.stripped import StrippedPicture, corrupt_error, take

MAX_JPEG_SCANS = 100
"""Maximum number of scans. Each scan is a pass over the whole picture, so a small file of many empty scans
would keep a core busy for minutes. Encoders write about ten."""

_START_OF_IMAGE, _END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP2, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
_HUFFMAN_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_FRAMES = _HUFFMAN_FRAMES | {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD})
"""DHT, DAC, DQT, DNL, DRI."""
_METADATA = frozenset({*range(_APP0, _APP15 + 1), _COM})

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""A marker that ends a scan: not a stuffed FF00, a fill byte or a restart marker."""


def strip_jpeg(data: bytes) -> StrippedPicture:
    """Return the first picture of a JPEG file without metadata.

    Raises:
        InvalidArgumentError: IMAGE_CORRUPT if the file is not a whole JPEG.
    """
    picture = _Stripper()
    for segment in _segments(data):
        picture.add(segment)
    return picture.finish()


@dataclass(frozen=True, slots=True)
class _Segment:
    marker: int
    payload: bytes
    """The segment's bytes after its length."""
    coded: bytes
    """The coded pixels that follow a scan header; empty for other segments."""


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield the segments between the start and the end of the image, without junk between them."""
    found = _next_marker(data, len(_START_OF_IMAGE))
    while (marker := data[found.end() - 1]) != _EOI:
        start = found.end()
        length = int.from_bytes(take(data, start, 2), "big")
        if length < 2:
            raise corrupt_error("a JPEG segment has no length")
        payload = take(data, start, length)[2:]
        found = _next_marker(data, start + length)
        yield _Segment(marker, payload, data[start + length : found.start()] if marker == _SOS else b"")


def _next_marker(data: bytes, position: int) -> re.Match[bytes]:
    found = _MARKER.search(data, position)
    if found is None:
        raise corrupt_error("the JPEG has no end-of-image marker")
    return found


class _Stripper:
    """Collects the segments of one picture that a decoder needs."""

    def __init__(self) -> None:
        self._kept = bytearray(_START_OF_IMAGE)
        self._frame = 0
        """Marker of the frame header; 0 before it."""
        self._width = self._height = 0
        self._orientation: int | None = None
        self._scan_ends: list[int] = []

    def add(self, segment: _Segment) -> None:
        if segment.marker in _FRAMES:
            self._add_frame(segment)
        elif segment.marker == _SOS:
            self._add_scan(segment)
        elif segment.marker in _METADATA:
            self._add_metadata(segment)
        elif segment.marker in _TABLES:
            self._keep(segment.marker, segment.payload)
        else:
            raise corrupt_error(f"the JPEG has an unknown marker FF{segment.marker:02X}")

    def finish(self) -> StrippedPicture:
        if not self._scan_ends:
            raise corrupt_error("the JPEG has no scan")
        return StrippedPicture(
            bytes(self._kept + _END_OF_IMAGE),
            "image/jpeg",
            self._width,
            self._height,
            UPRIGHT if self._orientation is None else self._orientation,
            lossless=False,
            scan_ends=tuple(self._scan_ends) if self._frame in _HUFFMAN_FRAMES else (),
        )

    def _add_frame(self, segment: _Segment) -> None:
        if self._frame:
            raise corrupt_error("the JPEG has two frame headers")
        if len(segment.payload) < 6:
            raise corrupt_error("the JPEG frame header is too short")
        self._frame = segment.marker
        self._height, self._width = struct.unpack_from(">HH", segment.payload, 1)
        self._keep(segment.marker, segment.payload)

    def _add_scan(self, segment: _Segment) -> None:
        if not self._frame:
            raise corrupt_error("the JPEG has a scan before its frame header")
        if len(self._scan_ends) == MAX_JPEG_SCANS:
            raise corrupt_error(f"the JPEG has more than {MAX_JPEG_SCANS} scans")
        self._keep(segment.marker, segment.payload)
        # T.81 allows fill bytes before a marker.
        self._scan_ends.append(len(self._kept) + len(segment.coded.rstrip(b"\xff")))
        self._kept += segment.coded

    def _add_metadata(self, segment: _Segment) -> None:
        is_exif = segment.marker == _APP1 and segment.payload.startswith(b"Exif\0")
        if is_exif and self._orientation is None:
            self._orientation = read_orientation(segment.payload[6:])
        needed = _color_information(segment)
        if needed:
            self._keep(segment.marker, needed)

    def _keep(self, marker: int, payload: bytes) -> None:
        self._kept += struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _color_information(segment: _Segment) -> bytes:
    """Return the part of an APPn or COM segment that a decoder needs to read the colors; empty if none."""
    marker, payload = segment.marker, segment.payload
    if marker == _APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
        return payload[:12] + b"\0\0"  # Without the thumbnail: it may show what was cropped away.
    if marker == _APP2 and payload.startswith(b"ICC_PROFILE\0"):
        return payload
    if marker == _APP14 and payload.startswith(b"Adobe"):
        return payload[:12]
    return b""
