"""ICL-NUIM in its TUM-compatible form: `associations.txt` (depth first), `rgb/N.png`, `depth/N.png`, a `*.gt.freiburg` file.

The published camera matrix has a negative fy: the poses are those of a camera whose y axis points up in a left-handed world
(POV-Ray's). The reader uses a positive fy and left-handed poses. Pose stamps are image numbers; the first may be 0 or 1.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError
from pipelines.images import first_image_size
from pipelines.sequences.camera_file import CAMERA_ENTRIES, read_camera_file
from pipelines.sequences.conventions import CAMERA_FILE, Convention
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import content_lines, last_number, slashed
from pipelines.sequences.trajectory_file import read_trajectory
from pipelines.sequences.unread import missing_depth_notes

CAMERA = Intrinsics(481.20, 480.0, 319.5, 239.5, 640, 480)
CONVENTION, WORLD_UP = Convention("camera_to_world", "left_handed", 5000.0), (0.0, 1.0, 0.0)
CAMERA_FILE_ENTRIES = CAMERA_ENTRIES | {"depth_scale", "world_up"}
"""Entries of `camera.yaml` that have an effect here."""
RATE = 30.0
TRAJECTORIES = "*.gt.freiburg"


def open_icl(path: Path) -> RecordedSequence:
    """An ICL-NUIM folder; raises SequenceError naming the file and the line."""
    found = sorted(path.glob(TRAJECTORIES))
    if len(found) != 1:
        raise SequenceError(f"{path}: expected one {TRAJECTORIES} file, found {len(found)}")
    trajectory = read_trajectory(
        found[0], max_gap=1e-6, has_times=False
    )  # image numbers: no interpolation between them
    pairs = _associations(path / "associations.txt")
    camera, convention, world_up = CAMERA, CONVENTION, WORLD_UP
    if (path / CAMERA_FILE).is_file():
        size = first_image_size([path / rgb for _, rgb in pairs], path)
        entries = read_camera_file(path / CAMERA_FILE, CAMERA_FILE_ENTRIES, "an ICL-NUIM sequence")
        camera = entries.intrinsics(size, path / CAMERA_FILE)
        convention = replace(convention, depth_scale=entries.depth_scale or convention.depth_scale)
        world_up = entries.world_up or world_up
    records = []
    for depth, rgb in pairs:
        number = last_number(Path(rgb).name)
        matrix, lost = trajectory.at(-1.0 if number is None else number)
        problem = ("" if matrix is not None else lost) if (path / rgb).is_file() else "image file is missing"
        depth_file = path / depth if (path / depth).is_file() else None
        time = (number or 0) / RATE
        records.append(FrameRecord(path / rgb, time, matrix, camera, depth=depth_file, problem=problem))
    missing = missing_depth_notes(path / "associations.txt", [depth for depth, _ in pairs])
    notes = (f"time stamps are image numbers at {RATE:g} per second", *missing)
    return RecordedSequence(
        path, "icl", records, Details(convention, world_up=world_up, notes=notes, reads_camera_file=True)
    )


def _associations(path: Path) -> list[tuple[str, str]]:
    """(depth file, image file) of each line `number depth number image`, in either order."""
    pairs = []
    for number, line in content_lines(path):
        fields = line.split()
        if len(fields) != 4:
            raise SequenceError(f"{path} line {number}: expected `number depth number image`, found {line[:60]!r}")
        first, second = slashed(fields[1]), slashed(fields[3])
        pairs.append((second, first) if second.startswith("depth") else (first, second))
    return pairs
