"""JPEG files without metadata. Sources: ITU-T T.81 annex B (markers) and CIPA DC-007 (MPF second images)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.metadata.exif import UPRIGHT, read_orientation
from avatar_creator_server.images.metadata.profile import is_profile
from avatar_creator_server.images.metadata.stripped import (
    JpegScans,
    StrippedPicture,
    corrupt_error,
    take,
)

MAX_JPEG_SCANS = 100
"""Maximum number of scans. Each scan is a pass over the whole picture, so a small file of many empty scans
would keep a core busy for minutes. Encoders write about ten."""

START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
DQT, SOS = 0xDB, 0xDA
_EOI, _COM = 0xD9, 0xFE
_FILL = 0xFF
_APP0, _APP1, _APP2, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
_PROGRESSIVE = 0xC2
SEQUENTIAL_FRAMES = frozenset({0xC0, 0xC1})
"""Frames with Huffman coding whose scans have whole coefficients: baseline and extended sequential."""
_HUFFMAN_FRAMES = SEQUENTIAL_FRAMES | {_PROGRESSIVE}
_FRAMES = _HUFFMAN_FRAMES | {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_TABLES = frozenset({0xC4, 0xCC, DQT, 0xDC, 0xDD})
"""DHT, DAC, DQT, DNL, DRI."""
_METADATA = frozenset({*range(_APP0, _APP15 + 1), _COM})

_COEFFICIENTS = 64
"""Number of coefficients in a block."""

_PROFILE = b"ICC_PROFILE\0"

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""A marker that ends a scan: not a stuffed FF00, a fill byte or a restart marker."""


def strip_jpeg(data: bytes) -> StrippedPicture:
    """Return the first picture of a JPEG file without metadata.

    A file without an end-of-image marker gets one if its scans have every coefficient. Bytes of a trailer may
    then follow the last scan: only a decoder can find where that scan ends.

    Raises:
        InvalidArgumentError: IMAGE_CORRUPT if the file is not a whole JPEG.
    """
    segments: list[JpegSegment] = []
    frame = _Frame()
    has_end = True
    try:
        for segment in jpeg_segments(data):
            frame.add(segment)
            segments.append(segment)
    except InvalidArgumentError:
        if not frame.complete_after:
            raise
        # Some cameras write their own trailer, or nothing, instead of the marker.
        has_end = False
        del segments[frame.complete_after :]
    if sum(segment.marker == SOS for segment in segments) > MAX_JPEG_SCANS:
        raise corrupt_error("the JPEG has too many scans")
    return _without_metadata(segments, frame, has_end)


@dataclass(frozen=True, slots=True)
class JpegSegment:
    """One segment of a JPEG file."""

    marker: int
    """Second byte of the marker; the first is FF."""
    payload: bytes
    """The segment's bytes after its length."""
    coded: memoryview
    """The coded pixels that follow a scan header; empty for other segments."""


def jpeg_segments(data: bytes) -> Iterator[JpegSegment]:
    """Yield the segments between the start and the end of the image, without junk between them.

    Raises:
        InvalidArgumentError: The file ends, or a segment has no length, before the end of the image.
    """
    all_bytes = memoryview(data)
    found = _MARKER.search(data, len(START_OF_IMAGE))
    while found is not None:
        marker = data[found.end() - 1]
        if marker == _EOI:
            return
        start = found.end()
        length = int.from_bytes(take(data, start, 2), "big")
        if length < 2:
            raise corrupt_error("a JPEG segment has no length")
        payload = take(data, start, length)[2:]
        found = _MARKER.search(data, start + length)
        coded_end = found.start() if found is not None else len(data)
        coded_start = start + length if marker == SOS else coded_end
        yield JpegSegment(marker, payload, all_bytes[coded_start:coded_end])
    raise corrupt_error("the JPEG has no end-of-image marker")


def encode_segment(marker: int, payload: bytes) -> bytes:
    """Return the bytes of a segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


class _Frame:
    """Checks the segments of one picture, and finds after which of them all its coefficients are there."""

    def __init__(self) -> None:
        self.marker = 0
        """Marker of the frame header; 0 before it."""
        self.width = self.height = 0
        self.complete_after = 0
        """Number of segments up to the scan that completed the picture; 0 if none has, or if that is
        unknown."""
        self._segments = 0
        self._missing: set[tuple[int, int]] = set()
        """Component and number of each coefficient that no scan has yet coded to its last bit."""

    def add(self, segment: JpegSegment) -> None:
        self._segments += 1
        if segment.marker in _FRAMES:
            self._add_frame(segment)
        elif segment.marker == SOS:
            self._add_scan(segment)
        elif segment.marker not in _METADATA | _TABLES:
            raise corrupt_error("the JPEG has an unknown marker")

    def _add_frame(self, segment: JpegSegment) -> None:
        payload = segment.payload
        if self.marker:
            raise corrupt_error("the JPEG has two frame headers")
        if len(payload) < 6:
            raise corrupt_error("the JPEG frame header is too short")
        self.marker = segment.marker
        self.height, self.width = struct.unpack_from(">HH", payload, 1)
        self._missing = {
            (component, number) for component in payload[6::3] for number in range(_COEFFICIENTS)
        }

    def _add_scan(self, segment: JpegSegment) -> None:
        if not self.marker:
            raise corrupt_error("the JPEG has a scan before its frame header")
        self._missing -= self._coded_to_the_last_bit(segment.payload)
        # Other codings have no end that a decoder could find.
        if not self._missing and not self.complete_after and self.marker in _HUFFMAN_FRAMES:
            self.complete_after = self._segments

    def _coded_to_the_last_bit(self, header: bytes) -> set[tuple[int, int]]:
        """Return the components and coefficients that a scan with this header completes."""
        count = header[0] if header else 0
        components, selection = header[1 : 1 + 2 * count : 2], header[1 + 2 * count :]
        first, last = 0, _COEFFICIENTS - 1
        if self.marker == _PROGRESSIVE:
            if len(selection) < 3 or selection[2] & 0x0F:  # Successive approximation sends the rest later.
                return set()
            first, last = selection[:2]
        return {(component, number) for component in components for number in range(first, last + 1)}


def _without_metadata(segments: Sequence[JpegSegment], frame: _Frame, has_end: bool) -> StrippedPicture:
    kept: list[bytes | memoryview] = [START_OF_IMAGE]
    kept_bytes = len(START_OF_IMAGE)
    starts, ends = [], []
    keeps_profile = _has_whole_profile(segments)
    for segment in segments:
        payload = segment.payload
        if segment.marker in _METADATA:
            payload = _color_information(segment, keeps_profile)
            if not payload:
                continue
        head = encode_segment(segment.marker, payload)
        kept += (head, segment.coded)
        kept_bytes += len(head)
        if segment.marker == SOS:
            starts.append(kept_bytes)
            ends.append(kept_bytes + _length_without_fill(segment.coded))
            kept_bytes += len(segment.coded)
    if not ends:
        raise corrupt_error("the JPEG has no scan")
    return StrippedPicture(
        b"".join((*kept, END_OF_IMAGE)),
        "image/jpeg",
        frame.width,
        frame.height,
        _orientation(segments),
        lossless=False,
        scans=JpegScans(tuple(starts), tuple(ends), has_end) if frame.marker in _HUFFMAN_FRAMES else None,
    )


def _length_without_fill(coded: memoryview) -> int:
    """Return the number of bytes up to the last one that is no fill byte (T.81, B.1.1.2)."""
    ends_with_fill = len(coded) > 0 and coded[-1] == _FILL
    return len(bytes(coded).rstrip(bytes((_FILL,)))) if ends_with_fill else len(coded)


def _orientation(segments: Sequence[JpegSegment]) -> int:
    """Return the orientation in the first EXIF block."""
    for segment in segments:
        if segment.marker == _APP1 and segment.payload.startswith(b"Exif\0"):
            return read_orientation(segment.payload[6:])
    return UPRIGHT


def _has_whole_profile(segments: Sequence[JpegSegment]) -> bool:
    """Return whether the color profile has every part, numbered 1 to the count that each part gives."""
    parts = sorted(segment.payload[len(_PROFILE) :] for segment in segments if _is_profile_part(segment))
    count = min(len(parts), 255)
    numbers = [bytes((number, count)) for number in range(1, count + 1)]
    return [part[:2] for part in parts] == numbers and is_profile(b"".join(part[2:] for part in parts))


def _is_profile_part(segment: JpegSegment) -> bool:
    # Decoders ignore a part without its number and count.
    has_numbers = len(segment.payload) >= len(_PROFILE) + 2
    return segment.marker == _APP2 and segment.payload.startswith(_PROFILE) and has_numbers


def _color_information(segment: JpegSegment, keeps_profile: bool) -> bytes:
    """Return the part of an APPn or COM segment that a decoder needs to read the colors; empty if none."""
    marker, payload = segment.marker, segment.payload
    if marker == _APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
        return payload[:12] + b"\0\0"  # Without the thumbnail: it may show what was cropped away.
    if _is_profile_part(segment) and keeps_profile:
        return payload
    if marker == _APP14 and payload.startswith(b"Adobe"):
        return payload[:12]
    return b""
