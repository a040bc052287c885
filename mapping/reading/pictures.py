"""Image files as they are stored: known formats alone, complete, and of a size that is read from the header before any pixel.

As in `mapping.reading.files`, every function takes the error to raise. Colour is in OpenCV's order unless the flags ask for RGB.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.reading.files import MIB, read_bytes, read_head

MOST_PIXELS = 64 * MIB
"""Of an image: 8192 x 8192."""
MOST_IMAGE_BYTES = 512 * MIB
ALPHA_HEAD = 26
"""Bytes of a file in which its header announces an alpha channel."""
UNKNOWN_16_BIT = 65535
"""The largest value of 16 bits, which cameras and programs store in depth where they measured nothing."""
BLACK_SHARE, MOST_BETWEEN = 0.2, 0.05
"""A mask is black up to the first share of its largest value, and as far from it white; the second share of its pixels may lie
between, as blurred borders do."""
EXR_SIGNATURE = b"\x76\x2f\x31\x01"
_HEAD_BYTES = 1 << 16
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_PNM_HEADER = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})")
_EXR_WINDOW = re.compile(rb"dataWindow\0box2i\0\x10\0\0\0(.{16})", re.DOTALL)
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ORIENTATION = 256, 257, 274
_TURNS_OF_ORIENTATION = {3: 2, 6: 3, 8: 1}
"""Quarter turns counter-clockwise by EXIF orientation, of those that are not mirrored."""

Size = tuple[int, int]
"""Width and height in pixels."""


def read_image(path: Path, flags: int, error: type[ValueError]) -> NDArray[Any]:
    """The pixels of an image file; raises `error` naming it when it is missing, damaged, no image or too large."""
    data = read_image_bytes(path, error)
    if data.startswith(EXR_SIGNATURE):
        raise error(f"{path}: is an OpenEXR (EXR) file, which is read as depth from a name that ends with .exr")
    return decode_image(data, flags, str(path), error)


def read_mask(path: Path, error: type[ValueError]) -> NDArray[np.uint8]:
    """A mask image as (H, W) uint8: 255 where an image may be used, 0 where the mask is black.

    Black is less than half of the image's largest value, so that masks of 0 and 1, of 0 and 255, and JPEG files are the same.
    Raises `error` naming the file when it has many values between, as images of labels and distances have.
    """
    brightest = read_image(path, cv2.IMREAD_UNCHANGED, error)
    if brightest.ndim == 3:
        brightest = brightest[..., :3].max(axis=2)  # without an alpha channel
    share = brightest.astype(np.float64) / max(float(brightest.max(initial=0)), 1.0)
    between = (share > BLACK_SHARE) & (share < 1 - BLACK_SHARE)
    if between.mean() > MOST_BETWEEN:
        raise error(
            f"{path}: expected a mask of black and one other value, found {len(np.unique(brightest))} values; are these labels?"
        )
    return np.where(share >= 0.5, np.uint8(255), np.uint8(0))


def read_image_bytes(path: Path, error: type[ValueError]) -> bytes:
    """An image file that is complete, not decoded, and whose pixels are no more than `MOST_PIXELS`."""
    data = read_bytes(path, error, most=MOST_IMAGE_BYTES, what="image file")
    if not data:
        raise error(f"{path}: image file is empty")
    if data.startswith(_PNG_SIGNATURE):
        problem = _png_problem(data)
    elif data.startswith(_JPEG_SIGNATURE):
        problem = _jpeg_problem(data)
    elif data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        problem = "is a HEIC image, which is not read: convert it to JPEG or PNG (`heif-convert FILE.heic FILE.jpg`)"
    else:
        problem = ""
    if problem:
        raise error(f"{path}: {problem}")
    return data


def decode_image(data: bytes, flags: int, where: str, error: type[ValueError]) -> NDArray[Any]:
    """The pixels of an image of a known format in memory; raises `error` that begins with `where`."""
    _checked_size(_size_in_header(data), where, error, len(data))
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None or not image.size:
        raise error(f"{where}: not an image that can be decoded ({len(data)} bytes)")
    return np.asarray(image)


def image_file_size(path: Path, error: type[ValueError]) -> Size:
    """(width, height) of an image file, from its header; raises `error` naming it."""
    size = _size_in_header(read_head(path, error, _HEAD_BYTES, what="image file"))
    if size is None:  # behind long metadata, if anywhere
        data = read_image_bytes(path, error)
        size = _size_in_header(data)
        return _checked_size(size, str(path), error, len(data))
    return _checked_size(size, str(path), error)


def turns_to_upright_shown(path: Path, error: type[ValueError]) -> int:
    """By how many quarter turns counter-clockwise a JPEG's EXIF orientation says that it is to be shown; 0 where it says none.

    Phones store what they held on end as it lies on the sensor. Mirrored images are not turned.
    """
    head = read_head(path, error, _HEAD_BYTES, what="image file")
    with suppress(struct.error):
        return _TURNS_OF_ORIENTATION.get(_exif_orientation(head), 0)
    return 0


def may_be_transparent(head: bytes) -> bool:
    """Whether the first `ALPHA_HEAD` bytes of a PNG or WebP file announce an alpha channel; False for other files."""
    if head.startswith(_PNG_SIGNATURE):
        return head[25:26] in (b"\4", b"\6")  # the colour types with alpha
    is_extended_webp = head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8X"
    if head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8L":
        return len(head) >= ALPHA_HEAD and bool(head[24] & 0x10)  # after 14 bits each of width and height
    return is_extended_webp and len(head) >= ALPHA_HEAD and bool(head[20] & 0x10)


def check_exr_size(data: bytes, where: str, error: type[ValueError]) -> None:
    """Raises `error` that begins with `where` for an OpenEXR file whose window is missing or too large."""
    _checked_size(_exr_size(data), where, error, len(data))


def placed_in_display(
    pixels: NDArray[Any], data_window: NDArray[Any], display_window: NDArray[Any], where: str, error: type[ValueError]
) -> NDArray[Any]:
    """The pixels (H, W) of an OpenEXR file's data window as those of its display window, which is the image: 0 where the file
    has none, and without those outside of it.

    Windows are the first and the last pixel (2, 2), each as x and y. Raises `error` that begins with `where` for pixels of
    another size than the data window, and for windows without a common pixel.
    """
    (left, top), (right, bottom) = data_window.tolist()
    (x0, y0), (x1, y1) = display_window.tolist()
    width, height = _checked_size((x1 - x0 + 1, y1 - y0 + 1), where, error)
    if pixels.shape != (bottom - top + 1, right - left + 1):
        raise error(f"{where}: has {pixels.shape[1]}x{pixels.shape[0]} pixels in a window of another size")
    if (left, top, right, bottom) == (x0, y0, x1, y1):
        return pixels
    columns, rows = slice(max(left, x0), min(right, x1) + 1), slice(max(top, y0), min(bottom, y1) + 1)
    if columns.start >= columns.stop or rows.start >= rows.stop:
        raise error(
            f"{where}: its pixels (from {left}, {top}) lie outside of its image ({width}x{height} from {x0}, {y0})"
        )
    image = np.zeros((height, width), pixels.dtype)
    image[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0] = pixels[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return image


def _checked_size(size: Size | None, where: str, error: type[ValueError], count: int = 0) -> Size:
    if size is None:
        raise error(f"{where}: not an image that can be decoded ({count} bytes)")
    width, height = size
    if width < 1 or height < 1:
        raise error(f"{where}: not an image that can be decoded: it is {width}x{height} pixels")
    if width * height > MOST_PIXELS:
        raise error(f"{where}: is too large: {width}x{height} pixels, at most {MOST_PIXELS} are read")
    return size


def _size_in_header(data: bytes) -> Size | None:
    """The size that a PNG, JPEG, BMP, TIFF, WebP or PNM states; None for other data, and where the header is cut off."""
    try:
        if data.startswith(_PNG_SIGNATURE):
            width, height = struct.unpack_from(">II", data, 16)
            return width, height
        if data.startswith(_JPEG_SIGNATURE):
            return _jpeg_size(data)
        if data.startswith(b"BM"):
            return _bmp_size(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp_size(data)
    except struct.error:
        return None
    found = _PNM_HEADER.match(data)
    return None if found is None else (int(found[1]), int(found[2]))


def _jpeg_size(data: bytes) -> Size | None:
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        marker = data[at + 1]
        if marker in (0x00, 0xFF):  # filling
            at += 1
        elif marker in _JPEG_SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker in _JPEG_WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None


def _exif_orientation(data: bytes) -> int:
    """The orientation in the EXIF segment of a JPEG's first bytes; 0 without one."""
    at = 2
    while data.startswith(_JPEG_SIGNATURE) and data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":
        length = int(struct.unpack_from(">H", data, at + 2)[0])
        if data[at + 1 : at + 2] == b"\xe1" and data[at + 4 : at + 10] == b"Exif\0\0":
            return _tiff_entries(data[at + 10 : at + 2 + length], (_TIFF_ORIENTATION,)).get(_TIFF_ORIENTATION, 0)
        at += 2 + length
    return 0


def _bmp_size(data: bytes) -> Size:
    layout = "<HH" if struct.unpack_from("<I", data, 14)[0] == 12 else "<ii"
    width, height = struct.unpack_from(layout, data, 18)
    return width, abs(height)


def _tiff_size(data: bytes) -> Size | None:
    found = _tiff_entries(data, (_TIFF_WIDTH, _TIFF_HEIGHT))
    return (found[_TIFF_WIDTH], found[_TIFF_HEIGHT]) if len(found) == 2 else None


def _tiff_entries(data: bytes, tags: Sequence[int]) -> dict[int, int]:
    """Whole numbers of a TIFF's first directory, the largest of each tag."""
    order = "<" if data.startswith(b"II") else ">"
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    found: dict[int, int] = {}
    for number in range(struct.unpack_from(f"{order}H", data, start)[0]):
        at = start + 2 + 12 * number
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        if tag in tags and kind in (3, 4):
            value = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)[0]
            found[tag] = max(value, found.get(tag, 0))
    return found


def _webp_size(data: bytes) -> Size | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _exr_size(data: bytes) -> Size | None:
    """The largest window of any part of an OpenEXR file."""
    sizes = []
    for found in _EXR_WINDOW.finditer(data[:MIB]):
        left, top, right, bottom = struct.unpack("<4i", found[1])
        sizes.append((right - left + 1, bottom - top + 1))
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _png_problem(data: bytes) -> str:
    """The defect of a PNG, empty when it is complete: walks the chunks and compares their checksums."""
    at = len(_PNG_SIGNATURE)
    view = memoryview(data)
    while at + 12 <= len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 12 + length
        if end > len(data):
            break
        kind = bytes(view[at + 4 : at + 8])
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return (
                f"damaged PNG: checksum of its {repr(kind.decode('latin-1'))[1:-1]} chunk at byte {at} does not match"
            )
        if kind == b"IEND":
            return ""
        at = end
    return f"truncated PNG: {len(data)} bytes without the closing IEND chunk"


def _jpeg_problem(data: bytes) -> str:
    """The defect of a JPEG, empty when its end marker follows the pixels (the EXIF thumbnail has one of its own)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    if data.rfind(b"\xff\xd9", at) < 0:
        return f"truncated JPEG: {len(data)} bytes without the closing marker"
    return ""
