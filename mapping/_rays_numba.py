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
    """Mark the cells between `start + near * step` and `start + far * step`, in cells (Amanatides and Woo 1987)."""
    x, y, z = start[0] + near * step[0], start[1] + near * step[1], start[2] + near * step[2]
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    rest = far - near
    # Along each axis: how far the ray runs to its next plane, and from plane to plane.
    run_x, next_x = plane_crossing(x, i, step[0])
    run_y, next_y = plane_crossing(y, j, step[1])
    run_z, next_z = plane_crossing(z, k, step[2])
    i, j, k = i - grid.low[0], j - grid.low[1], k - grid.low[2]
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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def mark_rays(grid: Grid, pixels: Any, limits: Any, size: float, stride: int, span: tuple[int, int], free: int) -> None:
    """Mark the cells of edge `size` that the rays of every `stride`-th pixel pass through, in rows span[0] .. span[1] of them.

    With `free` from the camera to the truncation band, else in the band around the surface.
    """
    width = pixels.shape[1]
    truncation, fx, fy = np.float64(limits.truncation), np.float64(pixels.camera[0]), np.float64(pixels.camera[1])
    T, closest = pixels.T_camera_world, np.float64(NEAR)
    start, step = np.zeros(3), np.zeros(3)
    for axis in range(3):
        start[axis] = -(T[0, axis] * T[0, 3] + T[1, axis] * T[1, 3] + T[2, axis] * T[2, 3]) / size
    for r in range(span[0], span[1]):
        v = stride // 2 + r * stride
        y = (v - pixels.camera[3]) / fy
        for u in range(stride // 2, width, stride):
            depth = np.float64(pixels.depth[v * width + u])
            if not limits.min_depth <= depth <= FAR or (not free and depth > limits.max_depth):
                continue
            near, far = max(depth - truncation, closest), depth + limits.behind
            if free:
                near, far = closest, min(depth, np.float64(limits.max_depth)) - truncation
            if far > near:
                x = (u - pixels.camera[2]) / fx
                for axis in range(3):
                    step[axis] = (T[0, axis] * x + T[1, axis] * y + T[2, axis]) / size
                mark_segment(grid, start, step, near, far)


@numba.njit(nogil=True, cache=True)
def take_marked(grid: Grid, coords: NDArray[np.int32]) -> None:
    """The coordinates (B, 3) of all B marked cells in order."""
    found = 0
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            first = (i * grid.shape[1] + j) * grid.shape[2]
            for k in range(grid.shape[2]):
                if grid.marks[first + k] != 0:
                    coords[found, 0] = grid.low[0] + i
                    coords[found, 1] = grid.low[1] + j
                    coords[found, 2] = grid.low[2] + k
                    found += 1
