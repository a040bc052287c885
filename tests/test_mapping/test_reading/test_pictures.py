"""The size of an image is read from its header, and compared with the limit before pixels are decoded."""

import contextlib
import struct
import zlib

import cv2
import numpy as np
import pytest

from mapping.reading.pictures import MOST_PIXELS, image_file_size, placed_in_display, read_image


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


PIXELS = np.arange(1, 7, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    ("data", "display", "expected"),
    [
        (((0, 0), (2, 1)), ((0, 0), (2, 1)), [[1, 2, 3], [4, 5, 6]]),
        (((1, 1), (3, 2)), ((0, 0), (4, 2)), [[0, 0, 0, 0, 0], [0, 1, 2, 3, 0], [0, 4, 5, 6, 0]]),
        (((-1, -1), (1, 0)), ((0, 0), (1, 1)), [[5, 6], [0, 0]]),
        (((5, 5), (7, 6)), ((6, 4), (8, 5)), [[0, 0, 0], [2, 3, 0]]),
    ],
)
def test_pixels_of_a_window_are_placed_in_the_image(data, display, expected):
    found = placed_in_display(PIXELS, np.array(data), np.array(display), "f", BadFileError)
    assert found.dtype == np.float32
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("data", "display", "message"),
    [
        (((0, 0), (3, 1)), ((0, 0), (3, 1)), "f: has 3x2 pixels in a window of another size"),
        (((0, 0), (2, 1)), ((3, 0), (5, 1)), "lie outside of its image"),
        (((0, 0), (2, 1)), ((0, 0), (1 << 20, 1 << 20)), "is too large"),
        (((0, 0), (2, 1)), ((0, 0), (-1, 1)), "not an image"),
    ],
)
def test_windows_that_are_refused(data, display, message):
    with pytest.raises(BadFileError, match=message):
        placed_in_display(PIXELS, np.array(data), np.array(display), "f", BadFileError)
