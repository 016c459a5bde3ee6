"""Acceptance of uploaded pictures, thumbnails, and scaling and encoding of generated pictures.

The functions are synchronous and keep no state: callers run them in threads. A picture of 12 megapixels
keeps a core busy for about 0.1 s.
"""

from __future__ import annotations

import hashlib
import zlib
from io import BytesIO
from typing import Any

import structlog
from PIL import Image, ImageOps, PngImagePlugin
from PIL.PngImagePlugin import PngInfo

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.color_space import apply_transform, transform_of
from avatar_creator_server.images.exact_png import exact_png
from avatar_creator_server.images.jpeg_scans import with_whole_scans
from avatar_creator_server.images.media_types import canonical_type
from avatar_creator_server.images.metadata import (
    ContentType,
    StrippedPicture,
    content_type_of,
    strip_metadata,
)
from avatar_creator_server.images.metadata.exif import UPRIGHT
from avatar_creator_server.images.metadata.png import has_every_png_row, only_pixels
from avatar_creator_server.images.metadata.profile import MAX_PROFILE_BYTES
from avatar_creator_server.images.metadata.stripped import corrupt_error
from avatar_creator_server.images.picture import MAX_IMAGE_BYTES, Picture
from avatar_creator_server.images.png_samples import swaps_axes, turned_png

log = structlog.get_logger()

MAX_IMAGE_PIXELS = 50_000_000
THUMBNAIL_SIZE = 300
"""Width and height of a thumbnail, in pixels."""
_THUMBNAIL_OPTIONS: dict[str, Any] = {"quality": 85, "method": 2}
"""Options of the WebP encoder. Method 4, its default, takes up to twice as long for 4 % fewer bytes."""
_PNG_OPTIONS: dict[str, Any] = {"compress_type": zlib.Z_RLE}
"""Compression of a generated PNG. zlib's manual recommends this strategy for PNG: it takes half the time of
level 4, for photographs that are up to 2 % smaller and drawings that are up to 4 % larger."""
_HEADROOM = (0.5, 0.4)
"""Center of a crop, horizontally and vertically: a little above the middle, where heads are."""
_PLAIN_GRAY = (128, 128, 128)

# Pillow refuses a PNG with a larger profile, and its own limit of 1 MiB is too small for some.
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES

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
"""Transformation by EXIF orientation (CIPA DC-008, tag 0x0112). Pillow's angles are counterclockwise."""


def accept_upload(data: bytes, declared_type: str = "") -> Picture:
    """Check an uploaded file and return the picture to store: `examine_upload`, then `decode_upload`."""
    return decode_upload(examine_upload(data, declared_type))


def examine_upload(data: bytes, declared_type: str = "") -> StrippedPicture:
    """Check everything of an uploaded file but its pixels, and return it without its metadata.

    Args:
        data: The file.
        declared_type: The media type that the caller declared, or an empty text; see `canonical_type`.

    Raises:
        InvalidArgumentError: The reason is IMAGE_TOO_LARGE, IMAGE_UNSUPPORTED, IMAGE_TYPE_MISMATCH,
            IMAGE_ANIMATED, IMAGE_TOO_MANY_PIXELS or IMAGE_CORRUPT, or INVALID_FIELD if `declared_type` is
            not blank and not one of the three types.
    """
    declared = canonical_type(declared_type)
    if declared is None and declared_type.strip():
        raise InvalidArgumentError.of_field(
            "metadata.content_type", f"must be empty or one of {', '.join(_PILLOW_FORMAT)}"
        )
    if len(data) > MAX_IMAGE_BYTES:
        raise InvalidArgumentError.of_field(
            "chunk",
            f"the picture is larger than {MAX_IMAGE_BYTES:,} bytes; send a smaller file",
            reason="IMAGE_TOO_LARGE",
            limit_bytes=str(MAX_IMAGE_BYTES),
        )
    content_type = content_type_of(data)
    if content_type is None:
        raise InvalidArgumentError.of_field(
            "chunk",
            "the file is not a JPEG, PNG or WebP picture; send one of these formats",
            reason="IMAGE_UNSUPPORTED",
        )
    if declared not in (None, content_type):
        raise InvalidArgumentError.of_field(
            "metadata.content_type",
            f"is {declared}, but the picture is {content_type}; declare that type, or none",
            reason="IMAGE_TYPE_MISMATCH",
            declared=str(declared),
            actual=content_type,
        )
    stripped = strip_metadata(data, content_type)
    if stripped.width * stripped.height > MAX_IMAGE_PIXELS:
        raise InvalidArgumentError.of_field(
            "chunk",
            f"the picture has {stripped.width}x{stripped.height} pixels, and the maximum is "
            f"{MAX_IMAGE_PIXELS:,} pixels; send a smaller picture",
            reason="IMAGE_TOO_MANY_PIXELS",
            limit_pixels=str(MAX_IMAGE_PIXELS),
        )
    return stripped


def decode_upload(stripped: StrippedPicture) -> Picture:
    """Check the pixels of an uploaded file, and return the picture to store.

    An upright picture keeps its coded pixels byte for byte. A picture with another EXIF orientation is
    turned and encoded again in its own format, so the result can be larger than the upload. In both cases
    the result has no EXIF, XMP, IPTC or comments, and nothing after the end of the picture.

    A file with all its pixels is accepted, even if its end or a part that decoders ignore is damaged. The
    result is then a file without that damage.

    Raises:
        InvalidArgumentError: IMAGE_CORRUPT.
    """
    try:
        whole = _with_every_pixel(stripped)
        if whole.orientation == UPRIGHT and not whole.must_encode:
            return _picture(whole.data, whole.content_type, whole.width, whole.height)
        return _encoded_again(whole)
    except InvalidArgumentError:
        raise
    except Exception as error:  # Pillow's decoders raise exceptions of many types for damaged files.
        log.info("picture_decoding_failed", content_type=stripped.content_type, error=repr(error))
        raise corrupt_error("it cannot be decoded") from error


def make_thumbnail(data: bytes) -> Picture:
    """Make a WebP of 300x300 pixels from the middle of a picture.

    The thumbnail has sRGB colors and keeps transparency. A small picture is enlarged.

    Args:
        data: A picture that `accept_upload` or `encode_png` returned. For other bytes, Pillow's exceptions
            pass through.
    """
    exact = exact_png(data)
    if exact is not None:
        return _encoded(exact.square(THUMBNAIL_SIZE), "image/webp", **_THUMBNAIL_OPTIONS)
    with Image.open(BytesIO(data), formats=tuple(_PILLOW_FORMAT.values())) as image:
        image.draft(None, (2 * THUMBNAIL_SIZE, 2 * THUMBNAIL_SIZE))
        return thumbnail_of(image)


def thumbnail_of(image: Image.Image) -> Picture:
    """Make the thumbnail that `make_thumbnail` makes, from pixels of 8 bits."""
    profile: bytes | None = image.info.get("icc_profile")
    square = ImageOps.fit(_continuous(image), (THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.LANCZOS)
    return _encoded(_in_srgb(square, profile), "image/webp", **_THUMBNAIL_OPTIONS)


def plain_thumbnail() -> Picture:
    """Make the thumbnail of a picture that costs too much to decode: a plain gray."""
    plain = Image.new("RGB", (THUMBNAIL_SIZE, THUMBNAIL_SIZE), _PLAIN_GRAY)
    return _encoded(plain, "image/webp", **_THUMBNAIL_OPTIONS)


def decode(data: bytes, *, at_least: tuple[int, int] | None = None) -> Image.Image:
    """Return the pixels of a picture that this service stored, as RGB in sRGB on a white background.

    Args:
        data: A picture that `accept_upload` or `encode_png` returned.
        at_least: Width and height that are enough: a larger JPEG may then be decoded at a half, a quarter or
            an eighth of its size. None for all pixels.
    """
    exact = exact_png(data)
    if exact is not None:
        return exact.on_white()
    with Image.open(BytesIO(data), formats=tuple(_PILLOW_FORMAT.values())) as image:
        if at_least is not None:
            image.draft(None, at_least)
        profile: bytes | None = image.info.get("icc_profile")
        plain = _in_srgb(_continuous(image), profile)
    if plain.mode == "RGB":
        return plain
    white = Image.new("RGB", plain.size, "white")
    white.paste(plain, mask=plain.getchannel("A"))
    return white


def fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the portrait, scaled and cropped to this width and height."""
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS, centering=_HEADROOM)


def encode_png(image: Image.Image, texts: PngInfo | None = None) -> Picture:
    """Encode a generated picture as a PNG. Its only metadata are its color profile and `texts`.

    Color models that PNG does not have, for example CMYK, YCbCr or floating point, become RGB.
    """
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
        return _encoded(plain, "image/png", pnginfo=texts, **_PNG_OPTIONS)
    profile = image.info.get("icc_profile")
    return _encoded(image, "image/png", profile, pnginfo=texts, **_PNG_OPTIONS)


def _with_every_pixel(stripped: StrippedPicture) -> StrippedPicture:
    """Decode the picture, and return it without bytes after its pixels.

    Raises an exception of any type if the picture is not complete to its last pixel.
    """
    if stripped.scans is not None:
        _open(stripped)
        return with_whole_scans(stripped, stripped.scans)
    if stripped.content_type == "image/png":
        # Other chunks have no pixels, and Pillow refuses a picture for some that browsers ignore.
        _open(stripped, only_pixels(stripped.data)).load()
        # Pillow accepts a PNG whose pixels end early, and leaves the rest black.
        if not has_every_png_row(stripped.data):
            raise corrupt_error("the PNG has too few rows")
        return stripped
    _open(stripped).load()
    return stripped


def _open(stripped: StrippedPicture, coded: bytes | None = None) -> Image.Image:
    image = Image.open(BytesIO(coded or stripped.data), formats=(_PILLOW_FORMAT[stripped.content_type],))
    if image.size != (stripped.width, stripped.height):
        raise corrupt_error("its headers give different sizes")
    return image


def _encoded_again(stripped: StrippedPicture) -> Picture:
    """Turn the picture upright and encode it in its own format."""
    if stripped.content_type == "image/png":
        width, height = stripped.width, stripped.height
        if swaps_axes(stripped.orientation):
            width, height = height, width
        return _picture(turned_png(stripped.data, stripped.orientation), "image/png", width, height)
    image = _open(stripped)
    profile = image.info.get("icc_profile")
    if stripped.orientation != UPRIGHT:
        image = image.transpose(_TO_UPRIGHT[stripped.orientation])
    if stripped.content_type == "image/jpeg":
        return _encoded(image, "image/jpeg", profile, quality=95, subsampling="4:4:4")
    return _encoded(image, "image/webp", profile, lossless=stripped.lossless, quality=95, exact=True)


def _continuous(image: Image.Image) -> Image.Image:
    """Return the image in a mode whose values can be averaged: L, LA, RGB, RGBA or CMYK."""
    if image.has_transparency_data:
        if image.mode in ("LA", "RGBA"):
            return image
        return image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the image as RGB or RGBA, converted with its profile, or with Pillow's formulas if none fits."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colors = image.convert(image.mode.removesuffix("A")) if alpha else image
    if profile and (transform := transform_of(profile, colors.mode)):
        colors = apply_transform(colors, transform)
    colors = colors.convert("RGB")
    if alpha:
        colors.putalpha(alpha)
    return colors


def _encoded(
    image: Image.Image, content_type: ContentType, profile: bytes | None = None, **options: object
) -> Picture:
    buffer = BytesIO()
    image.save(buffer, _PILLOW_FORMAT[content_type], icc_profile=profile or b"", **options)
    return _picture(buffer.getvalue(), content_type, *image.size)


def _picture(data: bytes, content_type: ContentType, width: int, height: int) -> Picture:
    return Picture(data, content_type, width, height, hashlib.sha256(data).hexdigest())
