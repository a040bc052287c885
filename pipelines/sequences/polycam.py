"""Polycam's raw export: `keyframes/` with images, cameras, depth and confidence per frame, named by microseconds.

`corrected_images` and `corrected_cameras`, which Polycam optimises, are used where both exist, else `images` and `cameras`. Poses
are camera-to-world with ARKit's axes (OpenGL) in a world with +y up; depth is in millimetres, and unknown where its confidence is
low (0).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines.frame import SequenceError
from pipelines.images import list_depth_images, list_images
from pipelines.sequences.cameras import camera_for_images
from pipelines.sequences.conventions import Convention
from pipelines.sequences.ignored_keys import check_ignored_keys
from pipelines.sequences.pairing import files_by_name
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import number_of, read_json
from pipelines.sequences.times import to_seconds

FOLDERS = (("corrected_images", "corrected_cameras"), ("images", "cameras"))
HARMLESS_KEYS = frozenset({"center_depth"})
"""What Polycam writes of a frame besides: metres to what is in its middle."""
MATRIX_KEYS = tuple(f"t_{row}{column}" for row in range(3) for column in range(4))


def open_polycam(path: Path) -> RecordedSequence:
    """A capture folder or its `keyframes/`; raises SequenceError naming the file and the key."""
    folder = path / "keyframes" if (path / "keyframes").is_dir() else path
    for images, cameras in FOLDERS:
        files = list_images(folder / images)
        if files and (folder / cameras).is_dir():
            break
    else:
        raise SequenceError(
            f"{folder}: expected images and cameras in {' or '.join('/ and '.join(f) + '/' for f in FOLDERS)}"
        )
    times = _times(files)
    depths = files_by_name(files, list_depth_images(folder / "depth"), str(folder / "depth"))
    confidences = files_by_name(files, list_images(folder / "confidence"), str(folder / "confidence"))
    records = [
        replace(_record(file, time, folder / cameras / f"{file.stem}.json"), depth=depth, depth_confidence=confidence)
        for file, time, depth, confidence in zip(files, times, depths, confidences, strict=True)
    ]
    notes = [] if images == FOLDERS[0][0] else ["poses are those of ARKit: Polycam did not optimise them"]
    convention = Convention("camera_to_world", "opengl")
    details = Details(convention, world_up=(0.0, 1.0, 0.0), notes=tuple(notes), root=folder)
    return RecordedSequence(path, "polycam", records, details)


def _times(files: list[Path]) -> list[float]:
    """Seconds from the names."""
    for file in files:
        if not re.fullmatch(r"[0-9]{1,20}", file.stem):
            raise SequenceError(f"{file}: expected a name of microseconds")
    stamps = to_seconds([float(file.stem) for file in files], f"{files[0].parent}: names", unit="us")
    return [float(time) for time in stamps]


def _record(file: Path, time: float, camera_file: Path) -> FrameRecord:
    if not camera_file.is_file():
        raise SequenceError(f"{camera_file}: camera of {file.name} is missing")
    keys = read_json(camera_file)
    fx, fy, cx, cy = (number_of(keys, key, camera_file) for key in ("fx", "fy", "cx", "cy"))
    check_ignored_keys(keys, HARMLESS_KEYS, str(camera_file))
    size = number_of(keys, "width", camera_file), number_of(keys, "height", camera_file)
    camera = camera_for_images((fx, fy, cx, cy), size, str(camera_file), states_size=True)
    matrix = np.eye(4)
    matrix[:3] = np.array([number_of(keys, key, camera_file) for key in MATRIX_KEYS]).reshape(3, 4)
    return FrameRecord(file, time, matrix, camera)
