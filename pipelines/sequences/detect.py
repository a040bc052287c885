"""Open a sequence: its format is named (`tum:PATH`) or detected by its marker files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mapping.files import without_temporaries
from pipelines.frame import FrameSequence, SequenceError
from pipelines.images import list_images
from pipelines.plugins import SEQUENCES, resolve
from pipelines.sequences.colmap import model_folders
from pipelines.sequences.conventions import CAMERA_FILE
from pipelines.sequences.nerfstudio import NAMES, UNFINISHED
from pipelines.sequences.posed_images import has_pose_file
from pipelines.sequences.video import VIDEO_SUFFIXES


def _has(*patterns: str) -> Callable[[Path], bool]:
    """Whether the folder has a match of each pattern."""
    return lambda folder: all(next(folder.glob(pattern), None) is not None for pattern in patterns)


MARKERS: tuple[tuple[str, str, Callable[[Path], bool]], ...] = (
    ("nerfstudio", "transforms.json or transforms_train.json", lambda folder: _is_nerfstudio(folder)),
    ("tum", "rgb.txt and groundtruth.txt", _has("rgb.txt", "groundtruth.txt")),
    ("icl", "associations.txt and *.gt.freiburg", _has("associations.txt", "*.gt.freiburg")),
    ("7scenes", "frame-*.color.* and frame-*.pose.txt, or seq-*/", lambda folder: _is_seven_scenes(folder)),
    ("scannet", "color/, pose/ and intrinsic/ or intrinsics/", _has("color", "pose", "intrinsic*")),
    ("replica", "traj.txt and results/", _has("traj.txt", "results")),
    ("hololens", "images/, poses.txt and K.txt", _has("images", "poses.txt", "K.txt")),
    ("images", f"{CAMERA_FILE} with images or a video and poses", _has(CAMERA_FILE)),
    ("polycam", "keyframes/ or its images/ and cameras/", lambda folder: _is_polycam(folder)),
    ("record3d", "metadata.json and rgb/, or metadata and rgbd/", lambda folder: _is_record3d(folder)),
    (
        "stray_scanner",
        "rgb.mp4, odometry.csv and camera_matrix.csv",
        _has("rgb.mp4", "odometry.csv", "camera_matrix.csv"),
    ),
    ("arkit_scenes", "lowres_wide/ and lowres_wide.traj", lambda folder: _is_arkit_scenes(folder)),
    ("euroc", "mav0/cam0/data.csv", lambda folder: _has("mav0/cam0/data.csv")(folder) or _has("cam0/data.csv")(folder)),
    ("colmap", "cameras and images as .bin or .txt, here or in sparse/N", lambda folder: bool(model_folders(folder))),
)
"""Format, its marker files in words, and the test; the first match is used."""

MOST_CHILDREN = 100
"""Entries of a folder that are searched for sequences to suggest."""


def open_sequence(spec: str | Path) -> FrameSequence:
    """A readable sequence from a path, or from `format:PATH` (a name of `pipelines.plugins.SEQUENCES` or `module:function`).

    Raises SequenceError in one line: an unknown folder lists the known formats, a known one names the invalid file.
    """
    name, path = _named_format(str(spec))
    if not path.exists():
        raise SequenceError(f"{path}: no such file or folder")
    if name is None:
        name = detect_format(path)
    try:
        reader = resolve(name, SEQUENCES)
    except ValueError as error:
        raise SequenceError(f"{spec}: {error}") from error
    with np.errstate(all="ignore"):  # the readers check the numbers that they compute
        sequence: FrameSequence = reader(path)
    return sequence


def detect_format(path: Path) -> str:
    """The format of a folder by its marker files; raises SequenceError that lists the known formats."""
    if path.is_file():
        if path.suffix == ".json":
            return "nerfstudio"
        if path.suffix.lower() in VIDEO_SUFFIXES:
            raise SequenceError(f"{path}: is a video without poses: m2h poses {path} OUT finds them")
        raise SequenceError(f"{path}: is a file; expected a folder, or name the format: format:PATH")
    if found := _format_of(path):
        return found
    if (path / UNFINISHED).exists():
        raise SequenceError(f"{path}: is unfinished because its writer was interrupted; write it again")
    children = without_temporaries(sorted(path.iterdir()))[:MOST_CHILDREN]
    inner = [child.name for child in children if child.is_dir() and _format_of(child)]
    if inner:
        raise SequenceError(f"{path}: contains sequences but is not one; name one: {', '.join(inner)}")
    looked = "; ".join(f"{name}: {marker}" for name, marker, _ in MARKERS)
    hint = f"; for images without poses: m2h poses {path} OUT" if list_images(path) else ""
    raise SequenceError(f"{path}: no known sequence format; looked for {looked}{hint}")


def _format_of(path: Path) -> str | None:
    marked = (name for name, _, is_marked in MARKERS if is_marked(path))
    first = next(marked, None)
    if first == "images" and not has_pose_file(path):
        return next(marked, first)  # whose reader says that camera.yaml has no effect in it
    return first


def _named_format(spec: str) -> tuple[str | None, Path]:
    """The format's name, None when it is to be detected, and the path."""
    whole = Path(spec).expanduser()
    if whole.exists() or ":" not in spec:
        return None, whole
    name, _, path = spec.partition(":")
    if name not in SEQUENCES and ":" in path:  # module:function:PATH
        function, _, path = path.partition(":")
        name = f"{name}:{function}"
    if name not in SEQUENCES and ":" not in name:
        raise SequenceError(f"{spec}: unknown format {name!r}; known are {', '.join(sorted(SEQUENCES))}")
    return name, Path(path).expanduser()


def _is_nerfstudio(folder: Path) -> bool:
    return any((folder / name).is_file() for name in NAMES)


def _is_polycam(folder: Path) -> bool:
    return any(_has("*cameras/*.json", "*images/*")(place) for place in (folder / "keyframes", folder))


def _is_record3d(folder: Path) -> bool:
    places = (folder, folder / "EXR_RGBD")
    return any(_has("metadata.json", "rgb/*.*")(place) or _has("metadata", "rgbd/*.*")(place) for place in places)


def _is_arkit_scenes(folder: Path) -> bool:
    return any(_has("lowres_wide", "lowres_wide.traj")(place) for place in (folder, *folder.glob("*_frames")))


def _is_seven_scenes(folder: Path) -> bool:
    return _has("frame-*.color.*", "frame-*.pose.txt")(folder) or _has("seq-*/frame-*.pose.txt")(folder)
