"""COLMAP models in text and binary."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from mapping.camera import Intrinsics
from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_png
from pipelines.sequences.colmap import read_cameras, read_registered
from pipelines.sequences.recorded import RecordedSequence


def test_pose_by_hand(tmp_path: Path) -> None:
    """World-to-camera: a turn of 90 degrees about the camera's y, then a shift; the centre is -R^T t."""
    folders.write_colmap_text(tmp_path)
    half = 0.5**0.5
    (tmp_path / "sparse/0/images.txt").write_text(f"1 {half} 0 {half} 0 1 2 3 7 shot 0.png\n\n")
    frame = open_sequence(tmp_path)[0]
    np.testing.assert_allclose(frame.T_world_camera @ [0, 0, 0, 1], [3, -2, -1, 1], atol=1e-12)
    np.testing.assert_allclose(frame.T_world_camera[:3, 2], [-1, 0, 0], atol=1e-12)  # forward
    assert (frame.intrinsics.cx, frame.intrinsics.cy) == (7, 5)  # their 7.5, 5.5


def test_images_that_are_not_registered_are_listed(tmp_path: Path) -> None:
    folders.write_colmap_binary(tmp_path)
    write_png(tmp_path / "images/10.png", np.zeros((folders.HEIGHT, folders.WIDTH, 3), np.uint8))
    infos = open_sequence(tmp_path).infos
    assert [(info.image, info.used) for info in infos] == [
        ("images/0.png", True),
        ("images/1.png", True),
        ("images/2.png", True),
        ("images/10.png", False),
    ]
    assert infos[3].reason == "not registered by COLMAP"


def test_largest_model_is_taken(tmp_path: Path) -> None:
    folders.write_colmap_text(tmp_path)
    shutil.copytree(tmp_path / "sparse/0", tmp_path / "sparse/1")
    lines = (tmp_path / "sparse/0/images.txt").read_text().splitlines()
    (tmp_path / "sparse/0/images.txt").write_text("\n".join(lines[:3]) + "\n")
    sequence = open_sequence(tmp_path)
    assert isinstance(sequence, RecordedSequence)
    assert sum(info.used for info in sequence.infos) == 3
    assert any("using 1 with 3 images" in note for note in sequence.notes)
    assert any("scale" in note for note in sequence.notes)


def test_model_folder_itself_and_images_elsewhere(tmp_path: Path) -> None:
    folders.write_colmap_binary(tmp_path)
    assert len(open_sequence(tmp_path / "sparse/0")) == folders.COUNT


def test_text_and_binary_agree(tmp_path: Path) -> None:
    folders.write_colmap_text(tmp_path / "text")
    folders.write_colmap_binary(tmp_path / "binary")
    text, binary = (read_registered(tmp_path / kind / "sparse/0") for kind in ("text", "binary"))
    assert [(i.camera, i.translation, i.quat_wxyz) for i in text] == [
        (i.camera, i.translation, i.quat_wxyz) for i in binary
    ]
    assert read_cameras(tmp_path / "text/sparse/0") == read_cameras(tmp_path / "binary/sparse/0")


def test_binary_names_written_on_windows(tmp_path: Path) -> None:
    folders.write_colmap_binary(tmp_path)
    file = tmp_path / "sparse/0/images.bin"
    file.write_bytes(file.read_bytes().replace(b"0.png\0", b"left\\0.png\0"))
    (tmp_path / "images/left").mkdir()
    (tmp_path / "images/0.png").rename(tmp_path / "images/left/0.png")
    assert {info.image: info.used for info in open_sequence(tmp_path).infos}["images/left/0.png"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SIMPLE_PINHOLE 16 12 20 8 6", Intrinsics(20, 20, 7.5, 5.5, 16, 12)),
        ("PINHOLE 16 12 20 21 8 6", Intrinsics(20, 21, 7.5, 5.5, 16, 12)),
        ("SIMPLE_RADIAL 16 12 20 8 6 0.1", Intrinsics(20, 20, 7.5, 5.5, 16, 12, (0.1, 0, 0, 0))),
        ("RADIAL 16 12 20 8 6 0.1 0.2", Intrinsics(20, 20, 7.5, 5.5, 16, 12, (0.1, 0.2, 0, 0))),
        ("OPENCV 16 12 20 21 8 6 1 2 3 4", Intrinsics(20, 21, 7.5, 5.5, 16, 12, (1, 2, 3, 4))),
        ("OPENCV_FISHEYE 16 12 20 21 8 6 1 2 3 4", Intrinsics(20, 21, 7.5, 5.5, 16, 12, (1, 2, 3, 4), "fisheye")),
        ("FULL_OPENCV 16 12 20 21 8 6 1 2 3 4 5 6 7 8", Intrinsics(20, 21, 7.5, 5.5, 16, 12, (1, 2, 3, 4, 5, 6, 7, 8))),
        ("SIMPLE_RADIAL_FISHEYE 16 12 20 8 6 0.1", Intrinsics(20, 20, 7.5, 5.5, 16, 12, (0.1, 0, 0, 0), "fisheye")),
        ("RADIAL_FISHEYE 16 12 20 8 6 0.1 0.2", Intrinsics(20, 20, 7.5, 5.5, 16, 12, (0.1, 0.2, 0, 0), "fisheye")),
        ("OPENCV_FISHEYE 16 12 20 21 8 6 0 0 0 0", Intrinsics(20, 21, 7.5, 5.5, 16, 12, (0, 0, 0, 0), "fisheye")),
    ],
)
def test_camera_models(tmp_path: Path, line: str, expected: Intrinsics) -> None:
    folders.write_colmap_text(tmp_path)
    (tmp_path / "sparse/0/cameras.txt").write_text(f"7 {line}\n")
    assert read_cameras(tmp_path / "sparse/0") == {7: expected}


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("cameras.txt", "7 FOV 16 12 20 20 8 6 0.5\n", "camera 7: model FOV is not supported"),
        ("cameras.txt", "7 PINHOLE 16 12 20 20 8\n", "has 4 parameters, found 3"),
        ("cameras.txt", "7 PINHOLE 16\n", r"cameras\.txt line 1"),
        ("cameras.txt", "7 PINHOLE 16 12 -20 20 8 6\n", "is not a valid camera"),
        ("images.txt", "1 1 0 0 0 0 0\n\n", r"images\.txt line 1"),
        ("images.txt", "# none\n", "no registered image"),
        ("images.txt", "1 1 0 0 0 0 0 0 9 shot 0.png\n\n", "camera 9 is not in its cameras file"),
    ],
)
def test_wrong_text_is_named(tmp_path: Path, file: str, text: str, expected: str) -> None:
    folders.write_colmap_text(tmp_path)
    (tmp_path / "sparse/0" / file).write_text(text)
    with pytest.raises(SequenceError, match=expected):
        open_sequence(tmp_path)


@pytest.mark.parametrize("file", ["cameras.bin", "images.bin"])
@pytest.mark.parametrize("keep", [4, 30, -5])
def test_truncated_binary_is_named(tmp_path: Path, file: str, keep: int) -> None:
    folders.write_colmap_binary(tmp_path)
    path = tmp_path / "sparse/0" / file
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SequenceError, match=rf"{file}: ends in the middle"):
        open_sequence(tmp_path)


def test_unknown_binary_camera_model(tmp_path: Path) -> None:
    folders.write_colmap_binary(tmp_path)
    (tmp_path / "sparse/0/cameras.bin").write_bytes(struct.pack("<QiiQQ", 1, 7, 99, 16, 12))
    with pytest.raises(SequenceError, match="model number 99"):
        open_sequence(tmp_path)


def test_lines_of_images_as_colmap_reads_them(tmp_path: Path) -> None:
    """Empty lines and comments between images are skipped; the line after an image's is its points', even when empty."""
    folders.write_colmap_text(tmp_path)
    file = tmp_path / "sparse/0/images.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(["", *lines[:3], "", "# more", "", *lines[3:5], "   ", *lines[5:]]) + "\n")
    for i, info in enumerate(open_sequence(tmp_path).infos):
        np.testing.assert_allclose(info.T_world_camera, folders.POSES[i], atol=1e-6)
    file.write_text("\n".join(line for line in lines if line) + "\n")
    with pytest.raises(SequenceError, match=r"images\.txt line 3: expected the points .* has an empty line"):
        open_sequence(tmp_path)
    file.write_text("\n".join(lines[:6]))  # the last image without its line of points
    assert len([info for info in open_sequence(tmp_path).infos if info.used]) == 3


def test_quaternion_of_another_length_is_an_error(tmp_path: Path) -> None:
    folders.write_colmap_text(tmp_path)
    file = tmp_path / "sparse/0/images.txt"
    lines = file.read_text().splitlines()
    fields = lines[1].split()
    lines[1] = " ".join([fields[0], *(str(1.5 * float(x)) for x in fields[1:5]), *fields[5:]])
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(SequenceError, match=r"the quaternion of pose 1 of 3 has length 1\.5"):
        open_sequence(tmp_path)


def test_images_in_a_folder_that_is_not_searched(tmp_path: Path) -> None:
    folders.write_colmap_text(tmp_path)
    (tmp_path / "images").rename(tmp_path / "rgb")
    with pytest.raises(SequenceError, match=r"3 image file is missing \(images/shot 0\.png\)$"):
        open_sequence(tmp_path)
