"""An image folder or a video with a pose file and `camera.yaml` (its entries are those of `camera_file.CameraFile`).

Pose files are TUM's (`stamp tx ty tz qx qy qz qw`, interpolated at the images' times), KITTI's (12 or 16 matrix elements per
line, line i for image i) or TartanAir's (`tx ty tz qx qy qz qw`, line i for image i).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.config import ConfigError, read_yaml_mapping
from pipelines.frame import SequenceError
from pipelines.images import first_image_size, list_depth_images, list_images, unread_images
from pipelines.sequences.camera_file import CameraFile, read_camera_file
from pipelines.sequences.conventions import CAMERA_FILE, matrices_from_quaternions
from pipelines.sequences.pairing import changing_numbers, depth_by_name, files_by_name, images_in_pose_order, in_order
from pipelines.sequences.recorded import (
    Details,
    FrameRecord,
    RecordedSequence,
    with_masks,
)
from pipelines.sequences.text import full_matrices, number_rows, slashed
from pipelines.sequences.times import stamps_in_names, to_seconds
from pipelines.sequences.trajectory_file import ORDER, named_order, trajectory_from_rows
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
MAX_GAP, DEPTH_SCALE, LABEL_SPACE = 0.25, 1000.0, "nyu40"
"""Where `camera.yaml` says nothing else: seconds, units per metre, name."""


def open_posed_images(path: Path) -> RecordedSequence:
    """A folder with `camera.yaml`, images or a video, and poses; raises SequenceError naming the file and the entry."""
    camera = read_camera_file(path / CAMERA_FILE)
    pose_file = _pose_file(path, camera)
    rows = number_rows(pose_file, (7, 8, 12, 16), "a pose (8 numbers with its time, 7 without) or a matrix (12 or 16)")
    is_timed = rows.shape[1] == 8
    _check_effects(path, camera, is_timed=is_timed)
    video = _video(path, camera)
    sources: Sequence[Source]
    if video is not None:
        sources, size = [VideoFrame(video, i) for i in range(len(video.times))], video.size()
    else:
        folder = _image_folder(path, camera)
        files = list_images(folder)
        sources = in_order(files) if is_timed else images_in_pose_order(pose_file, files, len(rows))
        size = first_image_size([file for file in sources if isinstance(file, Path) and file.is_file()], folder)
    times, notes = _times(path, camera, sources, needed=is_timed)
    poses = _timed(rows, times, camera, pose_file) if is_timed else _numbered(rows, len(sources), pose_file)
    intrinsics = camera.intrinsics(size, path / CAMERA_FILE)
    depths, depth_notes = _layer(path, "depth", camera.depth, sources)
    labels, _ = _layer(path, "labels", camera.labels, sources)
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
    if camera.masks is not None:
        if not list_images(path / slashed(camera.masks)):
            raise SequenceError(f"{path / CAMERA_FILE}: masks: no image in {camera.masks}/")
        records = with_masks(records, path / slashed(camera.masks))
    details = Details(
        camera.convention(DEPTH_SCALE),
        world_up=camera.world_up,
        label_space=_label_space(path, camera) if any(labels) else None,
        notes=(*notes, *depth_notes),
        reads_camera_file=True,
    )
    return RecordedSequence(path, "images", records, details)


def has_pose_file(path: Path) -> bool:
    """Whether a folder has a file of poses by its name, or its `camera.yaml` names one."""
    if any((path / name).is_file() for name in POSE_FILES):
        return True
    try:
        return "poses" in read_yaml_mapping(path / CAMERA_FILE)
    except ConfigError:
        return False


def _pose_file(path: Path, camera: CameraFile) -> Path:
    if camera.poses is not None:
        return path / slashed(camera.poses)
    for name in POSE_FILES:
        if (path / name).is_file():
            return path / name
    raise SequenceError(f"{path}: no pose file: expected one of {', '.join(POSE_FILES)}, or poses in {CAMERA_FILE}")


def _check_effects(path: Path, camera: CameraFile, *, is_timed: bool) -> None:
    """Raises SequenceError for an entry without effect, since its writer expected one."""
    without = {
        "time_offset": bool(camera.time_offset) and not is_timed,
        "max_gap": camera.max_gap is not None and not is_timed,
        "depth_scale": camera.depth_scale is not None and camera.depth is None,
        "label_space": camera.label_space is not None and camera.labels is None,
        "fps": camera.fps is not None and camera.times is not None,
        "images": camera.images is not None and camera.video is not None,
    }
    reasons = {
        "time_offset": "the poses have no time stamps",
        "max_gap": "the poses have no time stamps",
        "depth_scale": "depth names no folder",
        "label_space": "labels names no folder",
        "fps": "times gives the times",
        "images": "video is given",
    }
    for entry, has_no_effect in without.items():
        if has_no_effect:
            raise SequenceError(f"{path / CAMERA_FILE}: {entry} has no effect: {reasons[entry]}")


def _video(path: Path, camera: CameraFile) -> VideoFile | None:
    if camera.video is not None:
        return VideoFile(path / slashed(camera.video))
    if camera.images is not None or any((path / name).is_dir() for name in IMAGE_FOLDERS):
        return None
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
    if len(found) > 1:
        raise SequenceError(f"{path}: several videos; choose one with video in {CAMERA_FILE}")
    return VideoFile(found[0]) if found else None


def _image_folder(path: Path, camera: CameraFile) -> Path:
    names = IMAGE_FOLDERS if camera.images is None else (slashed(camera.images),)
    for name in names:
        if list_images(path / name):
            return path / name
    others = next((found for name in names if (found := unread_images(path / name))), "")
    raise SequenceError(f"{path}: no images in {', '.join(f'{name}/' for name in names)} and no video{others}")


def _times(path: Path, camera: CameraFile, sources: Sequence[Source], *, needed: bool) -> tuple[Array, tuple[str, ...]]:
    """Seconds of each image, and the assumptions made: from the times file, the video, the file names or `fps`.

    Raises SequenceError for `fps` next to another source of times.
    """
    if camera.times is not None:
        file = path / slashed(camera.times)
        times = to_seconds(number_rows(file, (1,), "one time in seconds")[:, 0], str(file))
        if len(times) != len(sources):
            raise SequenceError(f"{path / camera.times}: has {len(times)} times for {len(sources)} images")
        return times, ()
    first = sources[0]
    files = [source for source in sources if isinstance(source, Path)]
    known = first.video.times if isinstance(first, VideoFrame) else stamps_in_names(files)
    if known is not None:
        if camera.fps is not None:
            source = (
                "the video has its own times" if isinstance(first, VideoFrame) else f"{first.name} is named by time"
            )
            raise SequenceError(f"{path / CAMERA_FILE}: fps has no effect: {source}")
        return known, ()
    if camera.fps is not None:
        return _counted(files, path) / camera.fps, ()
    if needed:
        raise SequenceError(
            f"{path / CAMERA_FILE}: the poses have time stamps but the images do not: give times, fps, or files named by time"
        )
    return np.arange(len(sources)) / ASSUMED_RATE, (f"no time stamps: {ASSUMED_RATE:g} images per second assumed",)


def _counted(files: Sequence[Path], path: Path) -> Array:
    """The numbers (N,) of images by their names; their positions where no name has a number."""
    numbers = changing_numbers(files)
    if numbers is not None:
        return np.array(numbers, dtype=np.float64)
    if any(character.isdecimal() for file in files for character in file.stem):
        raise SequenceError(
            f"{path / CAMERA_FILE}: fps: the images have no one number that counts them ({files[0].name}); give times instead"
        )
    return np.arange(len(files), dtype=np.float64)


def _timed(rows: Array, times: Array, camera: CameraFile, pose_file: Path) -> list[tuple[Array | None, str]]:
    trajectory = trajectory_from_rows(rows, pose_file, max_gap=camera.max_gap or MAX_GAP)
    return [trajectory.at(float(time) + camera.time_offset) for time in times]


def _numbered(rows: Array, count: int, pose_file: Path) -> list[tuple[Array | None, str]]:
    if len(rows) != count:  # of a video: there is an image for each line
        raise SequenceError(
            f"{pose_file}: has {len(rows)} poses for the {count} frames of the video: give one per frame, or poses with times"
        )
    if rows.shape[1] == 7:
        rows = rows[:, named_order(pose_file, ORDER[1:])]
        matrices = matrices_from_quaternions(rows[:, :3], rows[:, 3:], str(pose_file))
    else:
        matrices = full_matrices(rows)
    return [(matrix, "") for matrix in matrices]


def _layer(path: Path, entry: str, name: str | None, sources: Sequence[Source]) -> tuple[list[Path | None], list[str]]:
    """The depth or label image of each image, by its name, for a video's frame by its number; and what to note of depth."""
    if name is None:
        return [None] * len(sources), []
    folder = path / slashed(name)
    files = list_depth_images(folder) if entry == "depth" else list_images(folder)
    if not files:
        raise SequenceError(f"{path / CAMERA_FILE}: {entry}: no image in {name}/")
    names = [Path(str(source.number)) if isinstance(source, VideoFrame) else source for source in sources]
    what = f"{path / CAMERA_FILE}: {entry}: {name}/"
    return depth_by_name(names, files, what) if entry == "depth" else (files_by_name(names, files, what), [])


def _label_space(path: Path, camera: CameraFile) -> LabelSpace:
    name = camera.label_space or LABEL_SPACE
    local = path / slashed(name)
    try:
        return load_label_space(str(local) if local.is_file() else name)
    except LabelSpaceError as error:
        raise SequenceError(f"{path / CAMERA_FILE}: label_space: {error}") from error
