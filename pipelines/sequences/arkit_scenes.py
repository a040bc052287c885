"""ARKitScenes: `lowres_wide/ID_TIME.png`, `lowres_depth/`, `lowres_wide_intrinsics/ID_TIME.pincam`, `lowres_wide.traj`.

Lines of the trajectory are a time, an axis-angle rotation and a translation, world-to-camera with OpenCV axes, in a world
with +z up. Files belong together by the times in their names, which differ by a millisecond at times. Depth is in
millimetres, and unknown where its confidence is low (0).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.se3 import from_rotation_translation, inverse
from pipelines.frame import SequenceError
from pipelines.images import list_images
from pipelines.sequences.association import Trajectory, nearest_pairs
from pipelines.sequences.cameras import camera_for_images
from pipelines.sequences.conventions import Convention
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import number_rows
from pipelines.sequences.times import check_repeats, to_seconds

Array = NDArray[np.float64]
TRAJECTORY = "lowres_wide.traj"
TRAJECTORY_LINE = "`time rx ry rz tx ty tz`"
MAX_DIFFERENCE = 0.005
"""Seconds between the names of files of one frame; frames are 16 ms apart."""
MAX_GAP = 0.25
"""Seconds between two poses, which come at 10 per second."""


def open_arkit_scenes(path: Path) -> RecordedSequence:
    """A folder of one video, or the one around its `ID_frames/`; raises SequenceError naming the file and the line."""
    found = [path, *sorted(path.glob("*_frames"))]
    folder = next((folder for folder in found if (folder / TRAJECTORY).is_file()), path)
    trajectory = _trajectory(folder / TRAJECTORY)
    files = list_images(folder / "lowres_wide")
    times = _times(files)
    pincams = _at(times, sorted((folder / "lowres_wide_intrinsics").glob("*.pincam")))
    depths, confidences = (_at(times, list_images(folder / name)) for name in ("lowres_depth", "confidence"))
    if (depth_files := list_images(folder / "lowres_depth")) and files and not any(depths):
        raise SequenceError(
            f"{folder / 'lowres_depth'}: no depth image is within {MAX_DIFFERENCE:g} s of an image: images are named as "
            f"{files[0].name}, these as {depth_files[0].name}"
        )
    if not any(pincams):
        raise SequenceError(
            f"{folder / 'lowres_wide_intrinsics'}: no .pincam file within {MAX_DIFFERENCE:g} s of an image"
        )
    camera = _camera(next(file for file in pincams if file is not None))
    records = []
    for i, file in enumerate(files):
        pincam = pincams[i]
        matrix, problem = trajectory.at(float(times[i]))
        if pincam is None:
            matrix, problem = None, "no .pincam file near its time"
        else:
            camera = _camera(pincam)
        records.append(
            FrameRecord(
                file,
                float(times[i]),
                matrix,
                camera,
                depth=depths[i],
                depth_confidence=confidences[i] if depths[i] is not None else None,
                problem=problem,
            )
        )
    details = Details(Convention(), world_up=(0.0, 0.0, 1.0), root=folder)
    return RecordedSequence(path, "arkit_scenes", records, details)


def _trajectory(path: Path) -> Trajectory:
    """The poses, inverted: interpolation is between positions of the camera."""
    rows = number_rows(path, (7,), TRAJECTORY_LINE)
    times = to_seconds(rows[:, 0], str(path))
    check_repeats(times, rows[:, 1:], str(path))
    R = np.stack([cv2.Rodrigues(row)[0] for row in rows[:, 1:4]])
    return Trajectory(times, inverse(from_rotation_translation(R, rows[:, 4:])), max_gap=MAX_GAP)


def _times(files: list[Path]) -> Array:
    """Seconds from names `ID_TIME.suffix`."""
    try:
        stamps = np.array([float(file.stem.rpartition("_")[2]) for file in files], dtype=np.float64)
    except ValueError:
        raise SequenceError(f"{files[0].parent}: expected files named ID_TIME, with the time in seconds") from None
    return to_seconds(stamps, f"{files[0].parent}: names") if files else stamps


def _at(times: Array, files: list[Path]) -> list[Path | None]:
    """The file of each time."""
    stamps = _times(files)
    order = np.argsort(stamps, kind="stable")
    partners = nearest_pairs(times, stamps[order], MAX_DIFFERENCE)
    return [None if partner is None else files[order[partner]] for partner in partners]


def _camera(path: Path) -> Intrinsics:
    """The camera of a `.pincam` file: width, height, fx, fy, cx, cy."""
    rows = number_rows(path, (6,), "`width height fx fy cx cy`")
    if len(rows) > 1:
        raise SequenceError(f"{path}: expected one line, the camera of one image, found {len(rows)}")
    width, height, *values = rows[0].tolist()
    fx, fy, cx, cy = values
    return camera_for_images((fx, fy, cx, cy), (width, height), str(path), states_size=True)
