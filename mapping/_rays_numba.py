"""Which blocks the rays of a frame pass through, compiled: rays mark cells of a dense bit grid over the camera's view."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping import _kernel_cache as _kernel_cache
from mapping._tsdf_numpy import FAR, NEAR


class Grid(NamedTuple):
    """A box of cells: `low` (3,) int64 first cell, `shape` (3,) int64, `marks` uint8, at least as many as cells."""

    low: NDArray[np.int64]
    shape: NDArray[np.int64]
    marks: NDArray[np.uint8]


@numba.njit(inline="always")
def is_marked(grid: Any, x: Any, y: Any, z: Any) -> Any:
    """Whether the cell is in the box and marked."""
    i, j, k = x - grid.low[0], y - grid.low[1], z - grid.low[2]
    inside = 0 <= i < grid.shape[0] and 0 <= j < grid.shape[1] and 0 <= k < grid.shape[2]
    return inside and grid.marks[(i * grid.shape[1] + j) * grid.shape[2] + k] != 0


@numba.njit(inline="always")
def plane_crossing(position: Any, cell: Any, step: Any) -> Any:
    """How far a ray runs between two planes of the grid, and from `position` in `cell` to the first."""
    if step == 0:
        return np.inf, np.inf
    run = 1 / abs(step)
    return run, (cell + 1 - position if step > 0 else position - cell) * run


@numba.njit(nogil=True, error_model="numpy")
def mark_segment(grid: Any, start: Any, step: Any, near: float, far: float) -> None:
    """Mark the cells between `start + near * step` and `start + far * step` (Amanatides and Woo 1987).

    Both are in cells from the grid's first one.
    """
    x, y, z = start[0] + near * step[0], start[1] + near * step[1], start[2] + near * step[2]
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    rest = far - near
    # Along each axis: how far the ray runs to its next plane, and from plane to plane.
    run_x, next_x = plane_crossing(x, i, step[0])
    run_y, next_y = plane_crossing(y, j, step[1])
    run_z, next_z = plane_crossing(z, k, step[2])
    rows, columns, layers = grid.shape[0], grid.shape[1], grid.shape[2]
    while True:
        if 0 <= i < rows and 0 <= j < columns and 0 <= k < layers:
            grid.marks[(i * columns + j) * layers + k] = 1
        if next_x <= next_y and next_x <= next_z:
            if not next_x < rest:
                return
            i += 1 if step[0] > 0 else -1
            next_x += run_x
        elif next_y <= next_z:
            if not next_y < rest:
                return
            j += 1 if step[1] > 0 else -1
            next_y += run_y
        else:
            if not next_z < rest:
                return
            k += 1 if step[2] > 0 else -1
            next_z += run_z


@numba.njit(nogil=True, error_model="numpy")
def ray_origin(pixels: Any, size: float, grid: Any) -> NDArray[np.float64]:
    """The camera's centre (3,) in cells of edge `size`, from the grid's first cell."""
    T, start = pixels.T_camera_world, np.zeros(3)
    for axis in range(3):
        start[axis] = -(T[0, axis] * T[0, 3] + T[1, axis] * T[1, 3] + T[2, axis] * T[2, 3]) / size - grid.low[axis]
    return start


@numba.njit(nogil=True, cache=True, error_model="numpy")
def mark_band(
    grid: Grid,
    pixels: Any,
    limits: Any,
    size: float,
    stride: int,
    span: tuple[int, int],
    offsets: NDArray[np.float64],
) -> None:
    """Mark the cells of edge `size` that hold a sample of the band around the surface, `offsets` metres behind it.

    For every `stride`-th pixel, in rows span[0] .. span[1] of them. No branch depends on where a ray goes, which makes this
    several times as fast as walking from cell to cell.
    """
    image, marks, width = pixels.depth, grid.marks, pixels.shape[1]
    fx, fy = np.float64(pixels.camera[0]), np.float64(pixels.camera[1])
    cx, cy = np.float64(pixels.camera[2]), np.float64(pixels.camera[3])
    T, start = pixels.T_camera_world, ray_origin(pixels, size, grid)
    x0, y0, z0 = start[0], start[1], start[2]
    rows, columns, layers = grid.shape[0], grid.shape[1], grid.shape[2]
    closest, samples, per_size = np.float64(NEAR), len(offsets), 1 / size
    nearest, farthest = np.float64(limits.min_depth), np.float64(limits.max_depth)
    for r in range(span[0], span[1]):
        v = stride // 2 + r * stride
        y = (v - cy) / fy
        base_x, base_y, base_z = T[1, 0] * y + T[2, 0], T[1, 1] * y + T[2, 1], T[1, 2] * y + T[2, 2]
        for u in range(stride // 2, width, stride):
            depth = np.float64(image[v * width + u])
            if nearest <= depth <= farthest:
                x = (u - cx) / fx
                dx, dy, dz = (T[0, 0] * x + base_x), (T[0, 1] * x + base_y), (T[0, 2] * x + base_z)
                for m in range(samples):
                    z = max(depth + offsets[m], closest) * per_size
                    i, j, k = np.int64(x0 + z * dx), np.int64(y0 + z * dy), np.int64(z0 + z * dz)
                    if 0 <= i < rows and 0 <= j < columns and 0 <= k < layers:
                        marks[(i * columns + j) * layers + k] = 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def mark_free(grid: Grid, pixels: Any, limits: Any, size: float, stride: int, span: tuple[int, int]) -> None:
    """Mark the cells of edge `size` that rays pass through between the camera and the truncation band.

    For every `stride`-th pixel, in rows span[0] .. span[1] of them.
    """
    image, width = pixels.depth, pixels.shape[1]
    truncation, fx, fy = np.float64(limits.truncation), np.float64(pixels.camera[0]), np.float64(pixels.camera[1])
    T, start, step = pixels.T_camera_world, ray_origin(pixels, size, grid), np.zeros(3)
    closest, farthest = np.float64(NEAR), np.float64(limits.max_depth)
    for r in range(span[0], span[1]):
        v = stride // 2 + r * stride
        y = (v - pixels.camera[3]) / fy
        for u in range(stride // 2, width, stride):
            depth = np.float64(image[v * width + u])
            far = min(depth, farthest) - truncation
            if limits.min_depth <= depth <= FAR and far > closest:
                x = (u - pixels.camera[2]) / fx
                for axis in range(3):
                    step[axis] = (T[0, axis] * x + T[1, axis] * y + T[2, axis]) / size
                mark_segment(grid, start, step, closest, far)


@numba.njit(nogil=True, cache=True)
def take_marked(grid: Grid, words: NDArray[np.uint64], coords: NDArray[np.int32]) -> int:
    """Write the marked cells to `coords` (B, 3), in order, as far as there is room; returns how many there are.

    `words` are the marks eight at a time; beyond the cells of the grid they are 0.
    """
    marks, columns, layers = grid.marks, grid.shape[1], grid.shape[2]
    x, y, z = grid.low[0], grid.low[1], grid.low[2]
    found, cells, room = 0, grid.shape[0] * columns * layers, len(coords)
    for word in range((cells + 7) // 8):
        if words[word] == 0:
            continue
        for cell in range(8 * word, 8 * word + 8):
            if marks[cell] != 0:
                if found < room:
                    row = cell // layers
                    coords[found, 0] = x + row // columns
                    coords[found, 1] = y + row % columns
                    coords[found, 2] = z + cell % layers
                found += 1
    return found
