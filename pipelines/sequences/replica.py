"""Replica as NICE-SLAM renders it: `results/frame%06d.jpg`, `results/depth%06d.png` (1/6553.5 m), `traj.txt` (16
numbers per line).

Line i of `traj.txt` is the camera-to-world pose of frame number i. The camera comes from `cam_params.json` in or above the
folder, else it is the published one. Frames that are numbered from 1 are recognised by their count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError
from pipelines.images import list_depth_images, list_images
from pipelines.sequences.cameras import camera_for_images
from pipelines.sequences.conventions import Convention
from pipelines.sequences.ignored_keys import check_ignored_keys
from pipelines.sequences.pairing import depth_by_name, first_number, numbering_note, undetermined
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import last_number, matrix_rows, read_json

CAMERA = Intrinsics(600.0, 600.0, 599.5, 339.5, 1200, 680)
DEPTH_SCALE = 6553.5
RATE = 30.0
CAMERA_KEYS = ("fx", "fy", "cx", "cy", "w", "h")
SCALE_KEYS = ("scale", "depth_scale", "png_depth_scale")
"""Names of the depth units per metre, in `camera` or next to it."""


def open_replica(path: Path) -> RecordedSequence:
    """One scene folder; raises SequenceError naming the file and the line."""
    matrices = matrix_rows(path / "traj.txt")
    files = [file for file in list_images(path / "results") if file.name.startswith("frame")]
    camera, scale = _camera(path)
    depth_files = [file for file in list_depth_images(path / "results") if file.name.startswith("depth")]
    depths, depth_notes = depth_by_name(files, depth_files, f"{path / 'results'}: depth")
    numbers = [last_number(file.name) for file in files]
    known = [number for number in numbers if number is not None]
    first = first_number(known, len(matrices))
    if first is None:
        raise undetermined(path / "traj.txt", known, len(matrices))
    records = []
    for file, number, depth in zip(files, numbers, depths, strict=True):
        matrix = matrices[number - first] if number is not None and number - first < len(matrices) else None
        problem = "" if matrix is not None else f"no line {number} in traj.txt (it has {len(matrices)})"
        records.append(FrameRecord(file, (number or 0) / RATE, matrix, camera, depth=depth, problem=problem))
    notes = (
        f"time stamps are frame numbers at {RATE:g} per second",
        *numbering_note(path / "traj.txt", first),
        *depth_notes,
    )
    details = Details(Convention(depth_scale=scale), world_up=(0.0, 0.0, 1.0), notes=notes)
    return RecordedSequence(path, "replica", records, details)


def _camera(path: Path) -> tuple[Intrinsics, float]:
    """The camera and the depth scale."""
    for file in (path / "cam_params.json", path.resolve().parent / "cam_params.json"):
        if not file.is_file():
            continue
        try:
            content = read_json(file)
            camera = content["camera"]
            numbers = {key: float(camera[key]) for key in CAMERA_KEYS}
            scales = {key: float(part[key]) for part in (content, camera) for key in SCALE_KEYS if key in part}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, SequenceError):
                raise
            expected = ", ".join(CAMERA_KEYS)
            raise SequenceError(f"{file}: expected an object camera with the numbers {expected}: {error}") from error
        for part in (content, camera):
            check_ignored_keys(part, set(SCALE_KEYS), str(file))
        values, size = [numbers[key] for key in ("fx", "fy", "cx", "cy")], (numbers["w"], numbers["h"])
        return camera_for_images(values, size, str(file), states_size=True), _scale(scales, file)
    return CAMERA, DEPTH_SCALE


def _scale(scales: Mapping[str, float], file: Path) -> float:
    """The depth units per metre that the file has under one or more names, else the published ones."""
    for key, scale in scales.items():
        if not (math.isfinite(scale) and scale > 0):
            raise SequenceError(f"{file}: {key} must be a positive number of depth units per metre, got {scale}")
    if len(set(scales.values())) > 1:
        found = " and ".join(f"{key} {scale:g}" for key, scale in scales.items())
        raise SequenceError(f"{file}: states several depth scales: {found}")
    return next(iter(scales.values()), DEPTH_SCALE)
