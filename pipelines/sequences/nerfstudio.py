"""nerfstudio's `transforms.json`, which with more keys per frame is the canonical sequence (docs/formats.md).

Poses are camera-to-world with OpenGL axes, pixel centres lie at +0.5. Positions are divided by `applied_scale`, so that
they are metres again; `applied_transform` only rotates the world and is kept.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError
from pipelines.sequences.conventions import Convention, is_direction
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence, first_image_size
from pipelines.sequences.text import natural_key, read_text
from scenegraph.labels import LabelSpace, LabelSpaceError, load_label_space

FORMAT, NEWEST_VERSION = "m2h-sequence", 1
UNFINISHED = ".unfinished"
"""A file in a canonical folder while it is being written."""
ASSUMED_RATE = 30.0
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".JPG", ".PNG", ".JPEG")
LAYER_KEYS = {
    "depth": "depth_file_path",
    "labels": "semantics_file_path",
    "instances": "instances_file_path",
    "normals": "normals_file_path",
    "edges": "edges_file_path",
}
LENS_KEYS = {
    "OPENCV": ("k1", "k2", "p1", "p2", "k3"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
    "PINHOLE": (),
    "SIMPLE_PINHOLE": (),
}


def open_nerfstudio(path: Path) -> RecordedSequence:
    """A folder with `transforms.json`, or such a file of another name; raises SequenceError naming the frame and the key."""
    file = path / "transforms.json" if path.is_dir() else path
    header = _read_header(file)
    folder = file.parent
    entries = _ordered(_frame_entries(header, file))
    size = _first_size(entries, folder, header)
    scale = _number(header, "applied_scale", 1.0, str(file))
    records = [_record(entry, file, header, (size, scale)) for entry in entries]
    has_times = all("timestamp" in entry for entry in entries)
    if not has_times:
        records = [replace(record, timestamp=i / ASSUMED_RATE) for i, record in enumerate(records)]
    notes = (
        [] if has_times else [f"no time stamps: {ASSUMED_RATE:g} frames per second assumed, in the order of the names"]
    )
    notes += _notes(header, file)
    if "applied_transform" in header:
        notes.append(
            f"the world was transformed when it was written: applied_transform {json.dumps(header['applied_transform'])}"
        )
    has_labels = any(record.labels is not None for record in records)
    factor = _number(header, "depth_unit_scale_factor", 1e-3, str(file))
    if not factor > 0:
        raise SequenceError(f"{file}: depth_unit_scale_factor must be positive, got {factor}")
    details = Details(
        Convention("camera_to_world", "opengl", round(1 / factor, 9)),
        world_up=_world_up(header, file),
        label_space=_label_space(header, file) if has_labels else None,
        notes=tuple(notes),
    )
    return RecordedSequence(folder, "nerfstudio", records, details)


def _read_header(file: Path) -> Mapping[str, Any]:
    try:
        header = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise SequenceError(f"{file} line {error.lineno}: is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise SequenceError(f"{file}: is nested too deeply") from error
    if not isinstance(header, Mapping):
        raise SequenceError(f"{file}: expected an object with camera keys and frames")
    version = header.get("version", 1)
    if header.get("format") == FORMAT and (not isinstance(version, int) or version > NEWEST_VERSION):
        raise SequenceError(
            f"{file}: is version {version} of the sequence format, this program reads up to {NEWEST_VERSION}"
        )
    return header


def _frame_entries(header: Mapping[str, Any], file: Path) -> list[Mapping[str, Any]]:
    entries = header.get("frames")
    if not isinstance(entries, list) or not entries:
        raise SequenceError(f"{file}: frames must be a list with at least one frame")
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("file_path"), str):
            raise SequenceError(f"{file}: frames[{number}].file_path must be a file name")
        for key in ("file_path", *LAYER_KEYS.values()):
            if isinstance(name := entry.get(key), str) and _leaves_folder(name):
                raise SequenceError(
                    f"{file}: frames[{number}].{key} must lie below the sequence's folder, got {name[:200]!r}; link it there"
                )
    return entries


def _leaves_folder(name: str) -> bool:
    """Whether a name leads out of the folder: files elsewhere are not part of the sequence and could change unnoticed."""
    normal = Path(os.path.normpath(name))
    return normal.is_absolute() or normal.parts[:1] == ("..",)


def _ordered(entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """By time where all have one, else by name: COLMAP lists images in arbitrary order."""
    if all(isinstance(entry.get("timestamp"), (int, float)) for entry in entries):
        return sorted(entries, key=lambda entry: float(entry["timestamp"]))
    return sorted(entries, key=lambda entry: natural_key(entry["file_path"]))


def _record(
    entry: Mapping[str, Any], file: Path, header: Mapping[str, Any], shared: tuple[tuple[int, int], float]
) -> FrameRecord:
    where = f"{file}: frame {entry['file_path']}"
    folder, (size, scale) = file.parent, shared
    image = _image_path(folder, entry["file_path"])
    layers = {field: folder / entry[key] for field, key in LAYER_KEYS.items() if isinstance(entry.get(key), str)}
    return FrameRecord(
        image,
        _number(entry, "timestamp", 0.0, where),
        _matrix(entry, scale, where),
        _intrinsics({**header, **entry}, size, where),
        problem="" if image.is_file() else "image file is missing",
        **layers,
    )


def _image_path(folder: Path, name: str) -> Path:
    """The image; Blender's files omit the suffix."""
    path = folder / name
    if path.suffix.lower() not in IMAGE_SUFFIXES and not path.is_file():
        for suffix in IMAGE_SUFFIXES:
            if (found := path.with_name(path.name + suffix)).is_file():
                return found
    return path


def _matrix(entry: Mapping[str, Any], scale: float, where: str) -> NDArray[np.float64] | None:
    stored = entry.get("transform_matrix")
    if stored is None:
        return None
    try:
        matrix = np.array(stored, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0, 0, 0, 1]])
    if matrix.shape != (4, 4):
        raise SequenceError(f"{where}: transform_matrix must be 4x4 numbers")
    matrix[:3, 3] /= scale
    return matrix


def _first_size(entries: list[Mapping[str, Any]], folder: Path, header: Mapping[str, Any]) -> tuple[int, int]:
    """(width, height) for cameras that do not specify theirs; (0, 0) when all do."""
    if all("w" in {**header, **entry} and "h" in {**header, **entry} for entry in entries):
        return 0, 0
    return first_image_size([_image_path(folder, entry["file_path"]) for entry in entries], folder)


def _intrinsics(keys: Mapping[str, Any], size: tuple[int, int], where: str) -> Intrinsics:
    model = keys.get("camera_model", "OPENCV")
    if model not in LENS_KEYS:
        raise SequenceError(f"{where}: camera_model {model!r} is not known; known are {', '.join(LENS_KEYS)}")
    width, height = (int(_number(keys, key, size[i], where)) for i, key in enumerate("wh"))
    fx = _number(keys, "fl_x", _focal(keys, "camera_angle_x", width, where), where)
    fy = _number(keys, "fl_y", _focal(keys, "camera_angle_y", height, where) or fx, where)
    lens = tuple(_number(keys, key, 0.0, where) for key in LENS_KEYS[model])
    if model == "OPENCV" and lens[4] == 0:
        lens = lens[:4]
    if not fx:
        raise SequenceError(f"{where}: needs fl_x or camera_angle_x")
    try:
        return Intrinsics(
            fx,
            fy,
            _number(keys, "cx", width / 2, where) - 0.5,
            _number(keys, "cy", height / 2, where) - 0.5,
            width,
            height,
            lens if any(lens) else (),
            "fisheye" if model == "OPENCV_FISHEYE" and any(lens) else "opencv",
        )
    except ValueError as error:
        raise SequenceError(f"{where}: is not a valid camera: {error}") from error


def _focal(keys: Mapping[str, Any], key: str, size: int, where: str) -> float:
    angle = _number(keys, key, 0.0, where)
    return 0.5 * size / math.tan(0.5 * angle) if angle else 0.0


def _number(keys: Mapping[str, Any], key: str, default: float, where: str) -> float:
    value = keys.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SequenceError(f"{where}: {key} must be a number, got {value!r}")
    return float(value)


def _notes(header: Mapping[str, Any], file: Path) -> list[str]:
    """What the writer of a canonical folder has to say of it."""
    notes = header.get("notes", []) if header.get("format") == FORMAT else []
    if not (isinstance(notes, list) and all(isinstance(note, str) for note in notes)):
        raise SequenceError(f"{file}: notes must be a list of sentences, got {notes!r}")
    return notes


def _world_up(header: Mapping[str, Any], file: Path) -> tuple[float, float, float] | None:
    """The file's, else nerfstudio's +z."""
    up = header.get("world_up", [0.0, 0.0, 1.0])
    if up is None:
        return None
    if not (isinstance(up, list) and all(isinstance(x, (int, float)) for x in up) and is_direction(up)):
        raise SequenceError(f"{file}: world_up must be three finite numbers that are not all 0, or null; got {up!r}")
    x, y, z = map(float, up)
    return x, y, z


def _label_space(header: Mapping[str, Any], file: Path) -> LabelSpace:
    name = str(header.get("label_space") or "nyu40")
    local = file.parent / name
    try:
        return load_label_space(str(local) if local.is_file() else name)
    except LabelSpaceError as error:
        raise SequenceError(f"{file}: label_space: {error}") from error
