"""Reading the sums of a volume, compiled: distance, weight, label and colour.

Arrays are taken out of their named tuples before the loops: each access in a loop would update a reference count.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array, Span, UInt8Array, UInt16Array
from mapping.compiling import INNER, kernel
from mapping.tsdf.grid import CELL_VOXELS, SIDE, WEIGHT_UNIT
from mapping.tsdf.kernels.surface import best_label, record_of
from mapping.tsdf.layout import BLUE, COLOR_WEIGHT, GREEN, PLACES, RED, SurfaceRecords

VOXELS = SIDE**3
_UNIT = np.float32(WEIGHT_UNIT)


@numba.njit(**INNER)
def voxel_number(x: int, y: int, z: int) -> int:
    """The number within its block of voxel (x, y, z)."""
    return ((x & 7) << 6) | ((y & 7) << 3) | (z & 7)


@numba.njit(**INNER)
def cell_number(x: int, y: int, z: int) -> int:
    """The number within its block of the free-space cell around voxel (x, y, z)."""
    return voxel_number(x // CELL_VOXELS, y // CELL_VOXELS, z // CELL_VOXELS)


class DistanceArrays(NamedTuple):
    """The sums of distance and weight of a volume."""

    tsdf: Int32Array
    """(R, 64, 2, 8) of measured blocks, by octet."""
    free: Int32Array
    """(F, 512) of free-space blocks, by cell: distance in truncations and weight at once."""


@kernel(nogil=True)
def read_blocks(
    arrays: DistanceArrays,
    coords: Int32Array,
    rows: Int32Array,
    span: Span,
    truncation: float,
    distance: Float32Array,
    weight: Float32Array,
) -> None:
    """Distance in metres and weight (B, 512) of blocks `coords` (B, 3); `rows` (B, 2) are those of both arrays, -1 for none."""
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
def find_measured(tsdf: Int32Array, rows: Int32Array, measured: BoolArray) -> None:
    """Whether any voxel of the blocks `rows` (B,) was measured, (B,)."""
    for b in range(len(rows)):
        measured[b] = False
        for voxel in range(VOXELS):
            if tsdf[rows[b], voxel >> 3, 1, voxel & 7] != 0:
                measured[b] = True
                break


@kernel(nogil=True)
def block_labels(surface: SurfaceRecords, rows: Int32Array, labels: UInt16Array) -> None:
    """The label of most evidence (B, 512) in the blocks `rows` (B,); 0 without evidence or for row -1."""
    slot, place = surface.slot, surface.place
    records, more = surface.records, surface.more
    for b in range(len(rows)):
        if rows[b] >= 0:
            for voxel in range(VOXELS):
                labels[b, voxel], _ = best_label(records, more, record_of(slot, place, rows[b], voxel))


@kernel(nogil=True)
def shade_vertices(
    surface: SurfaceRecords,
    ends: Int64Array,
    fraction: Float64Array,
    span: Span,
    colors: UInt8Array,
    labels: UInt16Array,
) -> None:
    """Colour (V, 3) and label (V,) between the voxels `512 * row + voxel` at both `ends` (V, 2), `fraction` (V,) from the first.

    Colours are averaged by weight and nearness. The label is that of the end with more evidence times nearness.
    """
    slot, place = surface.slot, surface.place
    records, more = surface.records, surface.more
    for vertex in range(span[0], span[1]):
        red, green, blue = 0.0, 0.0, 0.0
        total, most = 0.0, 0.0
        for end in range(2):
            row, voxel = ends[vertex, end] >> 9, ends[vertex, end] & 511
            record = record_of(slot, place, row, voxel)
            if record < 0:
                continue
            near = fraction[vertex] if end else 1 - fraction[vertex]
            red += near * records[record, RED]
            green += near * records[record, GREEN]
            blue += near * records[record, BLUE]
            total += near * records[record, COLOR_WEIGHT]
            label, support = best_label(records, more, record)
            if near * support > most:
                most, labels[vertex] = near * support, label
        if total > 0:
            colors[vertex, 0] = np.uint8(red / total + 0.5)
            colors[vertex, 1] = np.uint8(green / total + 0.5)
            colors[vertex, 2] = np.uint8(blue / total + 0.5)
