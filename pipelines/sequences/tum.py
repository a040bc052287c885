"""The TUM RGB-D benchmark: `rgb.txt`, `depth.txt`, `groundtruth.txt`, camera-to-world poses by time, depth in 1/5000 m.

The images' lists, the depth images and the poses each have their own time stamps: depth goes to the nearest image, poses are
interpolated at the image's time. Files that are listed but missing become unused frames.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError
from pipelines.sequences.association import Trajectory, nearest_pairs
from pipelines.sequences.camera_file import CAMERA_FILE, read_camera_file
from pipelines.sequences.conventions import Convention, matrices_from_quaternions
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence, first_image_size
from pipelines.sequences.text import number_rows, read_text, stamped_files

DEPTH_SCALE = 5000.0
MAX_TIME_DIFFERENCE = 0.02
"""Seconds between an image and its depth image, as in the benchmark's own association script."""
MAX_POSE_GAP = 0.1
POSE_LINE = "a pose `stamp tx ty tz qx qy qz qw`"
CAMERAS = {
    1: Intrinsics(517.3, 516.5, 318.6, 255.3, 640, 480, (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    2: Intrinsics(520.9, 521.0, 325.1, 249.7, 640, 480, (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    3: Intrinsics(535.4, 539.2, 320.1, 247.6, 640, 480),
}
"""Published calibrations of the three cameras, by the number in `freiburgN`."""


def open_tum(path: Path) -> RecordedSequence:
    """A TUM folder; the camera is `camera.yaml`'s or that of the `freiburgN` in the lists' headers or the folder's name.

    Raises SequenceError naming the file and the line, and when the camera is unknown.
    """
    times, names = stamped_files(path / "rgb.txt")
    files = [path / name for name in names]
    present = [file.is_file() for file in files]
    depths = iter(_depth_files(path, times[present]))
    trajectory = read_tum_trajectory(path / "groundtruth.txt", max_gap=MAX_POSE_GAP)
    intrinsics = _camera(path, [file for file, there in zip(files, present, strict=True) if there])
    records = []
    for i, file in enumerate(files):
        matrix, lost = trajectory.at(times[i])
        depth = next(depths) if present[i] else None
        problem = lost if present[i] else "image file is missing"
        records.append(FrameRecord(file, float(times[i]), matrix, intrinsics, depth=depth, problem=problem))
    return RecordedSequence(
        path, "tum", records, Details(Convention(depth_scale=DEPTH_SCALE), world_up=(0.0, 0.0, 1.0))
    )


def read_tum_trajectory(path: Path, *, max_gap: float) -> Trajectory:
    """Lines `stamp tx ty tz qx qy qz qw` as a trajectory; raises SequenceError naming the line."""
    rows = number_rows(path, (8,), POSE_LINE)
    return Trajectory(rows[:, 0], matrices_from_quaternions(rows[:, 1:4], rows[:, 4:]), max_gap=max_gap)


def _depth_files(path: Path, times: NDArray[np.float64]) -> list[Path | None]:
    """The depth file of each image time, of those that exist."""
    if not (path / "depth.txt").is_file():
        return [None] * len(times)
    depth_times, names = stamped_files(path / "depth.txt")
    there = [i for i, name in enumerate(names) if (path / name).is_file()]
    partners = nearest_pairs(times, depth_times[there], MAX_TIME_DIFFERENCE)
    return [None if partner is None else path / names[there[partner]] for partner in partners]


def _camera(path: Path, present: list[Path]) -> Intrinsics:
    if (path / CAMERA_FILE).is_file():
        size = first_image_size(present, path)
        return read_camera_file(path / CAMERA_FILE).intrinsics(size, path / CAMERA_FILE)
    header = "".join(line for line in read_text(path / "rgb.txt").splitlines()[:5] if line.startswith("#"))
    found = re.search(r"(?:freiburg|fr)([123])(?!\d)", f"{path.resolve().name} {header}")
    if found is None:
        raise SequenceError(
            f"{path}: no camera: expected `{CAMERA_FILE}`, or freiburg1, 2 or 3 in the folder's name or the header of rgb.txt"
        )
    return CAMERAS[int(found[1])]
