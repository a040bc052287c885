"""What a camera would see of a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mapping._threads import run_parts, split
from mapping.camera import Intrinsics

if TYPE_CHECKING:
    from mapping._field_numba import Field
    from mapping._tsdf_numba import Sums


@dataclass(frozen=True, eq=False)
class RenderedView:
    """Images of a volume at a pose, all zero where no surface is seen.

    depth (H, W) float32 metres along camera z; labels (H, W) uint16; color (H, W, 3) uint8 RGB; normals (H, W, 3) float32 in
    camera axes, unit length, towards free space; weight (H, W) float32 of what was fused there.
    """

    depth: NDArray[np.float32]
    labels: NDArray[np.uint16]
    color: NDArray[np.uint8]
    normals: NDArray[np.float32]
    weight: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RayCaster:
    """The arrays of a volume that rays are cast through, and how far; depths in metres along camera z."""

    field: Field
    sums: Sums
    voxel_size: float
    min_depth: float
    max_depth: float
    threads: int

    def render(self, intrinsics: Intrinsics, T_world_camera: NDArray[np.float64], min_weight: float) -> RenderedView:
        """Cast a ray through every pixel to the first surface that is entered from free space.

        Rays step by a share of the stored distance where it is known, voxel by voxel where it is not, and over whole blocks that
        nothing was fused into. `min_weight` is the least weight of a voxel that counts as known. Raises ValueError for a camera
        with lens distortion.
        """
        from mapping import _render_numba as kernels

        if intrinsics.is_distorted:
            raise ValueError("intrinsics must have no lens distortion to render")
        T = np.asarray(T_world_camera, np.float64)
        view = kernels.View(
            camera=np.array([intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy]),
            origin=T[:3, 3] / self.voxel_size - 0.5,
            rotation=np.ascontiguousarray(T[:3, :3]),
            voxel_size=float(self.voxel_size),
            nearest=float(self.min_depth),
            farthest=float(self.max_depth),
            min_weight=float(min_weight),
        )
        shape = (intrinsics.height, intrinsics.width)
        images = kernels.Images(
            depth=np.zeros(shape, np.float32),
            weight=np.zeros(shape, np.float32),
            normals=np.zeros((*shape, 3), np.float32),
            color=np.zeros((*shape, 3), np.uint8),
            labels=np.zeros(shape, np.uint16),
        )
        spans = split(shape[0], self.threads)
        run_parts(lambda part: kernels.cast_rays(self.field, self.sums, view, images, spans[part]), self.threads)
        return RenderedView(images.depth, images.labels, images.color, images.normals, images.weight)
