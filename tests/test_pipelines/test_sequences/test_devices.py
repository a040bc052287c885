"""Phone apps and robots: Polycam, Record3D, Stray Scanner, ARKitScenes, EuRoC. What the shared contract does not cover."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders
import yaml

from mapping.camera import Intrinsics
from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_png

LOW = np.full((folders.HEIGHT, folders.WIDTH), 2, np.uint8)
LOW[:4] = 0


def edit_json(path: Path, **changes: object) -> None:
    keys = json.loads(path.read_text())
    path.write_text(json.dumps(keys | changes))


@pytest.mark.parametrize("format", ["polycam", "stray_scanner", "arkit_scenes"])
def test_depth_of_low_confidence_is_unknown(tmp_path: Path, format: str) -> None:
    folders.WRITERS[format][1](tmp_path)
    (file,) = (
        file for file in tmp_path.rglob("confidence/*.png") if file.stem.endswith(("000001", "91.350", "93250000"))
    )
    write_png(file, LOW)
    depth = open_sequence(tmp_path)[1].recorded.depth
    np.testing.assert_allclose(depth, np.where(LOW > 0, folders.depth(1), 0), atol=1e-4)
    write_png(file, LOW[:, :4])
    with pytest.raises(SequenceError, match=r"is \(12, 4\), but its depth is \(12, 16\)"):
        open_sequence(tmp_path)[1]


def test_polycam_without_optimised_poses(tmp_path: Path) -> None:
    folders.write_polycam(tmp_path)
    for name in ("images", "cameras"):
        (tmp_path / f"keyframes/corrected_{name}").rename(tmp_path / "keyframes" / name)
    sequence = open_sequence(tmp_path / "keyframes")
    assert sequence.format == "polycam"
    assert [info.timestamp for info in sequence.infos] == [93.0, 93.25, 93.5]
    assert "Polycam did not optimise them" in sequence.notes[0]


def test_polycam_files_that_are_wrong_are_named(tmp_path: Path) -> None:
    folders.write_polycam(tmp_path)
    file = tmp_path / "keyframes/corrected_cameras/93250000.json"
    edit_json(file, t_12="far")
    with pytest.raises(SequenceError, match=r"93250000\.json: t_12 must be a number, got 'far'"):
        open_sequence(tmp_path)
    file.unlink()
    with pytest.raises(SequenceError, match=r"93250000\.json: camera of 93250000\.jpg is missing"):
        open_sequence(tmp_path)


def test_record3d_cameras_and_times_of_frames(tmp_path: Path) -> None:
    folders.write_record3d(tmp_path)
    file = tmp_path / "EXR_RGBD/metadata.json"
    edit_json(file, perFrameIntrinsicCoeffs=[[20 + i, 21, 7, 5] for i in range(3)], frameTimestamps=[5.0, 5.5, 6.25])
    sequence = open_sequence(tmp_path / "EXR_RGBD")
    assert [info.timestamp for info in sequence.infos] == [5.0, 5.5, 6.25]
    assert [info.intrinsics.fx for info in sequence.infos] == [20, 21, 22]
    edit_json(file, frameTimestamps=[5.0, 5.5])
    with pytest.raises(SequenceError, match=r"metadata\.json: frameTimestamps must be 3 numbers, one per pose"):
        open_sequence(tmp_path)
    edit_json(file, frameTimestamps=None, poses=[[0, 0, 0, 1, 0, 0]])
    with pytest.raises(SequenceError, match="poses must be a list of 7 numbers per frame"):
        open_sequence(tmp_path)


def test_record3d_matrix_by_rows_or_columns(tmp_path: Path) -> None:
    folders.write_record3d(tmp_path)
    for K in ([20, 0, 0, 0, 21, 0, 7, 5, 1], [20, 0, 7, 0, 21, 5, 0, 0, 1]):
        edit_json(tmp_path / "EXR_RGBD/metadata.json", K=K)
        assert open_sequence(tmp_path).infos[0].intrinsics == folders.CAMERA


def test_record3d_depth_in_metres(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    folders.write_record3d(tmp_path)
    (tmp_path / "EXR_RGBD/depth").mkdir()
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    for i in range(folders.COUNT):
        with exr.File(header, {"R": folders.depth(i)}) as file:
            file.write(str(tmp_path / f"EXR_RGBD/depth/{i}.exr"))
    np.testing.assert_allclose(open_sequence(tmp_path)[2].recorded.depth, folders.depth(2), atol=1e-6)


def test_record3d_unpacked_recording_says_that_depth_is_not_read(tmp_path: Path) -> None:
    folders.write_record3d(tmp_path)
    (tmp_path / "EXR_RGBD/rgb").rename(tmp_path / "rgbd")
    (tmp_path / "EXR_RGBD/metadata.json").rename(tmp_path / "metadata")
    (tmp_path / "EXR_RGBD").rmdir()
    (tmp_path / "rgbd/0.depth").write_bytes(b"bvx2")
    sequence = open_sequence(tmp_path)
    np.testing.assert_allclose(sequence[1].T_world_camera, folders.POSES[1], atol=1e-6)
    assert any("depth is not read" in note and "LZFSE" in note for note in sequence.notes)


def test_stray_scanner_frames_by_number_and_cameras_per_frame(tmp_path: Path) -> None:
    folders.write_stray_scanner(tmp_path)
    file = tmp_path / "odometry.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0] + ", fx, fy, cx, cy", lines[1] + ",20,21,7,5", lines[3] + ",30,31,7,5"]) + "\n")
    infos = open_sequence(tmp_path).infos
    assert [(info.used, info.reason) for info in infos] == [(True, ""), (False, "no line in odometry.csv"), (True, "")]
    assert infos[2].intrinsics == Intrinsics(30, 31, 7, 5, 16, 12)
    file.write_text("time, frame\n0, 1\n")
    with pytest.raises(SequenceError, match=r"odometry\.csv: expected a header with the columns .* missing: timestamp"):
        open_sequence(tmp_path)


def test_arkit_scenes_poses_between_those_of_the_trajectory(tmp_path: Path) -> None:
    folders.write_arkit_scenes(tmp_path)
    folder = tmp_path / "47331_frames"
    rows = np.loadtxt(folder / "lowres_wide.traj")
    rows[:, 0] += 0.05
    rows[1, 1:4] = rows[0, 1:4]
    rows[1, 4:] = rows[0, 4:] + [0.2, 0, 0]
    np.savetxt(folder / "lowres_wide.traj", rows)
    infos = open_sequence(folder).infos
    assert [info.used for info in infos] == [False, True, True]
    assert infos[1].T_world_camera is not None
    np.testing.assert_allclose(infos[1].T_world_camera[:3, 3], [1, 2.1, 1.5], atol=1e-6)  # 0.1 m along the image's -x
    for file in (folder / "lowres_wide_intrinsics").iterdir():
        file.unlink()
    with pytest.raises(SequenceError, match=r"no \.pincam file within 0\.005 s of an image"):
        open_sequence(tmp_path)


def test_euroc_lens_and_trajectory(tmp_path: Path) -> None:
    folders.write_euroc(tmp_path)
    file = tmp_path / "mav0/cam0/sensor.yaml"
    sensor = yaml.safe_load(file.read_text())
    marker = np.eye(4)
    marker[2, 3] = 0.5
    (tmp_path / "mav0/state_groundtruth_estimate0").rename(tmp_path / "mav0/mocap0")
    (tmp_path / "mav0/mocap0/sensor.yaml").write_text(f"T_BS:\n  data: {marker.ravel().tolist()}\n")
    (tmp_path / "mav0/cam1").mkdir()
    sequence = open_sequence(tmp_path / "mav0")
    assert sequence.infos[0].T_world_camera is not None
    np.testing.assert_allclose(
        sequence.infos[0].T_world_camera[:3, 3], [1, 2, 1.0], atol=1e-6
    )  # the marker is 0.5 m above
    assert sequence.notes == ("cam0 is read, not cam1",)
    for model, expected in (("equidistant", "fisheye"), ("radtan", "opencv")):
        file.write_text(yaml.safe_dump(sensor | {"distortion_model": model, "distortion_coefficients": [0.1, 0, 0, 0]}))
        sequence = open_sequence(tmp_path)
        assert sequence.files(0).intrinsics.distortion_model == expected  # type: ignore[attr-defined]
    file.write_text(yaml.safe_dump(sensor | {"distortion_model": "fov"}))
    with pytest.raises(SequenceError, match=r"sensor\.yaml: distortion_model 'fov' is not known"):
        open_sequence(tmp_path)
    file.write_text(yaml.safe_dump(sensor | {"T_BS": {"data": [1, 0]}}))
    with pytest.raises(SequenceError, match=r"sensor\.yaml: data must be a list of 16 numbers"):
        open_sequence(tmp_path)


def test_euroc_without_a_trajectory(tmp_path: Path) -> None:
    folders.write_euroc(tmp_path)
    (tmp_path / "mav0/state_groundtruth_estimate0/data.csv").unlink()
    with pytest.raises(
        SequenceError, match=r"no trajectory: expected data\.csv in state_groundtruth_estimate0, mocap0, vicon0"
    ):
        open_sequence(tmp_path)
