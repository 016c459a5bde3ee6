"""ICC profiles that describe a color space with a matrix and curves.

LittleCMS, as Pillow offers it, takes samples of 8 bits, which is too coarse for the dark colors of a linear
picture of 16 bits. Most profiles of pictures are simple enough to compute here. Source: ICC.1:2022, sections
8.4 (models), 10.6 (curveType) and 10.18 (parametricCurveType).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Signals = npt.NDArray[np.floating]
Curve = Callable[[Signals], Signals]

_D50 = (0.9642, 1.0, 0.8249)
"""XYZ of white in every profile."""
_WHITE_TOLERANCE = 0.005
_HEADER_BYTES, _TAG_BYTES = 128, 12
_MAX_TAGS, _MAX_CURVE_VALUES = 100, 0x7FFF
"""Limits of LittleCMS 2 (MAX_TABLE_TAG, and the values of a curveType). The file chooses both numbers."""
_FIXED = 65_536
"""Divisor of a number of type s15Fixed16."""
_TABLES = frozenset({b"A2B0", b"A2B1", b"D2B0", b"D2B1"})
"""Tags that describe the colors more exactly than matrix and curves, and count before them."""
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""Number of parameters by the function of a parametric curve."""


@dataclass(frozen=True, slots=True)
class MatrixProfile:
    """A color space with the white of D50."""

    columns: tuple[tuple[float, float, float], ...]
    """XYZ of red, green and blue; empty for gray."""
    curves: tuple[Curve, ...]
    """Functions from the signal of each channel to its light."""

    def light(self, signals: Signals) -> Signals:
        """Return the light of signals of shape (..., 3). The three are equal for gray."""
        channels = [curve(signals[..., channel]) for channel, curve in enumerate(self.curves)]
        return np.stack(channels * (3 // len(channels)), axis=-1)


def read_matrix_profile(profile: bytes, *, is_gray: bool) -> MatrixProfile | None:
    """Return the matrix and the curves, or None for a profile that LittleCMS must read or refuse.

    Such a profile has tables, a black or white that must be moved, damage, or the colors of other pictures.
    """
    space = b"GRAY" if is_gray else b"RGB "
    if profile[16:24] != space + b"XYZ ":
        return None
    try:
        tags = _Tags(profile)
        if not _TABLES.isdisjoint(tags.names):
            return None
        names = (b"kTRC",) if is_gray else (b"rTRC", b"gTRC", b"bTRC")
        curves = tuple(_curve(tags[name]) for name in names)
        columns = () if is_gray else tuple(_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ"))
    except (struct.error, KeyError, ValueError):
        return None
    has_light_in_black = any(curve(np.zeros(1)).any() for curve in curves)
    has_another_white = columns and not np.allclose(np.sum(columns, axis=0), _D50, atol=_WHITE_TOLERANCE)
    # LittleCMS moves such a black to that of sRGB, and has rules for such a white.
    return None if has_light_in_black or has_another_white else MatrixProfile(columns, curves)


class _Tags:
    """The tags of a profile. Many of them may name the same large part of it, so only used ones are read."""

    def __init__(self, profile: bytes) -> None:
        (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
        if count > _MAX_TAGS:
            raise ValueError("too many tags")
        start = _HEADER_BYTES + 4
        table = profile[start : start + _TAG_BYTES * count]
        self._profile = profile
        self._places = {name: (at, size) for name, at, size in struct.iter_unpack(">4sII", table)}

    @property
    def names(self) -> Set[bytes]:
        """Names of the tags."""
        return self._places.keys()

    def __getitem__(self, name: bytes) -> bytes:
        at, size = self._places[name]
        return self._profile[at : at + min(size, 12 + 2 * _MAX_CURVE_VALUES)]


def _xyz(tag: bytes) -> tuple[float, float, float]:
    if tag[:4] != b"XYZ ":
        raise ValueError("not a color")
    x, y, z = struct.unpack_from(">3i", tag, 8)
    return x / _FIXED, y / _FIXED, z / _FIXED


def _curve(tag: bytes) -> Curve:
    match tag[:4]:
        case b"curv":
            (count,) = struct.unpack_from(">I", tag, 8)
            if count > _MAX_CURVE_VALUES:
                raise ValueError("too many values of a curve")
            values = struct.unpack_from(f">{count}H", tag, 12)
            if count < 2:  # One value is a gamma in 1/256, and none is linear.
                gamma = values[0] / 256 if values else 1.0
                return lambda signal: signal**gamma
            places, lights = np.linspace(0, 1, count), np.array(values) / 65_535
            return lambda signal: np.interp(signal, places, lights)
        case b"para":
            (function,) = struct.unpack_from(">H", tag, 8)
            parameters = struct.unpack_from(f">{_PARAMETERS[function]}i", tag, 12)
            return _parametric(function, *(value / _FIXED for value in parameters))
    raise ValueError("an unknown kind of curve")


def _parametric(
    function: int,
    g: float,
    a: float = 1.0,
    b: float = 0.0,
    c: float = 0.0,
    d: float = 0.0,
    e: float = 0.0,
    f: float = 0.0,
) -> Curve:
    """Return the curve (a x + b)^g + e from x = d on, and the line c x + f before."""
    match function:
        case 1 | 2:  # Their third offset is added on both sides, and the curve starts where it is 0.
            c, d, e, f = 0.0, -b / a if a else 0.0, c, c
    return lambda signal: np.where(signal >= d, np.maximum(a * signal + b, 0) ** g + e, c * signal + f)
