"""Keys and values that name another lens, another direction of poses, other times or frames that must not be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sequence_folders as folders
from nerfstudio_folders import frame, write

from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_png

CAMERA = {"fl_x": 10, "fl_y": 11, "cx": 4, "cy": 3, "w": 8, "h": 6}


def in_json(name: str, part: str = "") -> Callable[[Path, dict[str, Any]], None]:
    def add(folder: Path, keys: dict[str, Any]) -> None:
        file = min(folder.glob(name))
        content = json.loads(file.read_text())
        (content[part] if part else content).update(keys)
        file.write_text(json.dumps(content))

    return add


def in_yaml(name: str) -> Callable[[Path, dict[str, Any]], None]:
    def add(folder: Path, keys: dict[str, Any]) -> None:
        file = folder / name
        before = file.read_text() if file.is_file() else f"T_BS: {np.eye(4).ravel().tolist()}\n"
        file.write_text(before + "".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items()))

    return add


def in_columns(folder: Path, keys: dict[str, Any]) -> None:
    file = folder / "odometry.csv"
    head, *lines = file.read_text().splitlines()
    values = ", ".join(str(value) for value in keys.values())
    file.write_text("\n".join([f"{head}, {', '.join(keys)}", *(f"{line}, {values}" for line in lines)]) + "\n")


POLYCAM, RECORD3D, REPLICA = (
    in_json("keyframes/*_cameras/*.json"),
    in_json("*/metadata.json"),
    in_json("cam_params.json"),
)
REPLICA_CAMERA, NERFSTUDIO = in_json("cam_params.json", "camera"), in_json("transforms.json")
EUROC, TRUTH = in_yaml("mav0/cam0/sensor.yaml"), in_yaml("mav0/state_groundtruth_estimate0/sensor.yaml")
PLACES: dict[str, tuple[str, Callable[[Path, dict[str, Any]], None]]] = {
    "polycam": ("polycam", POLYCAM),
    "record3d": ("record3d", RECORD3D),
    "replica": ("replica", REPLICA),
    "replica camera": ("replica", REPLICA_CAMERA),
    "nerfstudio": ("nerfstudio", NERFSTUDIO),
    "euroc": ("euroc", EUROC),
    "euroc poses": ("euroc", TRUTH),
}
KEYS: list[dict[str, Any]] = [
    {"skew": 30.0},
    {"projection": "fisheye"},
    {"lens_type": "wide"},
    {"camera_type": "FISHEYE"},
    {"model": "opencv-fisheye"},
    {"dist_coeffs": [0.1, 0, 0, 0]},
    {"D": [0.1, 0, 0, 0]},
    {"pose_direction": "world_to_camera"},
    {"pose_type": "w2c"},
    {"world_to_camera": True},
    {"time_offset": 0.2},
    {"pose_convention": "world_to_camera"},
    {"camera_axes": "ned"},
    {"max_gap": 0.1},
    {"units": "cm"},
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("keys", KEYS, ids=lambda keys: str(next(iter(keys))))
def test_key_that_changes_what_is_read(tmp_path: Path, place: str, keys: dict[str, Any]) -> None:
    name, add = PLACES[place]
    folders.WRITERS[name][1](tmp_path / "a")
    add(tmp_path / "a", keys)
    with pytest.raises(SequenceError, match=rf"(json|yaml): {next(iter(keys))} is not supported.*; remove it if"):
        open_sequence(tmp_path / "a")


@pytest.mark.parametrize("place", ["polycam", "record3d", "replica", "replica camera"])
def test_model_of_a_camera_without_coefficients(tmp_path: Path, place: str) -> None:
    name, add = PLACES[place]
    folders.WRITERS[name][1](tmp_path / "a")
    add(tmp_path / "a", {"camera_model": "pinhole"})
    open_sequence(tmp_path / "a")
    add(tmp_path / "a", {"camera_model": "fisheye"})
    with pytest.raises(SequenceError, match=r"json: camera_model is not supported \(found 'fisheye'\)"):
        open_sequence(tmp_path / "a")


@pytest.mark.parametrize("place", PLACES)
def test_keys_that_change_nothing(tmp_path: Path, place: str) -> None:
    name, add = PLACES[place]
    folders.WRITERS[name][1](tmp_path / "a")
    harmless = {"skew": 0.1, "projection": "perspective", "pose_type": "c2w", "w2c": np.eye(4).tolist(), "D": [0, 0]}
    add(tmp_path / "a", harmless | {"time_offset": 0, "device": "phone", "model": "iPhone14,2", "neighbors": [1, 2]})
    open_sequence(tmp_path / "a")


@pytest.mark.parametrize("key", ["depth_scale", "integer_depth_scale", "depth_path"])
def test_polycam_depth_key(tmp_path: Path, key: str) -> None:
    folders.write_polycam(tmp_path / "a")
    POLYCAM(tmp_path / "a", {"center_depth": 1.5, "manual_keyframe": False, "timestamp": 93_000_000})
    open_sequence(tmp_path / "a")
    POLYCAM(tmp_path / "a", {key: "x.png" if key == "depth_path" else 5000})
    with pytest.raises(SequenceError, match=rf"93000000\.json: {key} is not supported \(found "):
        open_sequence(tmp_path / "a")


def test_stray_scanner_column_of_a_skew(tmp_path: Path) -> None:
    for skew in (0.2, 2):
        folders.write_stray_scanner(tmp_path / str(skew))
        in_columns(tmp_path / str(skew), {"skew": skew})
    open_sequence(tmp_path / "0.2")
    with pytest.raises(SequenceError, match=r"odometry\.csv: column: skew is not supported \(found \[2\.0, "):
        open_sequence(tmp_path / "2")


@pytest.mark.parametrize("place", ["header", "frame"])
def test_transforms_with_the_axes_of_another_program(tmp_path: Path, place: str) -> None:
    for is_set in (False, True):
        header, more = ({"from_na": is_set}, {}) if place == "header" else ({}, {"from_na": is_set})
        (tmp_path / str(is_set)).mkdir()
        write(tmp_path / str(is_set), {**CAMERA, **header}, [frame("a.png", **more)])
    open_sequence(tmp_path / "False")
    with pytest.raises(
        SequenceError, match="from_na says that cameras have OpenCV's axes; remove it and give camera_axes"
    ):
        open_sequence(tmp_path / "True")


@pytest.mark.parametrize("key", ["fps", "frame_rate"])
def test_frames_per_second_of_transforms_without_times(tmp_path: Path, key: str) -> None:
    write(tmp_path, {**CAMERA, key: 10}, [frame("a.png"), frame("b.png")])
    sequence = open_sequence(tmp_path)
    assert [info.timestamp for info in sequence.infos] == [0, 0.1]
    assert "no time stamps: 10 frames per second, as the file says, in the order of the names" in sequence.notes
    NERFSTUDIO(tmp_path, {key: -1})
    with pytest.raises(SequenceError, match=rf"{key} must be a positive number of frames per second, got -1"):
        open_sequence(tmp_path)
    NERFSTUDIO(tmp_path, {key: "ten"})
    with pytest.raises(SequenceError, match=rf"{key} must be a number, got 'ten'"):
        open_sequence(tmp_path)


def test_frames_per_second_next_to_times_have_no_effect(tmp_path: Path) -> None:
    write(tmp_path, {**CAMERA, "fps": 10}, [frame("a.png", timestamp=3), frame("b.png", timestamp=5)])
    assert [info.timestamp for info in open_sequence(tmp_path).infos] == [3, 5]


@pytest.mark.parametrize(("key", "value"), [("is_bad", True), ("ignore", True), ("exclude", True), ("valid", False)])
def test_frame_that_is_marked_is_not_used(tmp_path: Path, key: str, value: bool) -> None:
    write(tmp_path, CAMERA, [frame("a.png", **{key: value}), frame("b.png", **{key: not value})])
    reasons = [info.reason for info in open_sequence(tmp_path).infos]
    assert reasons == [f"marked as {key}: {json.dumps(value)}", ""]


def test_has_mask_is_true_where_masks_are_found(tmp_path: Path) -> None:
    write(tmp_path, {**CAMERA, "has_mask": True}, [frame("a.png"), frame("b.png")])
    with pytest.raises(
        SequenceError, match=r"transforms\.json: has_mask: no frame has a mask: give mask_path, or masks/"
    ):
        open_sequence(tmp_path)
    (tmp_path / "masks").mkdir()
    for name in "ab":
        write_png(tmp_path / f"masks/{name}.png", np.full((6, 8), 255, np.uint8))
    open_sequence(tmp_path)
    (tmp_path / "masks").rename(tmp_path / "other")
    write_frames = [frame(f"{name}.png", mask_path=f"other/{name}.png") for name in "ab"]
    NERFSTUDIO(tmp_path, {"frames": write_frames})
    open_sequence(tmp_path)
