"""Ray casting of a volume, compiled. Places are in voxels from the first sample point, ray lengths in metres along camera z."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping.compiling import INNER, kernel
from mapping.tsdf.grid import SIDE, WEIGHT_UNIT
from mapping.tsdf.kernels.field import cell_number, voxel_number
from mapping.tsdf.kernels.surface import best_label, record_of
from mapping.tsdf.layout import BLUE, GREEN, PAINT, RED, Surface

STEP = 0.75  # share of the distance to go: what is stored is measured along some camera's axis and can be too long
CLOSE = 1.5  # voxels; nearer to a surface the field is interpolated
REFINEMENTS = 2
TILE = 8  # pixels
TETRAHEDRON = 0.75  # voxels from the middle to a corner, along each axis


class Scale(NamedTuple):
    """Metres, and the least weight of a voxel that counts as seen."""

    voxel_size: float
    nearest: float
    farthest: float
    min_weight: float


class Blocks(NamedTuple):
    """What rays pass through.

    `table` (2, X, Y, Z) tells by block, from block `low` (3,) on, its row in `field` and that of the free-space block around it
    in `free`, -1 where there is none; field (B, 512, 2) is distance in metres and weight. `ranges` (rows, columns, 2) are the
    depths between which each tile of the image sees blocks.
    """

    table: NDArray[np.int32]
    low: NDArray[np.int64]
    field: NDArray[np.float32]
    free: NDArray[np.int32]
    ranges: NDArray[np.float64]


class Images(NamedTuple):
    """What is rendered, by pixel."""

    depth: NDArray[np.float32]
    weight: NDArray[np.float32]
    normals: NDArray[np.float32]
    color: NDArray[np.uint8]
    labels: NDArray[np.uint16]


@kernel(nogil=True)
def index_blocks(coords: NDArray[np.int32], low: NDArray[np.int64], side: int, index: NDArray[np.int32]) -> None:
    """Write the row of each block (B, 3) that spans `side` cells into all its cells of `index` (X, Y, Z), from block `low` on."""
    for row in range(len(coords)):
        i0, j0, k0 = side * coords[row, 0] - low[0], side * coords[row, 1] - low[1], side * coords[row, 2] - low[2]
        for i in range(max(i0, 0), min(i0 + side, index.shape[0])):
            for j in range(max(j0, 0), min(j0 + side, index.shape[1])):
                for k in range(max(k0, 0), min(k0 + side, index.shape[2])):
                    index[i, j, k] = row


@kernel(nogil=True, error_model="numpy")
def find_ranges(
    coords: NDArray[np.int32],
    view: tuple[NDArray[np.float64], NDArray[np.float64]],
    scale: Scale,
    shape: tuple[int, int],
    ranges: NDArray[np.float64],
    visible: NDArray[np.bool_],
) -> None:
    """Between which depths the rays of each tile of an image can meet blocks `coords` (B, 3), and which blocks any can meet.

    `ranges` is (rows, columns, 2); a tile without blocks keeps (inf, 0). `view` is the camera (fx, fy, cx, cy) and
    T_camera_world.
    """
    camera, T = view
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
def silhouette(x: float, z: float, radius: float, focal: float, center: float, width: int) -> Any:
    """The pixels (from, to) that a ball at (x, z) can cover along one axis of the image; all when the camera is inside it."""
    distance = np.sqrt(x * x + z * z)
    if distance <= radius:
        return 0, width
    middle, half = np.arctan2(x, z), np.arcsin(radius / distance)
    first: Any = 0.0
    last: Any = np.float64(width)
    if middle - half > -0.5 * np.pi:
        first = np.floor(focal * np.tan(middle - half) + center) if middle - half < 0.5 * np.pi else last
    if middle + half < 0.5 * np.pi:
        last = np.ceil(focal * np.tan(middle + half) + center) + 1 if middle + half > -0.5 * np.pi else first
    return np.int64(min(max(first, 0.0), np.float64(width))), np.int64(min(max(last, 0.0), np.float64(width)))


@numba.njit(**INNER)
def rows_at(index: Any, low: Any, x: Any, y: Any, z: Any) -> Any:
    """The rows of the measured and of the free-space block of voxel (x, y, z); -1 where there is none."""
    i, j, k = (x >> 3) - low[0], (y >> 3) - low[1], (z >> 3) - low[2]
    if 0 <= i < index.shape[1] and 0 <= j < index.shape[2] and 0 <= k < index.shape[3]:
        return index[0, i, j, k], index[1, i, j, k]
    return np.int32(-1), np.int32(-1)


@numba.njit(**INNER)
def trilinear(index: Any, low: Any, field: Any, position: Any) -> Any:
    """Distance and weight at a position; weight 0 if one of the eight voxels around is not in a measured block or never seen."""
    x, y, z = position
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    a, b, c = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    row = rows_at(index, low, i, j, k)[0]
    inside = (i & 7) < 7 and (j & 7) < 7 and (k & 7) < 7
    distance, weight = np.float32(0), np.float32(0)
    for corner in range(8):
        u, v, w = i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)
        if not inside:
            row = rows_at(index, low, u, v, w)[0]
        if row < 0:
            return np.float32(0), np.float32(0)
        voxel = voxel_number(u, v, w)
        m = field[row, voxel, 1]
        if m == 0:
            return np.float32(0), np.float32(0)
        part = (a if corner & 4 else 1 - a) * (b if corner & 2 else 1 - b) * (c if corner & 1 else 1 - c)
        distance += part * field[row, voxel, 0]
        weight += part * m
    return distance, weight


@numba.njit(**INNER)
def block_exit(position: Any, step: Any) -> Any:
    """How far along `step` a ray leaves the voxels of the block around a position, along one axis."""
    first = SIDE * np.floor((position + 0.5) * (1 / SIDE)) - 0.5
    if step > 0:
        return (first + SIDE - position) / step
    return (first - position) / step if step < 0 else np.inf


@numba.njit(**INNER)
def along(ray: Any, z: Any) -> Any:
    """The place at depth z of a ray (start, step)."""
    return ray[0] + z * ray[3], ray[1] + z * ray[4], ray[2] + z * ray[5]


@numba.njit(**INNER)
def nearest_voxel(position: Any) -> Any:
    """The voxel (x, y, z) whose sample point is nearest."""
    x, y, z = position
    return np.int64(np.floor(x + 0.5)), np.int64(np.floor(y + 0.5)), np.int64(np.floor(z + 0.5))


@numba.njit(**INNER)
def value_at(index: Any, low: Any, field: Any, row: Any, voxel: Any, position: Any, close: float) -> Any:
    """Distance and weight, of a voxel or, `close` to a surface where all around is known, interpolated at a position."""
    distance, weight = field[row, voxel, 0], field[row, voxel, 1]
    if weight > 0 and abs(distance) < close:
        smooth, smooth_weight = trilinear(index, low, field, position)
        if smooth_weight > 0:
            return smooth, smooth_weight
    return distance, weight


@numba.njit(**INNER)
def is_free(index: Any, low: Any, field: Any, free: Any, position: Any, least: float) -> bool:
    """Whether the voxel nearest to a position was seen with `least` weight, and in front of surfaces."""
    i, j, k = nearest_voxel(position)
    row, free_row = rows_at(index, low, i, j, k)
    if row >= 0:
        voxel = voxel_number(i, j, k)
        return field[row, voxel, 1] >= least and field[row, voxel, 0] > 0
    return free_row >= 0 and free[free_row, cell_number(i, j, k)] >= max(least * WEIGHT_UNIT, 1)


@numba.njit(error_model="numpy", **INNER)
def march(index: Any, low: Any, field: Any, free: Any, ray: Any, reach: Any, scale: Scale) -> float:
    """The depth at which a ray first enters a surface from free space; 0 if it does not.

    `reach` is (length, from, to): metres per metre of z, and the depths between which there are measured blocks.
    """
    length, z, farthest = reach
    before, distance_before, outside = 0.0, 0.0, z > scale.nearest
    close, least, voxel_step = CLOSE * scale.voxel_size, max(scale.min_weight, 1e-9), scale.voxel_size / length
    while z < farthest:
        position = along(ray, z)
        i, j, k = nearest_voxel(position)
        row = rows_at(index, low, i, j, k)[0]
        if row < 0:  # no surface in this block: on to the next
            leave = min(
                block_exit(position[0], ray[3]), block_exit(position[1], ray[4]), block_exit(position[2], ray[5])
            )
            z, outside = z + max(leave, 0.0) + 0.01 * voxel_step, True
            continue
        if outside:  # was it free just in front of this block?
            last = z - 0.5 * voxel_step
            before = last if is_free(index, low, field, free, along(ray, last), least) else 0.0
            distance_before, outside = scale.voxel_size, False
        distance, weight = value_at(index, low, field, row, voxel_number(i, j, k), position, close)
        if weight < least:
            z, before = z + voxel_step, 0.0
        elif distance > 0:
            before, distance_before = z, np.float64(distance)
            z += max(STEP * distance / length, 0.5 * voxel_step)
        elif before > 0:
            return refine(index, low, field, ray, (before, z, distance_before, np.float64(distance)))
        else:
            z += voxel_step
    return 0.0


@numba.njit(error_model="numpy", **INNER)
def refine(index: Any, low: Any, field: Any, ray: Any, bracket: Any) -> float:
    """The depth of the zero between two depths, by false position on the interpolated field."""
    z0, z1, d0, d1 = bracket
    between = z0 + (z1 - z0) * d0 / (d0 - d1)
    for _ in range(REFINEMENTS):
        distance, weight = trilinear(index, low, field, along(ray, between))
        if weight == 0:
            break
        if distance > 0:
            z0, d0 = between, np.float64(distance)
        else:
            z1, d1 = between, np.float64(distance)
        between = z0 + (z1 - z0) * d0 / (d0 - d1)
    return between


@numba.njit(**INNER)
def ray_through(camera: Any, T_world_camera: Any, voxel_size: Any, u: Any, v: Any) -> Any:
    """The ray of pixel (u, v): where it starts and how far it runs per metre of z, in voxels; and its length per metre of z."""
    x, y = (u - camera[2]) / camera[0], (v - camera[3]) / camera[1]
    T, per_voxel = T_world_camera, 1 / voxel_size
    step_x = (T[0, 0] * x + T[0, 1] * y + T[0, 2]) * per_voxel
    step_y = (T[1, 0] * x + T[1, 1] * y + T[1, 2]) * per_voxel
    step_z = (T[2, 0] * x + T[2, 1] * y + T[2, 2]) * per_voxel
    start = (T[0, 3] * per_voxel - 0.5, T[1, 3] * per_voxel - 0.5, T[2, 3] * per_voxel - 0.5)
    return (start[0], start[1], start[2], step_x, step_y, step_z), np.sqrt(x * x + y * y + 1)


@numba.njit(error_model="numpy", **INNER)
def slope(index: Any, low: Any, field: Any, place: Any) -> Any:
    """The direction (3,) in which distance grows, unit length; zeros where not all around is known.

    From differences between the corners of a tetrahedron around the place: four values instead of six.
    """
    x, y, z = place
    h = TETRAHEDRON
    a, wa = trilinear(index, low, field, (x + h, y - h, z - h))
    b, wb = trilinear(index, low, field, (x - h, y - h, z + h))
    c, wc = trilinear(index, low, field, (x - h, y + h, z - h))
    d, wd = trilinear(index, low, field, (x + h, y + h, z + h))
    gx, gy, gz = np.float64(a - b - c + d), np.float64(c + d - a - b), np.float64(b + d - a - c)
    size = np.sqrt(gx * gx + gy * gy + gz * gz)
    if wa == 0 or wb == 0 or wc == 0 or wd == 0 or size == 0:
        return 0.0, 0.0, 0.0
    return gx / size, gy / size, gz / size


@numba.njit(**INNER)
def find_corners(index: Any, low: Any, place: Any, rows: Any, voxels: Any, shares: Any) -> None:
    """Row (-1 where there is no measured block), number and share of the eight voxels around a place."""
    x, y, z = place
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    a, b, c = x - i, y - j, z - k
    for corner in range(8):
        u, v, w = i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)
        rows[corner], _ = rows_at(index, low, u, v, w)
        voxels[corner] = voxel_number(u, v, w)
        shares[corner] = (a if corner & 4 else 1 - a) * (b if corner & 2 else 1 - b) * (c if corner & 1 else 1 - c)


@numba.njit(error_model="numpy", **INNER)
def mix_color(records: Any, found: Any, shares: Any, out: Any) -> None:
    """The colour between eight voxels with these records (-1: none), each by its weight and share."""
    red, green, blue, total = 0.0, 0.0, 0.0, 0.0
    for corner in range(8):
        record, share = found[corner], shares[corner]
        if record >= 0:
            red += share * records[record, RED]
            green += share * records[record, GREEN]
            blue += share * records[record, BLUE]
            total += share * records[record, PAINT]
    if total > 0:
        out[0], out[1], out[2] = (
            np.uint8(red / total + 0.5),
            np.uint8(green / total + 0.5),
            np.uint8(blue / total + 0.5),
        )


@numba.njit(**INNER)
def choose_label(records: Any, more: Any, found: Any, shares: Any) -> Any:
    """The label of the voxel with the most evidence times share, 0 without any."""
    best, most = np.uint16(0), 0.0
    for corner in range(8):
        label, support = best_label(records, more, found[corner])
        if shares[corner] * support > most:
            best, most = label, shares[corner] * support
    return best


@kernel(nogil=True, error_model="numpy")
def cast_rays(
    blocks: Blocks,
    surface: Surface,
    store_rows: NDArray[np.int32],
    view: tuple[NDArray[np.float64], NDArray[np.float64]],
    scale: Scale,
    span: tuple[int, int],
    images: Images,
) -> None:
    """Render the rows span[0] .. span[1] of tiles of the images, which start as zeros.

    Row r of `blocks.field` is row store_rows[r] of the surface. `view` is the camera (fx, fy, cx, cy) and T_world_camera. Rays go
    tile by tile, so that they share what is in the cache.
    """
    index, field, free, ranges, (camera, T) = blocks.table, blocks.field, blocks.free, blocks.ranges, view
    slot, place, records, more = surface.slot, surface.place, surface.records, surface.more
    depth, weight, normals, rgb, labels = images.depth, images.weight, images.normals, images.color, images.labels
    low, width = (blocks.low[0], blocks.low[1], blocks.low[2]), ranges.shape[1]
    rows, voxels, shares, found = np.zeros(8, np.int32), np.zeros(8, np.int64), np.zeros(8), np.zeros(8, np.int64)
    for ray_number in range(span[0] * width * TILE * TILE, span[1] * width * TILE * TILE):
        tile, inside = ray_number // (TILE * TILE), ray_number % (TILE * TILE)
        v, u = tile // width * TILE + inside // TILE, tile % width * TILE + inside % TILE
        first_z, last_z = ranges[tile // width, tile % width, 0], ranges[tile // width, tile % width, 1]
        if first_z > last_z or v >= depth.shape[0] or u >= depth.shape[1]:
            continue
        ray, length = ray_through(camera, T, scale.voxel_size, u, v)
        z = march(index, low, field, free, ray, (length, first_z, last_z), scale)
        if z == 0:
            continue
        position = along(ray, z)
        depth[v, u] = z
        _, weight[v, u] = trilinear(index, low, field, position)
        gx, gy, gz = slope(index, low, field, position)
        for axis in range(3):
            normals[v, u, axis] = T[0, axis] * gx + T[1, axis] * gy + T[2, axis] * gz
        find_corners(index, low, position, rows, voxels, shares)
        for corner in range(8):
            measured = rows[corner] >= 0
            found[corner] = record_of(slot, place, store_rows[rows[corner]], voxels[corner]) if measured else -1
        mix_color(records, found, shares, rgb[v, u])
        labels[v, u] = choose_label(records, more, found, shares)
