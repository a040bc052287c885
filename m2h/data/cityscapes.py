"""Cityscapes (Cordts et al., CVPR 2016): street scenes with 19 classes and stereo disparity."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from m2h.camera import Camera
from m2h.data.sample import DatasetError, Sample, read_plane, read_rgb, reading
from mapping.reading.documents import read_json

EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label ids of the 19 evaluated classes, road to bicycle, in the order of their training ids."""
LABELS: NDArray[np.uint8] = np.zeros(256, np.uint8)
LABELS[list(EVALUATED)] = np.arange(1, len(EVALUATED) + 1)
SKY = EVALUATED.index(23) + 1


class CityscapesDataset:
    """`leftImg8bit/`, `gtFine/`, `disparity/` and `camera/` of the official download; labels are the training ids + 1, 0 unknown.

    Depth comes from the disparity, `baseline * fx / ((raw - 1) / 256)`; raw 0 and sky are unknown. Coarser than the images are
    the disparities' edges. Raises DatasetError naming the file or the key that is missing.
    """

    name, label_space, classes = "cityscapes", "cityscapes19", 20
    splits = ("train", "val")

    def __init__(self, path: Path, split: Literal["train", "val"] = "train") -> None:
        self._path, self._split = path, split
        images = sorted((path / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
        if not images:
            raise DatasetError(f"{path / 'leftImg8bit' / split}: no */*_leftImg8bit.png")
        self._frames = [(image.parent.name, image.name.removesuffix("_leftImg8bit.png")) for image in images]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        city, stem = self._frames[index]

        def path(folder: str, suffix: str) -> Path:
            return self._path / folder / self._split / city / f"{stem}_{suffix}"

        labels = LABELS[np.minimum(read_plane(path("gtFine", "gtFine_labelIds.png")), 255)]
        camera, baseline = _read_camera(path("camera", "camera.json"))
        raw = read_plane(path("disparity", "disparity.png")).astype(np.float32)
        disparity = (raw - 1) / 256
        known = (disparity > 0) & (labels != SKY)
        depth = np.divide(baseline * camera.fx, disparity, out=np.zeros_like(disparity), where=known)
        return Sample(stem, read_rgb(path("leftImg8bit", "leftImg8bit.png")), depth, labels, camera=camera)


def _read_camera(path: Path) -> tuple[Camera, float]:
    with reading(path):
        data: Any = read_json(path, DatasetError)
        inner = data["intrinsic"]
        camera = Camera(*(float(inner[key]) for key in ("fx", "fy", "u0", "v0")))
        return camera, float(data["extrinsic"]["baseline"])
