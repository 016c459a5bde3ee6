"""PNG files of any kind made by code, and a slow, independent reader of their samples.

It shares no code with the service: it inflates and unfilters by itself. `tests/expected_colors.py` computes
the colors.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.pictures import png_chunk

Array = npt.NDArray[Any]

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [
    *((depth, 0) for depth in (1, 2, 4, 8, 16)),
    *((depth, 3) for depth in (1, 2, 4, 8)),
    *((depth, color_type) for color_type in (2, 4, 6) for depth in (8, 16)),
]
"""Depth and color type of every kind of PNG."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True)
class Decoded:
    """A PNG as its bytes say."""

    depth: int
    color_type: int
    interlace: int
    samples: Array
    """Unscaled samples of shape (height, width, channels)."""
    chunks: dict[bytes, bytes]
    """Body of each chunk except the pixels, in the order of the file."""


def build(
    samples: Array,
    depth: int,
    color_type: int,
    *,
    interlaced: bool = False,
    before: bytes = b"",
    after_palette: bytes = b"",
    after: bytes = b"",
    palette: bytes = b"",
) -> bytes:
    """Return a PNG of these samples, whose rows have all filter types in turn."""
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced)
    rows = b""
    for left, top, right, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        part = samples[top::down, left::right]
        if part.size:
            rows += _filtered(part, depth)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + before
        + (png_chunk(b"PLTE", palette) if palette else b"")
        + after_palette
        + png_chunk(b"IDAT", zlib.compress(rows))
        + after
        + png_chunk(b"IEND")
    )


def _filtered(samples: Array, depth: int) -> bytes:
    step = max(1, samples.shape[2] * depth // 8)
    above = bytes(_row_bytes(samples.shape[1] * samples.shape[2], depth))
    coded = b""
    for number, row in enumerate(samples):
        bits = "".join(f"{value:0{depth}b}" for value in row.ravel().tolist())
        bits = bits.ljust(8 * len(above), "0")
        plain = int(bits, 2).to_bytes(len(above), "big")
        kind = number % 5
        coded += bytes((kind,)) + bytes(
            (plain[at] - _predicted(kind, plain, above, at, step)) % 256 for at in range(len(plain))
        )
        above = plain
    return coded


def _row_bytes(samples: int, depth: int) -> int:
    return (samples * depth + 7) // 8


def _predicted(kind: int, row: bytes | bytearray, above: bytes | bytearray, at: int, step: int) -> int:
    left = row[at - step] if at >= step else 0
    up = above[at]
    corner = above[at - step] if at >= step else 0
    match kind:
        case 1:
            return left
        case 2:
            return up
        case 3:
            return (left + up) // 2
        case 4:
            estimate = left + up - corner
            return min((left, up, corner), key=lambda value: abs(estimate - value))
    return 0


def decode(data: bytes) -> Decoded:
    """Return the samples and the chunks of a PNG."""
    chunks: dict[bytes, bytes] = {}
    pixels, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            pixels += body
        else:
            chunks[kind] = body
        at += length + 12
    width, height, depth, color_type, _, _, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    channels = CHANNELS[color_type]
    samples = np.zeros((height, width, channels), np.int64)
    rows, at = zlib.decompress(pixels), 0
    for left, top, right, down in _PASSES if interlace else ((0, 0, 1, 1),):
        part = samples[top::down, left::right]
        if not part.size:
            continue
        size, step = _row_bytes(part.shape[1] * channels, depth), max(1, channels * depth // 8)
        above = bytearray(size)
        for number in range(part.shape[0]):
            kind, row = rows[at], bytearray(rows[at + 1 : at + 1 + size])
            for place in range(size):
                row[place] = (row[place] + _predicted(kind, row, above, place, step)) % 256
            bits = f"{int.from_bytes(row, 'big'):0{8 * size}b}"
            values = [int(bits[bit : bit + depth], 2) for bit in range(0, len(bits), depth)]
            part[number] = np.array(values[: part.shape[1] * channels]).reshape(-1, channels)
            at, above = at + 1 + size, row
    return Decoded(depth, color_type, interlace, samples, chunks)
