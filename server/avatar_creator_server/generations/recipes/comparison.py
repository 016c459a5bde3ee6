"""The comparison of two pictures: the hash of their pixels, and the difference of their colors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

from PIL import Image, ImageCms

_COMPARED_SIDE = 64
"""Width and height for the comparison, in pixels: it keeps the look of a face, without strands of hair."""


def pixels_sha256(image: Image.Image) -> str:
    """Return the SHA-256 of a picture's pixels in lower-case hexadecimal, independent of the file format.

    The hash is over the width and the height, each an unsigned big-endian integer of 4 bytes, and then the
    pixels, row by row from the top and each row from the left, each as 3 bytes: red, green, blue.
    Transparency and color profiles do not count.
    """
    digest = hashlib.sha256()
    for side in image.size:
        digest.update(side.to_bytes(4, "big"))
    digest.update(image.convert("RGB").tobytes())
    return digest.hexdigest()


def color_difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean color difference of two pictures, both scaled to 64x64 pixels.

    The difference of two pixels is the Euclidean distance in L*a*b* (CIE 1976 delta E*ab, ISO/CIE 11664-4).
    It is 0 for the same picture, about 2.3 for a just noticeable difference (M. Mahy, L. Van Eycken and
    A. Oosterlinck in Color Research and Application 19, 1994), and 100 between black and white. The pictures
    may have different sizes. They count as sRGB. L*a*b* is relative to the white D50, as in ICC profiles, and
    has the precision of LittleCMS's bytes: 0.4 for L*, and 1 for a* and b*.
    """
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    return math.fsum(map(math.dist, _lab(one, to_lab), _lab(other, to_lab))) / _COMPARED_SIDE**2


def _lab(image: Image.Image, to_lab: ImageCms.ImageCmsTransform) -> Iterator[tuple[float, int, int]]:
    small = image.convert("RGB").resize((_COMPARED_SIDE, _COMPARED_SIDE), Image.Resampling.BOX)
    coded = to_lab.apply(small).tobytes()
    signed = memoryview(coded).cast("b")
    return zip((level * 100 / 255 for level in coded[::3]), signed[1::3], signed[2::3], strict=True)
