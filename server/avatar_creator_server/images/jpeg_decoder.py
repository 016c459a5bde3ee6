"""libjpeg, fed piece by piece."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

UNWRITTEN = 1
"""Value of the samples that the decoder has not written. Not black, because many pictures end with black."""


class JpegDecoder:
    """Decodes one JPEG, and shows how much of each piece libjpeg takes."""

    def __init__(self, head: bytes, size: tuple[int, int]) -> None:
        """Create a decoder.

        Args:
            head: The beginning of the file, at least to the end of its first scan header.
            size: Width and height that are enough: the picture may be decoded at a half, a quarter or an
                eighth of its size.
        """
        image = Image.open(BytesIO(head), formats=("JPEG",))
        image.draft(None, size)
        self.pixels = Image.new(image.mode, image.size, UNWRITTEN)
        """The picture. The decoder writes a row of pixels as soon as it can."""
        name, extents, _, arguments = image.tile[0]
        # Pillow's own loop over a file does not show how much the decoder took.
        self._decoder = Image._getdecoder(image.mode, name, arguments, image.decoderconfig)
        self._decoder.setimage(self.pixels.im, extents)
        self._left = b""
        self.has_finished = False
        """True after the last row of pixels."""

    def feed(self, piece: bytes | memoryview) -> bool:
        """Add bytes, and return whether libjpeg took all of them, except for fill bytes.

        Raises:
            OSError: The bytes cannot be decoded.
        """
        if self.has_finished:
            return True
        coded = self._left + piece if self._left else piece
        taken, error = self._decoder.decode(coded)
        if taken < 0:
            if error:
                raise OSError(f"the decoder failed with code {error}")
            self.has_finished = True
            return True
        self._left = bytes(coded[taken:])
        return not self._left.rstrip(b"\xff")
