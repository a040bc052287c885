"""Ray casting of a volume, compiled. Positions are in voxels, integers at sample points; ray lengths in metres along camera z."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import Float32Array, Float64Array, Int32Array, Int64Array, Span, UInt8Array, UInt16Array
from mapping.compiling import INNER, kernel
from mapping.tsdf.grid import SIDE, WEIGHT_UNIT
from mapping.tsdf.kernels.field import cell_number, voxel_number
from mapping.tsdf.kernels.surface import best_label, record_of
from mapping.tsdf.kernels.visibility import TILE, Scale
from mapping.tsdf.layout import BLUE, COLOR_WEIGHT, GREEN, RED, SurfaceRecords

STEP = 0.75  # share of the stored distance by which rays step: it is along a camera axis, so it can be too long
CLOSE = 1.5  # voxels; nearer to a surface the field is interpolated
REFINEMENTS = 2
TETRAHEDRON = 0.75  # voxels from the middle to a corner, along each axis

Position = tuple[float, float, float]
Voxel = tuple[int, int, int]


class RayBlocks(NamedTuple):
    """The blocks of a volume that rays of an image pass through."""

    table: Int32Array
    """(2, X, Y, Z) by block, from block `low` on: its row in `field`, the row of the free-space block around it; -1 for none."""
    low: Int64Array
    """(3,) in blocks."""
    field: Float32Array
    """(B, 512, 2) distance in metres and weight."""
    free: Int32Array
    """(F, 512) weight of free-space cells."""
    ranges: Float64Array
    """(rows, columns, 2) the depths between which each tile of the image sees blocks."""


class Field(NamedTuple):
    """The parts of `RayBlocks` from which distance and weight are read, with `low` as numbers."""

    table: Int32Array
    low: Voxel
    values: Float32Array


class Ray(NamedTuple):
    """A ray: where it starts and its step per metre of z, both in voxels; its length in metres per metre of z."""

    x: float
    y: float
    z: float
    step_x: float
    step_y: float
    step_z: float
    length: float


class Corners(NamedTuple):
    """Working memory: the eight voxels around a position."""

    rows: Int32Array
    """(8,) of the measured block, -1 for none."""
    voxels: Int64Array
    """(8,) number in the block."""
    shares: Float64Array
    """(8,) weights of trilinear interpolation."""
    records: Int64Array
    """(8,) of colour and label evidence, -1 for none."""


class CameraPose(NamedTuple):
    """A camera (fx, fy, cx, cy) in pixels and its T_world_camera (4, 4)."""

    camera: Float64Array
    T_world_camera: Float64Array


class RenderedImages(NamedTuple):
    """The rendered images (H, W), see `mapping.tsdf.render.RenderedView`."""

    depth: Float32Array
    weight: Float32Array
    normals: Float32Array
    color: UInt8Array
    labels: UInt16Array


@numba.njit(**INNER)
def rows_at(field: Field, x: int, y: int, z: int) -> tuple[np.int32, np.int32]:
    """The rows of the measured and of the free-space block of voxel (x, y, z); -1 for none."""
    index, low = field.table, field.low
    i, j, k = (x >> 3) - low[0], (y >> 3) - low[1], (z >> 3) - low[2]
    if 0 <= i < index.shape[1] and 0 <= j < index.shape[2] and 0 <= k < index.shape[3]:
        return index[0, i, j, k], index[1, i, j, k]
    return np.int32(-1), np.int32(-1)


@numba.njit(**INNER)
def trilinear(field: Field, position: Position) -> tuple[np.float32, np.float32]:
    """Distance and weight at a position; weight 0 if one of the eight voxels around is not in a measured block or never seen."""
    values = field.values
    x, y, z = position
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    a, b, c = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    row = rows_at(field, i, j, k)[0]
    inside = (i & 7) < 7 and (j & 7) < 7 and (k & 7) < 7
    distance, weight = np.float32(0), np.float32(0)
    for corner in range(8):
        u, v, w = i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)
        if not inside:
            row = rows_at(field, u, v, w)[0]
        if row < 0:
            return np.float32(0), np.float32(0)
        voxel = voxel_number(u, v, w)
        m = values[row, voxel, 1]
        if m == 0:
            return np.float32(0), np.float32(0)
        part = (a if corner & 4 else 1 - a) * (b if corner & 2 else 1 - b) * (c if corner & 1 else 1 - c)
        distance += part * values[row, voxel, 0]
        weight += part * m
    return distance, weight


@numba.njit(**INNER)
def block_exit(position: float, step: float) -> float:
    """The length, in steps, after which a ray leaves the block around a position, along one axis."""
    first = SIDE * np.floor((position + 0.5) * (1 / SIDE)) - 0.5
    if step > 0:
        return (first + SIDE - position) / step
    return (first - position) / step if step < 0 else np.inf


@numba.njit(**INNER)
def along(ray: Ray, z: float) -> Position:
    """The position of a ray at depth z."""
    return ray.x + z * ray.step_x, ray.y + z * ray.step_y, ray.z + z * ray.step_z


@numba.njit(**INNER)
def nearest_voxel(position: Position) -> Voxel:
    """The voxel (x, y, z) whose sample point is nearest."""
    x, y, z = position
    return int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))


@numba.njit(**INNER)
def value_at(field: Field, row: int, voxel: int, position: Position, close: float) -> tuple[np.float32, np.float32]:
    """Distance and weight of a voxel or, nearer than `close` to a surface and if all around is known, at a position."""
    distance, weight = field.values[row, voxel, 0], field.values[row, voxel, 1]
    if weight > 0 and abs(distance) < close:
        smooth, smooth_weight = trilinear(field, position)
        if smooth_weight > 0:
            return smooth, smooth_weight
    return distance, weight


@numba.njit(**INNER)
def is_free(field: Field, free: Int32Array, position: Position, least: float) -> bool:
    """Whether the voxel nearest to a position was seen with at least weight `least`, and lies in front of surfaces."""
    i, j, k = nearest_voxel(position)
    row, free_row = rows_at(field, i, j, k)
    if row >= 0:
        voxel = voxel_number(i, j, k)
        return field.values[row, voxel, 1] >= least and field.values[row, voxel, 0] > 0
    return free_row >= 0 and free[free_row, cell_number(i, j, k)] >= max(least * WEIGHT_UNIT, 1)


@numba.njit(error_model="numpy", **INNER)
def march(field: Field, free: Int32Array, ray: Ray, reach: tuple[float, float], scale: Scale) -> float:
    """The depth at which a ray first enters a surface from free space; 0 if it does not.

    `reach` are the depths between which there are measured blocks.
    """
    z, farthest = reach
    before, distance_before, outside = 0.0, 0.0, z > scale.nearest
    close, least, voxel_step = CLOSE * scale.voxel_size, max(scale.min_weight, 1e-9), scale.voxel_size / ray.length
    while z < farthest:
        position = along(ray, z)
        i, j, k = nearest_voxel(position)
        row = rows_at(field, i, j, k)[0]
        if row < 0:  # no surface in this block: continue with the next
            leave = block_exit(position[0], ray.step_x)
            leave = min(leave, block_exit(position[1], ray.step_y), block_exit(position[2], ray.step_z))
            z, outside = z + max(leave, 0.0) + 0.01 * voxel_step, True
            continue
        if outside:  # whether space just in front of this block is free
            last = z - 0.5 * voxel_step
            before = last if is_free(field, free, along(ray, last), least) else 0.0
            distance_before, outside = scale.voxel_size, False
        distance, weight = value_at(field, row, voxel_number(i, j, k), position, close)
        if weight < least:
            z, before = z + voxel_step, 0.0
        elif distance > 0:
            before, distance_before = z, np.float64(distance)
            z += max(STEP * distance / ray.length, 0.5 * voxel_step)
        elif before > 0:
            return refine(field, ray, (before, z), (distance_before, np.float64(distance)))
        else:
            z += voxel_step
    return 0.0


@numba.njit(error_model="numpy", **INNER)
def refine(field: Field, ray: Ray, depths: tuple[float, float], distances: tuple[float, float]) -> float:
    """The depth of the zero between two depths with these distances, by false position on the interpolated field."""
    z0, z1 = depths
    d0, d1 = distances
    between = z0 + (z1 - z0) * d0 / (d0 - d1)
    for _ in range(REFINEMENTS):
        distance, weight = trilinear(field, along(ray, between))
        if weight == 0:
            break
        if distance > 0:
            z0, d0 = between, np.float64(distance)
        else:
            z1, d1 = between, np.float64(distance)
        between = z0 + (z1 - z0) * d0 / (d0 - d1)
    return between


@numba.njit(**INNER)
def ray_through(camera: Float64Array, T_world_camera: Float64Array, voxel_size: float, u: int, v: int) -> Ray:
    """The ray of pixel (u, v)."""
    x, y = (u - camera[2]) / camera[0], (v - camera[3]) / camera[1]
    T, per_voxel = T_world_camera, 1 / voxel_size
    step_x = (T[0, 0] * x + T[0, 1] * y + T[0, 2]) * per_voxel
    step_y = (T[1, 0] * x + T[1, 1] * y + T[1, 2]) * per_voxel
    step_z = (T[2, 0] * x + T[2, 1] * y + T[2, 2]) * per_voxel
    start = (T[0, 3] * per_voxel - 0.5, T[1, 3] * per_voxel - 0.5, T[2, 3] * per_voxel - 0.5)
    return Ray(start[0], start[1], start[2], step_x, step_y, step_z, np.sqrt(x * x + y * y + 1))


@numba.njit(error_model="numpy", **INNER)
def gradient_direction(field: Field, position: Position) -> Position:
    """The direction in which distance grows, unit length; zeros where not all around is known.

    From differences between the corners of a tetrahedron around the position: four values instead of six.
    """
    x, y, z = position
    h = TETRAHEDRON
    a, wa = trilinear(field, (x + h, y - h, z - h))
    b, wb = trilinear(field, (x - h, y - h, z + h))
    c, wc = trilinear(field, (x - h, y + h, z - h))
    d, wd = trilinear(field, (x + h, y + h, z + h))
    gx, gy, gz = np.float64(a - b - c + d), np.float64(c + d - a - b), np.float64(b + d - a - c)
    size = np.sqrt(gx * gx + gy * gy + gz * gz)
    if wa == 0 or wb == 0 or wc == 0 or wd == 0 or size == 0:
        return 0.0, 0.0, 0.0
    return gx / size, gy / size, gz / size


@numba.njit(**INNER)
def find_corners(field: Field, position: Position, corners: Corners) -> None:
    """Set rows, voxels and shares of the eight voxels around a position."""
    rows, voxels, shares = corners.rows, corners.voxels, corners.shares
    x, y, z = position
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    a, b, c = x - i, y - j, z - k
    for corner in range(8):
        u, v, w = i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)
        rows[corner], _ = rows_at(field, u, v, w)
        voxels[corner] = voxel_number(u, v, w)
        shares[corner] = (a if corner & 4 else 1 - a) * (b if corner & 2 else 1 - b) * (c if corner & 1 else 1 - c)


@numba.njit(error_model="numpy", **INNER)
def mix_color(records: Int32Array, corners: Corners, out: UInt8Array) -> None:
    """The mean colour (3,) of eight voxels, by their weight and share."""
    red, green, blue = 0.0, 0.0, 0.0
    total = 0.0
    for corner in range(8):
        record, share = corners.records[corner], corners.shares[corner]
        if record >= 0:
            red += share * records[record, RED]
            green += share * records[record, GREEN]
            blue += share * records[record, BLUE]
            total += share * records[record, COLOR_WEIGHT]
    if total > 0:
        out[0] = np.uint8(red / total + 0.5)
        out[1] = np.uint8(green / total + 0.5)
        out[2] = np.uint8(blue / total + 0.5)


@numba.njit(**INNER)
def choose_label(records: Int32Array, more: Int32Array, corners: Corners) -> np.uint16:
    """The label of the voxel with the most evidence times share, 0 without any."""
    shares = corners.shares
    best, most = np.uint16(0), 0.0
    for corner in range(8):
        label, support = best_label(records, more, corners.records[corner])
        if shares[corner] * support > most:
            best, most = label, shares[corner] * support
    return best


@kernel(nogil=True, error_model="numpy")
def cast_rays(
    blocks: RayBlocks,
    surface: SurfaceRecords,
    store_rows: Int32Array,
    pose: CameraPose,
    scale: Scale,
    span: Span,
    images: RenderedImages,
) -> None:
    """Render the rows span[0] .. span[1] of tiles of the images, which start as zeros.

    Row r of `blocks.field` is row store_rows[r] of the surface records. Rays are cast tile by tile, which uses the cache well.
    """
    field = Field(blocks.table, (blocks.low[0], blocks.low[1], blocks.low[2]), blocks.field)
    free, ranges, width = blocks.free, blocks.ranges, blocks.ranges.shape[1]
    camera, T = pose
    slot, place = surface.slot, surface.place
    records, more = surface.records, surface.more
    depth, weight, normals = images.depth, images.weight, images.normals
    rgb, labels = images.color, images.labels
    rows, voxels = np.zeros(8, np.int32), np.zeros(8, np.int64)
    shares, found = np.zeros(8), np.zeros(8, np.int64)
    corners = Corners(rows, voxels, shares, found)
    for ray_number in range(span[0] * width * TILE * TILE, span[1] * width * TILE * TILE):
        tile, inside = ray_number // (TILE * TILE), ray_number % (TILE * TILE)
        v, u = tile // width * TILE + inside // TILE, tile % width * TILE + inside % TILE
        first_z, last_z = ranges[tile // width, tile % width, 0], ranges[tile // width, tile % width, 1]
        if first_z > last_z or v >= depth.shape[0] or u >= depth.shape[1]:
            continue
        ray = ray_through(camera, T, scale.voxel_size, u, v)
        z = march(field, free, ray, (first_z, last_z), scale)
        if z == 0:
            continue
        position = along(ray, z)
        depth[v, u] = z
        _, weight[v, u] = trilinear(field, position)
        gx, gy, gz = gradient_direction(field, position)
        for axis in range(3):
            normals[v, u, axis] = T[0, axis] * gx + T[1, axis] * gy + T[2, axis] * gz
        find_corners(field, position, corners)
        for corner in range(8):
            measured = rows[corner] >= 0
            found[corner] = record_of(slot, place, store_rows[rows[corner]], voxels[corner]) if measured else -1
        mix_color(records, corners, rgb[v, u])
        labels[v, u] = choose_label(records, more, corners)
