"""Which blocks the rays of a frame pass through, compiled: rays mark cells of a dense grid over the camera's view."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping.compiling import FAST, INNER, kernel
from mapping.tsdf.grid import FAR, NEAR


class Rays(NamedTuple):
    """Every `stride`-th pixel of a frame: depth (R, C) float32 metres, 0 where it is of no use; camera (fx, fy, cx, cy)."""

    depth: NDArray[np.float32]
    stride: int
    camera: NDArray[np.float32]
    T_camera_world: NDArray[np.float64]


@kernel(nogil=True)
def sample_depth(image: NDArray[np.float32], shape: tuple[int, int], stride: int, nearest: float, rays: Rays) -> float:
    """Fill the depth of rays from a flat image of the given shape; returns the greatest."""
    deepest, least, farthest = np.float32(0), np.float32(nearest), np.float32(FAR)
    for r in range(rays.depth.shape[0]):
        first = (stride // 2 + r * stride) * shape[1] + stride // 2
        for c in range(rays.depth.shape[1]):
            depth = image[first + c * stride]
            depth = depth if least <= depth <= farthest else np.float32(0)
            rays.depth[r, c] = depth
            deepest = max(deepest, depth)
    return float(deepest)


@kernel(nogil=True)
def view_bounds(
    rays: Rays, shape: tuple[int, int], depth: float, size: float, low: NDArray[np.int64], extent: NDArray[np.int64]
) -> int:
    """Set first cell (3,) of edge `size` and extent (3,) around all that the camera sees up to `depth`, with a cell to spare.

    Returns the number of cells.
    """
    fx, fy = np.float64(rays.camera[0]), np.float64(rays.camera[1])
    cx, cy = np.float64(rays.camera[2]), np.float64(rays.camera[3])
    T = rays.T_camera_world
    left, right = depth * (-0.5 - cx) / fx, depth * (shape[1] - 0.5 - cx) / fx
    top, bottom = depth * (-0.5 - cy) / fy, depth * (shape[0] - 0.5 - cy) / fy
    cells = 1
    for axis in range(3):
        at = -(T[0, axis] * T[0, 3] + T[1, axis] * T[1, 3] + T[2, axis] * T[2, 3])  # the camera's centre
        across = T[0, axis] * left, T[0, axis] * right
        down = T[1, axis] * top, T[1, axis] * bottom
        ahead = T[2, axis] * depth
        least = min(0.0, min(across[0], across[1]) + min(down[0], down[1]) + ahead)
        most = max(0.0, max(across[0], across[1]) + max(down[0], down[1]) + ahead)
        low[axis] = np.int64(np.floor((at + least) / size)) - 1
        extent[axis] = np.int64(np.floor((at + most) / size)) + 2 - low[axis]
        cells *= extent[axis]
    return cells


@numba.njit(**INNER)
def is_marked(low: Any, extent: Any, marks: Any, x: Any, y: Any, z: Any) -> Any:
    """Whether the cell is in the box and marked."""
    i, j, k = x - low[0], y - low[1], z - low[2]
    inside = 0 <= i < extent[0] and 0 <= j < extent[1] and 0 <= k < extent[2]
    return inside and marks[(i * extent[1] + j) * extent[2] + k] != 0


@numba.njit(nogil=True, error_model="numpy")
def ray_origin(rays: Any, size: float, low: Any) -> NDArray[np.float64]:
    """The camera's centre (3,) in cells of edge `size`, from the grid's first cell."""
    T, start = rays.T_camera_world, np.zeros(3)
    for axis in range(3):
        start[axis] = -(T[0, axis] * T[0, 3] + T[1, axis] * T[1, 3] + T[2, axis] * T[2, 3]) / size - low[axis]
    return start


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def steps_of_row(rays: Any, r: int, size: float, steps: Any) -> None:
    """How far the rays of row r run per metre of depth, in cells of edge `size`: (3, C)."""
    T, stride, first = rays.T_camera_world, rays.stride, rays.stride // 2 - np.float64(rays.camera[2])
    y = (stride // 2 + r * stride - np.float64(rays.camera[3])) / np.float64(rays.camera[1])
    per_fx, per_size = 1 / np.float64(rays.camera[0]), 1 / size
    for axis in range(3):
        along, base = T[0, axis] * per_fx * per_size, (T[1, axis] * y + T[2, axis]) * per_size
        for c in range(steps.shape[1]):
            steps[axis, c] = along * (first + c * stride) + base


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def cells_of_row(depth: Any, steps: Any, ahead: Any, place: Any, extent: Any, cells: NDArray[np.int32]) -> None:
    """The cells (C,) in which the rays of a row are `ahead` metres behind what they measured; the last cell for no ray.

    `place` is (start (3,), (cells, closest, farthest), behind); rays end at the greater of `behind`, metres and metres a metre
    of depth, behind what they measured. All is computed in float64, whose lanes convert to integers only once.
    """
    start, (none, closest, farthest), (behind, behind_per_meter) = place
    x0, y0, z0, step_x, step_y, step_z = start[0], start[1], start[2], steps[0], steps[1], steps[2]
    columns, layers = np.float64(extent[1]), np.float64(extent[2])
    for c in range(len(cells)):
        measured = np.float64(depth[c])
        z = max(measured + min(ahead, max(behind, behind_per_meter * measured)), closest)
        i, j, k = np.floor(x0 + z * step_x[c]), np.floor(y0 + z * step_y[c]), np.floor(z0 + z * step_z[c])
        cell = (i * columns + j) * layers + k
        good = (measured > 0) & (measured <= farthest) & (cell >= 0) & (cell < none)
        cells[c] = np.int32(cell if good else none)


@kernel(nogil=True)
def mark_band(
    rays: Rays,
    span: tuple[int, int],
    grid: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]],
    size: float,
    farthest: float,
    offsets: NDArray[np.float64],
    behind: tuple[float, float],
) -> None:
    """Mark the cells of edge `size` that hold a sample of the band around the surface, `offsets` metres behind it.

    Rays of rows span[0] .. span[1] are taken, up to `farthest` metres. The band ends at the greater of `behind`, metres and
    metres a metre of depth: samples beyond are moved there. grid is first cell, extent, and marks, one more than there are cells.
    No branch depends on where a ray goes, which makes this several times as fast as walking from cell to cell.
    """
    low, extent, marks = grid
    none = extent[0] * extent[1] * extent[2]
    place = (ray_origin(rays, size, low), (np.float64(none), np.float64(NEAR), farthest), behind)
    cells, steps = np.zeros(rays.depth.shape[1], np.int32), np.zeros((3, rays.depth.shape[1]))
    for r in range(span[0], span[1]):
        steps_of_row(rays, r, size, steps)
        for m in range(len(offsets)):
            cells_of_row(rays.depth[r], steps, offsets[m], place, extent, cells)
            for c in range(len(cells)):
                marks[cells[c]] = 1
    marks[none] = 0


@numba.njit(**INNER)
def plane_crossing(position: Any, cell: Any, step: Any) -> Any:
    """How far a ray runs between two planes of the grid, and from `position` in `cell` to the first."""
    if step == 0:
        return np.inf, np.inf
    run = 1 / abs(step)
    return run, (cell + 1 - position if step > 0 else position - cell) * run


@numba.njit(error_model="numpy", **INNER)
def mark_segment(marks: Any, extent: Any, start: Any, step: Any, near: float, far: float) -> None:
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
    rows, columns, layers = extent[0], extent[1], extent[2]
    while True:
        if 0 <= i < rows and 0 <= j < columns and 0 <= k < layers:
            marks[(i * columns + j) * layers + k] = 1
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


@kernel(nogil=True, error_model="numpy")
def mark_free(
    rays: Rays,
    grid: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]],
    size: float,
    farthest: float,
    truncation: float,
) -> None:
    """Mark the cells of edge `size` that rays pass through between the camera and the truncation band.

    For every second ray of every second row; they end at `farthest` metres.
    """
    low, extent, marks = grid
    T, start, step = rays.T_camera_world, ray_origin(rays, size, low), np.zeros(3)
    closest, stride = np.float64(NEAR), rays.stride
    for r in range(0, rays.depth.shape[0], 2):
        v = stride // 2 + r * stride
        y = (v - rays.camera[3]) / rays.camera[1]
        for c in range(0, rays.depth.shape[1], 2):
            depth = np.float64(rays.depth[r, c])
            far = min(depth, farthest) - truncation
            if depth > 0 and far > closest:
                x = (stride // 2 + c * stride - rays.camera[2]) / rays.camera[0]
                for axis in range(3):
                    step[axis] = (T[0, axis] * x + T[1, axis] * y + T[2, axis]) / size
                mark_segment(marks, extent, start, step, closest, far)


@kernel(nogil=True)
def take_marked(
    low: NDArray[np.int64],
    extent: NDArray[np.int64],
    marks: NDArray[np.uint8],
    words: NDArray[np.uint64],
    coords: NDArray[np.int32],
) -> int:
    """Write the marked cells to `coords` (B, 3), in order, as far as there is room; returns how many there are.

    `words` are the marks eight at a time; beyond the cells of the grid they are 0.
    """
    columns, layers = extent[1], extent[2]
    x, y, z = low[0], low[1], low[2]
    found, cells, room = 0, extent[0] * columns * layers, len(coords)
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
