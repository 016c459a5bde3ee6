"""The orientation in an EXIF block. Sources: TIFF 6.0 and CIPA DC-008."""

from __future__ import annotations

import struct

UPRIGHT = 1
"""EXIF orientation of a picture whose first row is the top."""

_ORIENTATION_TAG, _SHORT = 0x0112, 3


def read_orientation(tiff: bytes) -> int:
    """Return the orientation in the first directory of a TIFF block, or UPRIGHT if the block has none.

    A block that cannot be read counts as one without an orientation.
    """
    byte_order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if byte_order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(byte_order + "I", tiff, 4)
        (entries,) = struct.unpack_from(byte_order + "H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, _count, value = struct.unpack_from(byte_order + "HHIH", tiff, entry)
            if (tag, kind) == (_ORIENTATION_TAG, _SHORT):
                return value if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT
