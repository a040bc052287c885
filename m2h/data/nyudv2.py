"""NYU Depth v2 (Silberman et al., ECCV 2012): the multi-task layout that the field trains on, and the labelled `.mat` file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from m2h.camera import Camera
from m2h.data.sample import (
    SIGNS,
    DatasetError,
    Sample,
    clean_depth,
    decode_normals,
    read_array,
    read_image,
    read_labels,
    read_plane,
    read_rgb,
    reading,
    sign_scores,
    unit_vectors,
)
from mapping.reading.files import check_regular, read_text

Split = Literal["train", "val"]

CAMERA = Camera(518.86, 519.47, 325.58, 253.74)
"""The colour camera of the labelled images, 640x480 (the toolbox's numbers)."""
CROPPED = (425, 560)
CROP_LEFT, CROP_TOP = 41, 45
"""Where the 425x560 images of the multi-task archive lie in the full ones: inside the white frame."""
SIGN_IMAGES = 5
"""How many images are compared with their depth to find out which way a copy's normals point."""


class NYUDv2Dataset:
    """The multi-task layout of ASTMT, MTI-Net and ATRC: 795 images to train, 654 to test.

    `images/*.{png,jpg}`, `segmentation/*.png` (0 void, 1-40), `depth/*.npy` (metres), `normals/*.{png,npy}`,
    `edge/*.{png,npy}`, and the names of each split in `gt_sets/{train,val}.txt`. What a layout lacks is omitted.

    Copies of the archive differ in the axes of their normals, which no file says: `normal_signs` turns them into camera axes,
    and None finds the signs that agree best with the normals of the depth.

    Raises DatasetError when the folder has no such split, or a named image is missing.
    """

    name, label_space, classes = "nyudv2", "nyu40", 41
    splits = ("train", "val")

    def __init__(
        self, path: Path, split: Split = "train", normal_signs: tuple[float, float, float] | None = None
    ) -> None:
        listing = path / "gt_sets" / f"{split}.txt"
        self._names = read_text(listing, DatasetError).split()
        self._path, self._signs = path, np.array(normal_signs or (1, 1, 1), np.float32)
        if normal_signs is None:
            self._signs = self._find_signs()

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        name = self._names[index]
        image = self._find("images", name)
        if image is None:
            raise DatasetError(f"{self._path / 'images'}: no image {name} (.png or .jpg)")
        rgb = read_rgb(image)
        labels, depth = self._find("segmentation", name), self._find("depth", name)
        return Sample(
            name,
            rgb,
            None if depth is None else clean_depth(read_plane(depth)),
            None if labels is None else read_labels(labels, self.classes),
            self._normals(name),
            self._edges(name),
            CAMERA.cropped(CROP_LEFT, CROP_TOP) if rgb.shape[:2] == CROPPED else CAMERA,
        )

    def _normals(self, name: str) -> NDArray[np.float32] | None:
        path = self._find("normals", name)
        if path is None:
            return None
        stored = unit_vectors(read_array(path, 3)) if path.suffix == ".npy" else decode_normals(read_image(path))
        return stored * self._signs

    def _edges(self, name: str) -> NDArray[np.float32] | None:
        path = self._find("edge", name)
        if path is None:
            return None
        stored = read_plane(path)
        return (stored / (np.iinfo(stored.dtype).max if stored.dtype.kind == "u" else 1)).astype(np.float32)

    def _find_signs(self) -> NDArray[np.float32]:
        samples = (self[i] for i in range(min(SIGN_IMAGES, len(self))))
        scores = [
            sign_scores(s.normals, s.depth, s.camera) for s in samples if s.normals is not None and s.depth is not None
        ]
        return SIGNS[int(np.argmax(np.sum(scores, axis=0)))] if scores else self._signs

    def _find(self, folder: str, name: str) -> Path | None:
        for suffix in (".png", ".jpg", ".npy"):
            path = self._path / folder / f"{name}{suffix}"
            if path.is_file():
                return path
        return None


class NYUDv2MatDataset:
    """`nyu_depth_v2_labeled.mat`, with `splits.mat` (795/654) and, for labels, `classMapping40.mat` (894 to 40) next to it.

    The file is HDF5 in Matlab's order (columns first). Needs the package h5py. Normals and edges are not part of it.
    Raises DatasetError naming the file or the entry that is missing.
    """

    name, label_space, classes = "nyudv2", "nyu40", 41
    splits = ("train", "val")

    def __init__(self, path: Path, split: Split = "train") -> None:
        self._file = path / "nyu_depth_v2_labeled.mat" if path.is_dir() else path
        folder = self._file.parent
        key = {"train": "trainNdxs", "val": "testNdxs"}[split]
        self._indices = _matlab(folder / "splits.mat", key).reshape(-1).astype(int) - 1
        mapping = folder / "classMapping40.mat"
        self._mapping: NDArray[np.uint8] | None = None
        if mapping.is_file():
            to40 = _matlab(mapping, "mapClass").reshape(-1)
            self._mapping = np.concatenate([[0], to40]).astype(np.uint8)
        # Opened anew by each process that reads: handles do not survive being sent to another.
        self._open: Any = None
        with reading(self._file), open_hdf5(self._file) as data:
            missing = {"images", "depths", "labels"} - set(data)
        if missing:
            raise DatasetError(f"{self._file}: has no {', '.join(sorted(missing))}")

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        number = int(self._indices[index])
        with reading(self._file):
            self._open = self._open or open_hdf5(self._file)
            rgb = np.asarray(self._open["images"][number]).transpose(2, 1, 0)
            depth = np.asarray(self._open["depths"][number]).T
            labels = np.asarray(self._open["labels"][number]).T
        mapped = None
        if self._mapping is not None:
            mapped = self._mapping[np.minimum(labels, len(self._mapping) - 1)]
        return Sample(f"{number:04d}", np.ascontiguousarray(rgb), clean_depth(depth), mapped, camera=CAMERA)


def open_hdf5(path: Path) -> Any:
    """An HDF5 file for reading; raises DatasetError when it or the package h5py is missing."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise DatasetError(f"{path}: reading HDF5 needs the package h5py: pip install h5py") from error
    check_regular(path, DatasetError)
    return h5py.File(path, "r")


def _matlab(path: Path, key: str) -> NDArray[Any]:
    from scipy.io import loadmat

    check_regular(path, DatasetError)
    with reading(path):
        data = loadmat(path)
    if key not in data:
        raise DatasetError(f"{path}: has no variable {key}")
    return np.asarray(data[key])
