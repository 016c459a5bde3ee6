"""Files of the provider into pictures, and a reference into what the provider takes."""

from __future__ import annotations

import base64
from io import BytesIO

from PIL import Image, ImageOps

from avatar_creator_server.images import processing as images
from avatar_creator_server.images.metadata import content_type_of, strip_metadata
from avatar_creator_tasks.providers.huggingface.outcomes import Sign

HEADROOM = (0.5, 0.4)
"""What is kept of a picture of other proportions: its middle, and rather the top, where heads are."""

_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
_REFERENCE_QUALITY = 95


class BadPictureError(Exception):
    """The file is not the picture that was asked for."""

    def __init__(self, sign: Sign, said: str = "") -> None:
        super().__init__(said or sign)
        self.sign = sign
        self.said = said


def read_picture(
    content: bytes, content_type: str, size: tuple[int, int], *, most_pixels: int, any_size: bool = False
) -> Image.Image:
    """The RGB picture that a file is, decoded to its last pixel.

    Args:
        content: the file.
        content_type: what its sender says it is.
        size: the width and height it is to have, in pixels.
        most_pixels: it may have.
        any_size: whether other sizes are taken too.

    Raises:
        BadPictureError: it is no such picture.
    """
    kind = content_type_of(content)
    if not content_type.lower().startswith(_TYPES) or kind is None:
        raise BadPictureError(Sign.NOT_A_PICTURE)
    try:
        header = strip_metadata(content, kind)
        if header.width * header.height > most_pixels:
            raise BadPictureError(Sign.TOO_LARGE, f"it has {header.width}x{header.height} pixels")
        whole = images.accept_upload(content)
        found = whole.width, whole.height
        if found != size and not any_size:
            raise BadPictureError(
                Sign.WRONG_SIZE, f"{found[0]}x{found[1]} instead of {size[0]}x{size[1]} pixels"
            )
        return images.decode(whole.data)
    except BadPictureError:
        raise
    except Exception as error:  # whatever its parsing stumbles over
        raise BadPictureError(Sign.BROKEN_PICTURE) from error


def fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at this width and height, cropped to their proportions."""
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS, centering=HEADROOM)


def reference_uri(image: Image.Image, size: tuple[int, int]) -> str:
    """A reference of this width and height as a data URI."""
    file = BytesIO()
    fitted(image, size).save(file, "JPEG", quality=_REFERENCE_QUALITY, subsampling="4:4:4")
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
