"""Rendering a volume from a camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.se3 import inverse, is_se3
from mapping.threads import run_parts, split
from mapping.tsdf.grid import CELL_VOXELS
from mapping.tsdf.limits import CHECKED_BYTES, FARTHEST, require
from mapping.tsdf.observation import POSE_TOLERANCE, FusionError
from mapping.tsdf.store import SumStore

if TYPE_CHECKING:
    from mapping.tsdf.kernels.render import RayBlocks


@dataclass(frozen=True, eq=False)
class RenderedView:
    """Images of a volume at a pose, all zero where no surface is seen.

    depth (H, W) float32 metres along camera z; labels (H, W) uint16; color (H, W, 3) uint8 RGB; normals (H, W, 3) float32 in
    camera axes, unit length, towards free space; weight (H, W) float32 of what was fused there, 0 at the border of what was seen.
    """

    depth: NDArray[np.float32]
    labels: NDArray[np.uint16]
    color: NDArray[np.uint8]
    normals: NDArray[np.float32]
    weight: NDArray[np.float32]


@dataclass(frozen=True)
class RayRange:
    """Metres along camera z between which rays are followed, and the minimum weight of a voxel that counts as seen."""

    min_depth: float
    max_depth: float
    min_weight: float = 0.0


@dataclass(frozen=True, eq=False)
class RayCaster:
    """Casts rays through the sums of a volume; `voxel_size` and `truncation` in metres."""

    store: SumStore
    voxel_size: float
    truncation: float
    threads: int

    def render(self, intrinsics: Intrinsics, T_world_camera: NDArray[np.float64], reach: RayRange) -> RenderedView:
        """Cast a ray through every pixel to the first surface that is entered from free space.

        Rays step by a share of the stored distance where it is known, voxel by voxel where it is not, and over whole blocks that
        nothing was fused into. Raises ValueError for a camera with lens distortion.
        """
        from mapping.tsdf.kernels import render as kernels
        from mapping.tsdf.kernels import visibility

        if intrinsics.is_distorted:
            raise ValueError("intrinsics must have no lens distortion to render")
        T = np.ascontiguousarray(T_world_camera, np.float64)
        if not (is_se3(T, POSE_TOLERANCE) and np.abs(T[:3, 3]).max() < FARTHEST and 0 < reach.max_depth < FARTHEST):
            raise FusionError(f"T_world_camera must be a rigid transform, and it and max_depth below {FARTHEST:g} m")
        camera = np.array([intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy], np.float64)
        shape = (intrinsics.height, intrinsics.width)
        images = kernels.RenderedImages(
            depth=np.zeros(shape, np.float32),
            weight=np.zeros(shape, np.float32),
            normals=np.zeros((*shape, 3), np.float32),
            color=np.zeros((*shape, 3), np.uint8),
            labels=np.zeros(shape, np.uint16),
        )
        limits = (self.voxel_size, reach.min_depth, reach.max_depth, reach.min_weight)
        scale = visibility.Scale(*(float(limit) for limit in limits))
        ranges = np.full((-(-shape[0] // visibility.TILE), -(-shape[1] // visibility.TILE), 2), [np.inf, 0.0])
        visible = np.zeros(self.store.blocks.count, bool)
        visibility.find_ranges(self.store.blocks.coords, camera, inverse(T), scale, shape, ranges, visible)
        rows = np.flatnonzero(visible).astype(np.int32)
        if len(rows):
            blocks, spans = self._blocks(rows, ranges), split(len(ranges), self.threads)
            surface, pose = self.store.surface.for_kernels(), kernels.CameraPose(camera, T)

            def cast(part: int) -> None:
                kernels.cast_rays(blocks, surface, rows, pose, scale, spans[part], images)

            run_parts(cast, self.threads)
        return RenderedView(images.depth, images.labels, images.color, images.normals, images.weight)

    def _blocks(self, rows: NDArray[np.int32], ranges: NDArray[np.float64]) -> RayBlocks:
        """The measured blocks in `rows` of the store with their voxels, and a table of the box around them."""
        from mapping.tsdf.kernels import render as kernels
        from mapping.tsdf.kernels import visibility

        coords = self.store.blocks.coords[rows]
        field = np.stack(self.store.read_blocks(coords, self.truncation, self.threads), axis=-1)
        low, high = coords.min(axis=0).astype(np.int64) - 1, coords.max(axis=0).astype(np.int64) + 2
        cells = float(np.prod((high - low).astype(np.float64)))
        if 8 * cells > CHECKED_BYTES:
            require(8 * cells, f"a view of {len(rows)} blocks that are far apart")
        table = np.full((2, *(high - low)), -1, np.int32)
        visibility.index_blocks(coords, low, 1, table[0])
        visibility.index_blocks(self.store.free_blocks.coords, low, CELL_VOXELS, table[1])
        return kernels.RayBlocks(table, low, field, self.store.free, ranges)
