"""Record3D's exports: `metadata.json`, `rgb/N.jpg` and `depth/N.exr` (metres), or an unpacked `.r3d` (`metadata`, `rgbd/`).

Poses are camera-to-world quaternions (x y z w) and positions with ARKit's axes (OpenGL) in a world with +y up, one per frame
number. The depth of an unpacked `.r3d` is compressed by LZFSE and is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError
from pipelines.images import list_depth_images, list_images
from pipelines.sequences.cameras import camera_for_images, check_camera_matrix
from pipelines.sequences.conventions import Convention, matrices_from_quaternions
from pipelines.sequences.ignored_keys import check_ignored_keys
from pipelines.sequences.pairing import depth_by_name, first_number, numbering_note, undetermined
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import last_number, number_of, read_json
from pipelines.sequences.times import to_seconds

Array = NDArray[np.float64]
INNER = "EXR_RGBD"
LAYOUTS = (("metadata.json", "rgb"), ("metadata", "rgbd"))


def open_record3d(path: Path) -> RecordedSequence:
    """An export folder, or the folder around its `EXR_RGBD/`; raises SequenceError naming the file and the key."""
    folder = path / INNER if (path / INNER).is_dir() else path
    name, images = next(((n, i) for n, i in LAYOUTS if (folder / n).is_file() and (folder / i).is_dir()), LAYOUTS[0])
    file = folder / name
    keys = read_json(file)
    check_ignored_keys(keys, set(), str(file))
    poses = _table(keys, "poses", 7, file)
    if poses is None:
        raise SequenceError(f"{file}: poses must be a list of 7 numbers per frame")
    matrices = matrices_from_quaternions(poses[:, 4:], poses[:, :4], str(file))
    cameras, times = _cameras(keys, len(poses), file), _times(keys, len(poses), file)
    records: list[FrameRecord] = []
    files = sorted(list_images(folder / images), key=lambda image: last_number(image.name) or 0)
    depths, notes = depth_by_name(files, list_depth_images(folder / "depth"), str(folder / "depth"))
    numbers = [last_number(image.name) for image in files]
    known = [number for number in numbers if number is not None]
    first = first_number(known, len(poses))
    if first is None:
        raise undetermined(file, known, len(poses))
    notes += numbering_note(file, first)
    for image, counted, depth in zip(files, numbers, depths, strict=True):
        number = len(poses) if counted is None else counted - first
        if number >= len(poses):
            problem = f"no pose of its number in {name} (it has {len(poses)})"
            records.append(FrameRecord(image, float(len(records)) + times[-1] + 1, None, cameras[0], problem=problem))
            continue
        records.append(FrameRecord(image, times[number], matrices[number], cameras[number], depth=depth))
    if next((folder / images).glob("*.depth"), None) is not None:
        notes.append(f"depth is not read: {images}/*.depth is compressed by LZFSE; export as `EXR + JPG` instead")
    convention = Convention("camera_to_world", "opengl", 1.0)
    details = Details(convention, world_up=(0.0, 1.0, 0.0), notes=tuple(notes), root=folder)
    return RecordedSequence(path, "record3d", records, details)


def _table(keys: Mapping[str, Any], key: str, columns: int, file: Path) -> Array | None:
    """A list of rows of numbers (N, columns); None without the key."""
    if not keys.get(key):
        return None
    try:
        table = np.array(keys[key], dtype=np.float64)
    except (TypeError, ValueError):
        table = np.zeros(0)
    if table.ndim != 2 or table.shape[1] != columns:
        raise SequenceError(f"{file}: {key} must be a list of {columns} numbers per frame")
    return table


def _cameras(keys: Mapping[str, Any], count: int, file: Path) -> list[Intrinsics]:
    """The camera of each frame: its own coefficients, else those of the matrix `K`, column by column."""
    size = number_of(keys, "w", file), number_of(keys, "h", file)
    coefficients = _table(keys, "perFrameIntrinsicCoeffs", 4, file)
    if coefficients is None:
        K = keys.get("K")
        if not isinstance(K, list) or len(K) != 9:
            raise SequenceError(f"{file}: K must be 9 numbers, a matrix column by column")
        numbers = [number_of({"K": value}, "K", file) for value in K]
        matrix = np.array(numbers).reshape(3, 3)
        matrix = matrix if matrix[:2, 2].any() else matrix.T  # some write it row by row
        check_camera_matrix(matrix, f"{file}: K")
        coefficients = np.tile(matrix[[0, 1, 0, 1], [0, 1, 2, 2]], (count, 1))
    if len(coefficients) != count:
        raise SequenceError(f"{file}: perFrameIntrinsicCoeffs has {len(coefficients)} entries for {count} poses")
    cameras: dict[tuple[float, ...], Intrinsics] = {}
    for row in map(tuple, coefficients.tolist()):
        if row not in cameras:
            cameras[row] = camera_for_images(row, size, str(file), states_size=True)
    return [cameras[tuple(row)] for row in coefficients.tolist()]


def _times(keys: Mapping[str, Any], count: int, file: Path) -> list[float]:
    stamps = keys.get("frameTimestamps")
    if not stamps:
        rate = number_of(keys, "fps", file)
        if not rate > 0:
            raise SequenceError(f"{file}: fps must be positive, got {rate}")
        return [i / rate for i in range(count)]
    if not isinstance(stamps, list) or len(stamps) != count:
        raise SequenceError(f"{file}: frameTimestamps must be {count} numbers, one per pose")
    numbers = [number_of({"frameTimestamps": stamp}, "frameTimestamps", file) for stamp in stamps]
    return [float(time) for time in to_seconds(numbers, f"{file}: frameTimestamps")]
