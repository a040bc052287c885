"""The deep-video-mvs HoloLens layout: `images/`, `depth/`, `poses.txt` (camera-to-world, one matrix per line), `K.txt`; +y is up.

Line i belongs to the i-th image by name. With fewer images than lines the numbers in the names decide, if possible.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.images import first_image_size, list_depth_images, list_images
from pipelines.sequences.cameras import camera_from_matrix
from pipelines.sequences.conventions import Convention
from pipelines.sequences.pairing import depth_by_name, images_in_pose_order
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import matrix_rows, read_matrix

ASSUMED_RATE = 30.0


def open_hololens(path: Path) -> RecordedSequence:
    """A folder with `images/`, `poses.txt` and `K.txt`; raises SequenceError naming the file and the line."""
    matrices = matrix_rows(path / "poses.txt")
    files = images_in_pose_order(path / "poses.txt", list_images(path / "images"), len(matrices))
    present = [file for file in files if file.is_file()]
    K = read_matrix(path / "K.txt", 3, 3)
    camera = camera_from_matrix(K, first_image_size(present, path), str(path / "K.txt"))
    depths, depth_notes = depth_by_name(files, list_depth_images(path / "depth"), str(path / "depth"))
    records = [
        FrameRecord(
            file,
            i / ASSUMED_RATE,
            matrices[i],
            camera,
            depth=depths[i],
            problem="" if file.is_file() else "image file is missing",
        )
        for i, file in enumerate(files)
    ]
    notes = (f"no time stamps: {ASSUMED_RATE:g} images per second assumed", *depth_notes)
    return RecordedSequence(path, "hololens", records, Details(Convention(), world_up=(0.0, 1.0, 0.0), notes=notes))
