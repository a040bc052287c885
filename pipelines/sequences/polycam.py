"""Polycam's raw export: `keyframes/` with images, cameras, depth and confidence per frame, named by microseconds.

`corrected_images` and `corrected_cameras`, which Polycam optimises, are used where both exist, else `images` and `cameras`. Poses
are camera-to-world with ARKit's axes (OpenGL) in a world with +y up; depth is in millimetres, and unknown where its confidence is
low (0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.frame import SequenceError
from pipelines.images import list_images
from pipelines.sequences.conventions import Convention
from pipelines.sequences.ignored_keys import LENS, check_ignored_keys
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence, camera_for_images
from pipelines.sequences.text import number_of, read_json

FOLDERS = (("corrected_images", "corrected_cameras"), ("images", "cameras"))
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
    records = [_record(file, folder, folder / cameras / f"{file.stem}.json") for file in files]
    notes = [] if images == FOLDERS[0][0] else ["poses are those of ARKit: Polycam did not optimise them"]
    convention = Convention("camera_to_world", "opengl")
    details = Details(convention, world_up=(0.0, 1.0, 0.0), notes=tuple(notes), root=folder)
    return RecordedSequence(path, "polycam", records, details)


def _record(file: Path, folder: Path, camera_file: Path) -> FrameRecord:
    if not file.stem.isdecimal():
        raise SequenceError(f"{file}: expected a name of microseconds")
    if not camera_file.is_file():
        raise SequenceError(f"{camera_file}: camera of {file.name} is missing")
    keys = read_json(camera_file)
    fx, fy, cx, cy = (number_of(keys, key, camera_file) for key in ("fx", "fy", "cx", "cy"))
    check_ignored_keys(keys, set(), str(camera_file), LENS)
    size = number_of(keys, "width", camera_file), number_of(keys, "height", camera_file)
    camera = camera_for_images((fx, fy, cx, cy), size, str(camera_file), states_size=True)
    matrix = np.eye(4)
    matrix[:3] = np.array([number_of(keys, key, camera_file) for key in MATRIX_KEYS]).reshape(3, 4)
    depth, confidence = folder / "depth" / f"{file.stem}.png", folder / "confidence" / f"{file.stem}.png"
    return FrameRecord(
        file,
        int(file.stem) / 1e6,
        matrix,
        camera,
        depth=depth if depth.is_file() else None,
        depth_confidence=confidence if confidence.is_file() else None,
    )
