"""PNG files without metadata, and whether their pixels are complete. Source: W3C PNG third edition.

A broken ancillary chunk is dropped, as libpng does: one with a wrong checksum, length, value or place, and
each chunk after the first of its kind. Colors are then read without it. A broken critical chunk refuses the
picture.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

from avatar_creator_server.images.metadata.exif import UPRIGHT, read_orientation
from avatar_creator_server.images.metadata.profile import MAX_PROFILE_BYTES, is_profile
from avatar_creator_server.images.metadata.stripped import (
    StrippedPicture,
    animated_error,
    corrupt_error,
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PIXELS = _CRITICAL | {b"tRNS"}
"""Chunks that a decoder needs for the pixels."""
_AFTER_PALETTE = frozenset({b"tRNS", b"bKGD"})
_BEFORE_PALETTE = frozenset({b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"cICP", b"mDCV", b"cLLI"})

GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""Color types."""
_COLOR, _ALPHA = 2, 4
"""Bits of the color types with colors and with an alpha channel."""
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGB_ALPHA: 4}
"""Number of samples of a pixel by color type."""
MAX_COLORS = 256
"""Maximum number of colors in a palette."""
_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))

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


@dataclass(frozen=True, slots=True)
class PngHeader:
    """The facts in the header of a PNG."""

    width: int
    height: int
    depth: int
    """Bits per sample, or per palette index."""
    color_type: int

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the facts in the body of a header chunk."""
        return cls(*struct.unpack_from(">IIBB", body))

    @property
    def channels(self) -> int:
        """Number of samples of a pixel."""
        return CHANNELS[self.color_type]

    @property
    def maximum(self) -> int:
        """Largest value of a sample."""
        return int(2**self.depth - 1)


def strip_png(data: bytes) -> StrippedPicture:
    """Return a PNG file without metadata.

    A file that ends or has junk after its pixels, where its end chunk should be, gets an end chunk.

    Raises:
        InvalidArgumentError: IMAGE_CORRUPT if the file is not a whole PNG; IMAGE_ANIMATED if it is an APNG of
            more than one frame.
    """
    picture = _Stripper()
    for chunk in _chunks(data):
        picture.add(chunk)
    return picture.finish()


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    body: bytes
    is_whole: bool
    """True if the checksum is right."""

    @property
    def is_critical(self) -> bool:
        return self.kind[:1].isupper()

    def encoded(self) -> bytes:
        checksum = zlib.crc32(self.kind + self.body)
        return struct.pack(">I", len(self.body)) + self.kind + self.body + struct.pack(">I", checksum)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield each chunk up to the end of the image.

    Raises:
        InvalidArgumentError: The file ends, or has junk, before its first pixels.
    """
    position = len(PNG_SIGNATURE)
    kind = b""
    has_pixels = False
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", data[position : position + 8].ljust(8, b"\0"))
        end = position + 12 + length
        if not kind.isalpha() or end > len(data):
            # Whether the pixels before this place are complete shows when they are inflated.
            if not has_pixels or kind == b"IDAT":
                raise corrupt_error("the file ends early")
            return
        body = data[position + 8 : end - 4]
        yield _Chunk(kind, body, zlib.crc32(kind + body) == int.from_bytes(data[end - 4 : end], "big"))
        has_pixels |= kind == b"IDAT"
        position = end


class _Stripper:
    """Collects the chunks of one picture that a decoder needs."""

    def __init__(self) -> None:
        self._kept = bytearray(PNG_SIGNATURE)
        self._header = _Header(0, 0, 0, 0)
        self._seen: set[bytes] = set()
        self._orientation: int | None = None
        self._announced_frames: int | None = None
        self._frames = 0

    def add(self, chunk: _Chunk) -> None:
        if (chunk.kind == b"IHDR") != (not self._seen):
            raise corrupt_error("the PNG header must be the first chunk and the only header")
        if chunk.is_critical:
            self._add_critical(chunk)
        else:
            self._add_ancillary(chunk)

    def finish(self) -> StrippedPicture:
        # Without announcement, all frames but the default image are ignored by every decoder.
        if self._announced_frames is not None and max(self._announced_frames, self._frames) > 1:
            raise animated_error()
        return StrippedPicture(
            bytes(self._kept + _END),
            "image/png",
            self._header.width,
            self._header.height,
            UPRIGHT if self._orientation is None else self._orientation,
        )

    def _add_critical(self, chunk: _Chunk) -> None:
        if chunk.kind not in _CRITICAL:
            raise corrupt_error("the PNG has an unknown chunk that a decoder must not ignore")
        if not chunk.is_whole:
            raise corrupt_error("the checksum of a PNG chunk is wrong")
        if chunk.kind == b"PLTE" and not self._needs_palette(chunk.body):
            return
        if chunk.kind == b"IDAT" and self._header.color_type == PALETTE and b"PLTE" not in self._seen:
            raise corrupt_error("the PNG has no palette before its pixels")
        self._seen.add(chunk.kind)
        if chunk.kind == b"IHDR":
            if len(chunk.body) != 13:
                raise corrupt_error("the PNG header has a wrong length")
            self._header = _Header.parse(chunk.body)
        elif chunk.kind == b"PLTE":
            self._header = replace(self._header, palette=len(chunk.body) // 3)
        if chunk.kind != b"IEND":
            self._kept += chunk.encoded()

    def _needs_palette(self, palette: bytes) -> bool:
        """Return whether decoders read this palette: the first one, whole, in place, of a picture in color.

        Raises:
            InvalidArgumentError: The colors of the pixels are in no other palette.
        """
        is_read = (
            self._seen.isdisjoint((b"PLTE", b"IDAT"))
            and len(palette) % 3 == 0
            and 0 < len(palette) <= 3 * MAX_COLORS
        )
        if self._header.color_type == PALETTE and not is_read:
            raise corrupt_error("the palette of the PNG is damaged")
        return is_read and bool(self._header.color_type & _COLOR)

    def _add_ancillary(self, chunk: _Chunk) -> None:
        if chunk.kind == b"acTL":
            count = int.from_bytes(chunk.body[:4], "big") if chunk.is_whole else 1
            self._announced_frames = max(count, self._announced_frames or 1)
        elif chunk.kind == b"fcTL":
            self._frames += 1
        elif not chunk.is_whole:
            return
        elif chunk.kind == b"eXIf":
            if self._orientation is None:
                self._orientation = read_orientation(chunk.body)
        elif self._is_in_place(chunk.kind) and (body := self._header.checked(chunk.kind, chunk.body)):
            self._seen.add(chunk.kind)
            self._kept += _Chunk(chunk.kind, body, is_whole=True).encoded()

    def _is_in_place(self, kind: bytes) -> bool:
        if kind in self._seen or b"IDAT" in self._seen:
            return False
        if kind in _AFTER_PALETTE:
            return self._header.color_type != PALETTE or b"PLTE" in self._seen
        return kind not in _BEFORE_PALETTE or b"PLTE" not in self._seen


@dataclass(frozen=True, slots=True)
class _Header(PngHeader):
    """The facts on which the lengths and values of ancillary chunks depend."""

    palette: int = 0
    """Number of colors in the palette."""

    def checked(self, kind: bytes, body: bytes) -> bytes:
        """Return the body of an ancillary chunk that decoders use, or nothing for a broken or unknown one."""
        if kind == b"iCCP":
            return _whole_profile(body)
        check = _CHECKS.get(kind)
        return body if check is not None and check(self, body) else b""

    def accepts_transparency(self, body: bytes) -> bool:
        if self.color_type == PALETTE:
            return 0 < len(body) <= self.palette
        return not self.color_type & _ALPHA and len(body) == 2 * CHANNELS.get(self.color_type, 0)

    def accepts_background(self, body: bytes) -> bool:
        if self.color_type == PALETTE:
            return len(body) == 1 and body[0] < self.palette
        return len(body) == (6 if self.color_type & _COLOR else 2)

    def accepts_significant_bits(self, body: bytes) -> bool:
        if self.color_type == PALETTE:
            return len(body) == 3 and all(0 < bits <= 8 for bits in body)
        return len(body) == CHANNELS.get(self.color_type, 0) and all(0 < bits <= self.depth for bits in body)


_CHECKS: dict[bytes, Callable[[_Header, bytes], bool]] = {
    b"tRNS": _Header.accepts_transparency,
    b"bKGD": _Header.accepts_background,
    b"sBIT": _Header.accepts_significant_bits,
    b"gAMA": lambda _, body: len(body) == 4 and any(body),
    b"cHRM": lambda _, body: len(body) == 32,
    b"sRGB": lambda _, body: len(body) == 1 and body[0] <= 3,
    b"cICP": lambda _, body: len(body) == 4,
    b"pHYs": lambda _, body: len(body) == 9,
    b"mDCV": lambda _, body: len(body) == 24,
    b"cLLI": lambda _, body: len(body) == 8,
}
"""Check of each ancillary chunk that is kept."""


def _whole_profile(body: bytes) -> bytes:
    """Return the body of a profile chunk without bytes after its profile, or nothing for a broken one."""
    name, _, coded = body.partition(b"\0")
    if not 1 <= len(name) <= 79 or coded[:1] != b"\0":
        return b""
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(coded[1:], MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return b""
    if not is_profile(profile) or not inflate.eof:
        return b""
    return body[: len(body) - len(inflate.unused_data)]


def only_pixels(data: bytes) -> bytes:
    """Return a stripped PNG with no other chunks than those of its pixels."""
    kept = (data[body - 8 : end + 4] for kind, body, end in _places(data) if kind in _PIXELS)
    return PNG_SIGNATURE + b"".join(kept)


def _places(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each chunk of a stripped PNG, and the offsets of its body and after its body."""
    position = len(PNG_SIGNATURE)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, position + 8, position + 8 + length
        position += 12 + length


def read_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the body of each chunk of a stripped PNG."""
    return ((chunk.kind, chunk.body) for chunk in _chunks(data))


def encode_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk with its length and its checksum."""
    return _Chunk(kind, body, is_whole=True).encoded()


def has_every_png_row(data: bytes) -> bool:
    """Return whether a stripped PNG has pixels for all its rows; its checksums do not show that.

    Raises:
        KeyError: The color type is unknown.
        zlib.error: The pixels cannot be inflated.
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
            total += rows * (1 + (columns * depth * CHANNELS[color_type] + 7) // 8)
    return total


def _inflated_pixels(data: bytes) -> Iterator[bytes]:
    inflate = zlib.decompressobj()
    for kind, body, end in _places(data):
        if kind == b"IDAT":
            for start in range(body, end, _INFLATED_AT_ONCE):
                yield inflate.decompress(data[start : min(start + _INFLATED_AT_ONCE, end)])
