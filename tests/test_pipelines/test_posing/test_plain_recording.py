"""Plain recordings: what counts as one, and images that do not fit."""

import struct

import cv2
import numpy as np
import pytest

from mapping.reading.pictures import turns_to_upright_shown
from pipelines.frame import SequenceError
from pipelines.images import encode_jpeg, write_png
from pipelines.posing import reconstruction
from pipelines.posing.plain_recording import is_plain, open_plain
from pipelines.posing.reconstruction import focal_from_exif


def write_images(folder, names, size=(8, 6)):
    folder.mkdir(exist_ok=True)
    for name in names:
        write_png(folder / name, np.zeros((size[1], size[0], 3), np.uint8))


def test_a_folder_of_images_and_nothing_else_is_plain(tmp_path):
    write_images(tmp_path / "a", ["1.png", "2.png"])
    assert is_plain(tmp_path / "a")
    (tmp_path / "a" / ".DS_Store").touch()
    assert is_plain(tmp_path / "a")
    (tmp_path / "a" / "poses.txt").touch()  # may hold the poses: not to be passed over in silence
    assert not is_plain(tmp_path / "a")
    assert not is_plain(tmp_path / "missing")


@pytest.mark.parametrize("folder", ["masks", "mask"])
def test_masks_belong_to_a_plain_recording(tmp_path, folder):
    write_images(tmp_path / "a", ["1.png", "2.png", "3.png"])
    write_images(tmp_path / "a" / folder, ["1.png.png", "3.png.png"])  # COLMAP appends the suffix
    assert is_plain(tmp_path / "a")
    masks = open_plain(tmp_path / "a").masks
    assert [mask and mask.name for mask in masks] == ["1.png.png", None, "3.png.png"]


def test_images_of_an_unknown_format_are_named(tmp_path):
    for name in ("a.avif", "b.avif", "c.dng"):
        (tmp_path / name).touch()
    assert not is_plain(tmp_path)
    with pytest.raises(SequenceError, match=r"files that are not read as images \(2 .avif, 1 .dng\): convert them"):
        open_plain(tmp_path)


def test_no_features_are_found_where_a_mask_is_black(tmp_path):
    pycolmap = pytest.importorskip("pycolmap", reason="needs the extra sfm")
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    write_png(tmp_path / "images/1.png", np.kron(noise, np.ones((8, 8, 1), np.uint8)))
    used = np.full((96, 128), 255, np.uint8)
    used[:, 64:] = 0
    write_png(tmp_path / "masks/1.png.png", used)
    options = {"focal": None, "progress": lambda *_: None}
    reconstruction._extract(pycolmap, tmp_path / "images", ["1.png"], tmp_path / "database.db", **options)
    with pycolmap.Database.open(tmp_path / "database.db") as database:
        found = database.read_keypoints(1)
    assert len(found) > 5
    assert found[:, 0].max() < 65


def test_a_canonical_folder_is_not_plain(box_room):
    assert not is_plain(box_room)


def test_images_are_in_the_order_of_their_numbers(tmp_path):
    write_images(tmp_path / "a", ["img10.png", "img9.png", "img1.png"])
    recording = open_plain(tmp_path / "a")
    assert [path.name for path in recording.sources] == ["img1.png", "img9.png", "img10.png"]
    assert (np.diff(recording.times) > 0).all()


def test_an_image_of_another_size_is_named(tmp_path):
    write_images(tmp_path / "a", ["1.png", "2.png", "4.png"])
    write_images(tmp_path / "a", ["3.png"], size=(6, 8))
    recording = open_plain(tmp_path / "a")
    assert recording.size == (8, 6)
    assert recording.problems == {2: "is 6x8 pixels, most images 8x6"}


def with_orientation(jpeg, orientation, order="<"):
    """A JPEG with an EXIF segment that says how it is to be shown."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + head
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_photos_are_read_as_their_exif_orientation_shows_them(tmp_path, orientation, order):
    """As OpenCV itself shows them; those that it would mirror are left as they are stored."""
    stored = np.zeros((24, 40, 3), np.uint8)
    stored[:12, :20] = 255
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(with_orientation(encode_jpeg(stored), orientation, order))
    (tmp_path / "c.jpg").write_bytes(encode_jpeg(stored))
    recording = open_plain(tmp_path)
    flags = cv2.IMREAD_COLOR_RGB | (0 if orientation in (3, 6, 8) else cv2.IMREAD_IGNORE_ORIENTATION)
    expected = cv2.imdecode(np.frombuffer((tmp_path / "a.jpg").read_bytes(), np.uint8), flags)
    np.testing.assert_array_equal(recording.read(0), expected)
    assert recording.size == expected.shape[1::-1]
    assert recording.read(2).shape == expected.shape  # as most images
    assert not recording.problems


def test_copies_that_are_upright_belong_to_photos_that_are_turned(tmp_path):
    stored = np.zeros((24, 40, 3), np.uint8)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(with_orientation(encode_jpeg(stored), 6))
    write_png(tmp_path / "d.png", np.zeros((40, 24, 3), np.uint8))
    write_png(tmp_path / "e.png", np.zeros((30, 24, 3), np.uint8))
    recording = open_plain(tmp_path)
    assert (recording.size, recording.turns[:4]) == ((24, 40), (3, 3, 3, 0))
    assert recording.problems == {4: "is 24x30 pixels, most images 24x40"}
    assert {recording.read(i).shape for i in range(4)} == {(40, 24, 3)}


def test_what_is_no_exif_data_turns_nothing(tmp_path):
    whole = with_orientation(encode_jpeg(np.zeros((24, 40, 3), np.uint8)), 6)
    path = tmp_path / "a.jpg"
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert turns_to_upright_shown(path, SequenceError) == (3 if cut >= 32 else 0)
    write_png(tmp_path / "b.png", np.zeros((24, 40, 3), np.uint8))
    assert turns_to_upright_shown(tmp_path / "b.png", SequenceError) == 0


def test_what_is_no_recording_is_said(tmp_path):
    with pytest.raises(SequenceError, match="no such file or folder"):
        open_plain(tmp_path / "missing.mp4")
    with pytest.raises(SequenceError, match=r"expected a video .* or a folder of images"):
        open_plain(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(SequenceError, match="none of 1 images can be read"):
        open_plain(tmp_path)


def test_the_focal_length_comes_from_exif_data(tmp_path):
    pytest.importorskip("pycolmap", reason="needs the extra sfm")
    path = tmp_path / "photo.jpg"
    plain = encode_jpeg(np.zeros((300, 400, 3), np.uint8))
    path.write_bytes(plain)
    assert focal_from_exif(path) is None
    exif_pointer = struct.pack("<HHHIII", 1, 0x8769, 4, 1, 26, 0)
    equivalent_mm = struct.pack("<HHHIHHI", 1, 0xA405, 3, 1, 26, 0, 0)  # of a 35 mm film, whose diagonal is 43.27 mm
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + exif_pointer + equivalent_mm
    path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:])
    assert focal_from_exif(path) == pytest.approx(26 / 43.27 * 500, rel=1e-3)
    path.write_bytes(b"no image")
    assert focal_from_exif(path) is None
