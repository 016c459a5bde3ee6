"""Conversions from the provider's files to pictures, and from a reference to the provider's input."""

from __future__ import annotations

import base64
from io import BytesIO

from PIL import Image, ImageOps

from avatar_creator_server.images import processing as images
from avatar_creator_server.images.metadata import content_type_of, strip_metadata
from avatar_creator_tasks.providers.huggingface.outcomes import Signal

HEADROOM = (0.5, 0.4)
"""Center of a crop, horizontally and vertically: a little above the middle, where heads are."""

_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
_REFERENCE_QUALITY = 95


class BadPictureError(Exception):
    """The file is not the requested picture."""

    def __init__(self, signal: Signal, message: str = "") -> None:
        super().__init__(message or signal)
        self.signal = signal
        self.message = message


def read_picture(
    content: bytes, content_type: str, size: tuple[int, int], *, max_pixels: int, any_size: bool = False
) -> Image.Image:
    """Decode a file completely into an RGB picture.

    Args:
        content: The file.
        content_type: The content type that the sender declared.
        size: The required width and height in pixels.
        max_pixels: Maximum number of pixels.
        any_size: Whether to accept other sizes too.

    Raises:
        BadPictureError: The file is not such a picture.
    """
    kind = content_type_of(content)
    if not content_type.lower().startswith(_TYPES) or kind is None:
        raise BadPictureError(Signal.NOT_A_PICTURE)
    try:
        header = strip_metadata(content, kind)
        if header.width * header.height > max_pixels:
            raise BadPictureError(Signal.TOO_LARGE, f"it has {header.width}x{header.height} pixels")
        whole = images.accept_upload(content)
        found = whole.width, whole.height
        if found != size and not any_size:
            raise BadPictureError(
                Signal.WRONG_SIZE, f"{found[0]}x{found[1]} instead of {size[0]}x{size[1]} pixels"
            )
        return images.decode(whole.data)
    except BadPictureError:
        raise
    except Exception as error:  # Parsers raise many kinds of errors for a damaged file.
        raise BadPictureError(Signal.BROKEN_PICTURE) from error


def fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale and crop the picture to this width and height."""
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS, centering=HEADROOM)


def reference_uri(image: Image.Image, size: tuple[int, int]) -> str:
    """Return the reference, scaled and cropped to this width and height, as a data URI."""
    file = BytesIO()
    fitted(image, size).save(file, "JPEG", quality=_REFERENCE_QUALITY, subsampling="4:4:4")
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
