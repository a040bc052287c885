"""nerfstudio's `transforms.json`, which with more keys per frame is the canonical sequence (docs/formats.md).

Poses are camera-to-world with OpenGL axes, pixel centres lie at +0.5. Positions are divided by `applied_scale`, so that
they have their first unit again; `applied_transform` only rotates the world and is kept.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.reading.files import shown
from pipelines.frame import SequenceError
from pipelines.images import first_image_size
from pipelines.sequences.conventions import Convention, is_direction
from pipelines.sequences.evidence import WorldEvidence, read_evidence
from pipelines.sequences.nerfstudio_camera import (
    FRAME_KEYS,
    HEADER_KEYS,
    check_keys,
    frame_keys,
    read_intrinsics,
    read_number,
)
from pipelines.sequences.pairing import name_order
from pipelines.sequences.recorded import Details, FrameRecord, RecordedSequence
from pipelines.sequences.text import read_json, slashed
from pipelines.sequences.times import UNITS, to_seconds
from scenegraph.labels import LabelSpace, LabelSpaceError, load_label_space

FORMAT, NEWEST_VERSION = "m2h-sequence", 1
UNFINISHED = ".unfinished"
"""A file in a canonical folder while it is being written."""
ASSUMED_RATE = 30.0
RATE_KEYS = ("fps", "frame_rate")
"""Keys of the header for the frames per second where frames have no `timestamp`."""
NOT_USED = {"is_bad": True, "ignore": True, "exclude": True, "valid": False, "is_valid": False}
"""Keys of frames, and their values by which a frame is not to be used; the first one is ScanNet++'s."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".JPG", ".PNG", ".JPEG")
LAYER_KEYS = {
    "mask": "mask_path",
    "labels": "semantics_file_path",
    "instances": "instances_file_path",
    "normals": "normals_file_path",
    "edges": "edges_file_path",
}
DEPTH_KEYS = ("depth_file_path", "depth_path")
"""nerfstudio's key and instant-ngp's."""
ARBITRARY_UNIT_KEYS = (
    "applied_transform",
    "applied_scale",
    "ply_file_path",
    "colmap_im_id",
    "aabb_scale",
    "sharpness",
)
"""Keys of header and frames that nerfstudio and instant-ngp write with the poses of structure from motion."""
TIME_UNITS = {"seconds": "s", "milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}
"""Names of units in full."""
NAMES = ("transforms.json", "transforms_train.json")
"""Files that are looked for in a folder; the first is used."""


def open_nerfstudio(path: Path) -> RecordedSequence:
    """A folder with `transforms.json` or `transforms_train.json`, or such a file of another name; raises SequenceError naming
    the frame and the key."""
    file = next((path / name for name in NAMES if (path / name).is_file()), path / NAMES[0]) if path.is_dir() else path
    header = _read_header(file)
    check_keys(header, HEADER_KEYS, str(file))
    folder = file.parent
    entries = _ordered(_frame_entries(header, file))
    size = _first_size(entries, folder, header)
    scale = read_number(header, "applied_scale", 1.0, str(file))
    if not scale > 0:
        raise SequenceError(f"{file}: applied_scale must be positive, got {scale}")
    records = [_record(entry, file, header, (size, scale)) for entry in entries]
    is_metric = _is_metric(header, entries, file)
    has_times = all("timestamp" in entry for entry in entries)
    rate = _frame_rate(header, file)
    times = np.arange(len(records)) / (rate or ASSUMED_RATE)
    if has_times:
        stamps = [record.timestamp / _time_unit(header, file) for record in records]
        states_unit = header.get("format") == FORMAT or "timestamp_unit" in header
        times = to_seconds(stamps, f"{file}: timestamp", states_unit=states_unit)
    records = [replace(record, timestamp=float(time)) for record, time in zip(records, times, strict=True)]
    notes = [] if has_times else [_no_times(entries, rate)]
    if path.is_dir() and (others := _other_files(folder, file)):
        notes.append(f"{file.name} is read, not {', '.join(others)}")
    if header.get("enable_depth_loading") is False and any(record.depth is not None for record in records):
        records = [replace(record, depth=None) for record in records]
        notes.append("depth is not read: enable_depth_loading is false")
    notes += _notes(header, file)
    if not is_metric and header.get("format") != FORMAT:
        notes.append("no metric scale: the file has marks of structure from motion, whose unit is arbitrary")
    if "applied_transform" in header:
        notes.append(
            f"the world was transformed when it was written: applied_transform {json.dumps(header['applied_transform'])}"
        )
    has_labels = any(record.labels is not None for record in records)
    details = Details(
        Convention("camera_to_world", "opengl", round(1 / _depth_unit(header, file), 9)),
        world_up=_world_up(header, file),
        is_metric=is_metric,
        evidence=read_evidence(header, file) if header.get("format") == FORMAT else WorldEvidence(),
        label_space=_label_space(header, file) if has_labels else None,
        notes=tuple(notes),
    )
    sequence = RecordedSequence(folder, "nerfstudio", records, details)
    if header.get("has_mask") and not any(sequence.files(i).mask for i in range(len(sequence))):
        raise SequenceError(
            f"{file}: has_mask: no frame has a mask: give mask_path, or masks/ with the names of the images"
        )
    return sequence


def _read_header(file: Path) -> Mapping[str, Any]:
    header = read_json(file)
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
        check_keys(entry, FRAME_KEYS, f"{file}: frames[{number}]")
        for key in ("file_path", *DEPTH_KEYS, *LAYER_KEYS.values()):
            name = entry.get(key)
            if name is not None and not isinstance(name, str):
                raise SequenceError(f"{file}: frames[{number}].{key} must be a file name, got {shown(name)}")
            if name is not None and _leaves_folder(slashed(name)):
                raise SequenceError(
                    f"{file}: frames[{number}].{key} must lie below the sequence's folder, got {shown(name)}; link it there"
                )
    return entries


def _leaves_folder(name: str) -> bool:
    """Whether a name leads out of the folder: files elsewhere are not part of the sequence and could change unnoticed."""
    normal = Path(os.path.normpath(name))
    return normal.is_absolute() or normal.parts[:1] == ("..",) or bool(PureWindowsPath(name).drive)


def _ordered(entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """By time where all have one, else by name: COLMAP lists images in arbitrary order."""
    if all(isinstance(entry.get("timestamp"), (int, float)) for entry in entries):
        return sorted(entries, key=lambda entry: float(entry["timestamp"]))
    return [entries[i] for i in name_order([Path(slashed(entry["file_path"])) for entry in entries])]


def _frame_rate(header: Mapping[str, Any], file: Path) -> float:
    """Frames per second where the header states them, else 0."""
    key = next((key for key in RATE_KEYS if header.get(key)), None)
    rate = 0.0 if key is None else read_number(header, key, 0.0, str(file))
    if rate < 0:
        raise SequenceError(f"{file}: {key} must be a positive number of frames per second, got {rate:g}")
    return rate


def _no_times(entries: list[Mapping[str, Any]], rate: float) -> str:
    """What is assumed of frames without `timestamp`, and which of their keys may have been meant."""
    keys = sorted({key for entry in entries for key in entry if "time" in key.lower() or "stamp" in key.lower()})
    ignored = f"; {', '.join(keys)} is not read: write seconds as timestamp in every frame" if keys else ""
    stated = f"{rate:g} frames per second, as the file says" if rate else f"{ASSUMED_RATE:g} frames per second assumed"
    return f"no time stamps: {stated}, in the order of the names{ignored}"


def _time_unit(header: Mapping[str, Any], file: Path) -> float:
    """Stored units of time per second, where the header states the unit; else 1: large ones are recognised."""
    unit = header.get("timestamp_unit") or "s"
    name = TIME_UNITS.get(str(unit).lower(), str(unit).lower())
    if name not in UNITS:
        raise SequenceError(f"{file}: timestamp_unit must be one of {', '.join(UNITS)}, got {shown(unit)}")
    return UNITS[name]


def _other_files(folder: Path, file: Path) -> list[str]:
    """Files of the other parts of a divided data set, when one of its parts is read."""
    return sorted(other.name for other in folder.glob("transforms_*.json") if other != file and file.name != NAMES[0])


def _depth_unit(header: Mapping[str, Any], file: Path) -> float:
    """Metres in one stored unit of depth: by nerfstudio's key, or instant-ngp's."""
    keys = [key for key in ("depth_unit_scale_factor", "integer_depth_scale") if key in header]
    factors = [read_number(header, key, 0.0, str(file)) for key in keys]
    for key, factor in zip(keys, factors, strict=True):
        if not factor > 0:
            raise SequenceError(f"{file}: {key} must be positive, got {factor}")
    if len(factors) > 1 and not math.isclose(*factors, rel_tol=1e-6):
        raise SequenceError(f"{file}: {' and '.join(keys)} contradict each other: {factors[0]:g} and {factors[1]:g}")
    return factors[0] if factors else 1e-3


def _record(
    entry: Mapping[str, Any], file: Path, header: Mapping[str, Any], shared: tuple[tuple[int, int], float]
) -> FrameRecord:
    where = f"{file}: frame {entry['file_path']}"
    folder, (size, scale) = file.parent, shared
    image = _image_path(folder, entry["file_path"])
    layers: dict[str, Any] = {
        field: folder / slashed(entry[key]) for field, key in LAYER_KEYS.items() if entry.get(key)
    }
    depths = {slashed(entry[key]) for key in DEPTH_KEYS if entry.get(key)}
    if len(depths) > 1:
        raise SequenceError(f"{where}: {' and '.join(DEPTH_KEYS)} name different files: {', '.join(sorted(depths))}")
    return FrameRecord(
        image,
        read_number(entry, "timestamp", 0.0, where),
        _matrix(entry, scale, where),
        read_intrinsics(frame_keys(header, entry), size, where),
        depth=folder / depths.pop() if depths else None,
        problem=_problem(entry, image),
        **layers,
    )


def _problem(entry: Mapping[str, Any], image: Path) -> str:
    """Why a frame is not used, empty where it is."""
    mark = next((key for key, value in NOT_USED.items() if entry.get(key) is value), None)
    if mark is not None:
        return f"marked as {mark}: {json.dumps(entry[mark])}"
    return "" if image.is_file() else "image file is missing"


def _image_path(folder: Path, name: str) -> Path:
    """The image; Blender's files omit the suffix."""
    path = folder / slashed(name)
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


def _notes(header: Mapping[str, Any], file: Path) -> list[str]:
    """What the writer of a canonical folder has to say of it."""
    notes = header.get("notes", []) if header.get("format") == FORMAT else []
    if not (isinstance(notes, list) and all(isinstance(note, str) for note in notes)):
        raise SequenceError(f"{file}: notes must be a list of sentences, got {shown(notes)}")
    return notes


def _world_up(header: Mapping[str, Any], file: Path) -> tuple[float, float, float] | None:
    """The file's own key; None without it: +z is up only where the program that wrote the file turned the world."""
    up = header.get("world_up")
    if up is None:
        return None
    if not (isinstance(up, list) and all(isinstance(x, (int, float)) for x in up) and is_direction(up)):
        raise SequenceError(
            f"{file}: world_up must be three finite numbers that are not all 0, or null; got {shown(up)}"
        )
    x, y, z = map(float, up)
    return x, y, z


def _is_metric(header: Mapping[str, Any], entries: list[Mapping[str, Any]], file: Path) -> bool:
    """Whether poses are in metres: as the canonical header says, else unless the file comes from structure from motion and no
    frame has depth, with which poses are in metres."""
    stated = header.get("is_metric", True)
    if not isinstance(stated, bool):
        raise SequenceError(f"{file}: is_metric must be true or false, got {shown(stated)}")
    if header.get("format") == FORMAT or not stated:
        return stated
    has_marks = any(key in keys for keys in (header, *entries) for key in ARBITRARY_UNIT_KEYS)
    return not has_marks or any(entry.get(key) for entry in entries for key in DEPTH_KEYS)


def _label_space(header: Mapping[str, Any], file: Path) -> LabelSpace:
    name = str(header.get("label_space") or "nyu40")
    local = file.parent / name
    try:
        return load_label_space(str(local) if local.is_file() else name)
    except LabelSpaceError as error:
        raise SequenceError(f"{file}: label_space: {error}") from error
