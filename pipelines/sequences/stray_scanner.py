"""Stray Scanner: `rgb.mp4`, `odometry.csv`, `camera_matrix.csv`, `depth/NNNNNN.png` (or `.npy`), `confidence/NNNNNN.png`.

Poses are camera-to-world with OpenCV axes in ARKit's world (+y up), one line per frame of the video. Depth is in millimetres, and
unknown where its confidence is low (0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError
from pipelines.images import list_depth_images, list_images
from pipelines.sequences.cameras import camera_for_images, camera_from_matrix
from pipelines.sequences.conventions import Convention, matrices_from_quaternions
from pipelines.sequences.ignored_keys import check_ignored_keys
from pipelines.sequences.pairing import depth_by_name, files_by_name, first_number, numbering_note
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import csv_columns, read_matrix
from pipelines.sequences.times import to_seconds
from pipelines.sequences.video import VideoFile, VideoFrame

COLUMNS = ("timestamp", "frame", "x", "y", "z", "qx", "qy", "qz", "qw")
CAMERA_COLUMNS = ("fx", "fy", "cx", "cy")
"""Columns that newer versions add: the camera of each frame."""


def open_stray_scanner(path: Path) -> RecordedSequence:
    """A recording folder; raises SequenceError naming the file and the column."""
    video = VideoFile(path / "rgb.mp4")
    file = path / "odometry.csv"
    table = csv_columns(file, COLUMNS)
    check_ignored_keys({name: column.tolist() for name, column in table.items()}, set(), f"{file}: column")
    times = to_seconds(table["timestamp"], f"{file}: timestamp")
    positions, quats = (np.stack([table[name] for name in names], axis=1) for names in (COLUMNS[2:5], COLUMNS[5:]))
    matrices = matrices_from_quaternions(positions, quats, str(file))
    cameras = _cameras(path, table, video.size())
    if not (np.isfinite(table["frame"]) & (table["frame"] % 1 == 0)).all():
        raise SequenceError(f"{file}: frame must be whole numbers")
    rows = {int(number): row for row, number in enumerate(table["frame"])}
    if len(rows) < len(times):
        raise SequenceError(f"{file}: frame numbers repeat")
    first = first_number(list(rows), len(video.times))
    if first is None:
        raise SequenceError(
            f"{file}: the frame numbers {min(rows)} to {max(rows)} do not show which is the first of the video's "
            f"{len(video.times)} frames; number them from 0"
        )
    numbers = [Path(f"{number + first:06d}") for number in range(len(video.times))]
    depths, notes = depth_by_name(numbers, list_depth_images(path / "depth"), str(path / "depth"))
    notes += numbering_note(file, first)
    confidences = files_by_name(numbers, list_images(path / "confidence"), str(path / "confidence"))
    records = []
    for number, video_time in enumerate(video.times):
        row = rows.get(number + first)
        if row is None:
            time = float(times[0] + video_time)
            records.append(
                FrameRecord(VideoFrame(video, number), time, None, cameras[0], problem="no line in odometry.csv")
            )
            continue
        depth = depths[number]
        confidence = confidences[number] if depth is not None else None
        records.append(
            FrameRecord(
                VideoFrame(video, number),
                float(times[row]),
                matrices[row],
                cameras[row],
                depth=depth,
                depth_confidence=confidence,
            )
        )
    return RecordedSequence(
        path, "stray_scanner", records, Details(Convention(), world_up=(0.0, 1.0, 0.0), notes=tuple(notes))
    )


def _cameras(path: Path, table: dict[str, NDArray[np.float64]], size: tuple[int, int]) -> list[Intrinsics]:
    """The camera of each line: its own where the table has one, else that of `camera_matrix.csv`."""
    count = len(table["frame"])
    given = [name for name in CAMERA_COLUMNS if name in table]
    if given and len(given) < len(CAMERA_COLUMNS):
        missing = ", ".join(name for name in CAMERA_COLUMNS if name not in table)
        raise SequenceError(f"{path / 'odometry.csv'}: has the columns {', '.join(given)} without {missing}")
    if all(name in table for name in CAMERA_COLUMNS):
        rows = list(map(tuple, np.stack([table[name] for name in CAMERA_COLUMNS], axis=1).tolist()))
        where = str(path / "odometry.csv")
        known = {row: camera_for_images(row, size, where) for row in set(rows)}
        return [known[row] for row in rows]
    file = path / "camera_matrix.csv"
    return [camera_from_matrix(read_matrix(file, 3, 3), size, str(file))] * count
