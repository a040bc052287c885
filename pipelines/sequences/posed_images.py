"""An image folder or a video with a pose file and `camera.yaml` (its entries are those of `camera_file.CameraFile`).

Pose files are TUM's (`stamp tx ty tz qx qy qz qw`, interpolated at the images' times) or KITTI's (12 or 16 matrix elements per
line, line i for image i).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.frame import SequenceError
from pipelines.images import list_images
from pipelines.sequences.association import Trajectory, files_by_name, images_in_pose_order
from pipelines.sequences.camera_file import CAMERA_FILE, CameraFile, read_camera_file
from pipelines.sequences.conventions import Convention, matrices_from_quaternions
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence, first_image_size
from pipelines.sequences.text import full_matrices, last_number, natural_key, number_rows
from pipelines.sequences.video import VIDEO_SUFFIXES, VideoFile, VideoFrame
from scenegraph.labels import LabelSpace, LabelSpaceError, load_label_space

Array = NDArray[np.float64]
Source = Path | VideoFrame
IMAGE_FOLDERS = ("images", "rgb", "color", "frames", "image_2")
POSE_FILES = (
    "poses.txt",
    "trajectory.txt",
    "groundtruth.txt",
    "poses.csv",
    "poses.tum",
    "trajectory.tum",
    "poses.kitti",
)
ASSUMED_RATE = 30.0
NANOSECOND_DIGITS = 16
"""A whole number of at least this many digits in a file name is a time in nanoseconds (EuRoC, ROS)."""


def open_posed_images(path: Path) -> RecordedSequence:
    """A folder with `camera.yaml`, images or a video, and poses; raises SequenceError naming the file and the entry."""
    camera = read_camera_file(path / CAMERA_FILE)
    pose_file = _pose_file(path, camera)
    rows = number_rows(pose_file, (8, 12, 16), "a TUM pose (8 numbers) or a matrix (12 or 16)")
    video = _video(path, camera)
    is_timed = rows.shape[1] == 8
    sources: Sequence[Source]
    if video is not None:
        sources, size = [VideoFrame(video, i) for i in range(len(video.times))], video.size()
    else:
        folder = _image_folder(path, camera)
        files = sorted(list_images(folder), key=lambda file: natural_key(file.name))
        sources = files if is_timed else images_in_pose_order(pose_file, files, len(rows))
        size = first_image_size([file for file in sources if isinstance(file, Path) and file.is_file()], folder)
    times, notes = _times(path, camera, sources, needed=is_timed)
    poses = _timed(rows, times, camera) if is_timed else _numbered(rows, len(sources), pose_file)
    intrinsics = camera.intrinsics(size, path / CAMERA_FILE)
    depths, labels = _layer(path, "depth", camera.depth, sources), _layer(path, "labels", camera.labels, sources)
    records = [
        FrameRecord(
            source,
            float(times[i]),
            poses[i][0],
            intrinsics,
            depth=depths[i],
            labels=labels[i],
            problem=poses[i][1] if isinstance(source, VideoFrame) or source.is_file() else "image file is missing",
        )
        for i, source in enumerate(sources)
    ]
    details = Details(
        Convention(camera.pose_convention, camera.camera_axes, camera.depth_scale),
        world_up=camera.world_up,
        label_space=_label_space(path, camera) if any(labels) else None,
        notes=notes,
    )
    return RecordedSequence(path, "images", records, details)


def _pose_file(path: Path, camera: CameraFile) -> Path:
    if camera.poses is not None:
        return path / camera.poses
    for name in POSE_FILES:
        if (path / name).is_file():
            return path / name
    raise SequenceError(f"{path}: no pose file: expected one of {', '.join(POSE_FILES)}, or poses in {CAMERA_FILE}")


def _video(path: Path, camera: CameraFile) -> VideoFile | None:
    if camera.video is not None:
        return VideoFile(path / camera.video)
    if camera.images is not None or any((path / name).is_dir() for name in IMAGE_FOLDERS):
        return None
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
    if len(found) > 1:
        raise SequenceError(f"{path}: several videos; choose one with video in {CAMERA_FILE}")
    return VideoFile(found[0]) if found else None


def _image_folder(path: Path, camera: CameraFile) -> Path:
    names = IMAGE_FOLDERS if camera.images is None else (camera.images,)
    for name in names:
        if list_images(path / name):
            return path / name
    raise SequenceError(f"{path}: no images in {', '.join(f'{name}/' for name in names)} and no video")


def _times(path: Path, camera: CameraFile, sources: Sequence[Source], *, needed: bool) -> tuple[Array, tuple[str, ...]]:
    """Seconds of each image, and the assumptions made: from the times file, the video, the file names or `fps`."""
    if camera.times is not None:
        times = number_rows(path / camera.times, (1,), "one time in seconds")[:, 0]
        if len(times) != len(sources):
            raise SequenceError(f"{path / camera.times}: has {len(times)} times for {len(sources)} images")
        return times, ()
    if camera.fps is not None:
        return np.arange(len(sources)) / camera.fps, ()
    first = sources[0]
    if isinstance(first, VideoFrame):
        return first.video.times, ()
    stamps = [_stamp(source.path if isinstance(source, VideoFrame) else source) for source in sources]
    if all(stamp is not None for stamp in stamps):
        return np.array(stamps, dtype=np.float64), ()
    if needed:
        raise SequenceError(
            f"{path / CAMERA_FILE}: the poses have time stamps but the images do not: give times, fps, or files named by time"
        )
    return np.arange(len(sources)) / ASSUMED_RATE, (f"no time stamps: {ASSUMED_RATE:g} images per second assumed",)


def _stamp(path: Path) -> float | None:
    """Seconds from a file name that is a time: with a decimal point, or in nanoseconds."""
    stem = path.stem
    if stem.isdecimal() and len(stem) >= NANOSECOND_DIGITS:
        return int(stem) / 1e9
    whole, point, fraction = stem.partition(".")
    return float(stem) if point and whole.isdecimal() and fraction.isdecimal() else None


def _timed(rows: Array, times: Array, camera: CameraFile) -> list[tuple[Array | None, str]]:
    matrices = matrices_from_quaternions(rows[:, 1:4], rows[:, 4:])
    trajectory = Trajectory(rows[:, 0], matrices, max_gap=camera.max_gap)
    return [trajectory.at(float(time) + camera.time_offset) for time in times]


def _numbered(rows: Array, count: int, pose_file: Path) -> list[tuple[Array | None, str]]:
    matrices = full_matrices(rows)
    missing = (None, f"no line for it in {pose_file.name} (it has {len(rows)})")
    return [(matrices[i], "") if i < len(matrices) else missing for i in range(count)]


def _layer(path: Path, entry: str, name: str | None, sources: Sequence[Source]) -> list[Path | None]:
    """The depth or label image of each image: by its name, for a video's frame by its number."""
    if name is None:
        return [None] * len(sources)
    files = list_images(path / name)
    if not files:
        raise SequenceError(f"{path / CAMERA_FILE}: {entry}: no image in {name}/")
    paths = [source for source in sources if isinstance(source, Path)]
    if paths:
        return files_by_name(paths, files)
    by_number = {last_number(file.name): file for file in files}
    return [by_number.get(source.number) for source in sources if isinstance(source, VideoFrame)]


def _label_space(path: Path, camera: CameraFile) -> LabelSpace:
    local = path / camera.label_space
    try:
        return load_label_space(str(local) if local.is_file() else camera.label_space)
    except LabelSpaceError as error:
        raise SequenceError(f"{path / CAMERA_FILE}: label_space: {error}") from error
