"""Hypersim (Roberts et al., ICCV 2021): rendered interiors with depth, NYU40 labels and normals."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from m2h.camera import Camera
from m2h.data.nyudv2 import open_hdf5
from m2h.data.sample import DatasetError, Sample, clean_depth, face_camera, read_rgb, reading, unit_vectors
from mapping.reading.files import read_text

WIDTH, FOCAL = 1024, 886.81
"""The common camera: 60 degrees across. (A few scenes were rendered with a shifted lens, which is ignored.)"""
SPLIT_FILE = "metadata_images_split_scene_v1.csv"


class HypersimDataset:
    """`ai_VVV_NNN/images/scene_cam_XX_{final_preview,geometry_hdf5}/frame.IIII.*` of the official split.

    Depth is stored as distance along the ray and becomes depth along z; normals are stored in OpenGL axes. Images are the
    tone-mapped previews. Needs the package h5py. `path` has the scenes and the split file `metadata_images_split_scene_v1.csv`.

    Raises DatasetError naming the file and the column or entry that is missing.
    """

    name, label_space, classes = "hypersim", "nyu40", 41
    splits = ("train", "val", "test")

    def __init__(self, path: Path, split: Literal["train", "val", "test"] = "train") -> None:
        self._path = path
        self._frames: list[tuple[str, str, int]] = []
        listing = path / SPLIT_FILE
        with reading(listing):
            for row in csv.DictReader(read_text(listing, DatasetError).splitlines()):
                if row["included_in_public_release"] == "True" and row["split_partition_name"] == split:
                    self._frames.append((row["scene_name"], row["camera_name"], int(row["frame_id"])))
        if not self._frames:
            raise DatasetError(f"{listing}: no frame of the split {split}")

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        scene, camera_name, number = self._frames[index]
        images = self._path / scene / "images"
        stem = f"frame.{number:04d}"
        rgb = read_rgb(images / f"scene_{camera_name}_final_preview" / f"{stem}.tonemap.jpg")
        geometry = images / f"scene_{camera_name}_geometry_hdf5"
        height, width = rgb.shape[:2]
        camera = Camera(
            FOCAL * width / WIDTH, FOCAL * width / WIDTH, (width - 1) / 2, (height - 1) / 2
        )  # previews may be scaled down
        semantic = _read(geometry / f"{stem}.semantic.hdf5").astype(np.int64)
        normals = unit_vectors(_read(geometry / f"{stem}.normal_cam.hdf5")) * np.array([1, -1, -1], np.float32)
        return Sample(
            f"{scene}/{camera_name}/{number:04d}",
            rgb,
            planar_depth(_read(geometry / f"{stem}.depth_meters.hdf5"), camera),
            np.where((semantic > 0) & (semantic <= 40), semantic, 0).astype(np.uint8),
            face_camera(normals, camera),
            camera=camera,
        )


def planar_depth(distance: NDArray[Any], camera: Camera) -> NDArray[np.float32]:
    """Distance (H, W) along the pixels' rays to depth along z."""
    height, width = distance.shape
    x = (np.arange(width) - camera.cx) / camera.fx
    y = (np.arange(height) - camera.cy) / camera.fy
    return clean_depth(distance / np.sqrt(1 + x[None] ** 2 + y[:, None] ** 2))


def _read(path: Path) -> NDArray[Any]:
    with reading(path), open_hdf5(path) as file:
        return np.asarray(file["dataset"])
