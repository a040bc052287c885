"""The size of an image is read from its header, and compared with the limit before pixels are decoded."""

import contextlib
import struct
import zlib

import cv2
import numpy as np
import pytest

from mapping.reading.pictures import MOST_PIXELS, image_file_size, read_image


class BadFileError(ValueError):
    """What the caller of a reader raises."""


FORMATS = (".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm", ".pgm")


@pytest.mark.parametrize("suffix", FORMATS)
def test_sizes_are_those_of_the_pixels(tmp_path, suffix):
    rng = np.random.default_rng(0)
    shape = (31, 47) if suffix == ".pgm" else (31, 47, 3)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(suffix, rng.integers(0, 255, shape, np.uint8))[1].tobytes())
    assert image_file_size(path, BadFileError) == (47, 31)
    assert read_image(path, cv2.IMREAD_UNCHANGED, BadFileError).shape == shape


def test_lossless_webp_and_jpeg_with_long_metadata(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (31, 47, 3), np.uint8)
    path = tmp_path / "a"
    path.write_bytes(cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes())
    assert image_file_size(path, BadFileError) == (47, 31)
    data = cv2.imencode(".jpg", image)[1].tobytes()
    comment = b"\xff\xfe" + struct.pack(">H", 60000) + bytes(59998)
    path.write_bytes(data[:2] + b"\xff" + 2 * comment + data[2:])  # with a byte of filling
    assert image_file_size(path, BadFileError) == (47, 31)
    assert read_image(path, cv2.IMREAD_COLOR, BadFileError).shape == image.shape


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def large(suffix):
    """A small file that declares 30000 x 30000 pixels."""
    size = struct.pack("<ii", 30000, 30000)
    if suffix == ".png":
        return png(30000, 30000)
    if suffix == ".ppm":
        return b"P6 # a comment\n30000\n30000 255\n" + bytes(100)
    if suffix == ".bmp":
        return b"BM" + bytes(12) + struct.pack("<I", 40) + size + bytes(100)
    if suffix == ".tif":
        entries = [struct.pack("<HHII", tag, 4, 1, 30000) for tag in (256, 257)]
        return b"II*\0" + struct.pack("<IH", 8, 2) + b"".join(entries) + bytes(100)
    if suffix == ".webp":
        return b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + 2 * (29999).to_bytes(3, "little") + bytes(100)
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    at = data.find(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 30000, 30000)
    return bytes(data)


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix != ".pgm"])
def test_large_images_are_refused_before_they_are_decoded(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(large(suffix))
    for read in (lambda: image_file_size(path, BadFileError), lambda: read_image(path, cv2.IMREAD_COLOR, BadFileError)):
        with pytest.raises(
            BadFileError, match=f"a{suffix}: is too large: 30000x30000 pixels, at most {MOST_PIXELS} are read"
        ):
            read()


@pytest.mark.parametrize(
    "data", [b"GIF89a" + bytes(99), b"\0\0\0\x0cjP  " + bytes(99), b"#?RADIANCE\n", b"P7\n", b"hello"]
)
def test_formats_whose_size_is_not_known_are_not_decoded(tmp_path, data, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(BadFileError, match="not an image that can be decoded"):
        read_image(path, cv2.IMREAD_COLOR, BadFileError)


@pytest.mark.parametrize("suffix", FORMATS)
def test_cut_and_flipped_images_are_refused_or_decoded(tmp_path, suffix):
    """No header makes the reader raise anything but its error."""
    rng = np.random.default_rng(1)
    path = tmp_path / f"a{suffix}"
    data = cv2.imencode(suffix, rng.integers(0, 255, (9, 11) if suffix == ".pgm" else (9, 11, 3), np.uint8))[
        1
    ].tobytes()
    for at in range(min(len(data), 120)):
        for changed in (data[:at], data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]):
            path.write_bytes(changed)
            for read in (lambda: image_file_size(path, BadFileError), lambda: read_image(path, -1, BadFileError)):
                with contextlib.suppress(BadFileError):
                    read()
