"""Replica as NICE-SLAM renders it: `results/frame%06d.jpg`, `results/depth%06d.png` (1/6553.5 m), `traj.txt` (16
numbers per line).

Line i of `traj.txt` is the camera-to-world pose of frame number i. The camera comes from `cam_params.json` in or above the
folder, else it is the published one.
"""

from __future__ import annotations

import math
from pathlib import Path

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError
from pipelines.images import list_depth_images, list_images
from pipelines.sequences.conventions import Convention
from pipelines.sequences.pairing import files_by_name
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence, camera_for_images
from pipelines.sequences.text import last_number, matrix_rows, read_json

CAMERA = Intrinsics(600.0, 600.0, 599.5, 339.5, 1200, 680)
DEPTH_SCALE = 6553.5
RATE = 30.0
CAMERA_KEYS = ("fx", "fy", "cx", "cy", "w", "h")


def open_replica(path: Path) -> RecordedSequence:
    """One scene folder; raises SequenceError naming the file and the line."""
    matrices = matrix_rows(path / "traj.txt")
    files = [file for file in list_images(path / "results") if file.name.startswith("frame")]
    camera, scale = _camera(path)
    depth_files = [file for file in list_depth_images(path / "results") if file.name.startswith("depth")]
    depths = files_by_name(files, depth_files, f"{path / 'results'}: depth")
    records = []
    for file, depth in zip(files, depths, strict=True):
        number = last_number(file.name)
        matrix = matrices[number] if number is not None and number < len(matrices) else None
        problem = "" if matrix is not None else f"no line {number} in traj.txt (it has {len(matrices)})"
        records.append(FrameRecord(file, (number or 0) / RATE, matrix, camera, depth=depth, problem=problem))
    notes = (f"time stamps are frame numbers at {RATE:g} per second",)
    details = Details(Convention(depth_scale=scale), world_up=(0.0, 0.0, 1.0), notes=notes)
    return RecordedSequence(path, "replica", records, details)


def _camera(path: Path) -> tuple[Intrinsics, float]:
    """The camera and the depth scale."""
    for file in (path / "cam_params.json", path.resolve().parent / "cam_params.json"):
        if not file.is_file():
            continue
        try:
            camera = read_json(file)["camera"]
            numbers = {key: float(camera[key]) for key in CAMERA_KEYS}
            scale = float(camera.get("scale", DEPTH_SCALE))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, SequenceError):
                raise
            expected = ", ".join(CAMERA_KEYS)
            raise SequenceError(f"{file}: expected an object camera with the numbers {expected}: {error}") from error
        if not (math.isfinite(scale) and scale > 0):
            raise SequenceError(f"{file}: camera.scale must be a positive number of depth units per metre, got {scale}")
        values, size = [numbers[key] for key in ("fx", "fy", "cx", "cy")], (numbers["w"], numbers["h"])
        return camera_for_images(values, size, str(file), states_size=True), scale
    return CAMERA, DEPTH_SCALE
