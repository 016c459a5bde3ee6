"""Picture files of every kind that a caller can send, good and bad, made by code.

By default, a picture shows `scene()`: smooth, and different in each corner. So tests can distinguish any two
turns or crops, even after lossy coding.
"""

from __future__ import annotations

import random
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


def photograph(width: int = 90, height: int = 70, mode: str = "RGB") -> Image.Image:
    """Return `scene()` with noise, so that each part of its coded pixels matters."""
    noise = Image.frombytes("L", (width, height), random.Random(width).randbytes(width * height))
    return Image.blend(scene(width, height), noise.convert("RGB"), 0.2).convert(mode)


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


def tiff(kind: int, value: bytes, *, count: int = 1, byte_order: str = ">", directory: int = 0) -> bytes:
    """Return an EXIF block, without a prefix, whose only entry is an orientation.

    Args:
        kind: The TIFF type: 1 BYTE, 3 SHORT, 4 LONG and so on.
        value: The values in this byte order. More than four bytes lie after the directory.
        count: The number of values that the entry gives.
        byte_order: `>` or `<`.
        directory: 0 for the directory of the picture, 1 for that of its thumbnail.
    """
    start = struct.pack(byte_order + "HI", 42, 8)
    before = struct.pack(byte_order + "HI", 0, 14) if directory else b""
    at = 8 + len(before) + 2 + 12 + 4
    inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(byte_order + "I", at)
    entry = struct.pack(byte_order + "HHI", 0x0112, kind, count) + inline
    block = {">": b"MM", "<": b"II"}[byte_order] + start + before + struct.pack(byte_order + "H", 1) + entry
    return block + bytes(4) + (value if len(value) > 4 else b"")


def large_profile(size: int, *, compressible: bool = True) -> bytes:
    """Return the ICC profile of sRGB with a private tag that makes it this long."""
    profile = bytearray(srgb_profile())
    count = int.from_bytes(profile[128:132], "big")
    start = 132 + 12 * count
    for at in range(132, start, 12):  # One more entry in the table moves all tags.
        moved = int.from_bytes(profile[at + 4 : at + 8], "big") + 12
        profile[at + 4 : at + 8] = moved.to_bytes(4, "big")
    missing = size - len(profile) - 12
    profile[start:start] = struct.pack(">4sII", b"prvt", len(profile) + 12, missing)
    profile[128:132] = (count + 1).to_bytes(4, "big")
    filler = bytes(missing - 8) if compressible else random.Random(1).randbytes(missing - 8)
    profile += b"data" + bytes(4) + filler
    profile[:4] = size.to_bytes(4, "big")
    return bytes(profile)


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


def png_chunk_with_wrong_checksum(kind: bytes, body: bytes = b"") -> bytes:
    """Return one PNG chunk whose checksum has a wrong bit."""
    chunk = png_chunk(kind, body)
    return chunk[:-1] + bytes((chunk[-1] ^ 1,))


def webp_chunk(kind: bytes, body: bytes) -> bytes:
    """Return one WebP chunk."""
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def webp_of(*chunks: bytes) -> bytes:
    """Return a WebP file of these chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_header(width: int, height: int, flags: int = 0) -> bytes:
    """Return the header chunk of a WebP in the extended layout."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + size)


def with_jpeg_segments(data: bytes, *segments: bytes) -> bytes:
    """Return the JPEG with these segments after its JFIF segment."""
    return data[:20] + b"".join(segments) + data[20:]


def with_png_chunks(data: bytes, *chunks: bytes) -> bytes:
    """Return the PNG with these chunks after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def with_webp_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    """Return the WebP with this chunk at its end."""
    data += webp_chunk(kind, body)
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


def large_icc_profile() -> bytes:
    """Return a color profile of 16 MiB with a million tags, which compresses to less than 20 KB."""
    tags = 1_000_000
    size = 16 * 1024 * 1024
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header = header.ljust(36, b"\0") + b"acsp"
    profile = (
        header.ljust(128, b"\0") + struct.pack(">I", tags) + struct.pack(">4sII", b"text", 128, 12) * tags
    )
    return profile.ljust(size, b"\0")


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


def baseline_of_three_scans(image: Image.Image | None = None) -> bytes:
    """Return a sequential JPEG that has one scan for each component."""
    parts = [jpeg(band) for band in (image or scene()).convert("YCbCr").split()]
    frame = parts[0].index(b"\xff\xc0")
    first_scan = parts[0].index(b"\xff\xda")
    width_height = parts[0][frame + 5 : frame + 9]
    components = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    header = jpeg_segment(0xC0, b"\x08" + width_height + b"\x03" + components)
    tables = parts[0][frame + 2 + int.from_bytes(parts[0][frame + 2 : frame + 4], "big") : first_scan]
    scans = [
        jpeg_segment(0xDA, bytes((1, number, 0, 0, 63, 0))) + part[part.index(b"\xff\xda") + 10 : -2]
        for number, part in zip((1, 2, 3), parts, strict=True)
    ]
    return parts[0][:frame] + header + tables + b"".join(scans) + b"\xff\xd9"


def trailers() -> dict[str, bytes]:
    """Return what cameras and phones write after the pixels of a JPEG, instead of an end-of-image marker."""
    samsung = b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data" + SECRET
    return {
        "nothing": b"",
        "fill bytes": b"\xff\xff\xff",
        "zeros": bytes(5000),
        "text": SECRET * 50,
        "two bytes": b"\r\n",
        "samsung": samsung + b"SEFH\x6b\0\0\0" + bytes(16) + b"SEFT",
        "another picture": SECRET + jpeg_with_metadata(),
        "a whole segment, then another picture": jpeg_segment(0xE5, SECRET) + jpeg_with_metadata(),
        "half a segment": b"\xff\xe1\xff\xf0" + SECRET,
        "an unknown marker": b"\xff\x05" + SECRET,
        "restart markers": b"\xff\xd0\xff\xd1" * 9 + SECRET,
        "noise": random.Random(5).randbytes(3000).replace(b"\xff", b"\xfe") + SECRET,
        "tables": jpeg()[20:160] + SECRET,
    }


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
