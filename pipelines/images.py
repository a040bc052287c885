"""Image files to arrays and back: the only module that encodes images, so that BGR order stays internal.

Files are read whole and checked before they are decoded, by `mapping.reading.pictures`: a truncated download is an error with the
file's name, not a grey stripe in the map and a line of a C library on the terminal.
Pixels are returned as stored: an EXIF rotation is not applied, because the intrinsics belong to the stored image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.files import write_bytes_atomic
from mapping.reading.arrays import read_npy
from mapping.reading.files import read_head
from mapping.reading.pictures import (
    ALPHA_HEAD,
    EXR_SIGNATURE,
    UNKNOWN_16_BIT,
    check_exr_size,
    image_file_size,
    may_be_transparent,
    placed_in_display,
    read_image,
    read_image_bytes,
)
from mapping.reading.pictures import read_mask as read_stored_mask
from pipelines.frame import SequenceError

HEIC_SUFFIXES = frozenset({".heic", ".heif"})
IMAGE_SUFFIXES = HEIC_SUFFIXES | {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
UNREAD_SUFFIXES = frozenset(
    {".avif", ".jxl", ".jp2", ".gif", ".tga", ".hdr", ".exr", ".dng", ".raw", ".cr2", ".cr3", ".nef", ".arw"}
)
"""Of images that no reader takes for pictures."""
DEPTH_SUFFIXES = IMAGE_SUFFIXES | {".exr", ".npy"}
_READ_COLOR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image file as (H, W, 3) uint8 RGB; grey is repeated, alpha dropped, 16 bit scaled to 8.

    Raises SequenceError naming the file when it is missing, truncated, corrupted or not an image.
    """
    return np.asarray(read_image(path, _READ_COLOR, SequenceError), dtype=np.uint8)


def read_depth(path: Path, scale: float) -> NDArray[np.float32]:
    """A depth image as (H, W) float32 metres, 0 where unknown: stored value / `scale`.

    Takes single-channel integer or float images, OpenEXR files and `.npy` arrays. `scale` is stored units per metre (1000 for
    millimetres). Negative and non-finite values are unknown, and so is 65535 of 16 bits.

    Raises SequenceError naming the file.
    """
    raw = _one_channel(path)
    depth = raw.astype(np.float32)
    with np.errstate(over="ignore"):  # infinite depth is unknown
        depth /= np.float32(scale)
    if raw.dtype == np.uint16:
        depth[raw == UNKNOWN_16_BIT] = 0
    if raw.dtype.kind != "u":
        depth[~(np.isfinite(depth) & (depth > 0))] = 0
    return depth


def read_labels(path: Path) -> NDArray[Any]:
    """A label or instance image as it is stored: (H, W) uint8 or uint16.

    Raises SequenceError naming the file when it is not one channel of whole numbers (nor for a palette image).
    """
    raw = _one_channel(path)
    if raw.dtype not in (np.uint8, np.uint16):
        raise SequenceError(f"{path}: expected labels as uint8 or uint16, found {raw.dtype}")
    return raw


def read_mask(path: Path) -> NDArray[np.uint8]:
    """A mask as `mapping.reading.pictures.read_mask` gives it; raises SequenceError."""
    return read_stored_mask(path, SequenceError)


def read_opacity(path: Path) -> NDArray[np.uint8] | None:
    """A mask (H, W) of an image, as `read_mask` gives it, that is 0 where a PNG or WebP file is rather transparent than opaque;
    None where it is opaque everywhere."""
    if not may_be_transparent(read_head(path, SequenceError, ALPHA_HEAD, what="image file")):
        return None
    stored = np.asarray(read_image(path, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION, SequenceError))
    if stored.ndim != 3 or stored.shape[2] != 4:
        return None
    opaque = stored[..., 3] >= np.iinfo(stored.dtype).max / 2
    return None if opaque.all() else np.where(opaque, np.uint8(255), np.uint8(0))


def read_normals(path: Path) -> NDArray[np.float32]:
    """A normal image as (H, W, 3) float32 unit vectors in the camera frame, 0 where unknown."""
    return decode_normals(read_rgb(path))


def read_edges(path: Path) -> NDArray[np.float32]:
    """An edge image as (H, W) float32 probabilities: the stored value over the largest of its type."""
    raw = read_labels(path)
    return raw.astype(np.float32) / np.float32(np.iinfo(raw.dtype).max)


def decode_normals(encoded: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 of `(n + 1) * 127.5` to unit vectors float32; vectors that are too short are unknown, 0."""
    normals = encoded.astype(np.float32)
    normals *= np.float32(1 / 127.5)
    normals -= 1
    length = np.sqrt(np.einsum("hwc,hwc->hw", normals, normals))
    scale = np.divide(1, length, out=np.zeros_like(length), where=length > 0.5)
    normals *= scale[..., None]
    return normals


def encode_normals(normals: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Unit vectors (H, W, 3) to uint8 `(n + 1) * 127.5`, rounded; unknown [0, 0, 0] becomes mid grey."""
    scaled: NDArray[np.uint8] = np.clip(np.rint((normals + 1) * 127.5), 0, 255).astype(np.uint8)
    return scaled


def encode_depth(depth: NDArray[np.floating[Any]], scale: float) -> NDArray[np.uint16]:
    """Depth in metres to uint16 of `scale` units per metre, rounded; values outside of 1 to 65534 are unknown, 0."""
    stored = np.rint(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * scale)
    encoded: NDArray[np.uint16] = np.where((stored >= 0) & (stored < UNKNOWN_16_BIT), stored, 0).astype(np.uint16)
    return encoded


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image file, from its header; raises SequenceError naming it."""
    return image_file_size(path, SequenceError)


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, by name; hidden files are ignored, and HEIC files next to their conversions. Empty when there
    is no such folder."""
    files = _list_files(folder, IMAGE_SUFFIXES)
    readable = {file.stem for file in files if file.suffix.lower() not in HEIC_SUFFIXES}
    return [file for file in files if file.suffix.lower() not in HEIC_SUFFIXES or file.stem not in readable]


def unread_images(folder: Path) -> str:
    """What to add to an error that a folder has no images, where it has some of a format that is not read; else nothing."""
    files = _list_files(folder, UNREAD_SUFFIXES)
    if not files:
        return ""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in Counter(file.suffix for file in files).most_common())
    return f"; it has files that are not read as images ({kinds}): convert them to JPEG or PNG"


def list_depth_images(folder: Path) -> list[Path]:
    """The same for depth, which may also be OpenEXR files and `.npy` arrays."""
    return _list_files(folder, DEPTH_SUFFIXES)


def _list_files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))


def write_png(path: Path, image: NDArray[Any], *, compression: int = 1, durable: bool = True) -> None:
    """Write (H, W, 3) uint8 RGB, (H, W) uint8 or (H, W) uint16 as PNG; the file is written atomically.

    `durable` is that of `atomic_path`. `compression` is zlib's 0-9; beyond 1 files shrink by a tenth at best and writing takes
    several times as long.
    """
    kinds = [(np.dtype(np.uint8), 3), (np.dtype(np.uint8), 2), (np.dtype(np.uint16), 2)]
    if (image.dtype, image.ndim) not in kinds or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"write_png takes uint8 (H, W, 3), uint8 or uint16 (H, W), got {image.dtype} {image.shape}")
    write_bytes_atomic(path, encode_png(image, compression=compression), durable=durable)


def write_jpeg(path: Path, rgb: NDArray[np.uint8], *, quality: int = 95, durable: bool = True) -> None:
    """Write (H, W, 3) uint8 RGB as JPEG; the file is written atomically, `durable` as by `atomic_path`."""
    write_bytes_atomic(path, encode_jpeg(rgb, quality=quality), durable=durable)


def encode_jpeg(rgb: NDArray[np.uint8], *, quality: int = 90) -> bytes:
    """(H, W, 3) uint8 RGB as the bytes of a JPEG file, for reports and viewers."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"JPEG takes uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}")
    return _encode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(image: NDArray[Any], *, compression: int = 1) -> bytes:
    """An image that `write_png` takes as the bytes of a PNG file."""
    parameters = [cv2.IMWRITE_PNG_COMPRESSION, compression]
    if compression == 1:
        # One filter instead of all tried in turn; and colour pictures are too noisy for longer matches than runs. Twice as fast.
        if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # since OpenCV 4.12
            parameters += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
        if image.ndim == 3:
            parameters += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    return _encode(".png", image, parameters)


def _one_channel(path: Path) -> NDArray[Any]:
    if path.suffix.lower() == ".npy":
        raw = read_npy(path, SequenceError)
        raw = raw[..., 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw
    elif path.suffix.lower() == ".exr":
        raw = _read_exr(path)
    else:
        raw = read_image(path, cv2.IMREAD_UNCHANGED, SequenceError)
    if raw.ndim != 2 or raw.dtype.kind not in "uif" or not raw.size:
        raise SequenceError(f"{path}: expected one channel of numbers, found {raw.dtype} {raw.shape}")
    return raw


def _read_exr(path: Path) -> NDArray[Any]:
    """The depth channel of an OpenEXR file: Z, Y or V, else the only one, or the red of three equal ones; at the pixels of the
    image (its display window), 0 where the file has none."""
    data = read_image_bytes(path, SequenceError)
    if not data.startswith(EXR_SIGNATURE):
        raise SequenceError(f"{path}: is not an OpenEXR file")
    try:
        import OpenEXR
    except ImportError as error:
        raise SequenceError(
            f"{path}: is an OpenEXR (EXR) image, which needs the package OpenEXR: `pip install m2h-mapping[exr]`, "
            "or convert it to 16-bit PNG or .npy"
        ) from error
    check_exr_size(data, str(path), SequenceError)
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: np.array(channel.pixels) for name, channel in file.channels().items()}
            data_window, display_window = (np.array(file.header()[name]) for name in ("dataWindow", "displayWindow"))
    except Exception as error:  # the binding raises RuntimeError, ValueError and its own kinds
        raise SequenceError(f"{path}: is not a readable OpenEXR file: {str(error).splitlines()[0]}") from error
    return placed_in_display(_depth_channel(channels, path), data_window, display_window, str(path), SequenceError)


def _depth_channel(channels: dict[str, NDArray[Any]], path: Path) -> NDArray[Any]:
    for name in ("Z", "Y", "V"):
        if name in channels:
            return channels[name]
    colours = [array for name, array in sorted(channels.items()) if name != "A"]
    if colours and all(np.array_equal(colours[0], other, equal_nan=True) for other in colours[1:]):
        return colours[0]
    raise SequenceError(f"{path}: expected one channel of depth, found {', '.join(channels)}")


def _encode(suffix: str, image: NDArray[Any], parameters: list[int]) -> bytes:
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    ok, data = cv2.imencode(suffix, stored, parameters)
    if not ok:
        raise ValueError(f"cannot encode {image.dtype} {image.shape} as {suffix}")
    return bytes(data)


def first_image_size(paths: Sequence[Path], folder: Path) -> tuple[int, int]:
    """(width, height) of the first image whose header can be read; raises SequenceError when there is none."""
    problem = "no image found"
    for path in paths:
        try:
            return image_size(path)
        except SequenceError as error:
            problem = str(error)
    raise SequenceError(f"{folder}: no readable image, so the size is unknown: {problem}")
