"""Keys that change what a recording means are read where their meaning is certain, else errors that name file and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sequence_folders as folders
from nerfstudio_folders import frame, write

from pipelines import open_sequence
from pipelines.frame import SequenceError

CAMERA = {"fl_x": 10, "fl_y": 11, "cx": 4, "cy": 3, "w": 8, "h": 6}
K = [[10, 0, 4], [0, 11, 3], [0, 0, 1]]
UNSUPPORTED = r"is not supported( \(found .+\))?; remove it if it changes nothing$"


def with_keys(file: Path, keys: dict[str, Any], part: str = "") -> None:
    content = json.loads(file.read_text())
    (content[part] if part else content).update(keys)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("part", ["", "camera"])
@pytest.mark.parametrize("key", ["k1", "k2", "is_fisheye", "left_handed", "distortion"])
def test_replica_camera_file_with_a_lens(tmp_path: Path, part: str, key: str) -> None:
    folders.write_replica(tmp_path)
    with_keys(tmp_path / "cam_params.json", {key: 0.1}, part)
    with pytest.raises(SequenceError, match=rf"cam_params\.json: {key} {UNSUPPORTED}"):
        open_sequence(tmp_path)
    with_keys(tmp_path / "cam_params.json", {key: 0}, part)
    open_sequence(tmp_path)


@pytest.mark.parametrize("part", ["", "camera"])
@pytest.mark.parametrize("key", ["scale", "depth_scale", "png_depth_scale"])
def test_replica_depth_scale_under_all_its_names(tmp_path: Path, part: str, key: str) -> None:
    folders.write_replica(tmp_path)
    file = tmp_path / "cam_params.json"
    with_keys(file, {"camera": {"w": 16, "h": 12, "fx": 20.0, "fy": 21.0, "cx": 7.0, "cy": 5.0}})
    with_keys(file, {key: 1000.0}, part)
    assert open_sequence(tmp_path).convention.depth_scale == 1000.0
    with_keys(file, {"scale": 6553.5, "png_depth_scale": 1000.0}, "camera")
    with pytest.raises(SequenceError, match=r"cam_params\.json: states several depth scales: .*scale 6553\.5"):
        open_sequence(tmp_path)


def test_euroc_delay_of_the_camera_is_added_to_the_times_of_images(tmp_path: Path) -> None:
    folders.write_euroc(tmp_path)
    sensor = tmp_path / "mav0/cam0/sensor.yaml"
    before = open_sequence(tmp_path).infos
    sensor.write_text(sensor.read_text() + "timeshift_cam_imu: 0.05\n")  # the distance of two frames
    after = open_sequence(tmp_path).infos
    assert [info.timestamp for info in after] == [info.timestamp for info in before]
    for i in range(len(before) - 1):
        np.testing.assert_allclose(after[i].T_world_camera, before[i + 1].T_world_camera, atol=1e-5)
    assert not after[-1].used


@pytest.mark.parametrize("key", ["time_offset", "time_shift", "timeshift_imu_cam", "xi"])
def test_euroc_sensor_key_of_unclear_meaning(tmp_path: Path, key: str) -> None:
    folders.write_euroc(tmp_path)
    sensor = tmp_path / "mav0/cam0/sensor.yaml"
    sensor.write_text(sensor.read_text() + f"{key}: 0.05\n")
    with pytest.raises(SequenceError, match=rf"sensor\.yaml: {key} {UNSUPPORTED}"):
        open_sequence(tmp_path)


def test_euroc_delay_says_nothing_about_poses_of_another_clock(tmp_path: Path) -> None:
    folders.write_euroc(tmp_path)
    (tmp_path / "mav0/state_groundtruth_estimate0").rename(tmp_path / "mav0/vicon0")
    sensor = tmp_path / "mav0/cam0/sensor.yaml"
    sensor.write_text(sensor.read_text() + "timeshift_cam_imu: 0.05\n")
    with pytest.raises(SequenceError, match=r"sensor\.yaml: timeshift_cam_imu has no effect on the poses of vicon0"):
        open_sequence(tmp_path)


@pytest.mark.parametrize("key", ["k1", "distortion_model", "p1"])
def test_polycam_camera_with_a_lens(tmp_path: Path, key: str) -> None:
    folders.write_polycam(tmp_path)
    file = min((tmp_path / "keyframes/corrected_cameras").iterdir())
    with_keys(file, {"distortion_model": "none", "center_depth": 1.5, "k1": 0})
    open_sequence(tmp_path)
    with_keys(file, {key: "brown" if key == "distortion_model" else 0.1})
    with pytest.raises(SequenceError, match=rf"{file.name}: {key} {UNSUPPORTED}"):
        open_sequence(tmp_path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"left_handed": True}, "left_handed is not read; give camera_axes: left_handed in m2h.yaml"),
        ({"up": [0, 1, 0]}, "up is not read; give the direction as world_up"),
        ({"units": "mm"}, f"units {UNSUPPORTED}"),
        ({"xi": 0.9}, f"xi {UNSUPPORTED}"),
        ({"radial": [0.1, 0.2]}, f"radial {UNSUPPORTED}"),
    ],
)
@pytest.mark.parametrize("place", ["header", "frame"])
def test_transforms_with_keys_that_are_not_read(tmp_path: Path, keys: dict[str, Any], message: str, place: str) -> None:
    header, more = (keys, {}) if place == "header" else ({}, keys)
    write(tmp_path, {**CAMERA, **header}, [frame("a.png", **more)])
    with pytest.raises(SequenceError, match=rf"transforms\.json: (frames\[0\]: )?{message}"):
        open_sequence(tmp_path)


@pytest.mark.parametrize(
    ("same", "other"),
    [
        ({"fx": 10}, {"fx": 20}),
        ({"K": K}, {"K": [[20, 0, 4], [0, 20, 3], [0, 0, 1]]}),
        ({"intrinsics": K}, {"intrinsics": [20, 20, 4, 3]}),
    ],
)
@pytest.mark.parametrize("place", ["header", "frame"])
def test_camera_under_other_keys_must_be_the_one_that_is_read(
    tmp_path: Path, same: dict[str, Any], other: dict[str, Any], place: str
) -> None:
    for i, keys in enumerate((same, other)):
        header, more = (keys, {}) if place == "header" else ({}, keys)
        (tmp_path / str(i)).mkdir()
        write(tmp_path / str(i), {**CAMERA, **header}, [frame("a.png", **more)])
    assert open_sequence(tmp_path / "0").infos[0].intrinsics.fx == 10
    with pytest.raises(
        SequenceError, match=rf"{next(iter(other))} is not read and differs from the camera that is; give"
    ):
        open_sequence(tmp_path / "1")


def test_camera_under_other_keys_alone(tmp_path: Path) -> None:
    write(tmp_path, {"w": 8, "h": 6}, [frame("a.png", K=K)])
    with pytest.raises(SequenceError, match="needs fl_x or camera_angle_x; K is not read"):
        open_sequence(tmp_path)


@pytest.mark.parametrize(("unit", "stamps"), [("ms", (100, 350)), ("nanoseconds", (1e8, 3.5e8)), ("s", (0.1, 0.35))])
def test_unit_of_times_that_the_header_states(tmp_path: Path, unit: str, stamps: tuple[float, float]) -> None:
    frames = [frame(f"{stamp}.png", timestamp=stamp) for stamp in stamps]
    write(tmp_path, {**CAMERA, "timestamp_unit": unit}, frames)
    assert [info.timestamp for info in open_sequence(tmp_path).infos] == pytest.approx([0.1, 0.35])
    with_keys(tmp_path / "transforms.json", {"timestamp_unit": "ticks"})
    with pytest.raises(SequenceError, match=r"transforms\.json: timestamp_unit must be one of s, ms, us, ns, got"):
        open_sequence(tmp_path)


@pytest.mark.parametrize(
    "key", ["k1", "lensDistortion", "depthScale", "depth_scale", "time_offset", "coordinateSystem"]
)
def test_record3d_metadata_key_without_effect(tmp_path: Path, key: str) -> None:
    folders.write_record3d(tmp_path)
    file = tmp_path / "EXR_RGBD/metadata.json"
    with_keys(file, {key: 0.5})
    with pytest.raises(SequenceError, match=rf"metadata\.json: {key} {UNSUPPORTED}"):
        open_sequence(tmp_path)
    with_keys(file, {key: 0, "dw": 8, "dh": 6, "initPose": [0, 0, 0, 1, 0, 0, 0], "cameraType": 1})
    open_sequence(tmp_path)


def add_columns(file: Path, names: str, values: str) -> None:
    """More columns of a table with a header line."""
    head, *lines = file.read_text().splitlines()
    file.write_text("\n".join([f"{head}, {names}", *(f"{line}, {values}" for line in lines)]) + "\n")


@pytest.mark.parametrize("column", ["k1", "time_offset", "depth_scale"])
def test_stray_scanner_column_without_effect(tmp_path: Path, column: str) -> None:
    for name, value in (("zero", "0"), ("set", "0.5")):
        folders.write_stray_scanner(tmp_path / name)
        add_columns(tmp_path / name / "odometry.csv", column, value)
    open_sequence(tmp_path / "zero")
    with pytest.raises(SequenceError, match=rf"odometry\.csv: column: {column} {UNSUPPORTED}"):
        open_sequence(tmp_path / "set")


def test_stray_scanner_camera_with_a_part_of_its_columns(tmp_path: Path) -> None:
    folders.write_stray_scanner(tmp_path)
    add_columns(tmp_path / "odometry.csv", "fx, fy", "20, 21")
    with pytest.raises(SequenceError, match=r"odometry\.csv: has the columns fx, fy without cx, cy"):
        open_sequence(tmp_path)


def test_stray_scanner_columns_of_one_name(tmp_path: Path) -> None:
    folders.write_stray_scanner(tmp_path)
    add_columns(tmp_path / "odometry.csv", "x", "7")
    with pytest.raises(SequenceError, match=r"odometry\.csv: columns repeat: x"):
        open_sequence(tmp_path)


def test_arkit_scenes_camera_file_of_two_lines(tmp_path: Path) -> None:
    folders.write_arkit_scenes(tmp_path)
    file = next(tmp_path.rglob("*.pincam"))
    file.write_text(file.read_text() + "\n8 6 10 10 4 3\n")
    with pytest.raises(SequenceError, match=r"pincam: expected one line, the camera of one image, found 2"):
        open_sequence(tmp_path)
