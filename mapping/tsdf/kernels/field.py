"""Reading the sums of a volume, compiled: distance, weight, label and colour.

Arrays are taken out of their named tuples before the loops: each access to a tuple's array inside would count references.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mapping.compiling import INNER, kernel
from mapping.tsdf.grid import CELL_VOXELS, SIDE, WEIGHT_UNIT
from mapping.tsdf.kernels.surface import best_label, record_of
from mapping.tsdf.layout import BLUE, GREEN, PAINT, PLACES, RED, Surface

VOXELS = SIDE**3
_UNIT = np.float32(WEIGHT_UNIT)


@numba.njit(**INNER)
def voxel_number(x: Any, y: Any, z: Any) -> Any:
    """The number within its block of voxel (x, y, z)."""
    return ((x & 7) << 6) | ((y & 7) << 3) | (z & 7)


@numba.njit(**INNER)
def cell_number(x: Any, y: Any, z: Any) -> Any:
    """The number within its block of the free-space cell around voxel (x, y, z)."""
    return voxel_number(x // CELL_VOXELS, y // CELL_VOXELS, z // CELL_VOXELS)


@numba.njit(**INNER)
def read_voxel(tsdf: Any, free: Any, rows: Any, voxel: Any, cell: Any) -> Any:
    """Distance in truncations and weight of a voxel in `rows` of `tsdf` and `free` (-1: none); weight 0 where never seen."""
    distance, weight = np.int32(0), np.int32(0)
    if rows[0] >= 0:
        place = PLACES[voxel]
        distance, weight = tsdf[rows[0], place >> 3, 0, place & 7], tsdf[rows[0], place >> 3, 1, place & 7]
    if rows[1] >= 0:
        passed = free[rows[1], cell]
        distance, weight = distance + passed, weight + passed
    if weight <= 0:
        return np.float32(0), np.float32(0)
    return np.float32(distance) / np.float32(weight), np.float32(weight) / _UNIT


@kernel(nogil=True)
def read_blocks(
    arrays: tuple[NDArray[np.int32], NDArray[np.int32]],
    coords: NDArray[np.int32],
    rows: NDArray[np.int32],
    span: tuple[int, int],
    truncation: float,
    distance: NDArray[np.float32],
    weight: NDArray[np.float32],
) -> None:
    """Distance and weight (B, 512) of blocks `coords` (B, 3), which are in `rows` (B, 2) of the `arrays` tsdf and free."""
    tsdf, free = arrays
    scale = np.float32(truncation)
    sums, weights = np.zeros(VOXELS, np.int32), np.zeros(VOXELS, np.int32)
    for b in range(span[0], span[1]):
        row, free_row = rows[b, 0], rows[b, 1]
        for voxel in range(VOXELS):
            place = PLACES[voxel]
            sums[voxel] = tsdf[row, place >> 3, 0, place & 7] if row >= 0 else 0
            weights[voxel] = tsdf[row, place >> 3, 1, place & 7] if row >= 0 else 0
        if free_row >= 0:
            x, y, z = SIDE * coords[b, 0], SIDE * coords[b, 1], SIDE * coords[b, 2]
            for voxel in range(VOXELS):
                passed = free[free_row, cell_number(x + (voxel >> 6), y + (voxel >> 3 & 7), z + (voxel & 7))]
                sums[voxel] += passed
                weights[voxel] += passed
        for voxel in range(VOXELS):
            total = np.float32(weights[voxel] if weights[voxel] > 0 else 0)
            share = np.float32(sums[voxel]) / max(total, np.float32(1))
            distance[b, voxel] = scale * share if total > 0 else np.float32(0)
            weight[b, voxel] = total / _UNIT


@kernel(nogil=True)
def find_measured(tsdf: NDArray[np.int32], rows: NDArray[np.int32], measured: NDArray[np.bool_]) -> None:
    """Whether any voxel of the blocks `rows` (B,) was measured, (B,)."""
    for b in range(len(rows)):
        measured[b] = False
        for voxel in range(VOXELS):
            if tsdf[rows[b], voxel >> 3, 1, voxel & 7] != 0:
                measured[b] = True
                break


@kernel(nogil=True)
def block_labels(surface: Surface, rows: NDArray[np.int32], labels: NDArray[np.uint16]) -> None:
    """The label of most evidence (B, 512) in the blocks `rows` (B,); 0 where there is none or the row is -1."""
    slot, place, records, more = surface.slot, surface.place, surface.records, surface.more
    for b in range(len(rows)):
        if rows[b] >= 0:
            for voxel in range(VOXELS):
                labels[b, voxel], _ = best_label(records, more, record_of(slot, place, rows[b], voxel))


@kernel(nogil=True)
def shade_vertices(
    surface: Surface,
    ends: NDArray[np.int64],
    fraction: NDArray[np.float64],
    span: tuple[int, int],
    colors: NDArray[np.uint8],
    labels: NDArray[np.uint16],
) -> None:
    """Colour (V, 3) and label (V,) between the voxels `512 * row + voxel` at both `ends` (V, 2).

    Colours mix by their weight and nearness. The label is that of the end with more evidence times nearness.
    """
    slot, place, records, more = surface.slot, surface.place, surface.records, surface.more
    for vertex in range(span[0], span[1]):
        red, green, blue, total = 0.0, 0.0, 0.0, 0.0
        most = 0.0
        for end in range(2):
            row, voxel = ends[vertex, end] >> 9, ends[vertex, end] & 511
            record = record_of(slot, place, row, voxel)
            if record < 0:
                continue
            near = fraction[vertex] if end else 1 - fraction[vertex]
            red += near * records[record, RED]
            green += near * records[record, GREEN]
            blue += near * records[record, BLUE]
            total += near * records[record, PAINT]
            label, support = best_label(records, more, record)
            if near * support > most:
                most, labels[vertex] = near * support, label
        if total > 0:
            colors[vertex, 0] = np.uint8(red / total + 0.5)
            colors[vertex, 1] = np.uint8(green / total + 0.5)
            colors[vertex, 2] = np.uint8(blue / total + 0.5)
