"""The orientation in an EXIF block. Sources: TIFF 6.0 and CIPA DC-008.

Only EXIF turns a picture, as in browsers: XMP's `tiff:Orientation` and ImageMagick's PNG texts do not.
"""

from __future__ import annotations

import struct

UPRIGHT = 1
"""EXIF orientation of a picture whose first row is the top."""

_PREFIX = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_VALUE_AT = 8
"""Offset of the value in a directory entry. A value of more than four bytes is elsewhere."""

_NUMBERS = {
    1: "B",
    3: "H",
    4: "I",
    5: "II",
    6: "b",
    8: "h",
    9: "i",
    10: "ii",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
"""Format of each type of whole numbers and fractions: BYTE, SHORT, LONG, RATIONAL, SBYTE, SSHORT, SLONG,
SRATIONAL, IFD, LONG8, SLONG8 and IFD8. CIPA DC-008 asks for SHORT, but some phones write LONG."""


def read_orientation(block: bytes) -> int:
    """Return the orientation in the first directory of an EXIF block, or UPRIGHT if the block has none.

    A block that cannot be read counts as one without an orientation. The block may start with `Exif` and two
    zeros, even where its container does not ask for that, or more than once.
    """
    while block.startswith(_PREFIX):
        block = block[len(_PREFIX) :]
    byte_order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if byte_order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(byte_order + "I", block, 4)
        (entries,) = struct.unpack_from(byte_order + "H", block, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(byte_order + "HHI", block, entry)
            if tag == _ORIENTATION_TAG and kind in _NUMBERS and count:
                value = _first_value(block, entry, byte_order, _NUMBERS[kind], count)
                return value if 1 <= value <= 8 else UPRIGHT
    except (struct.error, ZeroDivisionError):
        pass
    return UPRIGHT


def _first_value(block: bytes, entry: int, byte_order: str, number: str, count: int) -> int:
    at = entry + _VALUE_AT
    if count * struct.calcsize(byte_order + number) > 4:
        (at,) = struct.unpack_from(byte_order + "I", block, at)
    numerator, *denominator = struct.unpack_from(byte_order + number, block, at)
    return int(numerator // denominator[0]) if denominator else int(numerator)
