"""Free space in front of surfaces, compiled: the cells that the rays of frames pass through."""

from __future__ import annotations

import numba
import numpy as np

from mapping.arrays import Float32Array, Int32Array, Span
from mapping.compiling import FAST, INNER, kernel
from mapping.tsdf.grid import CELL_VOXELS, FAR, SIDE, WEIGHT_UNIT
from mapping.tsdf.kernels.bits import add_eight
from mapping.tsdf.kernels.blocks import BlockRows
from mapping.tsdf.kernels.measure import (
    VOXELS,
    DistanceLimits,
    Pixels,
    first_sample,
    image_plane,
    look_up,
    project,
    voxel_offsets,
)
from mapping.tsdf.kernels.rays import MarkGrid, is_marked

IN_ORDER = np.arange(VOXELS, dtype=np.uint16)
_ZERO, _HALF = np.float32(0), np.float32(0.5)
_UNIT, _FAR = np.float32(WEIGHT_UNIT), np.float32(FAR)


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def measure_free(
    limits: DistanceLimits,
    margin: np.float32,
    z: Float32Array,
    depth: Float32Array,
    pixel_weight: Float32Array,
    weight: Int32Array,
) -> None:
    """The weight (512,) of every cell that lies at least `margin` in front of the surface, 0 for the others."""
    for n in range(VOXELS):
        limit = (depth[n] if depth[n] < limits.max_depth else limits.max_depth) - margin
        free = (depth[n] >= limits.min_depth) & (depth[n] <= _FAR) & (z[n] <= limit)
        weight[n] = np.int32(pixel_weight[n] * _UNIT + _HALF if free else _ZERO)


@numba.njit(**INNER)
def clear_measured(weight: Int32Array, block: tuple[int, int, int], measured: MarkGrid) -> None:
    """Set to 0 the cells of a free-space block that lie in blocks which the frame measures voxel by voxel."""
    half = SIDE // CELL_VOXELS
    for i in range(CELL_VOXELS):
        for j in range(CELL_VOXELS):
            for k in range(CELL_VOXELS):
                x, y, z = CELL_VOXELS * block[0] + i, CELL_VOXELS * block[1] + j, CELL_VOXELS * block[2] + k
                if is_marked(measured, x, y, z):
                    for a in range(half * i, half * i + half):
                        for b in range(half * j, half * j + half):
                            for c in range(half * k, half * k + half):
                                weight[64 * a + 8 * b + c] = 0


@kernel(nogil=True)
def fuse_free(
    free: Int32Array,
    blocks: BlockRows,
    span: Span,
    pixels: Pixels,
    limits: DistanceLimits,
    sign: int,
    measured: MarkGrid,
) -> None:
    """Add (sign 1) or subtract (-1) the free space that a frame sees to the rows of `free` (F, 512) of blocks span[0] .. span[1].

    `measured` marks the blocks that the frame measures voxel by voxel, where free space is not recorded again.
    """
    coords, rows = blocks.coords, blocks.rows
    spacing, has_weights, sums = limits.voxel_size * CELL_VOXELS, len(pixels.weight) > 0, free.reshape(-1)
    margin = np.float32(limits.truncation + np.float32(0.87 * spacing))
    offsets, plane = voxel_offsets(pixels, spacing, IN_ORDER), image_plane(pixels)
    image, weights = pixels.depth, pixels.weight
    T, camera = pixels.T_camera_world, pixels.camera
    pixel, weight = np.zeros(VOXELS, np.int32), np.zeros(VOXELS, np.int32)
    z, depth, pixel_weight = np.zeros(VOXELS, np.float32), np.zeros(VOXELS, np.float32), np.ones(VOXELS, np.float32)
    for b in range(span[0], span[1]):
        block = (coords[b, 0], coords[b, 1], coords[b, 2])
        start = first_sample(T, camera, block[0], block[1], block[2], spacing)
        project(start, offsets, plane, pixel, z)
        look_up(image, pixel, depth)
        if has_weights:
            look_up(weights, pixel, pixel_weight)
        measure_free(limits, margin, z, depth, pixel_weight, weight)
        clear_measured(weight, block, measured)
        for octet in range(0, VOXELS, 8):
            add_eight(sums, VOXELS * np.int64(rows[b]) + octet, weight, octet, np.int32(sign))
