"""The EuRoC layout: `mav0/cam0/{data.csv,data/,sensor.yaml}` and a trajectory of the body, `mav0/state_groundtruth_estimate0/`.

Poses are those of a body in a world with +z up; the camera and the body of the trajectory each have their pose in `T_BS` of their
`sensor.yaml`. Stamps are nanoseconds, or since 1970 in any unit. The first camera is read; there is no depth.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.reading.files import shown
from mapping.se3 import inverse
from pipelines.config import ConfigError, read_yaml_mapping
from pipelines.frame import SequenceError
from pipelines.sequences.association import Trajectory
from pipelines.sequences.cameras import NO_LENS, Lens, camera_for_images
from pipelines.sequences.conventions import Convention, matrices_from_quaternions, rigid_pose
from pipelines.sequences.ignored_keys import check_ignored_keys
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import content_lines, number_rows, slashed
from pipelines.sequences.times import check_repeats, to_seconds
from pipelines.sequences.trajectory_file import named_order

Array = NDArray[np.float64]
TRUTHS = ("state_groundtruth_estimate0", "mocap0", "vicon0")
ORDER = ("stamp", "tx", "ty", "tz", "qw", "qx", "qy", "qz")
MAX_GAP = 0.1
DELAY = "timeshift_cam_imu"
SENSOR_KEYS = frozenset({"camera_model", "distortion_model", "distortion_coefficients", DELAY})
"""Keys that are read and whose names would be errors in other files."""
LENS_MODELS = {
    "radial-tangential": "opencv",
    "radtan": "opencv",
    "plumb_bob": "opencv",
    "equidistant": "fisheye",
    "none": "none",
}


def open_euroc(path: Path) -> RecordedSequence:
    """A folder with `mav0/`, or that folder; raises SequenceError naming the file and the line or entry."""
    folder = path / "mav0" if (path / "mav0").is_dir() else path
    camera_folder = folder / "cam0"
    camera, T_body_camera = _sensor(camera_folder / "sensor.yaml")
    truth = next((folder / name for name in TRUTHS if (folder / name / "data.csv").is_file()), None)
    if truth is None:
        raise SequenceError(f"{folder}: no trajectory: expected data.csv in {', '.join(TRUTHS)}")
    T_body_marker = np.eye(4)
    if (truth / "sensor.yaml").is_file():
        check_ignored_keys(_entries(truth / "sensor.yaml"), set(), str(truth / "sensor.yaml"))
        T_body_marker = _pose_of_sensor(truth / "sensor.yaml")
    T_marker_camera = inverse(T_body_marker) @ T_body_camera
    trajectory = _trajectory(truth / "data.csv")
    delay = _delay(camera_folder / "sensor.yaml", truth.name)
    records = []
    for time, name in _images(camera_folder / "data.csv"):
        file = camera_folder / (name if name.startswith("data/") else f"data/{name}")
        matrix, problem = trajectory.at(time + delay)
        if not file.is_file():
            problem = "image file is missing"
        pose = None if matrix is None else matrix @ T_marker_camera
        records.append(FrameRecord(file, time, pose, camera, problem=problem))
    others = sorted(other.name for other in folder.glob("cam[1-9]") if other.is_dir())
    notes = (f"cam0 is read, not {', '.join(others)}",) if others else ()
    details = Details(Convention(), world_up=(0.0, 0.0, 1.0), notes=notes, root=folder)
    return RecordedSequence(path, "euroc", records, details)


def _trajectory(path: Path) -> Trajectory:
    rows = number_rows(path, (8, 17), "a stamp, a position and a quaternion with w first")
    rows = rows[:, named_order(path, ORDER)]
    times = to_seconds(rows[:, 0], str(path), unit="ns")
    check_repeats(times, rows[:, 1:], str(path))
    quat_xyzw = np.roll(rows[:, 4:], -1, axis=1)
    return Trajectory(times, matrices_from_quaternions(rows[:, 1:4], quat_xyzw, str(path)), max_gap=MAX_GAP)


def _images(path: Path) -> list[tuple[float, str]]:
    """Seconds and file name of each line."""
    stamps, names = [], []
    for number, line in content_lines(path):
        stamp, comma, name = line.partition(",")
        if not comma or not re.fullmatch(r"[0-9]{1,20}", stamp.strip()) or not name.strip():
            raise SequenceError(f"{path} line {number}: expected `nanoseconds,file`, found {line[:60]!r}")
        stamps.append(float(stamp))
        names.append(slashed(name.strip()))
    return list(zip(to_seconds(stamps, str(path), unit="ns").tolist(), names, strict=True))


def _sensor(path: Path) -> tuple[Intrinsics, Array]:
    """The camera of a `sensor.yaml` and its pose in the body (4, 4)."""
    entries = _entries(path)
    values, size = _numbers(entries, "intrinsics", 4, path), _numbers(entries, "resolution", 2, path)
    if (model := entries.get("camera_model", "pinhole")) != "pinhole":
        raise SequenceError(f"{path}: camera_model {model!r} is not supported; supported is pinhole")
    lens_model = str(entries.get("distortion_model", "none")).lower()
    if lens_model not in LENS_MODELS:
        raise SequenceError(f"{path}: distortion_model {lens_model!r} is not known; known are {', '.join(LENS_MODELS)}")
    lens: Lens = NO_LENS
    if LENS_MODELS[lens_model] != "none":
        coefficients = tuple(_numbers(entries, "distortion_coefficients", None, path))
        lens = (coefficients, "fisheye" if LENS_MODELS[lens_model] == "fisheye" else "opencv")
    fx, fy, cx, cy = values
    camera = camera_for_images((fx, fy, cx, cy), (size[0], size[1]), str(path), lens=lens, states_size=True)
    return camera, _pose_of_sensor(path)


def _delay(path: Path, truth: str) -> float:
    """Seconds to add to an image's time to get that of the body's clock, as Kalibr has them in `timeshift_cam_imu`.

    Raises SequenceError where the poses have another clock, and for keys of a `sensor.yaml` that would have no effect.
    """
    entries = _entries(path)
    check_ignored_keys(entries, SENSOR_KEYS, str(path))
    delay = entries.get(DELAY) or 0.0
    if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not math.isfinite(delay):
        raise SequenceError(f"{path}: {DELAY} must be a number of seconds, got {shown(delay)}")
    if delay and truth != TRUTHS[0]:
        raise SequenceError(f"{path}: {DELAY} has no effect on the poses of {truth}; give time_offset in m2h.yaml")
    return float(delay)


def _pose_of_sensor(path: Path) -> Array:
    """`T_BS`: (4, 4) from the sensor to the body."""
    entry = _entries(path).get("T_BS")
    entries = entry if isinstance(entry, dict) else {"data": entry}
    T, problem = rigid_pose(np.array(_numbers(entries, "data", 16, path)).reshape(4, 4))
    if T is None:
        raise SequenceError(f"{path}: T_BS: {problem}")
    return T


def _entries(path: Path) -> dict[str, Any]:
    try:
        return read_yaml_mapping(path)
    except ConfigError as error:
        raise SequenceError(str(error)) from error


def _numbers(entries: dict[str, Any], key: str, count: int | None, path: Path) -> list[float]:
    value = entries.get(key)
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise SequenceError(
            f"{path}: {key} must be a list of {'' if count is None else f'{count} '}numbers, got {shown(value)}"
        )
    try:
        return [float(number) for number in value]
    except (TypeError, ValueError):
        raise SequenceError(f"{path}: {key} must be numbers, got {shown(value)}") from None
