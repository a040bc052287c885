"""Image files: channel order, values, and corrupted files reported by name."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines import images
from pipelines.frame import SequenceError

RED_OVER_BLUE = np.array([[[255, 0, 0]] * 4, [[0, 0, 255]] * 4], np.uint8)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_png_keeps_rgb_order(tmp_path: Path) -> None:
    images.write_png(tmp_path / "a.png", RED_OVER_BLUE)
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "a.png"), RED_OVER_BLUE)
    stored_bgr = cv2.imdecode(np.frombuffer((tmp_path / "a.png").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert stored_bgr[0, 0].tolist() == [0, 0, 255]


def test_jpeg_keeps_rgb_order(tmp_path: Path) -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    images.write_jpeg(tmp_path / "a.jpg", red)
    assert np.abs(images.read_rgb(tmp_path / "a.jpg").astype(int) - red).max() <= 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_channel_round_trip(tmp_path: Path, rng: np.random.Generator, dtype: type) -> None:
    labels = rng.integers(0, np.iinfo(dtype).max, (5, 7), dtype=dtype, endpoint=True)
    images.write_png(tmp_path / "a.png", labels)
    read = images.read_labels(tmp_path / "a.png")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, labels)


def test_depth_in_metres_with_invalid_values(tmp_path: Path) -> None:
    images.write_png(tmp_path / "d.png", np.array([[0, 1000, 65535], [5000, 2500, 1]], np.uint16))
    depth = images.read_depth(tmp_path / "d.png", 5000)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[0, 0.2, 0], [1.0, 0.5, 0.0002]], rtol=1e-6)


def test_float_depth_from_numpy_file(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.array([[1.5, np.nan], [np.inf, -2.0]], np.float32))
    np.testing.assert_array_equal(images.read_depth(tmp_path / "d.npy", 1.0), np.array([[1.5, 0], [0, 0]], np.float32))


@pytest.mark.parametrize("dtype", [">u2", "<u2"])
@pytest.mark.parametrize("name", ["d.npy", "D.NPY"])
def test_depth_of_16_bits_from_numpy_file(tmp_path: Path, dtype: str, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        np.save(file, np.array([[65535, 1500]], dtype))
    np.testing.assert_array_equal(images.read_depth(tmp_path / name, 1000.0), np.array([[0, 1.5]], np.float32))
    assert images.read_labels(tmp_path / name).tolist() == [[65535, 1500]]


def test_depth_codec_is_exact_in_its_own_units(rng: np.random.Generator) -> None:
    stored = rng.integers(0, 65535, (20, 30), dtype=np.uint16)
    np.testing.assert_array_equal(images.encode_depth(stored / np.float32(1000), 1000), stored)
    odd = np.array([[70.0, -1.0, np.nan, np.inf]], np.float32)
    assert not images.encode_depth(odd, 1000).any()


def test_normals_survive_within_a_degree(tmp_path: Path, rng: np.random.Generator) -> None:
    normals = rng.normal(size=(30, 40, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    normals[3, 4] = 0
    images.write_png(tmp_path / "n.png", images.encode_normals(normals))
    read = images.read_normals(tmp_path / "n.png")
    assert read.dtype == np.float32
    assert read[3, 4].tolist() == [0, 0, 0]
    known = np.linalg.norm(normals, axis=2) > 0
    np.testing.assert_allclose(np.linalg.norm(read[known], axis=1), 1, atol=1e-5)
    cosine = np.einsum("nc,nc->n", read[known], normals[known])
    assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).max() < 0.5


def test_edges_are_probabilities(tmp_path: Path) -> None:
    images.write_png(tmp_path / "e.png", np.array([[0, 255, 51]], np.uint8))
    np.testing.assert_allclose(images.read_edges(tmp_path / "e.png"), [[0, 1, 0.2]], rtol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_size_from_header(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    _, data = cv2.imencode(suffix, np.zeros((12, 34, 3), np.uint8))
    path.write_bytes(bytes(data))
    assert images.image_size(path) == (34, 12)


def with_exif_rotation(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_exif_rotation_is_not_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(with_exif_rotation(images.encode_jpeg(np.zeros((8, 16, 3), np.uint8)), 6))
    assert images.read_rgb(path).shape == (8, 16, 3)
    assert images.image_size(path) == (16, 8)


def damaged(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


PNG = images.encode_png(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))
JPEG = images.encode_jpeg(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.png", PNG[:-20], "truncated PNG"),
        ("a.png", PNG[:10], "truncated PNG"),
        ("a.png", damaged(PNG), "damaged PNG"),
        ("a.jpg", JPEG[:-30], "truncated JPEG"),
        ("a.jpg", b"", "empty"),
        ("a.png", b"<html>not found</html>", "not an image"),
        ("a.png", None, "missing"),
    ],
)
def test_bad_files_are_named_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, data: bytes | None, expected: str
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SequenceError, match=expected) as raised:
        images.read_rgb(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_truncation_is_seen_behind_a_thumbnail(tmp_path: Path) -> None:
    body = b"Exif\0\0" + JPEG
    data = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + JPEG[2:-40]
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(SequenceError, match="truncated"):
        images.read_rgb(tmp_path / "a.jpg")


def test_colour_image_is_no_label_image(tmp_path: Path) -> None:
    images.write_png(tmp_path / "a.png", RED_OVER_BLUE)
    with pytest.raises(SequenceError, match="one channel"):
        images.read_labels(tmp_path / "a.png")


def test_bad_numpy_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.npy").write_bytes(b"\x93NUMPY nonsense")
    with pytest.raises(SequenceError, match=r"d\.npy"):
        images.read_depth(tmp_path / "d.npy", 1.0)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)])
def test_writer_rejects(tmp_path: Path, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="write_png takes"):
        images.write_png(tmp_path / "a.png", image)


def write_exr(path, channels, **more):
    exr = pytest.importorskip("OpenEXR")
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage, **more}
    with exr.File(header, channels) as file:
        file.write(str(path))


def test_depth_from_openexr(tmp_path):
    depth = np.array([[1.5, 2.25, np.inf], [0, -1, 3]], np.float32)
    expected = np.array([[1.5, 2.25, 0], [0, 0, 3]], np.float32)
    for channels in ({"Z": depth}, {"R": depth, "G": depth, "B": depth}, {"depth.V": depth}):
        write_exr(tmp_path / "d.exr", channels)
        np.testing.assert_array_equal(images.read_depth(tmp_path / "d.exr", 1.0), expected)
    write_exr(tmp_path / "d.exr", {"R": depth, "G": depth + 1, "B": depth})
    with pytest.raises(SequenceError, match=r"d\.exr: expected one channel of depth, found"):
        images.read_depth(tmp_path / "d.exr", 1.0)


def window(left, top, right, bottom):
    return np.array([left, top], np.int32), np.array([right, bottom], np.int32)


def test_depth_from_openexr_with_a_part_of_the_image(tmp_path):
    depth = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    windows = {"dataWindow": window(1, 2, 3, 3), "displayWindow": window(0, 0, 5, 3)}
    write_exr(tmp_path / "d.exr", {"Z": depth}, **windows)
    expected = np.zeros((4, 6), np.float32)
    expected[2:, 1:4] = depth
    np.testing.assert_array_equal(images.read_depth(tmp_path / "d.exr", 1.0), expected)
    write_exr(tmp_path / "d.exr", {"Z": depth}, **(windows | {"dataWindow": window(7, 2, 9, 3)}))
    with pytest.raises(
        SequenceError, match=r"d\.exr: its pixels \(from 7, 2\) lie outside of its image \(6x4 from 0, 0\)"
    ):
        images.read_depth(tmp_path / "d.exr", 1.0)


def test_openexr_without_its_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    (tmp_path / "d.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(100))
    with pytest.raises(SequenceError, match=r"d\.exr: is an OpenEXR \(EXR\) image, .*`pip install m2h-mapping\[exr\]`"):
        images.read_depth(tmp_path / "d.exr", 1.0)
    (tmp_path / "d.exr").write_bytes(b"something else")
    with pytest.raises(SequenceError, match="is not an OpenEXR file"):
        images.read_depth(tmp_path / "d.exr", 1.0)


def test_broken_openexr_is_named(tmp_path):
    pytest.importorskip("OpenEXR")
    path = tmp_path / "d.exr"
    path.write_bytes(b"\x76\x2f\x31\x01" + bytes(100))
    with pytest.raises(SequenceError, match=r"d\.exr: not an image that can be decoded"):
        images.read_depth(path, 1.0)
    write_exr(path, {"Z": np.ones((32, 32), np.float32)})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SequenceError, match=r"d\.exr: is not a readable OpenEXR file"):
        images.read_depth(path, 1.0)


@pytest.mark.parametrize("name", ["a.heic", "a.jpg"])
def test_heic_is_named_with_what_converts_it(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    for read in (images.read_rgb, images.image_size):
        with pytest.raises(SequenceError, match=r"is a HEIC image, .* convert it to JPEG or PNG"):
            read(tmp_path / name)
    assert images.list_images(tmp_path) == [tmp_path / name]
    (tmp_path / "a.png").touch()
    if name == "a.heic":
        assert images.list_images(tmp_path) == [tmp_path / "a.png"]


def test_largest_value_of_16_bits_is_unknown():
    depth = np.array([[65.534, 65.535, 65.536]], np.float32)
    np.testing.assert_array_equal(images.encode_depth(depth, 1000), [[65534, 0, 0]])
