"""Frames as regular samples of their depth, and which frames see the same surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.depth.depth_weights import normals_from_depth
from mapping.evenly import evenly
from mapping.se3 import inverse

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

SAMPLE_COLUMNS = 64
NORMAL_RADIUS = 3  # pixels over which normals are taken from depth where none are predicted
COARSE_STRIDE = 8  # of the samples from which overlap is measured
OVERLAP_RATIO = 1.35  # depths that differ by less may be of one surface
MIN_DEPTH = 0.05  # metres; nothing nearer to a camera is looked up


@dataclass(frozen=True, eq=False)
class DepthSamples:
    """A frame's depth on a regular grid of its pixels.

    depth (R, C) metres, 0 unknown; normals (R, C, 3) camera axes, 0 unknown; weight (R, C) in [0, 1]; rays (R, C, 3) through
    the sampled pixels, z = 1; `predicted` says whether the normals are predicted by a network rather than derived from the depth.
    """

    depth: Floats
    normals: Floats
    weight: Floats
    rays: Array
    intrinsics: Intrinsics
    T_world_camera: Array
    predicted: bool

    def look_up(self, points: Array) -> tuple[NDArray[np.bool_], Array, Indices]:
        """For points (n, 3) in camera axes: whether they project into the image, their depth, and the nearest sample or 0."""
        camera, (rows, columns) = self.intrinsics, self.depth.shape
        z = points[:, 2]
        ahead = z > MIN_DEPTH
        safe = np.where(ahead, z, 1.0)
        u = points[:, 0] / safe * camera.fx + camera.cx + 0.5
        v = points[:, 1] / safe * camera.fy + camera.cy + 0.5
        inside = ahead & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
        row = np.where(inside, v * rows / camera.height, 0).astype(np.int64)
        column = np.where(inside, u * columns / camera.width, 0).astype(np.int64)
        return inside, z, row * columns + column

    def points(self) -> Array:
        """(R, C, 3) world points of the samples; those of unknown depth lie at the camera."""
        T = self.T_world_camera
        return self.rays * self.depth[..., None] @ T[:3, :3].T + T[:3, 3]


def sample_shape(intrinsics: Intrinsics, columns: int = SAMPLE_COLUMNS) -> tuple[int, int]:
    """Rows and columns of a frame's samples."""
    columns = min(columns, intrinsics.width)
    return min(intrinsics.height, max(1, round(columns * intrinsics.height / intrinsics.width))), columns


def sample_pixels(intrinsics: Intrinsics, columns: int = SAMPLE_COLUMNS) -> tuple[Indices, Indices]:
    """Image rows (R, 1) and columns (1, C) of a frame's samples: the central pixels of equal cells."""
    shape = sample_shape(intrinsics, columns)
    v, u = (
        ((np.arange(n) + 0.5) * size / n).astype(np.int64)
        for n, size in zip(shape, (intrinsics.height, intrinsics.width), strict=True)
    )
    return v[:, None], u[None]


@lru_cache(maxsize=4)
def _sample_rays(intrinsics: Intrinsics, columns: int) -> Array:
    """(R, C, 3) rays of a camera's samples, one read-only array for all frames of the camera."""
    v, u = sample_pixels(intrinsics, columns)
    rays = intrinsics.rays()[v, u]
    rays.setflags(write=False)
    return rays


def sample_frame(
    depth: NDArray[np.float32],
    intrinsics: Intrinsics,
    T_world_camera: Array,
    *,
    normals: NDArray[np.float32] | None = None,
    weight: NDArray[np.float32] | None = None,
    columns: int = SAMPLE_COLUMNS,
) -> DepthSamples:
    """The samples of a frame on a regular grid, `columns` across. Pixels without weight are unknown.

    Raises ValueError that names an image whose size is not the camera's.
    """
    shape = (intrinsics.height, intrinsics.width)
    for name, image in (("depth", depth), ("normals", normals), ("weight", weight)):
        if image is not None and image.shape[:2] != shape:
            raise ValueError(f"{name} must have shape {shape} like the camera, got {image.shape[:2]}")
    v, u = sample_pixels(intrinsics, columns)
    own = normals_from_depth(depth, intrinsics, radius=NORMAL_RADIUS) if normals is None else normals
    known = np.isfinite(depth[v, u]) & (depth[v, u] > 0)
    if weight is not None:
        known &= weight[v, u] > 0
    return DepthSamples(
        depth=np.where(known, depth[v, u], 0).astype(np.float32),
        normals=own[v, u].astype(np.float32),
        weight=known.astype(np.float32) if weight is None else weight[v, u].astype(np.float32) * known,
        rays=_sample_rays(intrinsics, columns),
        intrinsics=intrinsics,
        T_world_camera=np.asarray(T_world_camera, np.float64),
        predicted=normals is not None,
    )


def choose_pairs(frames: Sequence[DepthSamples], neighbours: int, min_overlap: float) -> Indices:
    """(P, 2) pairs of frames, the lower number first, that each see at least `min_overlap` of the other's points.

    Each frame takes part with up to `neighbours` others, evenly spread from the nearest views to the least overlap: errors of
    near views are alike, those of distant views are independent.
    """
    count = len(frames)
    if neighbours == 0 or count < 2:
        return np.zeros((0, 2), np.int64)
    coarse = slice(COARSE_STRIDE // 2, None, COARSE_STRIDE)
    world = np.stack([frame.points()[coarse, coarse].reshape(-1, 3) for frame in frames])
    known = np.stack([frame.depth[coarse, coarse].ravel() > 0 for frame in frames])
    overlap = np.stack([_overlap(frame, world, known) for frame in frames], axis=1)
    overlap = np.minimum(overlap, overlap.T)
    np.fill_diagonal(overlap, 0)
    chosen = set()
    for i in range(count):
        candidates = np.argsort(-overlap[i], kind="stable")[: int((overlap[i] >= min_overlap).sum())]
        chosen |= {(min(i, j), max(i, j)) for j in evenly(candidates.tolist(), neighbours)}
    return np.array(sorted(chosen), np.int64).reshape(-1, 2)


def _overlap(frame: DepthSamples, world: Array, known: NDArray[np.bool_]) -> Array:
    """(N,) share of the points (N, K, 3) of each frame that this one sees at about the same depth."""
    T = inverse(frame.T_world_camera)
    inside, z, sample = frame.look_up(world.reshape(-1, 3) @ T[:3, :3].T + T[:3, 3])
    there = frame.depth.ravel()[sample]
    same = inside & (there > 0) & (z < OVERLAP_RATIO * there) & (there < OVERLAP_RATIO * z)
    return np.asarray((same.reshape(known.shape) & known).mean(axis=1))
