"""PNG files of any kind made by code, and a slow, independent decoder of them in 64-bit floating point.

It shares no code with the service: it inflates and unfilters by itself, and has its own color math.
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


# Colors

PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), (0.3100, 0.3160)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3140, 0.3510)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), (0.3127, 0.3290)),
}
TRANSFERS = (1, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 18)


def _xyz_of_rgb(primaries: Any) -> Array:
    """Return the matrix whose columns are the XYZ of red, green and blue."""
    red, green, blue, white = ((x / y, 1.0, (1 - x - y) / y) for x, y in primaries)
    columns = np.array([red, green, blue]).T
    result: Array = columns @ np.diag(np.linalg.inv(columns) @ np.array(white))
    return result


def _light(transfer: int, value: float) -> float:
    """Return the light of one signal: the inverse of each function in H.273, solved by hand."""
    match transfer:
        case 1 | 6 | 14 | 15:
            return value / 4.5 if value < 0.081 else ((value + 0.099297) / 1.099297) ** (1 / 0.45)
        case 4:
            return float(value**2.2)
        case 5:
            return float(value**2.8)
        case 7:
            return value / 4 if value < 0.0912 else ((value + 0.1115) / 1.1115) ** (1 / 0.45)
        case 13:
            return value / 12.92 if value < 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        case 16:
            power = value ** (32 / 2523)
            return (
                float((max(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power)) ** (8192 / 1305))
                * 1e4
                / 203
            )
        case 17:
            return float(value**2.6 * 52.37 / 48)
        case 18:
            return (
                value * value / 3
                if value < 0.5
                else float(np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
            )
    return value


def _in_srgb(signal: Array, primaries: Any, light_of: Any, *, is_hlg: bool, is_bright: bool) -> Array:
    """Return RGB from 0 to 255, not rounded, for signals of shape (..., 3)."""
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    light: Array = np.vectorize(light_of, otypes=[float])(np.clip(signal, 0, 1))
    to_xyz = _xyz_of_rgb(primaries)
    if is_hlg:
        light = light * (light @ to_xyz[1])[..., None] ** 0.2 * 1000 / 203
    white, d65 = bradford @ to_xyz.sum(axis=1), bradford @ _xyz_of_rgb(PRIMARIES[1]).sum(axis=1)
    xyz = light @ to_xyz.T @ bradford.T * (d65 / white) @ np.linalg.inv(bradford).T
    light = xyz @ np.linalg.inv(_xyz_of_rgb(PRIMARIES[1])).T
    if is_bright:  # Up to 0.8 of white unchanged, then an exponential approach to white.
        top = np.maximum(light.max(axis=-1, keepdims=True), 0.8)
        light = light / top * (1 - 0.2 * np.exp((0.8 - top) / 0.2))
    light = np.clip(light, 0, 1)
    coded: Array = np.where(light < 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return 255 * coded


def colors(png: Decoded, samples: Array | None = None) -> Array:
    """Return the colors of the picture, or of these color samples, in sRGB from 0 to 255.

    The only profiles that it knows are those of RGB with red and green swapped.
    """
    if samples is None:
        samples = color_samples(png)
    depth = 8 if png.color_type == 3 else png.depth
    signal: Array = samples / (2**depth - 1)
    is_gray = png.color_type in (0, 4)
    if (cicp := png.chunks.get(b"cICP")) and cicp[0] in PRIMARIES and cicp[1] in TRANSFERS and not cicp[2]:
        if not cicp[3]:
            signal = (samples / 2.0 ** (depth - 8) - 16) / 219
        return _in_srgb(
            signal,
            PRIMARIES[cicp[0]],
            lambda value: _light(cicp[1], value),
            is_hlg=cicp[1] == 18,
            is_bright=cicp[1] in (16, 18),
        )
    if b"iCCP" in png.chunks and not is_gray:
        swapped: Array = 255 * signal[..., [1, 0, 2]]
        return swapped
    unchanged: Array = 255 * signal
    if b"sRGB" in png.chunks:
        return unchanged
    gamma = int.from_bytes(png.chunks.get(b"gAMA", b""), "big") / 1e5 or None
    primaries = PRIMARIES[1]
    if chrm := png.chunks.get(b"cHRM"):
        numbers = [value / 1e5 for value in struct.unpack(">8I", chrm)]
        white, red, green, blue = zip(numbers[::2], numbers[1::2], strict=True)
        if white[1]:  # A white without luminance is damage.
            primaries = (red, green, blue, white)
    if primaries == PRIMARIES[1] and gamma in (None, 0.45455):
        return unchanged
    return _in_srgb(
        signal,
        primaries,
        (lambda value: _light(13, value)) if gamma is None else (lambda value: value ** (1 / gamma)),
        is_hlg=False,
        is_bright=False,
    )


def color_samples(png: Decoded) -> Array:
    """Return unscaled RGB samples."""
    match png.color_type:
        case 3:
            palette = np.frombuffer(png.chunks[b"PLTE"], np.uint8).reshape(-1, 3).astype(float)
            result: Array = palette[png.samples[..., 0]]
            return result
        case 0 | 4:
            return np.repeat(png.samples[..., :1], 3, axis=-1).astype(float)
    return png.samples[..., :3].astype(float)


def opacity(png: Decoded) -> Array:
    """Return the opacity of each pixel from 0 to 1."""
    transparency = png.chunks.get(b"tRNS", b"")
    opaque = np.ones(png.samples.shape[:2])
    if png.color_type in (4, 6):
        channel: Array = png.samples[..., -1] / (2**png.depth - 1)
        return channel
    if png.color_type == 3:
        table = [*transparency] + [255] * (256 - len(transparency))
        result: Array = np.array(table)[png.samples[..., 0]] / 255
        return result
    if transparency:
        key = np.array([*struct.iter_unpack(">H", transparency)]).ravel() % 2**png.depth
        opaque[(png.samples == key).all(axis=-1)] = 0
    return opaque


def on_white(rgb: Array, alpha: Array) -> Array:
    """Return the colors on a white background."""
    result: Array = rgb * alpha[..., None] + 255 * (1 - alpha[..., None])
    return result


def square(png: Decoded, size: int, step: int) -> tuple[Array, Array]:
    """Return colors and opacity of the middle of the picture, resized with Lanczos of three lobes.

    Args:
        png: The picture.
        size: Width of the square in pixels.
        step: Only each pixel of a multiple of it, in both directions, is calculated.
    """
    alpha = opacity(png)
    maximum = 255 if png.color_type == 3 else 2**png.depth - 1
    weighted = np.dstack((color_samples(png) * alpha[..., None], alpha))
    for axis in (1, 0):
        length, side = weighted.shape[axis], min(png.samples.shape[:2])
        weights = _lanczos(length, (length - side) / 2, side, size)[::step]
        weighted = np.moveaxis(np.tensordot(weights, weighted, (1, axis)), 0, axis)
        weighted = np.clip(weighted, 0, [maximum, maximum, maximum, 1])
    alpha = weighted[..., 3]
    plain = weighted[..., :3] / np.maximum(alpha, 1e-9)[..., None]
    return colors(png, np.clip(plain, 0, maximum)), alpha


def _lanczos(length: int, start: float, side: int, size: int) -> Array:
    scale = max(side / size, 1)
    centers = start + (np.arange(size) + 0.5) * side / size
    distance = (np.arange(length) + 0.5 - centers[:, None]) / scale
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    result: Array = weights / weights.sum(axis=1, keepdims=True)
    return result
