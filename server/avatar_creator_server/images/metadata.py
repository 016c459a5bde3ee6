"""What in a picture's file is the picture, and what merely rides along: EXIF, GPS, XMP, comments, trailers.

Walks the segments of JPEG, PNG and WebP files and keeps those a decoder needs, byte for byte, so that
nothing is encoded again. Sources: ITU-T T.81 annex B (JPEG markers), CIPA DC-007 (MPF second images),
W3C PNG third edition (chunks), RFC 9649 (WebP container), TIFF 6.0 and CIPA DC-008 (orientation).
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from avatar_creator_server.errors import InvalidArgumentError

ContentType = Literal["image/jpeg", "image/png", "image/webp"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_JPEG_SCANS = 100
"""Every scan is a pass over the whole picture, so a small file of many empty ones would keep a core busy
for minutes. Encoders write about ten."""

UPRIGHT = 1
"""EXIF orientation of a picture whose first row is the top."""


@dataclass(frozen=True, slots=True)
class StrippedPicture:
    """A picture without its metadata. Not decoded: the pixels may still be broken."""

    data: bytes
    content_type: ContentType
    width: int
    """Pixels, as stored; before any turn `orientation` asks for."""
    height: int
    orientation: int
    """EXIF orientation, 1 to 8, read before it was dropped."""
    lossless: bool = True
    """Whether the pixels are coded without loss."""
    scan_ends: tuple[int, ...] = ()
    """Offsets in `data` just after each Huffman-coded JPEG scan; empty for other codings and formats."""


def corrupt(description: str) -> InvalidArgumentError:
    """The refusal of a picture that is not whole."""
    return InvalidArgumentError.of_field(
        "chunk", f"the picture is truncated or broken: {description}", reason="IMAGE_CORRUPT"
    )


def animated() -> InvalidArgumentError:
    """The refusal of a picture that moves."""
    return InvalidArgumentError.of_field(
        "chunk", "the picture is animated; send a still one", reason="IMAGE_ANIMATED"
    )


def content_type_of(data: bytes) -> ContentType | None:
    """The type the first bytes tell, or None for anything this service does not take."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(PNG_SIGNATURE):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def strip_metadata(data: bytes, content_type: ContentType) -> StrippedPicture:
    """The same picture with only what its pixels and colours need.

    Refuses with IMAGE_CORRUPT a file whose segments do not add up to a whole picture, and with
    IMAGE_ANIMATED one that moves.
    """
    match content_type:
        case "image/jpeg":
            return _strip_jpeg(data)
        case "image/png":
            return _strip_png(data)
        case "image/webp":
            return _strip_webp(data)


def _take(data: bytes, start: int, length: int) -> bytes:
    if start + length > len(data):
        raise corrupt("it ends early")
    return data[start : start + length]


# JPEG

_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP2, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
_HUFFMAN_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_FRAMES = _HUFFMAN_FRAMES | {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD})
"""DHT, DAC, DQT, DNL, DRI."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""A marker that ends a scan: not a stuffed FF00, a fill byte or a restart marker."""


def _strip_jpeg(data: bytes) -> StrippedPicture:
    kept = bytearray(b"\xff\xd8")
    position = 2
    frame = width = height = orientation = 0
    scan_ends: list[int] = []
    in_scan = False
    while True:
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            raise corrupt("it ends without an end-of-image marker")
        if in_scan:
            coded = data[position : found.start()]
            scan_ends.append(len(kept) + len(coded.rstrip(b"\xff")))  # T.81 lets fill bytes precede a marker.
            kept += coded
            in_scan = False
        marker, position = data[found.start() + 1], found.end()
        if marker == _EOI:
            break
        length = int.from_bytes(_take(data, position, 2), "big")
        if length < 2:
            raise corrupt("a JPEG segment has no length")
        segment = _take(data, position, length)
        position += length
        payload = segment[2:]
        if marker in _FRAMES:
            if frame or len(payload) < 6:
                raise corrupt("its JPEG frame header is wrong")
            frame = marker
            height, width = struct.unpack_from(">HH", payload, 1)
        elif marker == _SOS:
            if not frame or len(scan_ends) == MAX_JPEG_SCANS:
                raise corrupt(f"it has a JPEG scan before its frame, or more than {MAX_JPEG_SCANS}")
            in_scan = True
        elif _APP0 <= marker <= _APP15 or marker == _COM:
            if marker == _APP1 and payload.startswith(b"Exif\0") and not orientation:
                orientation = _exif_orientation(payload[6:])
            segment = _kept_application_segment(marker, payload)
        elif marker not in _TABLES:
            raise corrupt(f"it has an unknown JPEG marker FF{marker:02X}")
        if segment:
            kept += bytes((0xFF, marker)) + segment
    if not scan_ends:
        raise corrupt("it has no JPEG scan")
    kept += b"\xff\xd9"
    return StrippedPicture(
        bytes(kept),
        "image/jpeg",
        width,
        height,
        orientation or UPRIGHT,
        lossless=False,
        scan_ends=tuple(scan_ends) if frame in _HUFFMAN_FRAMES else (),
    )


def _kept_application_segment(marker: int, payload: bytes) -> bytes:
    """The part of an APPn or COM segment that says how to read the colours, with its length; or nothing."""
    kept = b""
    if marker == _APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
        kept = payload[:12] + b"\0\0"  # Its thumbnail may show what was cropped away.
    elif marker == _APP2 and payload.startswith(b"ICC_PROFILE\0"):
        kept = payload
    elif marker == _APP14 and payload.startswith(b"Adobe"):
        kept = payload[:12]
    return struct.pack(">H", len(kept) + 2) + kept if kept else b""


# PNG

_PNG_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PNG_KEPT = _PNG_CRITICAL | {b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs", b"cICP"}


def _strip_png(data: bytes) -> StrippedPicture:
    kept = bytearray(PNG_SIGNATURE)
    position = len(PNG_SIGNATURE)
    width = height = 0
    orientation = UPRIGHT
    kind = b""
    while kind != b"IEND":
        is_first = kind == b""
        length, kind = struct.unpack(">I4s", _take(data, position, 8))
        chunk = _take(data, position, 12 + length)
        position += len(chunk)
        if zlib.crc32(memoryview(chunk)[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise corrupt(f"a PNG chunk's checksum is wrong at byte {position - len(chunk)}")
        if (kind == b"IHDR") != is_first:
            raise corrupt("its PNG header is not first")
        if kind == b"IHDR":
            if length != 13:
                raise corrupt("its PNG header is wrong")
            width, height = struct.unpack_from(">II", chunk, 8)
        elif kind == b"acTL":
            raise animated()
        elif kind == b"eXIf":
            orientation = _exif_orientation(chunk[8:-4])
        elif kind[:1].isupper() and kind not in _PNG_CRITICAL:
            raise corrupt("it has a PNG chunk that may not be ignored and is unknown")
        if kind in _PNG_KEPT:
            kept += chunk
    return StrippedPicture(bytes(kept), "image/png", width, height, orientation)


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type."""

_WHOLE_PASS = ((0, 0, 1, 1),)
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
"""Coded bytes; deflate makes at most a thousand times as many of them."""


def has_every_png_row(data: bytes) -> bool:
    """Whether the pixels of a stripped PNG go down to its last row; their checksums do not tell.

    Raises `KeyError` or `zlib.error` for pixels that cannot be read at all.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    missing = 0
    for left, top, right_step, down_step in _ADAM7_PASSES if interlaced else _WHOLE_PASS:
        columns, rows = -((left - width) // right_step), -((top - height) // down_step)
        if columns > 0 and rows > 0:
            missing += rows * (1 + (columns * depth * _PNG_CHANNELS[colour] + 7) // 8)
    inflate = zlib.decompressobj()
    position = len(PNG_SIGNATURE)
    while missing > 0 and position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body, position = position + 8, position + 12 + length
        if kind == b"IDAT":
            for start in range(body, body + length, _INFLATED_AT_ONCE):
                missing -= len(
                    inflate.decompress(data[start : min(start + _INFLATED_AT_ONCE, body + length)])
                )
                if missing <= 0:
                    break
    return missing <= 0


# WebP

_WEBP_ICC_FLAG, _WEBP_ALPHA_FLAG, _WEBP_ANIMATION_FLAG = 0x20, 0x10, 0x02


def _strip_webp(data: bytes) -> StrippedPicture:
    end = 8 + int.from_bytes(_take(data, 4, 4), "little")
    data = _take(data, 0, end)
    chunks: dict[bytes, bytes] = {}
    orientation = UPRIGHT
    position = 12
    while position < end:
        kind, length = struct.unpack("<4sI", _take(data, position, 8))
        body = _take(data, position + 8, length)
        position += 8 + length + length % 2
        if kind in (b"ANIM", b"ANMF") or (kind == b"VP8X" and body and body[0] & _WEBP_ANIMATION_FLAG):
            raise animated()
        if kind in (b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L"):
            if kind in chunks:
                raise corrupt("it has a WebP chunk twice")
            chunks[kind] = body
        elif kind == b"EXIF":
            orientation = _exif_orientation(body.removeprefix(b"Exif\0\0"))
    width, height = _webp_size(chunks)
    if (extended := chunks.get(b"VP8X")) is not None:
        flags = extended[0] & _WEBP_ALPHA_FLAG | (_WEBP_ICC_FLAG if b"ICCP" in chunks else 0)
        chunks[b"VP8X"] = bytes((flags, 0, 0, 0)) + extended[4:10]
    else:  # Only the extended layout has other chunks than the picture's own.
        chunks = {kind: body for kind, body in chunks.items() if kind in (b"VP8 ", b"VP8L")}
    kept = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for kind, body in chunks.items()
    )
    return StrippedPicture(
        b"RIFF" + struct.pack("<I", len(kept)) + kept,
        "image/webp",
        width,
        height,
        orientation,
        lossless=b"VP8L" in chunks,
    )


def _webp_size(chunks: dict[bytes, bytes]) -> tuple[int, int]:
    lossy, lossless, extended = chunks.get(b"VP8 "), chunks.get(b"VP8L"), chunks.get(b"VP8X")
    if lossy is not None and lossless is None and lossy[3:6] == b"\x9d\x01\x2a" and len(lossy) >= 10:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", lossy, 6))
    elif lossless is not None and lossy is None and lossless[:1] == b"\x2f" and len(lossless) >= 5:
        bits = int.from_bytes(lossless[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise corrupt("it has no WebP picture, or more than one")
    if extended is not None:
        canvas = tuple(int.from_bytes(extended[i : i + 3], "little") + 1 for i in (4, 7))
        if len(extended) < 10 or canvas != (width, height):
            raise corrupt("its WebP header does not fit its picture")
    return width, height


# EXIF

_ORIENTATION_TAG, _SHORT = 0x0112, 3


def _exif_orientation(tiff: bytes) -> int:
    """Orientation of a TIFF block's first directory. A block one cannot read says nothing: upright."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, _count, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if (tag, kind) == (_ORIENTATION_TAG, _SHORT):
                return value if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT
