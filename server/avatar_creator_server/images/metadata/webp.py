"""WebP files without metadata. Source: RFC 9649 (WebP container)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from avatar_creator_server.images.metadata.exif import UPRIGHT, read_orientation
from avatar_creator_server.images.metadata.stripped import (
    StrippedPicture,
    animated_error,
    corrupt_error,
    take,
)

_ICC_FLAG, _ALPHA_FLAG, _ANIMATION_FLAG = 0x20, 0x10, 0x02
_KEPT = frozenset({b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L"})
_PIXELS = frozenset({b"VP8 ", b"VP8L"})


def strip_webp(data: bytes) -> StrippedPicture:
    """Return a WebP file without metadata.

    Raises:
        InvalidArgumentError: IMAGE_CORRUPT if the file is not a whole WebP; IMAGE_ANIMATED if it is an
            animation.
    """
    kept: dict[bytes, bytes] = {}
    orientation = UPRIGHT
    for kind, body in _chunks(data):
        if _is_animation(kind, body):
            raise animated_error()
        if kind in kept:
            raise corrupt_error("the WebP has the same chunk twice")
        if kind in _KEPT:
            kept[kind] = body
        elif kind == b"EXIF":
            orientation = read_orientation(body.removeprefix(b"Exif\0\0"))
    width, height = _size(kept)
    return StrippedPicture(
        _file(_without_metadata_flags(kept)),
        "image/webp",
        width,
        height,
        orientation,
        lossless=b"VP8L" in kept,
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and body of each chunk."""
    end = 8 + int.from_bytes(take(data, 4, 4), "little")
    data = take(data, 0, end)
    position = 12
    while position < end:
        kind, length = struct.unpack("<4sI", take(data, position, 8))
        yield kind, take(data, position + 8, length)
        position += 8 + length + length % 2


def _is_animation(kind: bytes, body: bytes) -> bool:
    announces_animation = kind == b"VP8X" and bool(body) and bool(body[0] & _ANIMATION_FLAG)
    return announces_animation or kind in (b"ANIM", b"ANMF")


def _size(chunks: dict[bytes, bytes]) -> tuple[int, int]:
    size = _size_of_pixels(chunks.get(b"VP8 "), chunks.get(b"VP8L"))
    extended = chunks.get(b"VP8X")
    if extended is not None and (len(extended) < 10 or _size_of_canvas(extended) != size):
        raise corrupt_error("the size in the WebP header is not the size of its pixels")
    return size


def _size_of_pixels(lossy: bytes | None, lossless: bytes | None) -> tuple[int, int]:
    if lossy is not None and lossless is None and lossy[3:6] == b"\x9d\x01\x2a" and len(lossy) >= 10:
        width, height = struct.unpack_from("<HH", lossy, 6)
        return width & 0x3FFF, height & 0x3FFF
    if lossless is not None and lossy is None and lossless[:1] == b"\x2f" and len(lossless) >= 5:
        bits = int.from_bytes(lossless[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise corrupt_error("the WebP must have exactly one picture")


def _size_of_canvas(extended: bytes) -> tuple[int, int]:
    width, height = (int.from_bytes(extended[start : start + 3], "little") + 1 for start in (4, 7))
    return width, height


def _without_metadata_flags(chunks: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the chunks with a header that announces no metadata."""
    extended = chunks.get(b"VP8X")
    if extended is None:  # Only the extended layout has other chunks than the pixels.
        return {kind: body for kind, body in chunks.items() if kind in _PIXELS}
    flags = extended[0] & _ALPHA_FLAG | (_ICC_FLAG if b"ICCP" in chunks else 0)
    return chunks | {b"VP8X": bytes((flags, 0, 0, 0)) + extended[4:10]}


def _file(chunks: dict[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for kind, body in chunks.items()
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body
