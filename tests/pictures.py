"""Picture files of every kind that a caller can send, good and bad, made by code.

By default, a picture shows `scene()`: smooth, and different in each corner. So tests can distinguish any two
turns or crops, even after lossy coding.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

SECRET = b"53 deg 20 min N, taken at home by Sarah"
"""Text in the metadata of pictures made here. No stored file may contain it."""

_INVERSE_OF_UPRIGHT = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Transformation with which a turned camera stores an upright scene, by EXIF orientation."""


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """Return an image in which red grows to the right and green downwards, with a blue top left corner."""
    red = Image.linear_gradient("L").rotate(90).resize((width, height))
    green = Image.linear_gradient("L").resize((width, height))
    blue = Image.new("L", (width, height), 40)
    blue.paste(220, (0, 0, (width + 1) // 2, (height + 1) // 2))
    return Image.merge("RGB", (red, green, blue))


def stored_as(orientation: int, image: Image.Image) -> Image.Image:
    """Return an upright image as a file with this EXIF orientation stores it."""
    method = _INVERSE_OF_UPRIGHT[orientation]
    return image if method is None else image.transpose(method)


def exif(orientation: int | None = None) -> bytes:
    """Return EXIF with a position, a description and an orientation; it starts with `Exif` and two zeros."""
    block = Image.Exif()
    if orientation is not None:
        block[0x0112] = orientation
    block[0x010E] = SECRET.decode()
    block.get_ifd(0x8825).update({1: "N", 2: (53.0, 20.0, 0.0), 3: "W", 4: (6.0, 15.0, 0.0)})
    return block.tobytes()


def srgb_profile() -> bytes:
    """Return an ICC profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """Return an ICC profile with sRGB's red and green swapped."""
    return srgb_profile().replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def encoded(format: str, image: Image.Image | None = None, **options: object) -> bytes:
    """Return the image, or `scene()`, as Pillow writes it in this format."""
    buffer = BytesIO()
    (image or scene()).save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    """Return a JPEG without metadata."""
    return encoded("JPEG", image, **{"quality": 90, **options})


def png(image: Image.Image | None = None, **options: object) -> bytes:
    """Return a PNG without metadata."""
    return encoded("PNG", image, **options)


def webp(image: Image.Image | None = None, **options: object) -> bytes:
    """Return a lossy WebP without metadata, in the simple layout."""
    return encoded("WEBP", image, **{"quality": 90, **options})


# With metadata


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    """Return one JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def png_chunk(kind: bytes, body: bytes = b"") -> bytes:
    """Return one PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_jpeg_segments(data: bytes, *segments: bytes) -> bytes:
    """Return the JPEG with these segments after its JFIF segment."""
    return data[:20] + b"".join(segments) + data[20:]


def with_png_chunks(data: bytes, *chunks: bytes) -> bytes:
    """Return the PNG with these chunks after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def with_webp_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    """Return the WebP with this chunk at its end."""
    data += kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def jpeg_with_metadata(data: bytes | None = None, orientation: int | None = None) -> bytes:
    """Return the JPEG with EXIF GPS, XMP, IPTC, a comment, a JFXX thumbnail and other metadata."""
    return with_jpeg_segments(
        data or jpeg(),
        jpeg_segment(0xE1, exif(orientation)),
        jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"),
        jpeg_segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0" + SECRET),
        jpeg_segment(0xE0, b"JFXX\0\x10" + SECRET),
        jpeg_segment(0xE2, b"MPF\0" + SECRET),
        jpeg_segment(0xEC, b"Ducky" + SECRET),
        jpeg_segment(0xFE, SECRET),
    )


def png_with_metadata(image: Image.Image | None = None, orientation: int | None = None) -> bytes:
    """Return a PNG with EXIF GPS, XMP, texts, a time and a private chunk."""
    texts = PngInfo()
    texts.add_text("Comment", SECRET.decode())
    texts.add_text("Comment", SECRET.decode(), zip=True)
    texts.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    data = png(image, pnginfo=texts, exif=exif(orientation))
    return with_png_chunks(data, png_chunk(b"tIME", b"\x07\xea\1\1\1\1\1"), png_chunk(b"prVt", SECRET))


def webp_with_metadata(
    image: Image.Image | None = None, orientation: int | None = None, **options: object
) -> bytes:
    """Return a WebP in the extended layout with EXIF GPS, XMP and an unknown chunk."""
    data = webp(image, exif=exif(orientation), xmp=SECRET, **options)
    return with_webp_chunk(data, b"sECR", SECRET)


def mpo() -> bytes:
    """Return a phone's JPEG with an MPF index and a second picture after the first."""
    return encoded("MPO", None, save_all=True, append_images=[scene().rotate(180)], exif=exif())


def motion_photo() -> bytes:
    """Return a phone's JPEG with a video after the end of the picture."""
    return jpeg_with_metadata() + b"\0\0\0\x18ftypmp42" + SECRET * 20 + b"\xff\xd9"


def jpeg_with_broken_exif() -> bytes:
    """Return a whole JPEG with an EXIF block that points past its own end."""
    return with_jpeg_segments(jpeg(), jpeg_segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f" + SECRET))


# Large


def padded_jpeg(size: int) -> bytes:
    """Return a valid JPEG of exactly this many bytes, filled with comments."""
    data = jpeg()
    missing = size - len(data)
    segments = []
    while missing:
        length = missing if missing <= 0xFFFF else min(0xFFFF, missing - 4)
        segments.append(jpeg_segment(0xFE, bytes(length - 4)))
        missing -= length
    return with_jpeg_segments(data, *segments)


def bomb_png(width: int = 20_000, height: int = 20_000) -> bytes:
    """Return a small file that decodes to hundreds of megabytes: one bit per pixel, all black."""
    deflate = zlib.compressobj(9)
    rows = bytes(((width + 7) // 8 + 1) * 100)
    body = b"".join(deflate.compress(rows) for _ in range(height // 100)) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND")


def jpeg_with_header_size(width: int, height: int) -> bytes:
    """Return a JPEG with this size in its header."""
    data = jpeg()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def webp_with_header_size(width: int, height: int) -> bytes:
    """Return a WebP with this size in its header."""
    data = webp()
    return data[:26] + struct.pack("<HH", width, height) + data[30:]


# Broken


def png_of_rows(rows: bytes, interlaced: bool = False) -> bytes:
    """Return a grayscale PNG with a header for 64x64 pixels, these filtered rows, and correct checksums.

    A whole picture has 64 rows of 65 bytes. An interlaced one has 8 rows of 9 bytes, 8 of 9, 8 of 17, 16 of
    17, 16 of 33, 32 of 33 and 32 of 65.
    """
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, interlaced)
    body = zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND")


def webp_cut_inside(data: bytes, end: int) -> bytes:
    """Return a WebP in the simple layout that ends at this byte of its coded pixels, with correct sizes."""
    body = data[20:end] + b"\0" * (end % 2)
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + data[8:16] + struct.pack("<I", end - 20) + body


def many_scans_jpeg(scans: int, image: Image.Image | None = None) -> bytes:
    """Return a progressive JPEG with this many scans of the whole picture, by default a small one."""
    data = jpeg(image or Image.new("RGB", (48, 32), "teal"), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans + 1 - data.count(b"\xff\xda")) + data[-2:]


# Animations, and files that are not pictures


def animated_webp() -> bytes:
    """Return a WebP with two frames."""
    return webp(save_all=True, append_images=[scene().rotate(180)])


def apng() -> bytes:
    """Return a PNG with two frames."""
    return png(save_all=True, append_images=[scene().rotate(180)])


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
HTML = b"<!doctype html><script>alert(1)</script>"
