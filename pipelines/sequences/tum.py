"""The TUM RGB-D benchmark: `rgb.txt`, `depth.txt`, `groundtruth.txt`, camera-to-world poses by time, depth in 1/5000 m.

The images' lists, the depth images and the poses each have their own time stamps: depth goes to the nearest image, poses are
interpolated at the image's time. Files that are listed but missing become unused frames. A `camera.yaml` may give the camera,
the depth scale, and what differs from the benchmark in time and conventions.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError
from pipelines.images import first_image_size, list_depth_images
from pipelines.sequences.association import MAX_TIME_DIFFERENCE, nearest_pairs
from pipelines.sequences.camera_file import CAMERA_ENTRIES, CameraFile, read_camera_file
from pipelines.sequences.conventions import CAMERA_FILE, Convention
from pipelines.sequences.pairing import files_by_name
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import read_text, stamped_files
from pipelines.sequences.times import describe_seconds, to_seconds
from pipelines.sequences.trajectory_file import read_trajectory
from pipelines.sequences.unread import missing_depth_notes

DEPTH_SCALE = 5000.0
MAX_POSE_GAP = 0.1
WORLD_UP = (0.0, 0.0, 1.0)
CAMERA_FILE_ENTRIES = CAMERA_ENTRIES | {
    "depth_scale",
    "time_offset",
    "max_gap",
    "camera_axes",
    "pose_convention",
    "world_up",
}
"""Entries of `camera.yaml` that have an effect here."""
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
    times, names = _listed(path / "rgb.txt")
    files = [path / name for name in names]
    present = [file.is_file() for file in files]
    there = [file for file, exists in zip(files, present, strict=True) if exists]
    found, notes = _depth_files(path, there, times[present])
    depths = iter(found)
    camera, intrinsics = _camera(path, there or files)
    max_gap = MAX_POSE_GAP if camera is None else camera.max_gap or MAX_POSE_GAP
    trajectory = read_trajectory(path / "groundtruth.txt", max_gap=max_gap)
    offset = 0.0 if camera is None else camera.time_offset
    records = []
    for i, file in enumerate(files):
        matrix, lost = trajectory.at(times[i] + offset)
        depth = next(depths) if present[i] else None
        problem = lost if present[i] else "image file is missing"
        records.append(FrameRecord(file, float(times[i]), matrix, intrinsics, depth=depth, problem=problem))
    convention = Convention(depth_scale=DEPTH_SCALE) if camera is None else camera.convention(DEPTH_SCALE)
    world_up = WORLD_UP if camera is None else camera.world_up or WORLD_UP
    details = Details(convention, world_up=world_up, notes=notes, reads_camera_file=True)
    return RecordedSequence(path, "tum", records, details)


def _listed(path: Path) -> tuple[NDArray[np.float64], list[str]]:
    """Times (N,) in seconds and file names of a list."""
    stamps, names = stamped_files(path)
    return to_seconds(stamps, str(path)), names


def _depth_files(
    path: Path, files: list[Path], times: NDArray[np.float64]
) -> tuple[list[Path | None], tuple[str, ...]]:
    """The depth file of each image and its time, of those that exist: by `depth.txt`, without one by the names in `depth/`; and
    what to note of those that do not."""
    if not (path / "depth.txt").is_file():
        return files_by_name(files, list_depth_images(path / "depth"), f"{path / 'depth'} (without a depth.txt)"), ()
    depth_times, names = _listed(path / "depth.txt")
    there = [i for i, name in enumerate(names) if (path / name).is_file()]
    partners = nearest_pairs(times, depth_times[there], MAX_TIME_DIFFERENCE)
    if there and len(times) and all(partner is None for partner in partners):
        nearest = float(np.abs(times[:, None] - depth_times[there]).min())
        raise SequenceError(
            f"{path / 'depth.txt'}: no depth image within {MAX_TIME_DIFFERENCE:g} s of an image; "
            f"the nearest misses by {describe_seconds(nearest)}"
        )
    pairs = [None if partner is None else path / names[there[partner]] for partner in partners]
    return pairs, missing_depth_notes(path / "depth.txt", names)


def _camera(path: Path, files: list[Path]) -> tuple[CameraFile | None, Intrinsics]:
    """The entries of `camera.yaml` where there is one, and the camera."""
    if (path / CAMERA_FILE).is_file():
        size = first_image_size(files, path)
        camera = read_camera_file(path / CAMERA_FILE, CAMERA_FILE_ENTRIES, "a TUM sequence")
        return camera, camera.intrinsics(size, path / CAMERA_FILE)
    header = "".join(line for line in read_text(path / "rgb.txt").splitlines()[:5] if line.startswith("#"))
    found = re.search(r"(?:freiburg|fr)([123])(?!\d)", f"{path.resolve().name} {header}")
    if found is None:
        raise SequenceError(
            f"{path}: no camera: expected `{CAMERA_FILE}`, or freiburg1, 2 or 3 in the folder's name or the header of rgb.txt"
        )
    return None, CAMERAS[int(found[1])]
