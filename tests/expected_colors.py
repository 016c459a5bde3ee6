"""The colors that a picture must have in sRGB, computed from the specifications in float64.

The tests compare the service with this module, so it shares no code with the service. Sources: W3C PNG third
edition, sections 4.3 and 13.13; ITU-T H.273 tables 2 and 3; ITU-R BT.2100 (PQ and HLG) and BT.2408 (their
white); ICC.1:2022 for profiles of a matrix and curves. The curve above SDR white is the service's own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.png_reference import Decoded

GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""Color types of a PNG."""

Floats = npt.NDArray[np.float64]
Conversion = Callable[[Floats], Floats]
"""Function from signals to sRGB, both between 0 and 1, of shape (..., 3)."""
Point = tuple[float, float]
"""x and y of a color."""

D65: Point = (0.3127, 0.3290)
D50 = np.array([0.9642, 1.0, 0.8249])
"""XYZ of the white of a profile."""


@dataclass(frozen=True)
class Primaries:
    """Chromaticities of red, green, blue and white."""

    red: Point
    green: Point
    blue: Point
    white: Point = D65

    def to_xyz(self) -> Floats:
        """Return the matrix from linear RGB to XYZ, where white has a Y of 1."""
        columns = np.array([[x, y, 1 - x - y] for x, y in (self.red, self.green, self.blue)]).T
        return columns * np.linalg.solve(columns, xyz(self.white))


SRGB = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
PAL = Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06))
NTSC = Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
BT2020 = Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))

PRIMARIES = {
    1: SRGB,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: PAL,
    6: NTSC,
    7: NTSC,
    8: Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: BT2020,
    10: Primaries((1, 0), (0, 1), (0, 0), (1 / 3, 1 / 3)),
    11: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: DISPLAY_P3,
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
"""Primaries by number in H.273, table 2."""

PQ, HLG = 16, 18
SDR_WHITE = 203
"""cd/m2."""


def xyz(white: Point) -> Floats:
    """Return the XYZ of a color, with a Y of 1."""
    x, y = white
    return np.array([x / y, 1, (1 - x - y) / y])


def bt709(signal: Floats) -> Floats:
    """Return the light that a camera of BT.709 turns into the signal."""
    return np.where(signal < 0.081242858, signal / 4.5, ((signal + 0.099296827) / 1.099296827) ** (1 / 0.45))


def smpte_240m(signal: Floats) -> Floats:
    """Return the light that a camera of SMPTE 240M turns into the signal."""
    return np.where(signal < 0.0912, signal / 4, ((signal + 0.1115) / 1.1115) ** (1 / 0.45))


def srgb(signal: Floats) -> Floats:
    """Return the light of a display of IEC 61966-2-1."""
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def pq(signal: Floats) -> Floats:
    """Return the light of a display of SMPTE ST 2084, in multiples of SDR white."""
    root = signal ** (32 / 2523)
    peak = np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)
    return peak ** (8192 / 1305) * 10_000 / SDR_WHITE


def hlg(signal: Floats) -> Floats:
    """Return the light of the scene, between 0 and 1."""
    a = 0.17883277
    b = 1 - 4 * a
    c = 0.5 - a * np.log(4 * a)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


LIGHT: dict[int, Callable[[Floats], Floats]] = {
    1: bt709,
    4: lambda signal: signal**2.2,
    5: lambda signal: signal**2.8,
    6: bt709,
    7: smpte_240m,
    8: lambda signal: signal,
    9: lambda signal: np.where(signal > 0, 100 ** (signal - 1), 0),
    10: lambda signal: np.where(signal > 0, 10 ** (2.5 * (signal - 1)), 0),
    11: bt709,
    12: bt709,
    13: srgb,
    14: bt709,
    15: bt709,
    PQ: pq,
    17: lambda signal: 52.37 / 48 * signal**2.6,
    HLG: hlg,
}
"""Light by number of the transfer characteristics in H.273, table 3."""


def adapted(source: Floats, target: Floats) -> Floats:
    """Return Bradford's matrix from XYZ under one white to XYZ under another."""
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    scales = (cones @ target) / (cones @ source)
    return np.asarray(np.linalg.inv(cones) @ np.diag(scales) @ cones, np.float64)


def encoded_srgb(light: Floats) -> Floats:
    """Return linear light in sRGB's primaries as a signal; colors that sRGB does not have are clipped."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def unchanged(signal: Floats) -> Floats:
    """Return a signal that is in sRGB already."""
    return signal


def conversion(primaries: Primaries, light_of: Callable[[Floats], Floats]) -> Conversion:
    """Return the conversion from a space of these primaries."""
    matrix = np.linalg.inv(SRGB.to_xyz()) @ adapted(xyz(primaries.white), xyz(D65)) @ primaries.to_xyz()
    return lambda signal: encoded_srgb(light_of(np.clip(signal, 0, 1)) @ matrix.T)


def high_range_conversion(primaries: Primaries, transfer: int) -> Conversion:
    """Return the conversion from PQ or HLG.

    Colors up to 0.8 of white stay. Above, the brightest channel is compressed towards white and takes the
    others with it.
    """
    to_xyz = primaries.to_xyz()
    matrix = np.linalg.inv(SRGB.to_xyz()) @ adapted(xyz(primaries.white), xyz(D65)) @ to_xyz

    def convert(signal: Floats) -> Floats:
        light = LIGHT[transfer](np.clip(signal, 0, 1))
        if transfer == HLG:  # BT.2100's display of 1,000 cd/m2.
            light = light * (light @ to_xyz[1])[..., np.newaxis] ** 0.2 * 1000 / SDR_WHITE
        light = light @ matrix.T
        brightest = np.maximum(light.max(axis=-1, keepdims=True), 0.8)
        return encoded_srgb(light / brightest * (1 - 0.2 * np.exp(-(brightest - 0.8) / 0.2)))

    return convert


# PNG


def png_conversion(raw: Decoded) -> Conversion:
    """Return the conversion of a PNG, from the first of its facts that can be used."""
    code_points = raw.chunks.get(b"cICP", b"")
    if code_points and (found := _code_points_conversion(raw, code_points)):
        return found
    if body := raw.chunks.get(b"iCCP", b""):
        profile = zlib.decompress(body[body.index(b"\0") + 2 :])
        if found := profile_conversion(profile, is_gray=raw.color_type in (GRAY, GRAY_ALPHA)):
            return found
    if raw.chunks.get(b"sRGB", b""):
        return unchanged
    gamma = int.from_bytes(raw.chunks.get(b"gAMA", b""), "big")
    primaries = _written_primaries(raw.chunks.get(b"cHRM", b""))
    if gamma in (0, 45_455) and primaries in (None, SRGB):
        return unchanged
    light_of = (lambda signal: signal ** (100_000 / gamma)) if gamma else srgb
    return conversion(primaries or SRGB, light_of)


def _code_points_conversion(raw: Decoded, body: bytes) -> Conversion | None:
    primaries, transfer, matrix, full_range = body
    if primaries not in PRIMARIES or transfer not in LIGHT or matrix or full_range > 1:
        return None
    if transfer in (PQ, HLG):
        convert = high_range_conversion(PRIMARIES[primaries], transfer)
    else:
        convert = conversion(PRIMARIES[primaries], LIGHT[transfer])
    if full_range:
        return convert
    depth = 8 if raw.color_type == PALETTE else raw.depth
    unit = 2.0 ** (depth - 8)
    return lambda signal: convert((signal * (2**depth - 1) - 16 * unit) / (219 * unit))


def _written_primaries(body: bytes) -> Primaries | None:
    """Return the primaries in a chunk, or None if they lie on a line."""
    if not body:
        return None
    white, red, green, blue = ((x / 100_000, y / 100_000) for x, y in struct.iter_unpack(">II", body))
    area = (green[0] - red[0]) * (blue[1] - red[1]) - (blue[0] - red[0]) * (green[1] - red[1])
    return Primaries(red, green, blue, white) if area else None


def png_signals(raw: Decoded) -> tuple[Floats, Floats]:
    """Return the signals of a PNG, of shape (height, width, 3), and the opacity, all between 0 and 1."""
    most = 2**raw.depth - 1
    samples, transparency = raw.samples, raw.chunks.get(b"tRNS", b"")
    opacity = np.ones(samples.shape[:2])
    if raw.color_type == PALETTE:
        palette = np.frombuffer(raw.chunks.get(b"PLTE", b""), np.uint8).reshape(-1, 3)
        opacities = np.frombuffer(transparency.ljust(len(palette), b"\xff"), np.uint8)
        return palette[samples[..., 0]] / 255, opacities[samples[..., 0]] / 255
    if raw.color_type in (GRAY, RGB):
        if transparency:
            key = np.frombuffer(transparency, ">u2") & most
            opacity = (samples != key).any(axis=-1).astype(np.float64)
    else:
        samples, opacity = samples[..., :-1], samples[..., -1] / most
    return np.broadcast_to(samples / most, (*samples.shape[:2], 3)), opacity


# Profiles


def gamma_curve(gamma: float) -> bytes:
    """Return the tag of a curve with this gamma."""
    return b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + b"\0\0"


def icc_profile(primaries: Primaries, gamma: float = 2.2, curve: bytes | None = None) -> bytes:
    """Return an ICC profile of a display with these primaries, and this gamma or this tag of a curve."""
    columns = (adapted(xyz(primaries.white), D50) @ primaries.to_xyz()).T
    curve = curve or gamma_curve(gamma)
    tags = [(b"wtpt", _xyz_tag(D50))]
    tags += [
        (name, _xyz_tag(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
    ]
    return _profile(b"RGB ", [*tags, *((name, curve) for name in (b"rTRC", b"gTRC", b"bTRC"))])


def gray_icc_profile(gamma: float) -> bytes:
    """Return an ICC profile of a gray display with this gamma."""
    return _profile(b"GRAY", [(b"wtpt", _xyz_tag(D50)), (b"kTRC", gamma_curve(gamma))])


def _xyz_tag(values: Floats) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _profile(space: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    texts = [
        (b"desc", b"desc" + struct.pack(">II", 0, 5) + b"test\0" + bytes(79)),
        (b"cprt", b"text\0\0\0\0none\0"),
    ]
    table, body = bytearray(struct.pack(">I", len(tags) + 2)), bytearray()
    start = 128 + 4 + 12 * (len(tags) + 2)
    for name, tag in texts + tags:
        table += struct.pack(">4sII", name, start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = bytearray(128)
    struct.pack_into(">I4sI4s4s4s", head, 0, start + len(body), b"none", 0x02400000, b"mntr", space, b"XYZ ")
    struct.pack_into(">6H4s", head, 24, 2026, 1, 1, 0, 0, 0, b"acsp")
    head[68:80] = _xyz_tag(D50)[8:]
    return bytes(head + table + body)


def profile_conversion(profile: bytes, *, is_gray: bool) -> Conversion | None:
    """Return the conversion from a profile made here, or None if it is for pictures of the other kind."""
    if (profile[16:20] == b"GRAY") != is_gray:
        return None
    tags = {
        name: profile[at : at + size]
        for name, at, size in struct.iter_unpack(
            ">4sII", profile[132 : 132 + 12 * int.from_bytes(profile[128:132], "big")]
        )
    }
    gamma = int.from_bytes(tags[b"kTRC" if is_gray else b"rTRC"][12:14], "big") / 256
    if is_gray:
        return lambda signal: encoded_srgb(signal**gamma)
    to_d50 = (
        np.array([struct.unpack(">3i", tags[name][8:20]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]).T / 65536
    )
    matrix = np.linalg.inv(SRGB.to_xyz()) @ adapted(D50, xyz(D65)) @ to_d50
    return lambda signal: encoded_srgb(signal**gamma @ matrix.T)


# Results


def on_white(signals: Floats, opacity: Floats, convert: Conversion) -> Floats:
    """Return the whole picture on white, from 0 to 255."""
    shown = opacity[..., np.newaxis]
    return 255 * (convert(signals) * shown + 1 - shown)


def square(signals: Floats, opacity: Floats, convert: Conversion, size: int) -> Floats:
    """Return the middle of the picture as RGBA, from 0 to 255.

    Colors are weighted by their opacity and averaged as they are coded, and then converted.
    """
    height, width = opacity.shape
    side = min(height, width)
    rows, columns = (_lanczos(length, (length - side) / 2, side, size) for length in (height, width))

    def resized(channel: Floats) -> Floats:
        return np.clip(rows @ np.clip(channel @ columns.T, 0, 1), 0, 1)

    alpha = resized(opacity)
    weighted = np.stack([resized(signals[..., channel] * opacity) for channel in range(3)], axis=-1)
    shown = alpha[..., np.newaxis]
    colors = np.divide(weighted, shown, out=np.zeros_like(weighted), where=shown > 0)
    return 255 * np.dstack((convert(np.clip(colors, 0, 1)), alpha))


def _lanczos(length: int, start: float, side: float, size: int) -> Floats:
    """Return the weights of a row's samples in each of the new samples, by Lanczos' window of three."""
    scale = side / size
    reach = max(scale, 1)
    centers = start + (np.arange(size) + 0.5) * scale
    distances = (np.arange(length) + 0.5 - centers[:, np.newaxis]) / reach
    weights = np.where(np.abs(distances) < 3, np.sinc(distances) * np.sinc(distances / 3), 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)
