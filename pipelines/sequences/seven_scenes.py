"""Microsoft 7-Scenes: `frame-%06d.{color.png,depth.png,pose.txt}`, camera-to-world 4x4 poses, depth in mm with 65535 unknown.

The recordings are a Kinect's two cameras as they are: poses and the published focal length of 585 pixels are the depth camera's;
the colour camera sees more and stands 25 mm beside it. Frames here are the colour camera's: pose and depth are brought to it.
That is done where `camera-intrinsics.txt` is missing or says 585; a folder that states another camera is taken to be registered.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.se3 import inverse, transform_points
from pipelines import images
from pipelines.frame import SequenceError
from pipelines.sequences.conventions import Convention
from pipelines.sequences.recorded import (
    Details,
    FrameRecord,
    RecordedSequence,
    camera_from_matrix,
    first_image_size,
)
from pipelines.sequences.text import last_number, read_matrix

DEPTH_CAMERA = Intrinsics(585.0, 585.0, 320.0, 240.0, 640, 480)
COLOR_CAMERA = Intrinsics(525.0, 525.0, 320.0, 240.0, 640, 480)
"""Authors publish the focal length of the depth camera alone. 525 is what relocalisation work uses for the colour one (Brachmann
et al., ICCV 2021); on a recorded kitchen it nearly halves the distance of matched points from their epipolar lines."""
T_COLOR_DEPTH = np.array(
    [
        [0.99996518, 0.00267651, -0.00790410, -0.02555894],
        [-0.00274093, 0.99996303, -0.00815045, 0.00010110],
        [0.00788199, 0.00817183, 0.99993555, 0.00203183],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""Depth camera to colour camera of a Kinect, as measured by LIRIS (Lyon) and used for this data set by the same work."""
RATE = 30.0
COLOR = "frame-*.color.*"


class SevenScenesSequence(RecordedSequence):
    """Frames of the colour camera whose depth was recorded by another camera, a little beside it."""

    def _depth(self, record: FrameRecord, lens: Intrinsics) -> NDArray[np.float32] | None:
        if record.depth is None:
            return None
        depth = images.read_depth(record.depth, self.convention.depth_scale, invalid=self._details.depth_invalid)
        recorded_by = DEPTH_CAMERA.resized(depth.shape[1], depth.shape[0])
        return registered_depth(depth, recorded_by, lens, T_COLOR_DEPTH)


def registered_depth(
    depth: NDArray[np.float32], recorded_by: Intrinsics, seen_by: Intrinsics, T_seen_recorded: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Depth (H, W) of one camera as another sees it: every pixel becomes a point, of points on one pixel the nearest stays."""
    known = depth > 0
    points = transform_points(T_seen_recorded, recorded_by.unproject(depth)[known])
    points = points[points[:, 2] > 0]
    u, v = np.rint(seen_by.project(points)).astype(np.int64).T
    inside = (u >= 0) & (u < seen_by.width) & (v >= 0) & (v < seen_by.height)
    found = np.full((seen_by.height, seen_by.width), np.inf, np.float32)
    np.minimum.at(found, (v[inside], u[inside]), points[inside, 2].astype(np.float32))
    return np.where(np.isfinite(found), found, np.float32(0))


def open_seven_scenes(path: Path) -> RecordedSequence:
    """One `seq-NN` folder; raises SequenceError naming the file."""
    files = sorted(file for file in path.glob(COLOR) if file.suffix.lower() in (".png", ".jpg", ".jpeg"))
    inner = sorted(folder.name for folder in path.glob("seq-*") if folder.is_dir())
    if not files and inner:
        raise SequenceError(f"{path}: is a scene of several sequences; name one: {', '.join(inner)}")
    stated = _stated_camera(path, files)
    registered = stated is not None and stated != DEPTH_CAMERA
    camera = stated if stated is not None and registered else COLOR_CAMERA
    records = []
    for file in files:
        stem = file.name.partition(".")[0]
        pose, depth = path / f"{stem}.pose.txt", path / f"{stem}.depth.png"
        matrix = read_matrix(pose, 4, 4) if pose.is_file() else None
        if matrix is not None and not registered:
            matrix = matrix @ inverse(T_COLOR_DEPTH)
        time = (last_number(stem) or 0) / RATE
        problem = "" if matrix is not None else "pose file is missing"
        records.append(
            FrameRecord(file, time, matrix, camera, depth=depth if depth.is_file() else None, problem=problem)
        )
    notes = (f"time stamps are frame numbers at {RATE:g} a second",)
    details = Details(Convention(), depth_invalid=(65535,), notes=notes)
    return (RecordedSequence if registered else SevenScenesSequence)(path, "7scenes", records, details)


def _stated_camera(path: Path, files: Sequence[Path]) -> Intrinsics | None:
    file = path / "camera-intrinsics.txt"
    if not file.is_file():
        return None
    return camera_from_matrix(read_matrix(file, 3, 3), first_image_size(files, path), str(file))
