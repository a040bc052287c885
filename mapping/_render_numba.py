"""Ray casting of a volume, compiled. Positions are in voxel units from the first sample point, ray lengths in metres along z."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping._field_numba import find_block, read_voxel, trilinear, voxel_label
from mapping._tsdf_numpy import SIDE

STEP = 0.75  # share of the distance to go: what is stored is measured along some camera's axis and can be too long
REFINEMENTS = 3


class View(NamedTuple):
    """A camera in the volume: focal lengths and centre (4,), its position in voxel units (3,), R_world_camera (3, 3)."""

    camera: NDArray[np.float64]
    origin: NDArray[np.float64]
    rotation: NDArray[np.float64]
    voxel_size: float
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


@numba.njit(inline="always")
def block_exit(position: Any, block: Any, step: Any) -> Any:
    """How far along `step` a ray leaves the voxels of `block` along one axis."""
    if step > 0:
        return (SIDE * (block + 1) - 0.5 - position) / step
    if step < 0:
        return (SIDE * block - 0.5 - position) / step
    return np.inf


@numba.njit(nogil=True, error_model="numpy")
def first_crossing(field: Any, view: Any, step: Any, length: float) -> Any:
    """Between which depths a ray `step` (voxels per metre of z, `length` metres long) first enters a surface from free space.

    Returns (before, behind, distance before, distance behind), or behind = 0 where it does not.
    """
    z, before, distance_before = view.nearest, 0.0, 0.0
    last: Any = (1 << 30, 0, 0)
    block: Any = (np.int32(-1), np.int32(-1))
    while z < view.farthest:
        px, py, pz = view.origin[0] + z * step[0], view.origin[1] + z * step[1], view.origin[2] + z * step[2]
        i, j, k = np.int64(np.floor(px + 0.5)), np.int64(np.floor(py + 0.5)), np.int64(np.floor(pz + 0.5))
        here = (i >> 3, j >> 3, k >> 3)
        if here != last:
            last, block = here, find_block(field, here[0], here[1], here[2])
        if block[0] < 0 and block[1] < 0:
            leave = min(
                block_exit(px, here[0], step[0]), block_exit(py, here[1], step[1]), block_exit(pz, here[2], step[2])
            )
            z, before = z + max(leave, 0.0) + 0.01 * view.voxel_size, 0.0
            continue
        distance, weight = read_voxel(field, block, i, j, k)
        if weight < view.min_weight or weight == 0:
            z, before = z + view.voxel_size / length, 0.0
        elif distance > 0:
            before, distance_before = z, np.float64(distance)
            z += max(STEP * distance, 0.5 * view.voxel_size) / length
        elif before > 0:
            return before, z, distance_before, np.float64(distance)
        else:
            z += view.voxel_size / length
    return 0.0, 0.0, 0.0, 0.0


@numba.njit(nogil=True, error_model="numpy")
def refine(field: Any, view: Any, step: Any, crossing: Any) -> float:
    """The depth of the zero between two depths, by false position on the interpolated field; straight from the voxels without."""
    z0, z1, d0, d1 = crossing
    between = z0 + (z1 - z0) * d0 / (d0 - d1)
    o = view.origin
    d0, w0 = trilinear(field, o[0] + z0 * step[0], o[1] + z0 * step[1], o[2] + z0 * step[2])
    d1, w1 = trilinear(field, o[0] + z1 * step[0], o[1] + z1 * step[1], o[2] + z1 * step[2])
    if w0 == 0 or w1 == 0 or d0 <= 0 or d1 > 0:
        return between
    for _ in range(REFINEMENTS):
        between = z0 + (z1 - z0) * d0 / (d0 - d1)
        d, w = trilinear(field, o[0] + between * step[0], o[1] + between * step[1], o[2] + between * step[2])
        if w == 0:
            break
        if d > 0:
            z0, d0 = between, d
        else:
            z1, d1 = between, d
    return between


@numba.njit(nogil=True, error_model="numpy")
def shade(field: Any, sums: Any, view: Any, images: Any, pixel: Any, point: Any) -> None:
    """Weight, normal, colour and label at a point of the surface, from the eight voxels around it."""
    i, j, k = np.int64(np.floor(point[0])), np.int64(np.floor(point[1])), np.int64(np.floor(point[2]))
    a, b, c = point[0] - i, point[1] - j, point[2] - k
    gx, gy, gz, seen, mean_weight, most = 0.0, 0.0, 0.0, True, 0.0, 0.0
    red, green, blue, total = 0.0, 0.0, 0.0, 0.0
    v, u = pixel
    for corner in range(8):
        x, y, z = i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)
        block = find_block(field, x >> 3, y >> 3, z >> 3)
        distance, weight = read_voxel(field, block, x, y, z)
        fx, fy, fz = a if corner & 4 else 1 - a, b if corner & 2 else 1 - b, c if corner & 1 else 1 - c
        near = fx * fy * fz
        seen &= weight > 0
        mean_weight += near * weight
        gx += distance * fy * fz if corner & 4 else -distance * fy * fz
        gy += distance * fx * fz if corner & 2 else -distance * fx * fz
        gz += distance * fx * fy if corner & 1 else -distance * fx * fy
        row = block[0]
        if row < 0:
            continue
        voxel = ((x & 7) << 6) | ((y & 7) << 3) | (z & 7)
        if len(sums.color):
            red += near * sums.color[row, voxel, 0]
            green += near * sums.color[row, voxel, 1]
            blue += near * sums.color[row, voxel, 2]
            total += near * sums.color[row, voxel, 3]
        if sums.head[row] != 0:
            label, evidence = voxel_label(sums, row, voxel)
            if near * evidence > most:
                most, images.labels[v, u] = near * evidence, label
    images.weight[v, u] = mean_weight
    if total > 0:
        images.color[v, u, 0] = np.uint8(red / total + 0.5)
        images.color[v, u, 1] = np.uint8(green / total + 0.5)
        images.color[v, u, 2] = np.uint8(blue / total + 0.5)
    size = np.sqrt(gx * gx + gy * gy + gz * gz)
    if seen and size > 0:
        R = view.rotation
        for axis in range(3):
            images.normals[v, u, axis] = (R[0, axis] * gx + R[1, axis] * gy + R[2, axis] * gz) / size


@numba.njit(nogil=True, cache=True, error_model="numpy")
def cast_rays(field: Any, sums: Any, view: View, images: Images, span: tuple[int, int]) -> None:
    """Render rows span[0] .. span[1] of the images, which start as zeros."""
    step = np.zeros(3)
    fx, fy, cx, cy = view.camera
    for v in range(span[0], span[1]):
        y = (v - cy) / fy
        for u in range(images.depth.shape[1]):
            x = (u - cx) / fx
            length = np.sqrt(x * x + y * y + 1)
            for axis in range(3):
                R = view.rotation[axis]
                step[axis] = (R[0] * x + R[1] * y + R[2]) / view.voxel_size
            crossing = first_crossing(field, view, step, length)
            if crossing[1] > 0:
                z = refine(field, view, step, crossing)
                images.depth[v, u] = z
                point = (view.origin[0] + z * step[0], view.origin[1] + z * step[1], view.origin[2] + z * step[2])
                shade(field, sums, view, images, (v, u), point)
