"""Which blocks the rays of a frame pass through, compiled: rays mark cells of a dense grid over the view of the camera."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import Float32Array, Float64Array, Int32Array, Int64Array, Span, UInt8Array, UInt64Array
from mapping.compiling import FAST, INNER, kernel
from mapping.tsdf.grid import FAR, NEAR

FARTHEST_CELL = np.float64(1 << 28)
"""Coordinates of cells are below this, so that they, and those of the blocks inside of them, fit into 32 bits."""
MOST_CELLS = np.float64(1 << 62)


class Rays(NamedTuple):
    """The rays of every `stride`-th pixel of a frame."""

    depth: Float32Array
    """(R, C) metres along camera z, 0 where unusable."""
    stride: int
    camera: Float32Array
    """(fx, fy, cx, cy) in pixels."""
    T_camera_world: Float64Array
    """(4, 4)."""


class MarkGrid(NamedTuple):
    """A box of cubic cells that rays mark; cell (i, j, k) of the box is cell low + (i, j, k) of the world."""

    low: Int64Array
    """(3,) the first cell."""
    extent: Int64Array
    """(3,) the number of cells along each axis."""
    marks: UInt8Array
    """One per cell, k fastest, and one more; not 0 where marked."""


class BandEnd(NamedTuple):
    """Where the truncation band behind a surface ends: at the greater of `metres` and `per_meter` times the depth."""

    metres: float
    per_meter: float


class _Band(NamedTuple):
    """What `cells_of_row` needs in addition to the rays of a row; `cells` is the number of cells of the grid."""

    start: Float64Array
    """(3,) the camera centre in cells from the first one."""
    cells: np.float64
    closest: np.float64
    """Metres along camera z from which on there are samples."""
    farthest: float
    """Metres along camera z up to which pixels are used."""
    end: BandEnd


@kernel(nogil=True)
def sample_depth(image: Float32Array, shape: tuple[int, int], stride: int, nearest: float, rays: Rays) -> float:
    """Fill the depth of rays from a flat image of the given shape; returns the maximum."""
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
    rays: Rays, shape: tuple[int, int], depth: float, size: float, low: Int64Array, extent: Int64Array
) -> int:
    """Set `low` and `extent` of a grid of cells of edge `size` around the view up to `depth`, with a margin of one cell.

    Returns the number of cells, -1 when a cell is beyond FARTHEST_CELL: no number is converted that does not fit.
    """
    fx, fy = np.float64(rays.camera[0]), np.float64(rays.camera[1])
    cx, cy = np.float64(rays.camera[2]), np.float64(rays.camera[3])
    T = rays.T_camera_world
    left, right = depth * (-0.5 - cx) / fx, depth * (shape[1] - 0.5 - cx) / fx
    top, bottom = depth * (-0.5 - cy) / fy, depth * (shape[0] - 0.5 - cy) / fy
    cells = 1.0
    for axis in range(3):
        at = -(T[0, axis] * T[0, 3] + T[1, axis] * T[1, 3] + T[2, axis] * T[2, 3])  # the camera's centre
        across = T[0, axis] * left, T[0, axis] * right
        down = T[1, axis] * top, T[1, axis] * bottom
        ahead = T[2, axis] * depth
        least = min(0.0, min(across[0], across[1]) + min(down[0], down[1]) + ahead)
        most = max(0.0, max(across[0], across[1]) + max(down[0], down[1]) + ahead)
        first, last = np.floor((at + least) / size) - 1, np.floor((at + most) / size) + 1
        if not (first > -FARTHEST_CELL and last < FARTHEST_CELL):
            return -1
        low[axis] = np.int64(first)
        extent[axis] = np.int64(last) + 1 - low[axis]
        cells *= np.float64(extent[axis])
    return int(min(cells, MOST_CELLS))


@numba.njit(**INNER)
def is_marked(grid: MarkGrid, x: int, y: int, z: int) -> bool:
    """Whether cell (x, y, z) of the world is in the grid and marked."""
    low, extent, marks = grid
    i, j, k = x - low[0], y - low[1], z - low[2]
    inside = 0 <= i < extent[0] and 0 <= j < extent[1] and 0 <= k < extent[2]
    return inside and marks[(i * extent[1] + j) * extent[2] + k] != 0


@numba.njit(nogil=True, error_model="numpy")
def ray_origin(rays: Rays, size: float, low: Int64Array) -> Float64Array:
    """The camera centre (3,) in cells of edge `size` from cell `low`."""
    T, start = rays.T_camera_world, np.zeros(3)
    for axis in range(3):
        start[axis] = -(T[0, axis] * T[0, 3] + T[1, axis] * T[1, 3] + T[2, axis] * T[2, 3]) / size - low[axis]
    return start


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def steps_of_row(rays: Rays, r: int, size: float, steps: Float64Array) -> None:
    """The steps (3, C) of the rays of row r per metre of depth, in cells of edge `size`."""
    T, stride, first = rays.T_camera_world, rays.stride, rays.stride // 2 - np.float64(rays.camera[2])
    y = (stride // 2 + r * stride - np.float64(rays.camera[3])) / np.float64(rays.camera[1])
    per_fx, per_size = 1 / np.float64(rays.camera[0]), 1 / size
    for axis in range(3):
        along, base = T[0, axis] * per_fx * per_size, (T[1, axis] * y + T[2, axis]) * per_size
        for c in range(steps.shape[1]):
            steps[axis, c] = along * (first + c * stride) + base


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def cells_of_row(
    depth: Float32Array, steps: Float64Array, offset: float, band: _Band, extent: Int64Array, cells: Int32Array
) -> None:
    """The cells (C,) of the rays of a row, of depth (C,), at `offset` metres behind the surface, or at the end of its band.

    A ray without a usable depth or outside of the grid gets the additional mark. All is computed in float64, whose lanes convert
    to integers only once.
    """
    none, closest, farthest = band.cells, band.closest, band.farthest
    behind, behind_per_meter = band.end.metres, band.end.per_meter
    x0, y0, z0 = band.start[0], band.start[1], band.start[2]
    step_x, step_y, step_z = steps[0], steps[1], steps[2]
    columns, layers = np.float64(extent[1]), np.float64(extent[2])
    for c in range(len(cells)):
        measured = np.float64(depth[c])
        z = max(measured + min(offset, max(behind, behind_per_meter * measured)), closest)
        i, j, k = np.floor(x0 + z * step_x[c]), np.floor(y0 + z * step_y[c]), np.floor(z0 + z * step_z[c])
        cell = (i * columns + j) * layers + k
        good = (measured > 0) & (measured <= farthest) & (cell >= 0) & (cell < none)
        cells[c] = np.int32(cell if good else none)


@kernel(nogil=True)
def mark_band(
    rays: Rays, span: Span, grid: MarkGrid, size: float, farthest: float, offsets: Float64Array, end: BandEnd
) -> None:
    """Mark the cells of edge `size` that contain a sample of the band around the surface, `offsets` metres behind it.

    Rows span[0] .. span[1] of the rays are used, up to `farthest` metres; samples beyond the end of the band are moved to it.
    No branch depends on the direction of a ray, which makes this several times as fast as stepping from cell to cell.
    """
    low, extent, marks = grid
    none = extent[0] * extent[1] * extent[2]
    band = _Band(ray_origin(rays, size, low), np.float64(none), np.float64(NEAR), farthest, end)
    cells, steps = np.zeros(rays.depth.shape[1], np.int32), np.zeros((3, rays.depth.shape[1]))
    for r in range(span[0], span[1]):
        steps_of_row(rays, r, size, steps)
        for m in range(len(offsets)):
            cells_of_row(rays.depth[r], steps, offsets[m], band, extent, cells)
            for c in range(len(cells)):
                marks[cells[c]] = 1
    marks[none] = 0


@numba.njit(**INNER)
def plane_crossing(position: float, cell: int, step: float) -> tuple[float, float]:
    """The length along a ray between two planes of the grid, and from `position` in `cell` to the first plane."""
    if step == 0:
        return np.inf, np.inf
    run = 1 / abs(step)
    return run, (cell + 1 - position if step > 0 else position - cell) * run


@numba.njit(error_model="numpy", **INNER)
def mark_segment(
    marks: UInt8Array, extent: Int64Array, start: Float64Array, step: Float64Array, near: float, far: float
) -> None:
    """Mark the cells between `start + near * step` and `start + far * step` (Amanatides and Woo 1987).

    `start` (3,) is in cells from the first one, `step` (3,) in cells per metre; `near` and `far` in metres.
    """
    x, y, z = start[0] + near * step[0], start[1] + near * step[1], start[2] + near * step[2]
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    rest = far - near
    # Along each axis: the length of the ray to its next plane, and from plane to plane.
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
def mark_free(rays: Rays, grid: MarkGrid, size: float, farthest: float, truncation: float) -> None:
    """Mark the cells of edge `size` that rays pass through between the camera and the truncation band.

    Only every second ray of every second row is used; rays end at `farthest` metres.
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
def take_marked(grid: MarkGrid, words: UInt64Array, coords: Int32Array) -> int:
    """Write the marked cells to `coords` (B, 3), in order, as far as they fit; returns the number of marked cells.

    `words` are the marks eight at a time; beyond the cells of the grid they are 0.
    """
    low, extent, marks = grid
    columns, layers = extent[1], extent[2]
    x, y, z = low[0], low[1], low[2]
    found, cells, capacity = 0, extent[0] * columns * layers, len(coords)
    for word in range((cells + 7) // 8):
        if words[word] == 0:
            continue
        for cell in range(8 * word, 8 * word + 8):
            if marks[cell] != 0:
                if found < capacity:
                    row = cell // layers
                    coords[found, 0] = x + row // columns
                    coords[found, 1] = y + row % columns
                    coords[found, 2] = z + cell % layers
                found += 1
    return found
