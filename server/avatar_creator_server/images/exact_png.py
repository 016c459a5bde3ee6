"""PNG pictures whose depth, transparency or color space Pillow does not read right.

They are read at their own depth, and become sRGB of 8 bits here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from avatar_creator_server.images.color_space import ColorSpace, Floats, apply_transform, color_space_of
from avatar_creator_server.images.metadata.png import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    PNG_SIGNATURE,
    RGB,
    RGB_ALPHA,
    PngHeader,
    read_chunks,
)
from avatar_creator_server.images.png_samples import Samples, read_samples

_WHITE = 255


def exact_png(data: bytes) -> ExactPng | None:
    """Return a stored picture, or None if it is no PNG, or one that Pillow reads right."""
    if not data.startswith(PNG_SIGNATURE):
        return None
    chunks: dict[bytes, bytes] = {}
    for kind, body in read_chunks(data):
        if kind != b"IDAT":
            chunks.setdefault(kind, body)
    header = PngHeader.parse(chunks[b"IHDR"])
    mode = "L" if header.color_type in (GRAY, GRAY_ALPHA) else "RGB"
    space = color_space_of(chunks, mode, header.depth)
    transparency = chunks.get(b"tRNS", b"")
    # Pillow compares a key with scaled samples, and does not mask its unused bits.
    has_key = header.color_type in (GRAY, RGB) and bool(transparency)
    is_odd_key = has_key and (header.depth != 8 or any(transparency[::2]))
    if (
        header.depth == 16
        or is_odd_key
        or isinstance(space, ColorSpace)
        or (
            # A profile that loses against cICP, or does not fit, is still a profile for Pillow.
            space is None and b"cICP" in chunks and b"iCCP" in chunks
        )
    ):
        return ExactPng(data, header, space, chunks.get(b"PLTE", b""), transparency)
    return None


@dataclass(frozen=True, slots=True)
class _Colors:
    """Unscaled samples of some pixels, and how opaque they are."""

    rgb: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    """Shape (height, width, 3), or (height, width, 1) for gray."""
    alpha: Floats | None
    """Opacity from 0 to 1, of shape (height, width), or None if all pixels are opaque."""


@dataclass(frozen=True, slots=True)
class ExactPng:
    """A stored PNG that is read at its own depth."""

    data: bytes
    header: PngHeader
    space: ColorSpace | ImageCms.ImageCmsTransform | None
    """The color space, the transform of its profile to sRGB, or None for sRGB."""
    palette: bytes
    """Body of the palette chunk."""
    transparency: bytes
    """Body of the transparency chunk, or nothing."""

    def square(self, size: int) -> Image.Image:
        """Return the middle of the picture as a square of this width, as RGB or RGBA in sRGB."""
        width, height = self.header.width, self.header.height
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        # Pillow resizes columns first too, and clips before it resizes rows. Strips keep the memory small.
        strips = [
            [
                _resized(channel, (size, channel.shape[0]), (left, 0, left + side, channel.shape[0]))
                for channel in self._weighted(self._colors(strip))
            ]
            for strip in read_samples(self.data).strips()
        ]
        limits = [*(self._maximum for _ in strips[0][1:]), 1]
        *weighted, alpha = (
            _resized(np.clip(np.concatenate(channel), 0, limit), (size, size), (0, top, size, top + side))
            for channel, limit in zip(zip(*strips, strict=True), limits, strict=True)
        )
        alpha = np.clip(alpha, 0, 1)
        colors = np.stack(weighted, axis=-1)
        colors = np.divide(
            colors, alpha[..., np.newaxis], out=np.zeros_like(colors), where=alpha[..., np.newaxis] > 0
        )
        square = self._in_srgb(np.clip(colors, 0, self._maximum))
        if self._is_opaque:
            return Image.fromarray(square)
        return Image.fromarray(np.dstack((square, _rounded(alpha * 255))))

    def on_white(self) -> Image.Image:
        """Return the whole picture as RGB in sRGB on a white background."""
        white = Image.new("RGB", (self.header.width, self.header.height))
        top = 0
        for strip in read_samples(self.data).strips():
            colors = self._colors(strip)
            rgb = self._in_srgb(colors.rgb)
            if colors.alpha is not None:
                alpha = colors.alpha[..., np.newaxis]
                rgb = _rounded(rgb * alpha + _WHITE * (1 - alpha))
            white.paste(Image.fromarray(rgb), (0, top))
            top += len(rgb)
        return white

    @property
    def _is_opaque(self) -> bool:
        return self.header.color_type not in (GRAY_ALPHA, RGB_ALPHA) and not self.transparency

    @property
    def _depth(self) -> int:
        """Bits per sample of a color."""
        return 8 if self.header.color_type == PALETTE else self.header.depth

    @property
    def _maximum(self) -> int:
        return int(2**self._depth - 1)

    def _colors(self, samples: Samples) -> _Colors:
        maximum = np.float32(self.header.maximum)
        if self.header.color_type in (GRAY_ALPHA, RGB_ALPHA):
            return _Colors(samples[..., :-1], samples[..., -1] / maximum)
        if self.header.color_type == PALETTE:
            return self._palette_colors(samples[..., 0])
        if not self.transparency:
            return _Colors(samples, None)
        key = np.frombuffer(self.transparency, ">u2") & self.header.maximum
        return _Colors(samples, (samples != key).any(axis=-1).astype(np.float32))

    def _palette_colors(self, indices: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> _Colors:
        palette = np.zeros((256, 3), np.uint8)  # An index without a color is black, as in other decoders.
        colors = np.frombuffer(self.palette, np.uint8).reshape(-1, 3)
        palette[: len(colors)] = colors
        if not self.transparency:
            return _Colors(palette[indices], None)
        alpha = np.full(256, 255, np.uint8)
        alpha[: len(self.transparency)] = np.frombuffer(self.transparency, np.uint8)
        return _Colors(palette[indices], (alpha / np.float32(255))[indices])

    @staticmethod
    def _weighted(colors: _Colors) -> list[Floats]:
        """Return the channels with each color weighted by its opacity, and the opacity."""
        alpha = np.ones(colors.rgb.shape[:2], np.float32) if colors.alpha is None else colors.alpha
        return [*(colors.rgb[..., channel] * alpha for channel in range(colors.rgb.shape[-1])), alpha]

    def _in_srgb(self, samples: Samples | Floats) -> npt.NDArray[np.uint8]:
        """Return unscaled samples as RGB of 8 bits in sRGB."""
        if isinstance(self.space, ColorSpace):
            rgb = np.broadcast_to(samples, (*samples.shape[:2], 3))
            return self.space.to_srgb(cast(Samples | Floats, rgb), self._depth)
        plain = _rounded(samples * np.float32(255 / self._maximum))
        image = Image.fromarray(plain[..., 0] if plain.shape[-1] == 1 else plain)
        if self.space is not None:
            image = apply_transform(image, self.space)
        return np.asarray(image.convert("RGB"))


def _resized(channel: Floats, size: tuple[int, int], box: tuple[float, float, float, float]) -> Floats:
    image = Image.fromarray(np.ascontiguousarray(channel, np.float32))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, box))


def _rounded(values: Floats) -> npt.NDArray[np.uint8]:
    return (values + np.float32(0.5)).astype(np.uint8)
