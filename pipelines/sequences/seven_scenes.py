"""Microsoft 7-Scenes: `frame-%06d.{color.png,depth.png,pose.txt}`, camera-to-world 4x4 poses, depth in mm with 65535 unknown.

The camera is `camera-intrinsics.txt` where the folder has one, else the published focal length of 585 pixels. Depth is used as
if it were registered to colour, as is common practice.
"""

from __future__ import annotations

from pathlib import Path

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError
from pipelines.images import first_image_size
from pipelines.sequences.cameras import camera_from_matrix
from pipelines.sequences.conventions import Convention
from pipelines.sequences.pairing import depth_by_name, files_by_name
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import last_number, read_matrix

CAMERA = Intrinsics(585.0, 585.0, 320.0, 240.0, 640, 480)
RATE = 30.0
COLOR = "frame-*.color.*"


def open_seven_scenes(path: Path) -> RecordedSequence:
    """One `seq-NN` folder; raises SequenceError naming the file."""
    files = sorted(file for file in path.glob(COLOR) if file.suffix.lower() in (".png", ".jpg", ".jpeg"))
    inner = sorted(folder.name for folder in path.glob("seq-*") if folder.is_dir())
    if not files and inner:
        raise SequenceError(f"{path}: is a scene of several sequences; name one: {', '.join(inner)}")
    camera = CAMERA
    if (path / "camera-intrinsics.txt").is_file():
        K = read_matrix(path / "camera-intrinsics.txt", 3, 3)
        camera = camera_from_matrix(K, first_image_size(files, path), str(path / "camera-intrinsics.txt"))
    poses = files_by_name(files, sorted(path.glob("frame-*.pose.txt")), f"{path}: frame-*.pose.txt")
    depths, depth_notes = depth_by_name(files, sorted(path.glob("frame-*.depth.png")), f"{path}: frame-*.depth.png")
    records = []
    for file, pose, depth in zip(files, poses, depths, strict=True):
        matrix = None if pose is None else read_matrix(pose, 4, 4)
        problem = "" if matrix is not None else "pose file is missing"
        records.append(
            FrameRecord(file, (last_number(file.name) or 0) / RATE, matrix, camera, depth=depth, problem=problem)
        )
    notes = (f"time stamps are frame numbers at {RATE:g} per second", *depth_notes)
    return RecordedSequence(path, "7scenes", records, Details(Convention(), notes=notes))
