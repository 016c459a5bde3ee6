"""The scans of a JPEG: whether they have every pixel, and where the last one ends.

libjpeg paints the rest of a short scan gray, and Pillow hides its warning. A file without an end-of-image
marker may have a trailer after its last scan, which must not be stored: it may show a private picture.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from io import BytesIO

from PIL import Image, ImageChops

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.jpeg_decoder import JpegDecoder
from avatar_creator_server.images.metadata.jpeg import (
    DQT,
    END_OF_IMAGE,
    START_OF_IMAGE,
    encode_segment,
    jpeg_segments,
)
from avatar_creator_server.images.metadata.stripped import JpegScans, StrippedPicture, corrupt_error
from avatar_creator_server.images.whole_jpeg import is_plainly_whole

_FILLERS = (bytes(range(0xFE, 0x00, -1)), *(bytes((each,)) * 255 for each in (0x00, 0x55, 0xAA)))
"""Bytes to add after a scan, with each value of the first two bits. None is FF, which would start a
marker."""

_MAX_SEARCHED_BYTES, _MAX_SEARCHED_PIXELS = 4 * 1024 * 1024, 25_000_000
"""Maximum size of a file of several scans, and of any picture, whose last byte is searched. A search decodes
the picture about nine times, which takes up to 3 seconds. A larger picture is encoded again, which takes
less."""

_READ_AHEAD = 18
"""Maximum number of bytes between the end of a scan and the place to which libjpeg has then read: 64 bits,
each byte of which may be a stuffed FF 00, and one byte that a run of bytes begins with."""

_RUN = 8
"""Number of single bytes in a row that libjpeg takes only if it is not decoding: it decodes from five or
more."""

_PIECE = 4096
_HASHED_ROWS = 256

_VISIBLE_STEP = 16
"""Quantization with which a coefficient that changes by one changes its pixels."""


def with_whole_scans(stripped: StrippedPicture, scans: JpegScans) -> StrippedPicture:
    """Return the JPEG without bytes between the pixels of its last scan and its end.

    Raises:
        InvalidArgumentError: IMAGE_CORRUPT if a scan ends before its last pixel.
        OSError: The file cannot be decoded.
    """
    if scans.has_end and is_plainly_whole(stripped, scans):
        return stripped
    half = max(1, stripped.width // 2), max(1, stripped.height // 2)
    decoded, (*earlier_have_junk, last_has_junk) = _decode(stripped.data, scans, half)
    # libjpeg does not read bytes after a complete scan, but decodes bytes after a short scan as pixels. So
    # the picture is not complete if bytes added after its scans change it. Decoding at half size reads the
    # same coded bytes.
    parts, start = [], 0
    for end in scans.ends:
        parts += [stripped.data[start:end], _FILLERS[0]]
        start = end
    with_fillers = Image.open(BytesIO(b"".join((*parts, stripped.data[start:]))), formats=("JPEG",))
    with_fillers.draft(None, half)
    if ImageChops.difference(decoded, with_fillers).getbbox() is not None:
        raise _short_scan_error()
    if scans.has_end and not any((*earlier_have_junk, last_has_junk)):
        return stripped
    has_many_bytes = len(scans.ends) > 1 and len(stripped.data) > _MAX_SEARCHED_BYTES
    has_many_pixels = stripped.width * stripped.height > _MAX_SEARCHED_PIXELS
    if any(earlier_have_junk) or has_many_bytes or has_many_pixels:
        return replace(stripped, must_encode=True)
    end = _end_of_last_scan(stripped.data, scans)
    return replace(stripped, data=stripped.data[:end] + END_OF_IMAGE)


def _decode(data: bytes, scans: JpegScans, size: tuple[int, int]) -> tuple[Image.Image, list[bool]]:
    """Return the picture, at about this size, and for each scan whether bytes follow its pixels."""
    decoder = JpegDecoder(data, size)
    has_junk = []
    at = 0
    for start, end in zip(scans.starts, scans.ends, strict=True):
        tail = max(start, end - _RUN)
        decoder.feed(data[at:tail])
        takes = [decoder.feed(data[each : each + 1]) for each in range(tail, end)]
        has_junk.append(len(takes) == _RUN and all(takes))
        at = end
    decoder.feed(data[at:])
    if not decoder.has_finished:
        raise _short_scan_error()
    return decoder.pixels, has_junk


def _end_of_last_scan(data: bytes, scans: JpegScans) -> int:
    """Return the offset after the last byte that has a bit of the last scan."""
    start, end = scans.starts[-1], scans.ends[-1]
    visible = _with_visible_steps(data)
    pixels = _pixels(visible[:end] + _FILLERS[0])
    read_to = _read_to(data, start, end)
    low, high = max(start, read_to - _READ_AHEAD), min(read_to, end)
    middle = max(low, high - 1)  # Most files have nothing after the scan.
    while low < high:
        # The first bit after the cut becomes another one, so that a missing bit shows.
        changed = bytes(min(0xFE, 0xFF - byte) for byte in visible[middle : middle + len(_FILLERS[0])])
        if _shows(pixels, visible[:middle], changed + _FILLERS[0]):
            high = middle
        else:
            low = middle + 1
        middle = (low + high) // 2
    while not all(_shows(pixels, visible[:high], filler) for filler in _FILLERS[1:]):
        if high >= min(read_to, end):
            raise _short_scan_error()
        high += 1
    return high


def _shows(pixels: bytes, coded: bytes, filler: bytes) -> bool:
    """Return whether the coded bytes, followed by these, show the pixels with this hash."""
    # A cut in a stuffed FF 00 would make a marker. The first half of it has no bits.
    return _pixels(coded.rstrip(b"\xff") + filler) == pixels


def _read_to(data: bytes, start: int, end: int) -> int:
    """Return an offset to which libjpeg has read when the scan between these offsets is complete.

    libjpeg decodes from several bytes at once, but skips bytes after the last scan one by one.
    """
    size = 1, 1
    decoder = JpegDecoder(data, size)
    decoder.feed(data[:start])
    at = start
    while at < end:
        decoder.feed(data[at : min(at + _PIECE, end)])
        following = range(at + _PIECE, min(at + _PIECE + _RUN, end))
        takes = [decoder.feed(data[each : each + 1]) for each in following]
        if all(takes):
            break
        at += _PIECE + _RUN
    decoder = JpegDecoder(data, size)
    decoder.feed(data[:at])
    taken_in_a_row = 0
    tail = data[at:end] + _FILLERS[0]
    for number in range(len(tail)):
        taken_in_a_row = taken_in_a_row + 1 if decoder.feed(tail[number : number + 1]) else 0
        if decoder.has_finished:
            return at + number + 1
        if taken_in_a_row == _RUN:
            return at + number + 2 - _RUN
    return end


def _with_visible_steps(data: bytes) -> bytes:
    """Return the JPEG with coarse quantization, so that its last bit changes a pixel."""
    parts: list[bytes | memoryview] = [START_OF_IMAGE]
    for segment in jpeg_segments(data):
        payload = _coarse(segment.payload) if segment.marker == DQT else segment.payload
        parts += [encode_segment(segment.marker, payload), segment.coded]
    return b"".join((*parts, END_OF_IMAGE))


def _coarse(tables: bytes) -> bytes:
    """Return the quantization tables with large steps. That of the average stays, because it would clip."""
    coarse = bytearray(tables)
    start = 0
    while start < len(tables):
        size = 2 if tables[start] >> 4 else 1
        for at in range(start + 1 + size, min(start + 1 + 64 * size, len(tables) - size + 1), size):
            step = max(_VISIBLE_STEP, int.from_bytes(tables[at : at + size], "big"))
            coarse[at : at + size] = step.to_bytes(size, "big")
        start += 1 + 64 * size
    return bytes(coarse)


def _pixels(scans: bytes) -> bytes:
    """Return a hash of the pixels, read in parts because a large picture has hundreds of megabytes."""
    image = Image.open(BytesIO(scans + END_OF_IMAGE), formats=("JPEG",))
    image.load()
    pixels = hashlib.blake2b()
    for top in range(0, image.height, _HASHED_ROWS):
        rows = image.crop((0, top, image.width, min(top + _HASHED_ROWS, image.height)))
        pixels.update(rows.tobytes())
    return pixels.digest()


def _short_scan_error() -> InvalidArgumentError:
    return corrupt_error("a JPEG scan ends early")
