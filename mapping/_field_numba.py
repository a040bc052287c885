"""Reading a volume, compiled: distance, weight and label of voxels, whole blocks, and points in between."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping._blocks_numba import find
from mapping._tsdf_numba import LABEL, NEXT
from mapping._tsdf_numpy import CELL_VOXELS, SIDE, WEIGHT_UNIT

VOXELS = SIDE**3
HALF = SIDE // CELL_VOXELS
_UNIT = np.float32(WEIGHT_UNIT)


class Field(NamedTuple):
    """The arrays of a store that tell distance: hash tables of measured and free-space blocks, and their sums."""

    keys: NDArray[np.int64]
    rows: NDArray[np.int32]
    tsdf: NDArray[np.int32]
    free_keys: NDArray[np.int64]
    free_rows: NDArray[np.int32]
    free: NDArray[np.int32]
    truncation: np.float32


@numba.njit(inline="always")
def find_block(field: Any, x: Any, y: Any, z: Any) -> Any:
    """Rows of the measured block (x, y, z) and of the free-space block around it, -1 where there is none."""
    free_row = np.int32(-1)
    if len(field.free):
        free_row = find(field.free_keys, field.free_rows, x // CELL_VOXELS, y // CELL_VOXELS, z // CELL_VOXELS)
    return find(field.keys, field.rows, x, y, z), free_row


@numba.njit(inline="always")
def read_voxel(field: Any, block: Any, x: Any, y: Any, z: Any) -> Any:
    """Distance in metres and weight of voxel (x, y, z) in the blocks that `find_block` found; weight 0 where never seen."""
    row, free_row = block
    distance, weight = np.int32(0), np.int32(0)
    if row >= 0:
        voxel = ((x & 7) << 6) | ((y & 7) << 3) | (z & 7)
        distance, weight = field.tsdf[row, 0, voxel], field.tsdf[row, 1, voxel]
    if free_row >= 0:
        i, j, k = (x // CELL_VOXELS) & 7, (y // CELL_VOXELS) & 7, (z // CELL_VOXELS) & 7
        passed = field.free[free_row, (i << 6) | (j << 3) | k]
        distance, weight = distance + passed, weight + passed
    if weight <= 0:
        return np.float32(0), np.float32(0)
    return field.truncation * (np.float32(distance) / np.float32(weight)), np.float32(weight) / _UNIT


@numba.njit(nogil=True, cache=True)
def read_blocks(
    field: Field,
    coords: NDArray[np.int32],
    span: tuple[int, int],
    distance: NDArray[np.float32],
    weight: NDArray[np.float32],
) -> None:
    """Distance and weight (B, 512) of all voxels of blocks span[0] .. span[1] of `coords` (B, 3)."""
    for b in range(span[0], span[1]):
        block = find_block(field, coords[b, 0], coords[b, 1], coords[b, 2])
        for voxel in range(VOXELS):
            x, y, z = (
                SIDE * coords[b, 0] + (voxel >> 6),
                SIDE * coords[b, 1] + (voxel >> 3 & 7),
                SIDE * coords[b, 2] + (voxel & 7),
            )
            distance[b, voxel], weight[b, voxel] = read_voxel(field, block, x, y, z)


@numba.njit(inline="always")
def trilinear(field: Any, x: Any, y: Any, z: Any) -> Any:
    """Distance and weight at a point in voxel units from the first sample point; 0 if one of eight voxels was never seen."""
    i, j, k = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
    a, b, c = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    block = find_block(field, i >> 3, j >> 3, k >> 3)
    inside = (i & 7) < 7 and (j & 7) < 7 and (k & 7) < 7
    distance, weight = np.float32(0), np.float32(0)
    for corner in range(8):
        u, v, w = i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)
        if not inside:
            block = find_block(field, u >> 3, v >> 3, w >> 3)
        d, m = read_voxel(field, block, u, v, w)
        if m == 0:
            return np.float32(0), np.float32(0)
        part = (a if corner & 4 else 1 - a) * (b if corner & 2 else 1 - b) * (c if corner & 1 else 1 - c)
        distance += part * d
        weight += part * m
    return distance, weight


@numba.njit(nogil=True, cache=True)
def sample_points(
    field: Field, points: NDArray[np.float64], distance: NDArray[np.float32], weight: NDArray[np.float32]
) -> None:
    """Distance and weight (N,) at points (N, 3) in voxel units from the first sample point."""
    for n in range(len(points)):
        distance[n], weight[n] = trilinear(field, points[n, 0], points[n, 1], points[n, 2])


@numba.njit(inline="always")
def voxel_label(sums: Any, row: Any, voxel: Any) -> Any:
    """The label of most evidence and its evidence, 0 without any; of equals the smaller label."""
    best, most = np.int32(0), np.int32(0)
    channel = sums.head[row]
    while channel != 0:
        evidence, label = sums.evidence[channel, voxel], sums.link[channel, LABEL]
        if evidence > most or (evidence == most and evidence > 0 and label < best):
            best, most = label, evidence
        channel = sums.link[channel, NEXT]
    return np.uint16(best), most


@numba.njit(nogil=True, cache=True)
def block_labels(sums: Any, rows: NDArray[np.int32], labels: NDArray[np.uint16]) -> None:
    """The label of most evidence (B, 512) in the blocks `rows` (B,); 0 where there is none or the row is -1."""
    for b in range(len(rows)):
        if rows[b] >= 0 and sums.head[rows[b]] != 0:
            for voxel in range(VOXELS):
                labels[b, voxel], _ = voxel_label(sums, rows[b], voxel)


@numba.njit(nogil=True, cache=True)
def shade_vertices(
    sums: Any,
    rows: NDArray[np.int32],
    ends: NDArray[np.int64],
    fraction: NDArray[np.float64],
    colors: NDArray[np.uint8],
    labels: NDArray[np.uint16],
) -> None:
    """Colour (V, 3) and label (V,) between the voxels `512 * block + voxel` at both `ends` (V, 2); block b is in row rows[b].

    Colours mix by their weight and nearness. The label is that of the end with more evidence times nearness.
    """
    has_color = len(sums.color) > 0
    for vertex in range(len(ends)):
        red, green, blue, total = 0.0, 0.0, 0.0, 0.0
        most = 0.0
        for end in range(2):
            row, voxel = rows[ends[vertex, end] >> 9], ends[vertex, end] & 511
            near = fraction[vertex] if end else 1 - fraction[vertex]
            if has_color:
                red += near * sums.color[row, voxel, 0]
                green += near * sums.color[row, voxel, 1]
                blue += near * sums.color[row, voxel, 2]
                total += near * sums.color[row, voxel, 3]
            if sums.head[row] != 0:
                label, evidence = voxel_label(sums, row, voxel)
                if near * evidence > most:
                    most, labels[vertex] = near * evidence, label
        if total > 0:
            colors[vertex, 0] = np.uint8(red / total + 0.5)
            colors[vertex, 1] = np.uint8(green / total + 0.5)
            colors[vertex, 2] = np.uint8(blue / total + 0.5)
