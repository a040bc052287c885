"""Which blocks the rays of an image can meet and at which depths, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import BoolArray, Float64Array, Int32Array, Int64Array
from mapping.compiling import INNER, kernel
from mapping.tsdf.grid import SIDE

TILE = 8  # pixels along the edge of the squares of an image whose rays have a common range


class Scale(NamedTuple):
    """Metres, and the minimum weight of a voxel that counts as seen."""

    voxel_size: float
    nearest: float
    farthest: float
    min_weight: float


@kernel(nogil=True)
def index_blocks(coords: Int32Array, low: Int64Array, side: int, index: Int32Array) -> None:
    """Write the row of each block (B, 3) that spans `side` cells into all its cells of `index` (X, Y, Z), from block `low` on."""
    for row in range(len(coords)):
        i0, j0, k0 = side * coords[row, 0] - low[0], side * coords[row, 1] - low[1], side * coords[row, 2] - low[2]
        for i in range(max(i0, 0), min(i0 + side, index.shape[0])):
            for j in range(max(j0, 0), min(j0 + side, index.shape[1])):
                for k in range(max(k0, 0), min(k0 + side, index.shape[2])):
                    index[i, j, k] = row


@kernel(nogil=True, error_model="numpy")
def find_ranges(
    coords: Int32Array,
    camera: Float64Array,
    T: Float64Array,
    scale: Scale,
    shape: tuple[int, int],
    ranges: Float64Array,
    visible: BoolArray,
) -> None:
    """Between which depths the rays of each tile of an image can meet blocks `coords` (B, 3), and which blocks (B,) any can meet.

    `ranges` is (rows, columns, 2); a tile without blocks keeps (inf, 0). `camera` is (fx, fy, cx, cy), `T` T_camera_world.
    """
    size = SIDE * scale.voxel_size
    radius = 0.5 * np.sqrt(3.0) * size
    for b in range(len(coords)):
        x, y, z = (coords[b, 0] + 0.5) * size, (coords[b, 1] + 0.5) * size, (coords[b, 2] + 0.5) * size
        px = T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3]
        py = T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3]
        pz = T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3]
        if pz + radius < scale.nearest or pz - radius > scale.farthest:
            continue
        u0, u1 = silhouette(px, pz, radius, camera[0], camera[2], shape[1])
        v0, v1 = silhouette(py, pz, radius, camera[1], camera[3], shape[0])
        near, far = max(pz - radius, scale.nearest), min(pz + radius, scale.farthest)
        visible[b] = u0 < u1 and v0 < v1
        for i in range(v0 // TILE, (v1 + TILE - 1) // TILE):
            for j in range(u0 // TILE, (u1 + TILE - 1) // TILE):
                ranges[i, j, 0], ranges[i, j, 1] = min(ranges[i, j, 0], near), max(ranges[i, j, 1], far)


@numba.njit(error_model="numpy", **INNER)
def silhouette(x: float, z: float, radius: float, focal: float, center: float, width: int) -> tuple[int, int]:
    """The pixels (from, to) that a sphere at (x, z) can cover along one axis of the image; all when the camera is inside it."""
    distance = np.sqrt(x * x + z * z)
    if distance <= radius:
        return 0, width
    middle, half = np.arctan2(x, z), np.arcsin(radius / distance)
    first, last = 0.0, float(width)
    if middle - half > -0.5 * np.pi:
        first = np.floor(focal * np.tan(middle - half) + center) if middle - half < 0.5 * np.pi else last
    if middle + half < 0.5 * np.pi:
        last = np.ceil(focal * np.tan(middle + half) + center) + 1 if middle + half > -0.5 * np.pi else first
    return int(min(max(first, 0.0), np.float64(width))), int(min(max(last, 0.0), np.float64(width)))
