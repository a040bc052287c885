"""What a camera would see of a volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping._store import SumStore
from mapping._threads import run_parts, split
from mapping._tsdf_numpy import CELL_VOXELS, SIDE
from mapping.camera import Intrinsics


@dataclass(frozen=True, eq=False)
class RenderedView:
    """Images of a volume at a pose, all zero where no surface is seen.

    depth (H, W) float32 metres along camera z; labels (H, W) uint16; color (H, W, 3) uint8 RGB; normals (H, W, 3) float32 in
    camera axes, unit length, towards free space; weight (H, W) float32 of what was fused there, 0 at the rim of what was seen.
    """

    depth: NDArray[np.float32]
    labels: NDArray[np.uint16]
    color: NDArray[np.uint8]
    normals: NDArray[np.float32]
    weight: NDArray[np.float32]


@dataclass(frozen=True)
class RayRange:
    """Metres along camera z between which rays run, and the least weight of a voxel that counts as seen."""

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
        from mapping import _render_numba as kernels

        if intrinsics.is_distorted:
            raise ValueError("intrinsics must have no lens distortion to render")
        T = np.ascontiguousarray(T_world_camera, np.float64)
        camera = np.array([intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy], np.float64)
        shape = (intrinsics.height, intrinsics.width)
        images = kernels.Images(
            depth=np.zeros(shape, np.float32),
            weight=np.zeros(shape, np.float32),
            normals=np.zeros((*shape, 3), np.float32),
            color=np.zeros((*shape, 3), np.uint8),
            labels=np.zeros(shape, np.uint16),
        )
        limits = (self.voxel_size, self.truncation, reach.min_depth, reach.max_depth, reach.min_weight)
        scale = kernels.Scale(*(float(limit) for limit in limits))
        blocks, sums, spans = (
            self._index(intrinsics, T, reach.max_depth),
            self.store.for_kernels(),
            split(shape[0], self.threads),
        )

        def cast(part: int) -> None:
            kernels.cast_rays(blocks, sums, self.store.free, (camera, T), scale, spans[part], images)

        run_parts(cast, self.threads)
        return RenderedView(images.depth, images.labels, images.color, images.normals, images.weight)

    def _index(
        self, intrinsics: Intrinsics, T_world_camera: NDArray[np.float64], max_depth: float
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Rows (2, X, Y, Z) of the measured and free-space blocks in a box around the view, and the box's first block (3,)."""
        from mapping import _render_numba as kernels

        blocks, free_blocks = self.store.blocks.coords, self.store.free_blocks.coords
        corner_u, corner_v = np.meshgrid([-0.5, intrinsics.width - 0.5], [-0.5, intrinsics.height - 0.5])
        x, y = (corner_u - intrinsics.cx) / intrinsics.fx, (corner_v - intrinsics.cy) / intrinsics.fy
        rays = max_depth * np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
        points = np.concatenate([rays, np.zeros((1, 3))]) @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]
        inside = points / (self.voxel_size * SIDE)
        low, high = np.floor(inside.min(axis=0)).astype(np.int64) - 1, np.floor(inside.max(axis=0)).astype(np.int64) + 2
        known = [blocks, CELL_VOXELS * free_blocks, CELL_VOXELS * free_blocks + CELL_VOXELS - 1]
        known = [coords for coords in known if len(coords)]
        if known:  # no larger than the map
            low = np.maximum(low, np.min([coords.min(axis=0) for coords in known], axis=0))
            high = np.minimum(high, np.max([coords.max(axis=0) for coords in known], axis=0) + 1)
        index = np.full((2, *np.maximum(high - low, 0)), -1, np.int32)
        kernels.index_blocks(blocks, low, 1, index[0])
        kernels.index_blocks(free_blocks, low, CELL_VOXELS, index[1])
        return index, low
