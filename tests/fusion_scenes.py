"""Frames of shapes with exactly known depth, for the tests of fusion."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from helpers import random_se3
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.se3 import look_at
from mapping.tsdf.volume import TSDFVolume

CAMERA = Intrinsics(150.0, 152.0, 79.0, 59.5, 160, 120)


class View(NamedTuple):
    """One frame as `TSDFVolume.integrate` takes it."""

    depth: NDArray[np.float32]
    T_world_camera: NDArray[np.float64]
    images: dict[str, NDArray[Any]]

    def into(self, volume: TSDFVolume) -> None:
        """Fuse the frame."""
        volume.integrate(self.depth, CAMERA, self.T_world_camera, **self.images)

    def out_of(self, volume: TSDFVolume) -> None:
        """Remove the frame."""
        volume.remove(self.depth, CAMERA, self.T_world_camera, **self.images)


def sphere_depth(T_world_camera: NDArray[np.float64], radius: float, center: Any = (0, 0, 0)) -> NDArray[np.float32]:
    """Depth (H, W) of a sphere; 0 outside."""
    rays = CAMERA.rays() @ T_world_camera[:3, :3].T
    to_center = np.asarray(center, float) - T_world_camera[:3, 3]
    a, b, c = (rays**2).sum(-1), rays @ to_center, to_center @ to_center - radius**2
    root = b**2 - a * c
    depth = (b - np.sqrt(np.maximum(root, 0))) / a
    return np.where((root > 0) & (depth > 0), depth, 0).astype(np.float32)


def plane_depth(T_world_camera: NDArray[np.float64], normal: Any, offset: float) -> NDArray[np.float32]:
    """Depth (H, W) of the plane normal . p = offset; 0 where it is behind the camera."""
    normal = np.asarray(normal, float)
    rays = CAMERA.rays() @ T_world_camera[:3, :3].T
    with np.errstate(divide="ignore"):
        depth = (offset - normal @ T_world_camera[:3, 3]) / (rays @ normal)
    return np.where((depth > 0) & (depth < 100), depth, 0).astype(np.float32)


def orbit(count: int, distance: float, center: Any = (0, 0, 0)) -> list[NDArray[np.float64]]:
    """Poses evenly around a centre, all looking at it."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    directions = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)
    center = np.asarray(center, float)
    return [look_at(center + distance * d, center) for d in directions]


def random_views(rng: np.random.Generator, count: int, *, label_type: type = np.uint8) -> list[View]:
    """Frames with all images: bumpy depth with holes and jumps, random colours, blobs of labels, random weights."""
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    views = []
    for _ in range(count):
        a, b, c = rng.uniform(0.02, 0.1, 3)
        depth = (
            1.5 + 0.5 * np.sin(a * u + rng.uniform(0, 6)) * np.cos(b * v) + rng.uniform(0, 3) * (np.sin(c * u) > 0.6)
        )
        depth[rng.random(depth.shape) < 0.05] = 0
        labels = 1 + ((u // 23 + v // 17) % 4) * rng.integers(1, 50)
        labels[rng.random(labels.shape) < 0.1] = 0
        images = {
            "rgb": rng.integers(0, 256, (*depth.shape, 3), dtype=np.uint8),
            "labels": labels.astype(label_type),
            "weight": rng.random(depth.shape, dtype=np.float32),
        }
        T_world_camera = random_se3(rng)
        T_world_camera[:3, 3] *= 0.2  # close together, so that the views overlap
        views.append(View(depth.astype(np.float32), T_world_camera, images))
    return views
