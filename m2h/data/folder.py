"""The canonical sequence folder as training data: a nerfstudio `transforms.json` with more keys per frame.

Files of other programs, whose lenses, units and names the readers of sequences know, are refused: `m2h ingest` writes them as
canonical sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2h.camera import Camera
from m2h.data.sample import (
    UNKNOWN_EDGE,
    DatasetError,
    Sample,
    clean_depth,
    decode_normals,
    read_image,
    read_labels,
    read_plane,
    read_rgb,
    reading,
)
from mapping.files import without_temporaries
from mapping.reading.arrays import read_npz
from mapping.reading.documents import read_json, read_yaml
from mapping.reading.files import shown
from mapping.reading.pictures import UNKNOWN_16_BIT, read_mask

CLASSES = {"nyu40": 41}
FORMAT, VERSION = "m2h-sequence", 1
OVERRIDE_FILE, MASK_FOLDERS = "m2h.yaml", ("masks", "mask")
"""What readers of sequences find next to the header."""
MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE")
LENS = ("is_fisheye", "k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
REMEDY = "write the sequence with `m2h ingest` first"
HINTS = "hints"
"""Folder of a sequence with `NAME.npz` for the images NAME.* that have a hint: `depth` (H, W) in metres and `confidence`."""


@dataclass(frozen=True)
class _Frame:
    folder: Path
    entry: Mapping[str, Any]
    """The header's keys under the frame's own."""


class FolderDataset:
    """All frames of one canonical sequence, or of every canonical sequence below a folder, in the order of their names.

    What is black in a frame's mask is unknown, and black in the image. Raises DatasetError naming the file and the key for files
    of other programs or versions, for headers that lack what is needed, and for label spaces that differ.
    """

    splits: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        headers = [path / "transforms.json"] if (path / "transforms.json").is_file() else []
        for pattern in ("*/transforms.json", "*/*/transforms.json"):
            headers = headers or without_temporaries(sorted(path.glob(pattern)))
        if not headers:
            raise DatasetError(f"{path}: neither a sequence with transforms.json nor a folder of such sequences")
        self.name = path.name
        self._frames: list[_Frame] = []
        self._sequences: list[range] = []
        spaces: dict[str, Path] = {}
        for header in headers:
            space = self._add(header)
            spaces.setdefault(space, header)
        if len(spaces) > 1:
            raise DatasetError(f"{path}: sequences with different label_space: {', '.join(sorted(spaces))}")
        (self.label_space, first), *_ = spaces.items()
        self.classes = CLASSES.get(self.label_space) or _count_classes(first.parent / self.label_space)

    def _add(self, path: Path) -> str:
        header = read_json(path, DatasetError, finite=False)
        frames = header.get("frames") if isinstance(header, dict) else None
        if not isinstance(frames, list) or not all(isinstance(f, dict) and "file_path" in f for f in frames):
            raise DatasetError(f"{path}: frames must be a list of entries with file_path")
        _check_canonical(path, header)
        shared = {key: value for key, value in header.items() if key != "frames"}
        first = len(self._frames)
        self._frames += [
            _Frame(path.parent, shared | frame) for frame in sorted(frames, key=lambda frame: str(frame["file_path"]))
        ]
        self._sequences.append(range(first, len(self._frames)))
        return str(header.get("label_space") or "nyu40")

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        folder, entry = self._frames[index].folder, self._frames[index].entry
        path = {key: folder / str(entry[key]) for key in entry if key.endswith("file_path")}
        depth = labels = normals = edges = None
        if "depth_file_path" in path:
            factor = _number(entry, "depth_unit_scale_factor", folder, default=0.001)
            stored = read_plane(path["depth_file_path"])
            depth = clean_depth(stored * np.float32(factor))
            if stored.dtype == np.uint16:
                depth[stored == UNKNOWN_16_BIT] = 0
        if "semantics_file_path" in path:
            labels = read_labels(path["semantics_file_path"], self.classes)
        if "normals_file_path" in path:
            normals = decode_normals(read_image(path["normals_file_path"]))
        if "edges_file_path" in path:
            stored = read_plane(path["edges_file_path"])
            edges = stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max)
        hint = _read_hint(folder / HINTS / f"{path['file_path'].stem}.npz")
        sample = replace(self._unmasked(index), depth=depth, labels=labels, normals=normals, edges=edges, hint=hint)
        return _masked(sample, _mask(entry, folder))

    def view(self, index: int) -> Sample:
        """Image, camera and pose of a frame alone, the image black where its mask is."""
        return _masked(self._unmasked(index), _mask(self._frames[index].entry, self._frames[index].folder))

    def _unmasked(self, index: int) -> Sample:
        folder, entry = self._frames[index].folder, self._frames[index].entry
        rgb = read_rgb(folder / str(entry["file_path"]))
        pose = _pose(entry, folder)
        return Sample(f"{folder.name}/{entry['file_path']}", rgb, camera=_camera(entry, folder), T_world_camera=pose)

    def sequence(self, index: int) -> range:
        """The frames of the sequence that frame `index` belongs to."""
        return next(frames for frames in self._sequences if index in frames)

    def poses(self, index: int) -> NDArray[np.float64]:
        """The poses (N, 4, 4) of all frames of that sequence, not finite where there is none."""
        unknown = np.full((4, 4), np.nan)
        found = [_pose(frame.entry, frame.folder) for frame in (self._frames[i] for i in self.sequence(index))]
        return np.stack([unknown if pose is None else pose for pose in found])


def _check_canonical(path: Path, header: Mapping[str, Any]) -> None:
    """Raises DatasetError for what only the readers of sequences know: other programs' files, corrections, and masks by name."""
    found, frames = (header.get("format"), header.get("version")), header["frames"]
    if found != (FORMAT, VERSION):
        problem = f"expected format {FORMAT}, version {VERSION}, got {shown(found[0])}, version {shown(found[1])}"
        raise DatasetError(f"{path}: {problem}: {REMEDY}")
    if (path.parent / OVERRIDE_FILE).is_file():
        raise DatasetError(f"{path.parent / OVERRIDE_FILE}: is not read for training: {REMEDY}")
    masks = [path.parent / name for name in MASK_FOLDERS if (path.parent / name).is_dir()]
    if masks and any(masks[0].iterdir()) and not any(frame.get("mask_path") for frame in frames):
        raise DatasetError(f"{path}: has no mask_path, but there is {masks[0].name}/: {REMEDY}")
    for keys in (header, *frames):
        model, lens = keys.get("camera_model", MODELS[0]), [key for key in LENS if keys.get(key)]
        if lens or model not in MODELS:
            problem = f"{lens[0]} {shown(keys[lens[0]])}" if lens else f"camera_model {shown(model)}"
            raise DatasetError(f"{path}: {problem}: expected a pinhole camera: {REMEDY}")


def _read_hint(path: Path) -> NDArray[np.float32] | None:
    """Depth and confidence (H, W, 2) of a hint; None where there is no such file."""
    if not path.is_file():
        return None
    with reading(path):
        stored = read_npz(path, DatasetError)
        return np.stack([clean_depth(stored["depth"]), stored["confidence"].astype(np.float32)], axis=-1)


def _mask(entry: Mapping[str, Any], folder: Path) -> NDArray[np.bool_] | None:
    """Where (H, W) an image must not be used; None without a mask."""
    return None if not entry.get("mask_path") else read_mask(folder / str(entry["mask_path"]), DatasetError) == 0


def _masked(sample: Sample, hidden: NDArray[np.bool_] | None) -> Sample:
    """The sample without what a mask hides; raises DatasetError for a mask of another size."""
    if hidden is None:
        return sample
    if hidden.shape != sample.rgb.shape[:2]:
        raise DatasetError(f"{sample.name}: mask must be {sample.rgb.shape[:2]}, got {hidden.shape}")
    changed = {}
    for name in ("rgb", "depth", "labels", "normals", "edges", "hint"):
        if (layer := getattr(sample, name)) is not None:
            changed[name] = layer.copy()
            changed[name][hidden] = UNKNOWN_EDGE if name == "edges" else 0
    return replace(sample, **changed)


def _camera(entry: Mapping[str, Any], folder: Path) -> Camera | None:
    """The pinhole camera; nerfstudio's pixel centres lie at +0.5, ours at whole numbers."""
    if "fl_x" not in entry:
        return None
    fx = _number(entry, "fl_x", folder)
    fy = _number(entry, "fl_y", folder, default=fx)
    return Camera(fx, fy, _number(entry, "cx", folder) - 0.5, _number(entry, "cy", folder) - 0.5)


def _pose(entry: Mapping[str, Any], folder: Path) -> NDArray[np.float64] | None:
    """`T_world_camera` in our axes; nerfstudio's cameras are x right, y up, z backward."""
    if "transform_matrix" not in entry:
        return None
    try:
        matrix = np.array(entry["transform_matrix"], dtype=np.float64).reshape(-1, 4)
    except (TypeError, ValueError):
        matrix = np.zeros((0, 4))
    if len(matrix) not in (3, 4):
        raise DatasetError(f"{folder / 'transforms.json'}: transform_matrix must be 4x4 numbers")
    T = np.vstack([matrix[:3], [0.0, 0.0, 0.0, 1.0]])
    return np.asarray(T @ np.diag([1.0, -1.0, -1.0, 1.0]), dtype=np.float64)


def _number(entry: Mapping[str, Any], key: str, folder: Path, default: float | None = None) -> float:
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DatasetError(f"{folder / 'transforms.json'}: {key} must be a number, got {shown(value)}")
    return float(value)


def _count_classes(path: Path) -> int:
    """Channels for a label space file: its largest id and unknown."""
    data = read_yaml(path, DatasetError)
    try:
        return max(int(entry["id"]) for entry in data["classes"]) + 1
    except (TypeError, KeyError, ValueError) as error:
        raise DatasetError(f"{path}: expected a label space with classes that have ids") from error
