"""Free space in front of surfaces, compiled: the cells that the rays of frames pass through."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mapping.compiling import FAST, INNER, kernel
from mapping.tsdf.grid import CELL_VOXELS, FAR, SIDE, WEIGHT_UNIT
from mapping.tsdf.kernels.bits import add_eight
from mapping.tsdf.kernels.measure import (
    VOXELS,
    Limits,
    Pixels,
    first_sample,
    look_up,
    project,
    view_of,
    voxel_offsets,
)
from mapping.tsdf.kernels.rays import is_marked

IN_ORDER = np.arange(VOXELS, dtype=np.uint16)
_ZERO, _HALF = np.float32(0), np.float32(0.5)
_UNIT, _FAR = np.float32(WEIGHT_UNIT), np.float32(FAR)


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def measure_free(limits: Any, margin: Any, z: Any, depth: Any, pixel_weight: Any, weight: Any) -> None:
    """The weight of every cell that lies in front of the band, 0 for the others."""
    for n in range(VOXELS):
        limit = (depth[n] if depth[n] < limits.max_depth else limits.max_depth) - margin
        free = (depth[n] >= limits.min_depth) & (depth[n] <= _FAR) & (z[n] <= limit)
        weight[n] = np.int32(pixel_weight[n] * _UNIT + _HALF if free else _ZERO)


@numba.njit(**INNER)
def clear_measured(weight: Any, block: Any, low: Any, extent: Any, marks: Any) -> None:
    """Set to 0 the cells of a free-space block that lie in marked blocks: those are measured voxel by voxel."""
    half = SIDE // CELL_VOXELS
    for i in range(CELL_VOXELS):
        for j in range(CELL_VOXELS):
            for k in range(CELL_VOXELS):
                x, y, z = CELL_VOXELS * block[0] + i, CELL_VOXELS * block[1] + j, CELL_VOXELS * block[2] + k
                if is_marked(low, extent, marks, x, y, z):
                    for a in range(half * i, half * i + half):
                        for b in range(half * j, half * j + half):
                            for c in range(half * k, half * k + half):
                                weight[64 * a + 8 * b + c] = 0


@kernel(nogil=True)
def fuse_free(
    free: NDArray[np.int32],
    blocks: tuple[NDArray[np.int32], NDArray[np.int32]],
    span: tuple[int, int],
    pixels: Pixels,
    limits: Limits,
    sign: int,
    band: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]],
) -> None:
    """Add or subtract the free space that a frame sees to the free-space blocks.

    band, first cell (3,), extent (3,) and marks, tells which blocks the frame measures voxel by voxel.
    """
    (coords, rows), (low, extent, marks) = blocks, band
    spacing, has_weights, sums = limits.voxel_size * CELL_VOXELS, len(pixels.weight) > 0, free.reshape(-1)
    margin = np.float32(limits.truncation + np.float32(0.87 * spacing))
    (steps_x, steps_y, steps_z), view = voxel_offsets(pixels, spacing, IN_ORDER), view_of(pixels)
    image, weights, T, camera = pixels.depth, pixels.weight, pixels.T_camera_world, pixels.camera
    pixel, weight = np.zeros(VOXELS, np.int32), np.zeros(VOXELS, np.int32)
    z, depth, pixel_weight = np.zeros(VOXELS, np.float32), np.zeros(VOXELS, np.float32), np.ones(VOXELS, np.float32)
    for b in range(span[0], span[1]):
        block = (coords[b, 0], coords[b, 1], coords[b, 2])
        start = first_sample(T, camera, block[0], block[1], block[2], spacing)
        project(start, steps_x, steps_y, steps_z, view, pixel, z)
        look_up(image, pixel, depth)
        if has_weights:
            look_up(weights, pixel, pixel_weight)
        measure_free(limits, margin, z, depth, pixel_weight, weight)
        clear_measured(weight, block, low, extent, marks)
        for octet in range(0, VOXELS, 8):
            add_eight(sums, VOXELS * np.int64(rows[b]) + octet, weight, octet, np.int32(sign))
