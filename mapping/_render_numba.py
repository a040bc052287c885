"""Ray casting of a volume, compiled. Places are in voxels from the first sample point, ray lengths in metres along camera z."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping import _kernel_cache as _kernel_cache
from mapping._field_numba import cell_number, read_voxel, voxel_label, voxel_number
from mapping._tsdf_numba import Sums
from mapping._tsdf_numpy import SIDE

STEP = 0.75  # share of the distance to go: what is stored is measured along some camera's axis and can be too long
CLOSE = 1.5  # voxels; nearer to a surface the field is interpolated
REFINEMENTS = 2


class Scale(NamedTuple):
    """Metres, and the least weight of a voxel that counts as seen."""

    voxel_size: float
    truncation: float
    nearest: float
    farthest: float
    min_weight: float


class Images(NamedTuple):
    """What is rendered, by pixel."""

    depth: NDArray[np.float32]
    weight: NDArray[np.float32]
    normals: NDArray[np.float32]
    color: NDArray[np.uint8]
    labels: NDArray[np.uint16]


@numba.njit(nogil=True, cache=True)
def index_blocks(coords: NDArray[np.int32], low: NDArray[np.int64], side: int, index: NDArray[np.int32]) -> None:
    """Write the row of each block (B, 3) that spans `side` cells into all its cells of `index` (X, Y, Z), from block `low` on."""
    for row in range(len(coords)):
        i0, j0, k0 = side * coords[row, 0] - low[0], side * coords[row, 1] - low[1], side * coords[row, 2] - low[2]
        for i in range(max(i0, 0), min(i0 + side, index.shape[0])):
            for j in range(max(j0, 0), min(j0 + side, index.shape[1])):
                for k in range(max(k0, 0), min(k0 + side, index.shape[2])):
                    index[i, j, k] = row


@numba.njit(inline="always")
def rows_at(index: Any, low: Any, x: Any, y: Any, z: Any) -> Any:
    """The rows of the measured and of the free-space block of voxel (x, y, z); -1 where there is none."""
    i, j, k = (x >> 3) - low[0], (y >> 3) - low[1], (z >> 3) - low[2]
    if 0 <= i < index.shape[1] and 0 <= j < index.shape[2] and 0 <= k < index.shape[3]:
        return index[0, i, j, k], index[1, i, j, k]
    return np.int32(-1), np.int32(-1)


@numba.njit(nogil=True)
def trilinear(index: Any, low: Any, tsdf: Any, free: Any, position: Any) -> Any:
    """Distance in truncations and weight at a position; weight 0 if one of the eight voxels around was never seen."""
    x, y, z = position
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    a, b, c = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    rows = rows_at(index, low, i, j, k)
    inside = (i & 7) < 7 and (j & 7) < 7 and (k & 7) < 7
    distance, weight = np.float32(0), np.float32(0)
    for corner in range(8):
        u, v, w = i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)
        if not inside:
            rows = rows_at(index, low, u, v, w)
        d, m = read_voxel(tsdf, free, rows, voxel_number(u, v, w), cell_number(u, v, w))
        if m == 0:
            return np.float32(0), np.float32(0)
        part = (a if corner & 4 else 1 - a) * (b if corner & 2 else 1 - b) * (c if corner & 1 else 1 - c)
        distance += part * d
        weight += part * m
    return distance, weight


@numba.njit(inline="always")
def block_exit(position: Any, step: Any) -> Any:
    """How far along `step` a ray leaves the voxels of the block around a position, along one axis."""
    first = SIDE * np.floor((position + 0.5) / SIDE) - 0.5
    if step > 0:
        return (first + SIDE - position) / step
    return (first - position) / step if step < 0 else np.inf


@numba.njit(inline="always")
def along(ray: Any, z: Any) -> Any:
    """The place at depth z of a ray (start, step)."""
    return ray[0] + z * ray[3], ray[1] + z * ray[4], ray[2] + z * ray[5]


@numba.njit(nogil=True)
def field_at(index: Any, low: Any, tsdf: Any, free: Any, position: Any, close: float) -> Any:
    """Distance in truncations and weight, of the nearest voxel or, `close` to a surface, between voxels; and whether measured."""
    x, y, z = position
    i, j, k = np.int64(np.floor(x + 0.5)), np.int64(np.floor(y + 0.5)), np.int64(np.floor(z + 0.5))
    rows = rows_at(index, low, i, j, k)
    distance, weight = read_voxel(tsdf, free, rows, voxel_number(i, j, k), cell_number(i, j, k))
    if weight > 0 and abs(distance) < close:
        smooth, smooth_weight = trilinear(index, low, tsdf, free, position)
        if smooth_weight > 0:
            return smooth, smooth_weight, True
    return distance, weight, rows[0] >= 0


@numba.njit(nogil=True, error_model="numpy")
def march(index: Any, low: Any, tsdf: Any, free: Any, ray: Any, length: float, scale: Scale) -> float:
    """The depth at which a ray, `length` metres per metre of z, first enters a surface from free space; 0 if it does not."""
    z, before, distance_before = scale.nearest, 0.0, 0.0
    reach, close = scale.truncation / length, CLOSE * scale.voxel_size / scale.truncation
    voxel_step = scale.voxel_size / length
    while z < scale.farthest:
        position = along(ray, z)
        distance, weight, measured = field_at(index, low, tsdf, free, position, close)
        known = weight > 0 and weight >= scale.min_weight
        if not measured:  # no surface in this block: on to the next
            leave = min(
                block_exit(position[0], ray[3]), block_exit(position[1], ray[4]), block_exit(position[2], ray[5])
            )
            z += max(leave, 0.0) + 0.01 * voxel_step
            before, distance_before = (z - voxel_step if known else 0.0), 1.0
        elif not known:
            z, before = z + voxel_step, 0.0
        elif distance > 0:
            before, distance_before = z, np.float64(distance)
            z += max(STEP * distance * reach, 0.5 * voxel_step)
        elif before > 0:
            return refine(index, low, tsdf, free, ray, (before, z, distance_before, np.float64(distance)))
        else:
            z += voxel_step
    return 0.0


@numba.njit(nogil=True, error_model="numpy")
def refine(index: Any, low: Any, tsdf: Any, free: Any, ray: Any, bracket: Any) -> float:
    """The depth of the zero between two depths, by false position on the interpolated field."""
    z0, z1, d0, d1 = bracket
    between = z0 + (z1 - z0) * d0 / (d0 - d1)
    for _ in range(REFINEMENTS):
        distance, weight = trilinear(index, low, tsdf, free, along(ray, between))
        if weight == 0:
            break
        if distance > 0:
            z0, d0 = between, np.float64(distance)
        else:
            z1, d1 = between, np.float64(distance)
        between = z0 + (z1 - z0) * d0 / (d0 - d1)
    return between


@numba.njit(inline="always")
def ray_through(camera: Any, T_world_camera: Any, voxel_size: Any, u: Any, v: Any) -> Any:
    """The ray of pixel (u, v): where it starts and how far it runs per metre of z, in voxels; and its length per metre of z."""
    x, y = (u - camera[2]) / camera[0], (v - camera[3]) / camera[1]
    T, per_voxel = T_world_camera, 1 / voxel_size
    step_x = (T[0, 0] * x + T[0, 1] * y + T[0, 2]) * per_voxel
    step_y = (T[1, 0] * x + T[1, 1] * y + T[1, 2]) * per_voxel
    step_z = (T[2, 0] * x + T[2, 1] * y + T[2, 2]) * per_voxel
    start = (T[0, 3] * per_voxel - 0.5, T[1, 3] * per_voxel - 0.5, T[2, 3] * per_voxel - 0.5)
    return (start[0], start[1], start[2], step_x, step_y, step_z), np.sqrt(x * x + y * y + 1)


@numba.njit(nogil=True, error_model="numpy")
def slope(index: Any, low: Any, tsdf: Any, free: Any, place: Any) -> Any:
    """The direction (3,) in which distance grows, unit length, from differences over two voxels; zeros where not all is known."""
    x, y, z = place
    x1, w1 = trilinear(index, low, tsdf, free, (x + 1, y, z))
    x0, w0 = trilinear(index, low, tsdf, free, (x - 1, y, z))
    y1, w3 = trilinear(index, low, tsdf, free, (x, y + 1, z))
    y0, w2 = trilinear(index, low, tsdf, free, (x, y - 1, z))
    z1, w5 = trilinear(index, low, tsdf, free, (x, y, z + 1))
    z0, w4 = trilinear(index, low, tsdf, free, (x, y, z - 1))
    gx, gy, gz = np.float64(x1 - x0), np.float64(y1 - y0), np.float64(z1 - z0)
    size = np.sqrt(gx * gx + gy * gy + gz * gz)
    if w0 == 0 or w1 == 0 or w2 == 0 or w3 == 0 or w4 == 0 or w5 == 0 or size == 0:
        return 0.0, 0.0, 0.0
    return gx / size, gy / size, gz / size


@numba.njit(nogil=True)
def find_corners(index: Any, low: Any, place: Any, rows: Any, voxels: Any, near: Any) -> None:
    """Row (-1 where there is no measured block), number and share of the eight voxels around a place."""
    x, y, z = place
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    a, b, c = x - i, y - j, z - k
    for corner in range(8):
        u, v, w = i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)
        rows[corner], _ = rows_at(index, low, u, v, w)
        voxels[corner] = voxel_number(u, v, w)
        near[corner] = (a if corner & 4 else 1 - a) * (b if corner & 2 else 1 - b) * (c if corner & 1 else 1 - c)


@numba.njit(nogil=True, error_model="numpy")
def mix_color(color: Any, rows: Any, voxels: Any, near: Any, out: Any) -> None:
    """The colour between eight voxels, each by its weight and share."""
    red, green, blue, total = 0.0, 0.0, 0.0, 0.0
    for corner in range(8):
        row, voxel, share = rows[corner], voxels[corner], near[corner]
        if 0 <= row < len(color):
            red += share * color[row, voxel, 0]
            green += share * color[row, voxel, 1]
            blue += share * color[row, voxel, 2]
            total += share * color[row, voxel, 3]
    if total > 0:
        out[0], out[1], out[2] = (
            np.uint8(red / total + 0.5),
            np.uint8(green / total + 0.5),
            np.uint8(blue / total + 0.5),
        )


@numba.njit(nogil=True)
def choose_label(head: Any, link: Any, evidence: Any, rows: Any, voxels: Any, near: Any) -> Any:
    """The label of the voxel with the most evidence times share, 0 without any."""
    best, most = np.uint16(0), 0.0
    for corner in range(8):
        if rows[corner] >= 0:
            label, support = voxel_label(head, link, evidence, rows[corner], voxels[corner])
            if near[corner] * support > most:
                best, most = label, near[corner] * support
    return best


@numba.njit(nogil=True, cache=True, error_model="numpy")
def cast_rays(
    blocks: tuple[NDArray[np.int32], NDArray[np.int64]],
    sums: Sums,
    free: NDArray[np.int32],
    view: tuple[NDArray[np.float64], NDArray[np.float64]],
    scale: Scale,
    span: tuple[int, int],
    images: Images,
) -> None:
    """Render rows span[0] .. span[1] of the images, which start as zeros.

    `blocks` is the index (2, X, Y, Z) of rows of measured and of free-space blocks and its first block; `view` the camera
    (fx, fy, cx, cy) and T_world_camera.
    """
    (index, first), (camera, T) = blocks, view
    tsdf, color, head, link, evidence = sums.tsdf, sums.color, sums.head, sums.link, sums.evidence
    depth, weight, normals, rgb, labels = images.depth, images.weight, images.normals, images.color, images.labels
    low = (first[0], first[1], first[2])
    rows, voxels, near = np.zeros(8, np.int32), np.zeros(8, np.int64), np.zeros(8)
    for v in range(span[0], span[1]):
        for u in range(depth.shape[1]):
            ray, length = ray_through(camera, T, scale.voxel_size, u, v)
            z = march(index, low, tsdf, free, ray, length, scale)
            if z == 0:
                continue
            place = along(ray, z)
            depth[v, u] = z
            _, weight[v, u] = trilinear(index, low, tsdf, free, place)
            gx, gy, gz = slope(index, low, tsdf, free, place)
            for axis in range(3):
                normals[v, u, axis] = T[0, axis] * gx + T[1, axis] * gy + T[2, axis] * gz
            find_corners(index, low, place, rows, voxels, near)
            mix_color(color, rows, voxels, near, rgb[v, u])
            labels[v, u] = choose_label(head, link, evidence, rows, voxels, near)
