"""WebP files without metadata. Source: RFC 9649 (WebP container)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from avatar_creator_server.images.metadata.exif import UPRIGHT, read_orientation
from avatar_creator_server.images.metadata.profile import is_profile
from avatar_creator_server.images.metadata.stripped import (
    StrippedPicture,
    animated_error,
    corrupt_error,
    take,
)

_ICC_FLAG, _ALPHA_FLAG, _ANIMATION_FLAG = 0x20, 0x10, 0x02
_PIXELS = frozenset({b"VP8 ", b"VP8L"})
_KEPT = frozenset({b"VP8X", b"ICCP", b"ALPH"}) | _PIXELS
_METADATA = frozenset({b"EXIF", b"XMP "})
_FRAME_HEADER_BYTES = 16


def strip_webp(data: bytes) -> StrippedPicture:
    """Return a WebP file without metadata.

    An animation of one frame becomes a still picture, or keeps its layout if the frame covers only a part of
    the picture. A file may end, or have junk, after its pixels.

    Raises:
        InvalidArgumentError: IMAGE_CORRUPT if the file is not a whole WebP; IMAGE_ANIMATED if it is an
            animation of more than one frame.
    """
    kept: dict[bytes, bytes] = {}
    frames: list[bytes] = []
    orientation: int | None = None
    for kind, body in _chunks(data):
        if kind == b"ANMF":
            frames.append(body)
        elif kind == b"EXIF" and orientation is None:
            orientation = read_orientation(body)
        elif kind == b"ICCP":
            if is_profile(body):
                kept.setdefault(kind, body)
        elif kind in _KEPT and kind not in kept:
            kept[kind] = body
        elif kind in _KEPT:
            raise corrupt_error("the WebP has the same chunk twice")
    if len(frames) > 1 or (frames and _PIXELS & kept.keys()):
        raise animated_error()
    if frames:
        kept = _with_pixels_of(frames[0], kept)
    pixels, canvas = _size_of_pixels(kept), _size_of_canvas(kept)
    is_partial = bool(frames) and canvas != pixels
    if canvas not in (None, pixels) and not is_partial:
        raise corrupt_error("the size in the WebP header is not the size of its pixels")
    width, height = canvas or pixels
    return StrippedPicture(
        _file(_animation_of(frames[0], kept) if is_partial else _without_metadata_flags(kept)),
        "image/webp",
        width,
        height,
        UPRIGHT if orientation is None else orientation,
        lossless=b"VP8L" in kept,
        must_encode=is_partial,
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and body of each chunk.

    Raises:
        InvalidArgumentError: The file ends, or has junk, before its pixels.
    """
    data = data[: 8 + int.from_bytes(take(data, 4, 4), "little")]
    position = 12
    has_pixels = False
    while position < len(data):
        if has_pixels and _ends_early(data[position:]):
            return
        kind, length = struct.unpack("<4sI", take(data, position, 8))
        yield kind, take(data, position + 8, length)
        has_pixels |= kind in _PIXELS or kind == b"ANMF"
        position += 8 + length + length % 2


def _ends_early(rest: bytes) -> bool:
    """Return whether the file was cut in its metadata, or ends in zeros.

    Other bytes show that the length of the pixels is wrong: what counts as pixels may then have metadata.
    """
    is_metadata = any(kind.startswith(rest[:4]) for kind in _METADATA)
    is_cut = len(rest) < 8 or len(rest) < 8 + int.from_bytes(rest[4:8], "little")
    return (is_metadata and is_cut) or not rest.strip(b"\0")


def _with_pixels_of(frame: bytes, chunks: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the header and the profile of an animation with the pixels of its frame."""
    if b"VP8X" not in chunks:
        raise corrupt_error("the WebP has an animation frame without a header")
    found = {kind: body for kind, body in chunks.items() if kind in (b"VP8X", b"ICCP")}
    position = _FRAME_HEADER_BYTES
    while position + 8 <= len(frame) and not _PIXELS & found.keys():
        kind, length = struct.unpack("<4sI", frame[position : position + 8])
        if kind in _PIXELS or kind == b"ALPH":
            found[kind] = take(frame, position + 8, length)
        position += 8 + length + length % 2
    return found


def _animation_of(frame: bytes, chunks: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the chunks of an animation whose only frame has these pixels."""
    pixels = {kind: body for kind, body in chunks.items() if kind in _PIXELS or kind == b"ALPH"}
    header = _without_metadata_flags(chunks)
    header = {kind: body for kind, body in header.items() if kind not in pixels}
    header[b"VP8X"] = bytes((header[b"VP8X"][0] | _ANIMATION_FLAG,)) + header[b"VP8X"][1:]
    return header | {b"ANIM": bytes(6), b"ANMF": frame[:_FRAME_HEADER_BYTES] + _encoded(pixels)}


def _size_of_pixels(chunks: dict[bytes, bytes]) -> tuple[int, int]:
    lossy, lossless = chunks.get(b"VP8 "), chunks.get(b"VP8L")
    if lossy is not None and lossless is None and lossy[3:6] == b"\x9d\x01\x2a" and len(lossy) >= 10:
        width, height = struct.unpack_from("<HH", lossy, 6)
        return width & 0x3FFF, height & 0x3FFF
    if lossless is not None and lossy is None and lossless[:1] == b"\x2f" and len(lossless) >= 5:
        bits = int.from_bytes(lossless[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise corrupt_error("the WebP must have exactly one picture")


def _size_of_canvas(chunks: dict[bytes, bytes]) -> tuple[int, int] | None:
    """Return the size in the header of the extended layout; None for the simple layout."""
    extended = chunks.get(b"VP8X")
    if extended is None:
        return None
    if len(extended) < 10:
        raise corrupt_error("the WebP header is too short")
    width, height = (int.from_bytes(extended[start : start + 3], "little") + 1 for start in (4, 7))
    return width, height


def _without_metadata_flags(chunks: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the chunks with a header that announces no metadata."""
    extended = chunks.get(b"VP8X")
    if extended is None:  # Only the extended layout has other chunks than the pixels.
        return {kind: body for kind, body in chunks.items() if kind in _PIXELS}
    # The header of an animation announces what any frame may have.
    has_alpha = b"ALPH" in chunks or (b"VP8L" in chunks and bool(extended[0] & _ALPHA_FLAG))
    flags = (_ALPHA_FLAG if has_alpha else 0) | (_ICC_FLAG if b"ICCP" in chunks else 0)
    return chunks | {b"VP8X": bytes((flags, 0, 0, 0)) + extended[4:10]}


def _file(chunks: dict[bytes, bytes]) -> bytes:
    body = b"WEBP" + _encoded(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _encoded(chunks: dict[bytes, bytes]) -> bytes:
    return b"".join(
        kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for kind, body in chunks.items()
    )
