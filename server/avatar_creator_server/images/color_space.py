"""The color space of a PNG picture, and its conversion to sRGB.

Sources: W3C PNG third edition, section 4.3, for the order of the facts; ITU-T H.273 for the numbers in cICP;
ITU-R BT.2100 for PQ and HLG; ITU-R BT.2408 for the level of white in high dynamic range.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from avatar_creator_server.images.matrix_profile import read_matrix_profile
from avatar_creator_server.images.metadata.profile import MAX_PROFILE_BYTES
from avatar_creator_server.images.png_samples import Samples

Floats = npt.NDArray[np.floating]
"""Signals or light of shape (..., 3), or other numbers of pixels."""
Matrix = npt.NDArray[np.floating]

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of red, green, blue and white."""

_D65 = (0.3127, 0.329)
_C = (0.31, 0.316)
_DCI = (0.314, 0.351)
_E = (1 / 3, 1 / 3)

_SRGB: Chromaticities = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, *_D65)
_SMPTE_170M: Chromaticities = (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *_D65)
_PRIMARIES: dict[int, Chromaticities] = {
    1: _SRGB,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C),
    5: (0.64, 0.33, 0.29, 0.6, 0.15, 0.06, *_D65),
    6: _SMPTE_170M,
    7: _SMPTE_170M,
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C),
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, *_D65),
    10: (1, 0, 0, 1, 0, 0, *_E),
    11: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *_DCI),
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *_D65),
    22: (0.63, 0.34, 0.295, 0.605, 0.155, 0.077, *_D65),
}
"""Chromaticities by ColourPrimaries (H.273, table 2)."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

_SDR_WHITE = 203.0
"""Luminance that becomes white, in cd/m2 (BT.2408)."""
_PQ_PEAK = 10_000.0
_HLG_PEAK = 1000.0
"""Luminance of the display on which HLG has its system gamma of 1.2, in cd/m2 (BT.2100)."""
_HLG_SYSTEM_GAMMA = 1.2
_KNEE = 0.8
"""Fraction of white up to which the colors of high dynamic range stay as they are.

Above it, the curve turns smoothly towards white, as that of BT.2390. It starts later than the one of BT.2390,
because most pictures have only highlights above white: white becomes 0.93, twice as much 0.9995.
"""

_GAMMA_LIMITS = (0.1, 10.0)
"""A gamma outside is taken for damage."""
_SRGB_GAMMA = 0.45455
_GAMMA_TOLERANCE = 0.00005
_CHROMATICITY_TOLERANCE = 0.001
_MIN_DETERMINANT = 1e-4
"""Minimum volume between the primaries. With less, two of them are the same color."""


def _inverse_srgb(signal: Floats) -> Floats:
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def _inverse_bt709(signal: Floats) -> Floats:
    alpha, beta = 1.09929682680944, 0.018053968510807
    return np.where(
        signal < 4.5 * beta, signal / 4.5, (np.maximum(signal + (alpha - 1), 0) / alpha) ** (1 / 0.45)
    )


def _inverse_smpte_240m(signal: Floats) -> Floats:
    return np.where(signal < 4 * 0.0228, signal / 4, ((signal + 0.1115) / 1.1115) ** (1 / 0.45))


def _inverse_pq(signal: Floats) -> Floats:
    """Return luminance as a multiple of SDR white."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = signal ** (1 / m2)
    light: Floats = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return light * (_PQ_PEAK / _SDR_WHITE)


def _inverse_hlg(signal: Floats) -> Floats:
    """Return the light of the scene, from 0 to 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def _power(exponent: float, factor: float = 1.0) -> Callable[[Floats], Floats]:
    return lambda signal: factor * signal**exponent


_PQ, _HLG = 16, 18
_INVERSE_TRANSFERS: dict[int, Callable[[Floats], Floats]] = {
    1: _inverse_bt709,
    4: _power(2.2),
    5: _power(2.8),
    6: _inverse_bt709,
    7: _inverse_smpte_240m,
    8: _power(1),
    9: lambda signal: np.where(signal > 0, 10 ** (2 * (signal - 1)), 0),
    10: lambda signal: np.where(signal > 0, 10 ** (2.5 * (signal - 1)), 0),
    11: _inverse_bt709,
    12: _inverse_bt709,
    13: _inverse_srgb,
    14: _inverse_bt709,
    15: _inverse_bt709,
    _PQ: _inverse_pq,
    17: _power(2.6, 52.37 / 48),
    _HLG: _inverse_hlg,
}
"""Inverse of the function by TransferCharacteristics (H.273, table 3), for signals from 0 to 1."""


@dataclass(frozen=True, slots=True)
class ColorSpace:
    """A color space that a PNG describes with numbers."""

    chromaticities: Chromaticities
    linear: Callable[[Floats], Floats]
    """Function from signals between 0 and 1 to linear light, where white is 1."""
    is_full_range: bool = True
    """False if black is 16/256 of the range and white 235/256, as in video."""
    is_hlg: bool = False
    """True if `linear` returns the light of the scene."""
    is_high_range: bool = False
    """True if light can be brighter than white."""

    def to_srgb(self, samples: Samples | Floats, depth: int) -> npt.NDArray[np.uint8]:
        """Return RGB samples as sRGB of 8 bits.

        Args:
            samples: Unscaled samples of shape (..., 3).
            depth: Bits per sample.
        """
        if np.issubdtype(samples.dtype, np.integer):
            # Powers of a whole picture would take many times as long as these tables.
            every = np.broadcast_to(np.arange(2**depth, dtype=np.float32)[:, np.newaxis], (2**depth, 3))
            table = self._light(every, depth)
            light = np.stack([table[samples[..., channel], channel] for channel in range(3)], axis=-1)
            return _CODES[(self._in_srgb_primaries(light) * _FINEST + np.float32(0.5)).astype(np.uint16)]
        coded = _coded(self._in_srgb_primaries(self._light(samples, depth)))
        return (coded * 255 + 0.5).astype(np.uint8)

    def _light(self, samples: Samples | Floats, depth: int) -> Floats:
        """Return the linear light of unscaled samples."""
        if self.is_full_range:
            signal = samples / np.float32(2**depth - 1)
        else:
            signal = (samples * np.float32(2.0 ** (8 - depth)) - 16) / np.float32(219)
        return self.linear(np.clip(signal, 0, 1)).astype(np.float32)

    def _in_srgb_primaries(self, light: Floats) -> Floats:
        """Return linear light in the primaries of sRGB, from 0 to 1."""
        if self.is_hlg:
            light = _displayed_hlg(light, self.chromaticities)
        light = light @ _to_srgb_primaries(self.chromaticities).astype(np.float32).T
        if self.is_high_range:
            light = _with_soft_highlights(light)
        return np.clip(light, 0, 1)


def _coded(light: Floats) -> Floats:
    """Return linear light between 0 and 1 as a signal of sRGB."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


_FINEST = 65_535
_CODES = (_coded(np.arange(_FINEST + 1) / _FINEST) * 255 + 0.5).astype(np.uint8)
"""Value of 8 bits for each step of light. A step is at most 0.05 of such a value."""


def color_space_of(
    chunks: Mapping[bytes, bytes], mode: str, depth: int
) -> ColorSpace | ImageCms.ImageCmsTransform | None:
    """Return the color space of a PNG, from the first usable fact: cICP, iCCP, sRGB, then gAMA with cHRM.

    Args:
        chunks: Bodies of the ancillary chunks by type.
        mode: Pillow's mode in which the picture would be transformed with a profile: L or RGB.
        depth: Bits per sample.

    Returns:
        The space, the transform of a profile to sRGB, or None for sRGB.
    """
    if (body := chunks.get(b"cICP")) and (space := _space_of_code_points(*body)):
        return None if space == _space_of_code_points(1, 13, 0, 1) else space
    if body := chunks.get(b"iCCP"):
        profile = _inflated(body)
        # LittleCMS would round the samples to 8 bits.
        exact = _space_of_profile(profile, is_gray=mode == "L") if depth == 16 else None
        if found := exact or transform_of(profile, mode):
            return found
    if b"sRGB" in chunks:
        return None
    return _space_of_gamma(_gamma_of(chunks.get(b"gAMA", b"")), _chromaticities_of(chunks.get(b"cHRM", b"")))


def transform_of(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a color profile to sRGB, or None if the profile does not fit the mode."""
    try:
        return ImageCms.buildTransform(BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB")
    except ImageCms.PyCMSError:
        return None


def apply_transform(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """Return the image in RGB, or as it is if the transform fails."""
    try:
        return ImageCms.applyTransform(image, transform) or image
    except ImageCms.PyCMSError:
        return image


def _inflated(body: bytes) -> bytes:
    """Return the profile in the body of a chunk of a stripped PNG."""
    return zlib.decompressobj().decompress(body[body.index(b"\0") + 2 :], MAX_PROFILE_BYTES)


def _space_of_code_points(primaries: int, transfer: int, matrix: int, full_range: int) -> ColorSpace | None:
    """Return the space, or None if a number is unknown or not allowed in a PNG."""
    if primaries not in _PRIMARIES or transfer not in _INVERSE_TRANSFERS or matrix or full_range > 1:
        return None
    return ColorSpace(
        _PRIMARIES[primaries],
        _INVERSE_TRANSFERS[transfer],
        is_full_range=full_range == 1,
        is_hlg=transfer == _HLG,
        is_high_range=transfer in (_PQ, _HLG),
    )


def _space_of_profile(profile: bytes, *, is_gray: bool) -> ColorSpace | None:
    found = read_matrix_profile(profile, is_gray=is_gray)
    if found is None:
        return None
    if is_gray:
        return ColorSpace(_SRGB, found.light)
    points = [_chromaticity(*xyz) for xyz in (*found.columns, np.sum(found.columns, axis=0))]
    return ColorSpace(cast(Chromaticities, tuple(value for point in points for value in point)), found.light)


def _chromaticity(x: float, y: float, z: float) -> tuple[float, float]:
    return x / (x + y + z), y / (x + y + z)


def _gamma_of(body: bytes) -> float | None:
    gamma = int.from_bytes(body, "big") / 100_000
    return gamma if _GAMMA_LIMITS[0] <= gamma <= _GAMMA_LIMITS[1] else None


def _chromaticities_of(body: bytes) -> Chromaticities | None:
    """Return the chromaticities in a chunk, or None if no display can have them."""
    if not body:
        return None
    white_x, white_y, *primaries = (value / 100_000 for value in struct.unpack(">8I", body))
    red_x, red_y, green_x, green_y, blue_x, blue_y = primaries
    found = (red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y)
    if white_y <= 0 or any(x + y > 1 for x, y in list(pairwise(found))[::2]):
        return None
    columns = _columns(found)
    # White must be a mixture of all primaries.
    if abs(np.linalg.det(columns)) < _MIN_DETERMINANT or _amounts(columns, found).min() <= 0:
        return None
    return found


def _space_of_gamma(gamma: float | None, chromaticities: Chromaticities | None) -> ColorSpace | None:
    """Return the space, where a missing fact is that of sRGB, or None if it is sRGB as encoders write it."""
    is_srgb_curve = gamma is None or abs(gamma - _SRGB_GAMMA) <= _GAMMA_TOLERANCE
    if is_srgb_curve and (
        chromaticities is None
        or all(
            abs(value - srgb) <= _CHROMATICITY_TOLERANCE
            for value, srgb in zip(chromaticities, _SRGB, strict=True)
        )
    ):
        return None
    return ColorSpace(chromaticities or _SRGB, _inverse_srgb if gamma is None else _power(1 / gamma))


def _columns(chromaticities: Chromaticities) -> Matrix:
    """Return x, y and z of red, green and blue in columns."""
    x, y = np.array(chromaticities[0:6:2]), np.array(chromaticities[1:6:2])
    return np.array([x, y, 1 - x - y])


def _white(chromaticities: Chromaticities) -> Matrix:
    """Return XYZ of white, with Y of 1."""
    x, y = chromaticities[6:]
    return np.array([x / y, 1, (1 - x - y) / y])


def _amounts(columns: Matrix, chromaticities: Chromaticities) -> Matrix:
    """Return the amount of each primary in white."""
    amounts: Matrix = np.linalg.solve(columns, _white(chromaticities))
    return amounts


def _to_xyz(chromaticities: Chromaticities) -> Matrix:
    columns = _columns(chromaticities)
    return columns * _amounts(columns, chromaticities)


def _to_srgb_primaries(chromaticities: Chromaticities) -> Matrix:
    """Return the matrix from linear RGB to linear sRGB, where white stays white."""
    scales = (_BRADFORD @ _white(_SRGB)) / (_BRADFORD @ _white(chromaticities))
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(scales) @ _BRADFORD
    matrix: Matrix = np.linalg.inv(_to_xyz(_SRGB)) @ adaptation @ _to_xyz(chromaticities)
    return matrix


def _displayed_hlg(scene: Floats, chromaticities: Chromaticities) -> Floats:
    """Return the light of a display of 1,000 cd/m2 as a multiple of SDR white."""
    luminance = scene @ _to_xyz(chromaticities)[1].astype(np.float32)
    system: Floats = np.maximum(luminance, 0) ** np.float32(_HLG_SYSTEM_GAMMA - 1)
    displayed: Floats = scene * system[..., np.newaxis] * np.float32(_HLG_PEAK / _SDR_WHITE)
    return displayed


def _with_soft_highlights(light: Floats) -> Floats:
    """Compress light above the knee to white. The brightest channel sets the scale, so that hues stay."""
    brightest = np.maximum(light.max(axis=-1, keepdims=True), np.float32(_KNEE))
    compressed = _KNEE + (1 - _KNEE) * (1 - np.exp(-(brightest - _KNEE) / (1 - _KNEE)))
    softened: Floats = light * (compressed / brightest)
    return softened
