"""ScanNet v2 as exported by its own tool: `color/N.jpg`, `depth/N.png`, `pose/N.txt`, `intrinsic/intrinsic_{color,depth}.txt`.

Poses are camera-to-world, lost ones are full of -inf; colour and depth have different sizes and cameras. Labels are read from
`label-filt/N.png` with `scannetv2-labels.combined.tsv` in or above the folder, or from `label_40/N.png` (NYU40 ids).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError
from pipelines.images import first_image_size, list_depth_images, list_images
from pipelines.sequences.cameras import camera_from_matrix
from pipelines.sequences.conventions import Convention
from pipelines.sequences.pairing import depth_by_name, files_by_name
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence, depth_size
from pipelines.sequences.text import last_number, read_matrix, read_text
from scenegraph.labels import nyu40

LABEL_TABLE = "scannetv2-labels.combined.tsv"
CALIBRATION_FOLDERS = ("intrinsic", "intrinsics")
RATE = 30.0
RECORDED_SIZE = (1296, 968)
"""Pixels of ScanNet's colour images as they were recorded."""


def open_scannet(path: Path) -> RecordedSequence:
    """One exported scene folder; raises SequenceError naming the file."""
    files = sorted(list_images(path / "color"), key=lambda file: last_number(file.name) or 0)
    camera, note = _color_camera(path, first_image_size(files, path))
    depth_files = list_depth_images(path / "depth")
    depth_camera = None
    if depth_files:
        file, K = _calibration(path, "intrinsic_depth.txt")
        depth_camera = camera_from_matrix(K, depth_size(depth_files[0]), str(file))
    label_files, label_map = _labels(path)
    depths, depth_notes = depth_by_name(files, depth_files, str(path / "depth"))
    poses = files_by_name(files, sorted((path / "pose").glob("*.txt")), str(path / "pose"))
    labels = files_by_name(files, label_files, str(label_files[0].parent) if label_files else "")
    records = []
    for i, file in enumerate(files):
        pose = poses[i]
        matrix = None if pose is None else read_matrix(pose, 4, 4)
        records.append(
            FrameRecord(
                file,
                (last_number(file.name) or 0) / RATE,
                matrix,
                camera,
                depth=depths[i],
                depth_intrinsics=depth_camera,
                labels=labels[i],
                problem="" if matrix is not None else "pose file is missing",
            )
        )
    details = Details(
        Convention(),
        world_up=(0.0, 0.0, 1.0),
        label_space=nyu40() if label_files else None,
        label_map=label_map,
        notes=(f"time stamps are frame numbers at {RATE:g} per second", *note, *depth_notes),
    )
    return RecordedSequence(path, "scannet", records, details)


def _color_camera(path: Path, size: tuple[int, int]) -> tuple[Intrinsics, tuple[str, ...]]:
    """The colour camera; users often shrink the images and keep the matrix, which shows in its principal point."""
    file, K = _calibration(path, "intrinsic_color.txt")
    if size[0] < RECORDED_SIZE[0] and K[0, 2] > 0.75 * size[0] and abs(K[0, 2] / RECORDED_SIZE[0] - 0.5) < 0.1:
        width, height = RECORDED_SIZE
        note = f"images are {size[0]}x{size[1]}, the colour camera is that of {width}x{height}: scaled"
        return camera_from_matrix(K, RECORDED_SIZE, str(file)), (note,)
    return camera_from_matrix(K, size, str(file)), ()


def _calibration(path: Path, name: str) -> tuple[Path, NDArray[np.float64]]:
    """A camera matrix and its file: in `intrinsic/`, or `intrinsics/` of other exporters.

    Raises SequenceError where both have one and they differ.
    """
    places = [path / folder / name for folder in CALIBRATION_FOLDERS]
    files = [file for file in places if file.is_file()] or places[:1]
    matrices = [read_matrix(file, 4, 4) for file in files]
    if not np.allclose(matrices[0], matrices[-1]):
        raise SequenceError(f"{files[0]}: differs from {files[-1]}; remove the one that is not meant")
    return files[0], matrices[0]


def _labels(path: Path) -> tuple[list[Path], NDArray[Any] | None]:
    """Label images, and the table from their values to NYU40 ids when they are not NYU40 ids."""
    nyu, raw = list_images(path / "label_40"), list_images(path / "label-filt")
    if nyu or not raw:
        return nyu, None
    for folder in (path, path.resolve().parent, path.resolve().parent.parent):
        if (folder / LABEL_TABLE).is_file():
            return raw, read_label_table(folder / LABEL_TABLE)
    raise SequenceError(
        f"{path / 'label-filt'}: its labels need {LABEL_TABLE} in the folder or one of the two above it"
    )


def read_label_table(path: Path) -> NDArray[np.uint8]:
    """ScanNet's table of categories as an array from raw id to NYU40 id, 0 for ids that it does not list.

    Raises SequenceError naming the file and the line.
    """
    lines = read_text(path).splitlines()
    columns = lines[0].split("\t") if lines else []
    if "id" not in columns or "nyu40id" not in columns:
        raise SequenceError(f"{path} line 1: expected tab-separated columns with id and nyu40id")
    raw_column, nyu_column = columns.index("id"), columns.index("nyu40id")
    table = np.zeros(65536, np.uint8)
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        try:
            raw, nyu = int(fields[raw_column]), int(fields[nyu_column])
        except (ValueError, IndexError):
            raise SequenceError(f"{path} line {number}: id and nyu40id must be whole numbers") from None
        if not (0 <= raw < 65536 and 0 <= nyu <= 40):
            raise SequenceError(f"{path} line {number}: id {raw} or nyu40id {nyu} is out of range")
        table[raw] = nyu
    return table
