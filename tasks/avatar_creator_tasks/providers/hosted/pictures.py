"""Conversions from the provider's files to pictures, and from a reference to the provider's input."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import TypeVar

from PIL import Image

from avatar_creator_server.errors import InvalidArgumentError, UnavailableError
from avatar_creator_server.images.decoding.decoders import Decoders
from avatar_creator_server.images.metadata import content_type_of, strip_metadata
from avatar_creator_server.images.processing import fitted
from avatar_creator_tasks.providers.hosted.http_client import Deadline
from avatar_creator_tasks.providers.hosted.outcomes import Signal

_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
_LARGEST_SCALE = 4
"""A picture that has less than a quarter of the requested width or height is not scaled up to a portrait. The
models themselves keep the number of pixels or the proportions, so their pictures have more."""
_SHRINK = 0.9
_QUALITIES = (95, 90, 85, 75, 60, 40)
_FULL_CHROMA_FROM = 90
_DECODING_USER = "provider"
"""The user who takes turns at the decoders with the users whose pictures are uploaded."""
_DECODER_PAUSE_SECONDS = 1.0

_Decoded = TypeVar("_Decoded")


class BadPictureError(Exception):
    """The file is not the requested picture."""

    def __init__(self, signal: Signal, message: str = "") -> None:
        super().__init__(message or signal)
        self.signal = signal
        self.message = message


class PictureReader:
    """Reads the files of pictures. Their hosts are not trusted, so child processes decode them."""

    def __init__(self, decoders: Decoders, *, max_pixels: int) -> None:
        """Create a reader.

        Args:
            decoders: The child processes.
            max_pixels: Maximum number of pixels of a picture.
        """
        self._decoders = decoders
        self._max_pixels = max_pixels

    async def read(
        self,
        content: bytes,
        content_type: str,
        size: tuple[int, int],
        deadline: Deadline,
    ) -> Image.Image:
        """Decode a file completely into an RGB picture, which may have another size than the requested one.

        A picture may have been paid for, so it waits for a free decoder until the deadline.

        Args:
            content: The file.
            content_type: The content type that the sender declared.
            size: The requested width and height in pixels.
            deadline: The end of the wait for a decoder.

        Raises:
            BadPictureError: The file is not a picture, or has far too many or too few pixels.
            UnavailableError: No decoder was free before the deadline.
        """
        kind = content_type_of(content)
        if not content_type.lower().startswith(_TYPES) or kind is None:
            raise BadPictureError(Signal.NOT_A_PICTURE)
        try:
            header = await asyncio.to_thread(strip_metadata, content, kind)
            if header.width * header.height > self._max_pixels:
                raise BadPictureError(Signal.TOO_LARGE, f"it has {header.width}x{header.height} pixels")
            whole = await _patiently(deadline, lambda: self._decoders.accept(_DECODING_USER, content, ""))
            found = whole.width, whole.height
            if any(_LARGEST_SCALE * has < wanted for has, wanted in zip(found, size, strict=True)):
                raise BadPictureError(
                    Signal.TOO_SMALL, f"{found[0]}x{found[1]} instead of {size[0]}x{size[1]} pixels"
                )
            return await _patiently(
                deadline, lambda: self._decoders.reference(_DECODING_USER, whole.data, *found)
            )
        except (BadPictureError, UnavailableError):
            raise
        except InvalidArgumentError as error:
            # The limits are this service's own, and another request would give such a picture again.
            is_expensive = error.reason == "IMAGE_TOO_EXPENSIVE"
            raise BadPictureError(
                Signal.TOO_LARGE if is_expensive else Signal.BROKEN_PICTURE,
                "decoding it takes more memory or time than the service allows" if is_expensive else "",
            ) from error
        except Exception as error:  # Parsers raise many kinds of errors for a damaged file.
            raise BadPictureError(Signal.BROKEN_PICTURE) from error


async def _patiently(deadline: Deadline, decode: Callable[[], Awaitable[_Decoded]]) -> _Decoded:
    """Decode; wait for a free decoder until the deadline."""
    while True:
        try:
            return await decode()
        except UnavailableError:
            if not deadline.seconds_left():
                raise
            await asyncio.sleep(min(_DECODER_PAUSE_SECONDS, deadline.seconds_left()))


def reference_uri(image: Image.Image, size: tuple[int, int], *, max_bytes: int | None = None) -> str:
    """Return the reference, scaled and cropped to this width and height, as a data URI.

    Args:
        image: The reference.
        size: Width and height in pixels.
        max_bytes: Maximum size of its file, which has the best quality that fits. A picture with so much
            detail that no quality is low enough becomes smaller, with the same proportions. None for the best
            quality.
    """
    whole = fitted(image, size)
    files = (_jpeg(whole, quality) for quality in _QUALITIES)
    file = next((file for file in files if max_bytes is None or len(file) <= max_bytes), b"")
    while not file:
        whole = whole.resize([max(1, round(side * _SHRINK)) for side in whole.size], Image.Resampling.LANCZOS)
        smaller = _jpeg(whole, _QUALITIES[-1])
        file = smaller if max_bytes is None or len(smaller) <= max_bytes else b""
    return f"data:image/jpeg;base64,{base64.b64encode(file).decode()}"


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = BytesIO()
    chroma = "4:4:4" if quality >= _FULL_CHROMA_FROM else "4:2:0"
    image.save(file, "JPEG", quality=quality, subsampling=chroma)
    return file.getvalue()
