"""Picture bytes: what is accepted, what is kept of it, and the thumbnail made from it.

Synchronous and without state: callers run these functions in threads. A 12 megapixel picture keeps a core
busy for about a tenth of a second.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image, ImageChops, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.metadata import (
    UPRIGHT,
    ContentType,
    StrippedPicture,
    content_type_of,
    corrupt,
    has_every_png_row,
    strip_metadata,
)

MAX_IMAGE_BYTES = 10 * 1024 * 1024
MAX_IMAGE_PIXELS = 50_000_000
THUMBNAIL_SIZE = 300
"""Pixels, both sides."""

_PILLOW_FORMAT: dict[ContentType, str] = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}

_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation (CIPA DC-008, tag 0x0112). Pillow's angles are counterclockwise."""

_AFTER_SCAN = bytes(range(0xFE, 0x00, -1))
"""Any bytes but FF, which would be a marker."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole still picture, upright, with no metadata but its colour profile and, generated, its recipe."""

    data: bytes = field(repr=False)
    content_type: str
    """`image/jpeg`, `image/png` or `image/webp`."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    sha256: str
    """Of `data`, in lower-case hexadecimal."""


def accept_upload(data: bytes, declared_type: str = "") -> Picture:
    """The picture to keep of an uploaded file.

    An upright picture keeps its coded pixels byte for byte; one that its EXIF orientation turns is turned
    and encoded again in its own format. Either way EXIF, XMP, IPTC, comments and whatever follows the
    picture's end are gone. The result may be larger than the upload if it had to be turned.

    Raises `InvalidArgumentError` with reason IMAGE_TOO_LARGE, IMAGE_UNSUPPORTED, IMAGE_TYPE_MISMATCH,
    IMAGE_ANIMATED, IMAGE_TOO_MANY_PIXELS or IMAGE_CORRUPT, or INVALID_FIELD for a `declared_type` that is
    neither empty nor one of the three.
    """
    if declared_type and declared_type not in _PILLOW_FORMAT:
        raise InvalidArgumentError.of_field(
            "metadata.content_type", f"must be empty or one of {', '.join(_PILLOW_FORMAT)}"
        )
    if len(data) > MAX_IMAGE_BYTES:
        raise InvalidArgumentError.of_field(
            "chunk",
            f"the picture is larger than {MAX_IMAGE_BYTES} bytes",
            reason="IMAGE_TOO_LARGE",
            limit_bytes=str(MAX_IMAGE_BYTES),
        )
    content_type = content_type_of(data)
    if content_type is None:
        raise InvalidArgumentError.of_field(
            "chunk", "the bytes are not a JPEG, PNG or WebP picture", reason="IMAGE_UNSUPPORTED"
        )
    if declared_type not in ("", content_type):
        raise InvalidArgumentError.of_field(
            "metadata.content_type",
            f"declared {declared_type}, but the bytes are {content_type}",
            reason="IMAGE_TYPE_MISMATCH",
            declared=declared_type,
            actual=content_type,
        )
    stripped = strip_metadata(data, content_type)
    if stripped.width * stripped.height > MAX_IMAGE_PIXELS:
        raise InvalidArgumentError.of_field(
            "chunk",
            f"the picture has more than {MAX_IMAGE_PIXELS} pixels",
            reason="IMAGE_TOO_MANY_PIXELS",
            limit_pixels=str(MAX_IMAGE_PIXELS),
        )
    try:
        _check_every_pixel(stripped)
        if stripped.orientation == UPRIGHT:
            return _picture(stripped.data, content_type, stripped.width, stripped.height)
        return _turned_upright(stripped)
    except InvalidArgumentError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their parsing stumbles over.
        raise corrupt(str(error) or type(error).__name__) from error


def make_thumbnail(data: bytes) -> Picture:
    """A WebP of 300x300 pixels showing the middle of a picture `accept_upload` or `encode_png` returned.

    Colours are converted to sRGB, transparency is kept, small pictures are enlarged. Raises what Pillow
    raises if the bytes are not such a picture.
    """
    with Image.open(BytesIO(data), formats=tuple(_PILLOW_FORMAT.values())) as image:
        image.draft(None, (2 * THUMBNAIL_SIZE, 2 * THUMBNAIL_SIZE))
        profile: bytes | None = image.info.get("icc_profile")
        square = ImageOps.fit(_continuous(image), (THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.LANCZOS)
    return _encoded(_in_srgb(square, profile), "image/webp", quality=85, method=4)


def decode(data: bytes) -> Image.Image:
    """The pixels of a picture that this service stored: RGB in sRGB, on white where it is transparent."""
    with Image.open(BytesIO(data), formats=tuple(_PILLOW_FORMAT.values())) as image:
        profile: bytes | None = image.info.get("icc_profile")
        plain = _in_srgb(_continuous(image), profile)
    if plain.mode == "RGB":
        return plain
    white = Image.new("RGB", plain.size, "white")
    white.paste(plain, mask=plain.getchannel("A"))
    return white


def encode_png(image: Image.Image, texts: PngInfo | None = None) -> Picture:
    """A PNG of a generated picture, with no metadata but its colour profile and these texts.

    Colour models PNG does not have (CMYK, YCbCr, floating point …) become RGB.
    """
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
        return _encoded(plain, "image/png", pnginfo=texts)
    return _encoded(image, "image/png", image.info.get("icc_profile"), pnginfo=texts)


def _check_every_pixel(stripped: StrippedPicture) -> None:
    """Decodes the picture and raises if that does not reach its last pixel."""
    if not stripped.scan_ends:
        _open(stripped).load()
        # Pillow takes a PNG whose pixels end early for a whole one and leaves the rest black.
        if stripped.content_type == "image/png" and not has_every_png_row(stripped.data):
            raise corrupt("PNG rows are missing")
        return
    # Pillow hides libjpeg's warning that a scan ended before the picture did and that the rest was painted
    # grey. But bytes after a whole scan are never looked at, while bytes after a short one become pixels:
    # so if adding some changes the picture, it was not whole. Half size reads the same coded bytes.
    parts, start = [], 0
    for end in stripped.scan_ends:
        parts += [stripped.data[start:end], _AFTER_SCAN]
        start = end
    parts.append(stripped.data[start:])
    half = (max(1, stripped.width // 2), max(1, stripped.height // 2))
    seen = []
    for coded in (stripped.data, b"".join(parts)):
        image = _open(stripped, coded)
        image.draft(None, half)
        image.load()
        seen.append(image)
    if ImageChops.difference(*seen).getbbox() is not None:
        raise corrupt("a JPEG scan ends early")


def _open(stripped: StrippedPicture, coded: bytes | None = None) -> Image.Image:
    image = Image.open(BytesIO(coded or stripped.data), formats=(_PILLOW_FORMAT[stripped.content_type],))
    if image.size != (stripped.width, stripped.height):
        raise corrupt("its headers disagree about its size")
    return image


def _turned_upright(stripped: StrippedPicture) -> Picture:
    image = _open(stripped)
    profile = image.info.get("icc_profile")
    turned = image.transpose(_TO_UPRIGHT[stripped.orientation])
    match stripped.content_type:
        case "image/jpeg":
            return _encoded(turned, "image/jpeg", profile, quality=95, subsampling="4:4:4")
        case "image/png":
            return _encoded(turned, "image/png", profile)
        case "image/webp":
            return _encoded(turned, "image/webp", profile, lossless=stripped.lossless, quality=95, exact=True)


def _continuous(image: Image.Image) -> Image.Image:
    """In a mode whose values can be averaged: L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip at 255.
        return image.point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        return image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB or RGBA, converted by the profile if there is one that fits, else by Pillow's plain formulas."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image.convert(image.mode.removesuffix("A")) if alpha else image
    if profile:
        try:
            transformed = ImageCms.profileToProfile(
                colours, BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except ImageCms.PyCMSError:
            transformed = None
        colours = transformed or colours
    colours = colours.convert("RGB")
    if alpha:
        colours.putalpha(alpha)
    return colours


def _encoded(
    image: Image.Image, content_type: ContentType, profile: bytes | None = None, **options: object
) -> Picture:
    buffer = BytesIO()
    image.save(buffer, _PILLOW_FORMAT[content_type], icc_profile=profile or b"", **options)
    return _picture(buffer.getvalue(), content_type, *image.size)


def _picture(data: bytes, content_type: ContentType, width: int, height: int) -> Picture:
    return Picture(data, content_type, width, height, hashlib.sha256(data).hexdigest())
