"""Formats with one pose per image: 7-Scenes, HoloLens, ScanNet, Replica. A hand-computed frame of each, and invalid inputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from mapping.camera import Intrinsics
from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_jpeg, write_png
from pipelines.sequences.recorded import RecordedSequence
from pipelines.sequences.scannet import read_label_table

CAMERA_OF_LARGER_IMAGES = np.array([[80.0, 0, 28], [0, 84, 20], [0, 0, 1]])


def test_seven_scenes_by_hand(tmp_path: Path) -> None:
    write_png(tmp_path / "frame-000012.color.png", np.zeros((480, 640, 3), np.uint8))
    stored = np.full((480, 640), 65535, np.uint16)
    stored[100, 200] = 1234
    write_png(tmp_path / "frame-000012.depth.png", stored)
    (tmp_path / "frame-000012.pose.txt").write_text(
        " 0.0000000e+000\t 0.0000000e+000\t 1.0000000e+000\t 1.5000000e+000\t\n"
        "-1.0000000e+000\t 0.0000000e+000\t 0.0000000e+000\t-2.0000000e+000\t\n"
        " 0.0000000e+000\t-1.0000000e+000\t 0.0000000e+000\t 2.5000000e-001\t\n"
        " 0.0000000e+000\t 0.0000000e+000\t 0.0000000e+000\t 1.0000000e+000\t\n"
    )
    sequence = open_sequence(tmp_path)
    frame = sequence[0]
    assert frame.intrinsics == Intrinsics(585, 585, 320, 240, 640, 480)
    assert frame.timestamp == 12 / 30
    assert frame.recorded.depth is not None
    assert np.count_nonzero(frame.recorded.depth) == 1
    point = (frame.intrinsics.rays() * frame.recorded.depth[..., None])[100, 200]
    z = 1.234
    np.testing.assert_allclose(point, [-120 / 585 * z, -140 / 585 * z, z], rtol=1e-6)
    world = frame.T_world_camera @ [*point, 1]
    np.testing.assert_allclose(world[:3], [1.5 + z, -2 + 120 / 585 * z, 0.25 + 140 / 585 * z], rtol=1e-6)


def test_seven_scenes_scene_folder_names_its_sequences(tmp_path: Path) -> None:
    folders.write_seven_scenes(tmp_path / "seq-01")
    folders.write_seven_scenes(tmp_path / "seq-02")
    with pytest.raises(SequenceError, match="name one: seq-01, seq-02"):
        open_sequence(tmp_path)


def test_seven_scenes_frame_without_pose_or_depth(tmp_path: Path) -> None:
    folders.write_seven_scenes(tmp_path / "seq")
    (tmp_path / "seq/frame-000000.pose.txt").unlink()
    (tmp_path / "seq/frame-000002.depth.png").unlink()
    sequence = open_sequence(tmp_path / "seq")
    assert [info.reason for info in sequence.infos] == ["pose file is missing", "", ""]
    assert sequence[1].recorded.depth is None


def test_hololens_images_are_joined_by_number_when_one_is_missing(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "seq")
    (tmp_path / "seq/images/00001.png").unlink()
    infos = open_sequence(tmp_path / "seq").infos
    assert [(info.image, info.reason) for info in infos] == [
        ("images/00000.png", ""),
        ("images/00001.png", "image file is missing"),
        ("images/00002.png", ""),
    ]
    np.testing.assert_allclose(infos[2].T_world_camera, folders.POSES[2], atol=1e-12)


def test_hololens_fewer_poses_than_images(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "seq")
    np.savetxt(tmp_path / "seq/poses.txt", folders.POSES[:2].reshape(2, 16))
    with pytest.raises(SequenceError, match=r"poses\.txt: has 2 poses for 3 images"):
        open_sequence(tmp_path / "seq")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 2 3\n4 5 6\n", "expected a 3x3 matrix, found 2 rows"),
        ("1 2\n", "line 1: expected 3 numbers"),
        ("", "is empty"),
    ],
)
def test_hololens_camera_that_is_none(tmp_path: Path, text: str, expected: str) -> None:
    folders.write_hololens(tmp_path / "seq")
    (tmp_path / "seq/K.txt").write_text(text)
    with pytest.raises(SequenceError, match=expected):
        open_sequence(tmp_path / "seq")


def test_hololens_focal_length_must_be_positive(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "seq")
    np.savetxt(tmp_path / "seq/K.txt", [[0.0, 0, 8], [0, 20, 6], [0, 0, 1]])
    with pytest.raises(SequenceError, match=r"K\.txt: is not a valid camera: .*fx"):
        open_sequence(tmp_path / "seq")


def test_hololens_camera_of_larger_images_is_seen(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "seq")
    np.savetxt(tmp_path / "seq/K.txt", CAMERA_OF_LARGER_IMAGES)
    with pytest.raises(SequenceError, match=r"K\.txt: principal point 28, 20 lies outside of the 16x12 image"):
        open_sequence(tmp_path / "seq")


def test_hololens_depth_of_other_names_is_joined_by_number(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "seq")
    for i in range(folders.COUNT):
        (tmp_path / f"seq/depth/{i:05d}.png").rename(tmp_path / f"seq/depth/depth_{i}.png")
    frame = open_sequence(tmp_path / "seq")[1]
    assert frame.recorded.depth is not None
    np.testing.assert_allclose(frame.recorded.depth, folders.depth(1), atol=1e-6)


def test_hololens_poses_of_twelve_numbers(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "seq")
    np.savetxt(tmp_path / "seq/poses.txt", folders.POSES[:, :3].reshape(3, 12))
    np.testing.assert_array_equal(open_sequence(tmp_path / "seq").infos[1].T_world_camera, folders.POSES[1])


def test_scannet_by_hand(tmp_path: Path) -> None:
    folders.write_scannet(tmp_path / "seq")
    sequence = open_sequence(tmp_path / "seq")
    assert [info.reason for info in sequence.infos] == ["", "lost pose (not finite)", ""]
    assert [info.timestamp for info in sequence.infos] == [0, 20 / 30, 40 / 30]
    frame = sequence[2]
    assert frame.recorded.depth is not None
    assert frame.recorded.depth.shape == frame.rgb.shape[:2] == (24, 32)
    # Colour pixel (9, 6) is at (9 - 14.5) / 40 of a metre at one metre; the depth camera has that at 20 * -0.1375 + 7 = 4.25,
    # and (6 - 10.5) / 42 at 21 * -0.107 + 5 = 2.75: its pixel (4, 3).
    assert frame.recorded.depth[6, 9] == np.float32(1 + 0.008 * (3 * 16 + 4) + 2)


def test_scannet_raw_labels_become_nyu40(tmp_path: Path) -> None:
    folders.write_scannet(tmp_path / "seq")
    (tmp_path / "seq/label-filt").mkdir()
    raw = np.full((24, 32), 1163, np.uint16)
    raw[12:] = 3
    raw[0, 0] = 77
    write_png(tmp_path / "seq/label-filt/0.png", raw)
    with pytest.raises(SequenceError, match=r"scannetv2-labels\.combined\.tsv"):
        open_sequence(tmp_path / "seq")
    (tmp_path / "scannetv2-labels.combined.tsv").write_text(
        "id\traw_category\tcount\tnyu40id\n3\tfloor\t9\t2\n1163\tobject\t8\t40\n"
    )
    sequence = open_sequence(tmp_path / "seq")
    labels = sequence[0].recorded.labels
    assert labels is not None
    assert (labels[0, 0], labels[5, 5], labels[20, 5]) == (0, 40, 2)
    assert sequence.label_space is not None
    assert sequence[2].recorded.labels is None


def test_scannet_images_that_were_shrunk(tmp_path: Path) -> None:
    """The usual 640x480 export, whose colour matrix is still that of 1296x968."""
    folders.write_scannet(tmp_path / "seq")
    for i in (0, 20, 40):
        write_jpeg(tmp_path / f"seq/color/{i}.jpg", np.zeros((480, 640, 3), np.uint8))
    K = np.array([[1170.0, 0, 648, 0], [0, 1171, 484, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    np.savetxt(tmp_path / "seq/intrinsic/intrinsic_color.txt", K)
    sequence = open_sequence(tmp_path / "seq")
    assert isinstance(sequence, RecordedSequence)
    assert sequence[0].intrinsics == Intrinsics(1170, 1171, 648, 484, 1296, 968).resized(640, 480)
    assert any("1296x968" in note for note in sequence.notes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "line 1"), ("id\tname\n", "line 1"), ("id\tnyu40id\nx\t3\n", "line 2"), ("id\tnyu40id\n1\t99\n", "line 2")],
)
def test_scannet_label_table_rejects(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(SequenceError, match=expected):
        read_label_table(tmp_path / "t.tsv")


def test_replica_by_hand(tmp_path: Path) -> None:
    """Frame 2 belongs to line 2, whatever frames are there; depth is in 1/6553.5 m, the camera the published one."""
    (tmp_path / "results").mkdir()
    write_png(tmp_path / "results/frame000002.png", np.zeros((680, 1200, 3), np.uint8))
    write_png(tmp_path / "results/frame000005.png", np.zeros((680, 1200, 3), np.uint8))
    write_png(tmp_path / "results/depth000002.png", np.full((680, 1200), 13107, np.uint16))
    np.savetxt(tmp_path / "traj.txt", np.concatenate([folders.POSES * 0, folders.POSES])[1:5].reshape(4, 16))
    sequence = open_sequence(tmp_path)
    assert [info.reason for info in sequence.infos] == ["", "no line 5 in traj.txt (it has 4)"]
    frame = sequence[0]
    np.testing.assert_allclose(frame.T_world_camera, folders.POSES[0])
    assert frame.recorded.depth is not None
    assert np.unique(frame.recorded.depth).tolist() == [2.0]
    assert frame.intrinsics == Intrinsics(600, 600, 599.5, 339.5, 1200, 680)
    assert frame.timestamp == 2 / 30


def test_replica_camera_file_next_to_the_scenes(tmp_path: Path) -> None:
    folders.write_replica(tmp_path / "seq")
    (tmp_path / "seq/cam_params.json").rename(tmp_path / "cam_params.json")
    assert open_sequence(tmp_path / "seq")[0].intrinsics == folders.CAMERA
    (tmp_path / "cam_params.json").write_text(json.dumps({"camera": {"fx": 3}}))
    with pytest.raises(SequenceError, match=r"cam_params\.json: expected an object camera"):
        open_sequence(tmp_path / "seq")


@pytest.mark.parametrize("format", ["7scenes", "hololens", "scannet", "replica", "icl", "tum", "images", "nerfstudio"])
def test_largest_value_of_16_bits_is_unknown_in_all_formats(tmp_path: Path, format: str) -> None:
    folders.WRITERS[format][1](tmp_path / "seq")
    sequence = open_sequence(tmp_path / "seq")
    assert isinstance(sequence, RecordedSequence)
    file = sequence.files(0).depth
    assert file is not None
    stored = np.full((folders.HEIGHT, folders.WIDTH), 1000, np.uint16)
    stored[3:, :5] = 65535
    write_png(file, stored)
    depth = open_sequence(tmp_path / "seq")[0].recorded.depth
    assert depth is not None
    step = depth.shape[0] // folders.HEIGHT
    np.testing.assert_array_equal(depth[::step, ::step] > 0, stored == 1000)


def test_scannet_with_intrinsics_folder_and_padded_depth(tmp_path: Path) -> None:
    folders.write_scannet(tmp_path / "seq")
    (tmp_path / "seq/intrinsic").rename(tmp_path / "seq/intrinsics")
    for i in range(folders.COUNT):
        (tmp_path / f"seq/depth/{20 * i}.png").rename(tmp_path / f"seq/depth/{20 * i:06d}.png")
    sequence = open_sequence(tmp_path / "seq")
    assert sequence.format == "scannet"
    depth = sequence[2].recorded.depth
    assert depth is not None
    np.testing.assert_allclose(depth[::2, ::2], folders.depth(2), atol=1e-4)


@pytest.mark.parametrize("name", ["intrinsic_color.txt", "intrinsic_depth.txt"])
def test_scannet_with_two_folders_of_intrinsics(tmp_path: Path, name: str) -> None:
    folders.write_scannet(tmp_path)
    before = open_sequence(tmp_path)[0].intrinsics
    (tmp_path / "intrinsics").mkdir()
    for file in (tmp_path / "intrinsic").iterdir():
        (tmp_path / "intrinsics" / file.name).write_text(file.read_text())
    assert open_sequence(tmp_path)[0].intrinsics == before
    np.savetxt(tmp_path / "intrinsics" / name, np.diag([50.0, 50.0, 1, 1]))
    with pytest.raises(SequenceError, match=rf"intrinsic/{name}: differs from .*intrinsics/{name}; remove the one"):
        open_sequence(tmp_path)
    (tmp_path / "intrinsic" / name).rename(tmp_path / "intrinsics" / name)
    assert open_sequence(tmp_path)[0].intrinsics == before
