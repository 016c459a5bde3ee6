"""PNG files without metadata, and whether their pixels are complete. Source: W3C PNG third edition."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from avatar_creator_server.images.metadata.exif import UPRIGHT, read_orientation
from avatar_creator_server.images.metadata.stripped import (
    StrippedPicture,
    animated_error,
    corrupt_error,
    take,
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_KEPT = _CRITICAL | {b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs", b"cICP"}

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Number of channels by color type."""

_ONE_PASS = ((0, 0, 1, 1),)
_ADAM7_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""First column, first row, column step and row step of each pass over an interlaced picture."""

_INFLATED_AT_ONCE = 16 * 1024
"""Coded bytes to inflate at once. Deflate makes at most a thousand times as many bytes of them."""


def strip_png(data: bytes) -> StrippedPicture:
    """Return a PNG file without metadata.

    Raises:
        InvalidArgumentError: IMAGE_CORRUPT if the file is not a whole PNG; IMAGE_ANIMATED if it is an APNG.
    """
    kept = bytearray(PNG_SIGNATURE)
    width = height = 0
    orientation = UPRIGHT
    for number, (kind, chunk) in enumerate(_chunks(data)):
        body = memoryview(chunk)[8:-4]
        if (kind == b"IHDR") != (number == 0):
            raise corrupt_error("the PNG header must be the first chunk and the only header")
        if kind == b"IHDR":
            if len(body) != 13:
                raise corrupt_error("the PNG header has a wrong length")
            width, height = struct.unpack_from(">II", body)
        elif kind == b"acTL":
            raise animated_error()
        elif kind == b"eXIf":
            orientation = read_orientation(bytes(body))
        elif kind[:1].isupper() and kind not in _CRITICAL:
            raise corrupt_error("the PNG has an unknown chunk that a decoder must not ignore")
        if kind in _KEPT:
            kept += chunk
    return StrippedPicture(bytes(kept), "image/png", width, height, orientation)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and all bytes of each chunk up to the end of the image."""
    position = len(PNG_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", take(data, position, 8))
        chunk = take(data, position, 12 + length)
        if zlib.crc32(memoryview(chunk)[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise corrupt_error(f"the checksum of the PNG chunk at byte {position} is wrong")
        yield kind, chunk
        position += len(chunk)


def has_every_png_row(data: bytes) -> bool:
    """Return whether a stripped PNG has pixels for all its rows; its checksums do not show that.

    Raises:
        KeyError: the color type is unknown.
        zlib.error: the pixels cannot be inflated.
    """
    missing = _bytes_of_all_rows(data)
    inflated = _inflated_pixels(data)
    # A check before each piece, because the rest after the last row need not be inflated.
    while missing > 0 and (piece := next(inflated, None)) is not None:
        missing -= len(piece)
    return missing <= 0


def _bytes_of_all_rows(data: bytes) -> int:
    """Return the number of inflated bytes that the header asks for; each row begins with its filter type."""
    width, height, depth, color_type, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    total = 0
    for left, top, right_step, down_step in _ADAM7_PASSES if interlaced else _ONE_PASS:
        columns, rows = -((left - width) // right_step), -((top - height) // down_step)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * depth * _CHANNELS[color_type] + 7) // 8)
    return total


def _inflated_pixels(data: bytes) -> Iterator[bytes]:
    inflate = zlib.decompressobj()
    position = len(PNG_SIGNATURE)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body, position = position + 8, position + 12 + length
        if kind == b"IDAT":
            for start in range(body, body + length, _INFLATED_AT_ONCE):
                yield inflate.decompress(data[start : min(start + _INFLATED_AT_ONCE, body + length)])
