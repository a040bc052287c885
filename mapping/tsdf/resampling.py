"""Sums of a volume in another lattice, or without a part of space.

Sums are linear, so a volume in another world is the weighted sum of its voxels: each new voxel takes the trilinear mean of the
sums of distance and of weight of the eight old ones around its place. Between lattices that coincide this is exact. Colour, label
evidence and free space come from the nearest old voxel or cell.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mapping.se3 import inverse, transform_points
from mapping.tsdf.blocks import BlockMap
from mapping.tsdf.grid import CELL_VOXELS, SIDE
from mapping.tsdf.surface import SurfaceSums
from mapping.tsdf.volume_io import VOXELS, VolumeSums

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

SLICE = 512
"""Blocks that are made at a time, which limits the additional memory."""
SNAP = 6
"""Decimals of a voxel to which places are rounded, so that coinciding lattices stay so."""
VOXEL_PLACES = np.indices((SIDE,) * 3).reshape(3, -1).T
"""(512, 3) voxels of a block in the order of their numbers."""


def moved_sums(sums: VolumeSums, T_new_old: Array, voxel_size: float) -> VolumeSums:
    """The sums of a volume in a world in which its points are `T_new_old` (4, 4) times what they were."""
    T_old_new = inverse(T_new_old)
    free_coords, free = _moved_free(sums, T_new_old, T_old_new, CELL_VOXELS * voxel_size)
    source, coords = _block_map(sums.coords), _covered(sums.coords, T_new_old, voxel_size)
    parts, surfaces = [], []
    for start in range(0, len(coords), SLICE):
        chosen = coords[start : start + SLICE]
        places = (SIDE * chosen[:, None].astype(np.int64) + VOXEL_PLACES).reshape(-1, 3)
        grid = np.round(transform_points(T_old_new, (places + 0.5) * voxel_size) / voxel_size - 0.5, SNAP)
        parts.append(_trilinear(sums.tsdf, source, grid).reshape(len(chosen), VOXELS, 2).transpose(0, 2, 1))
        surfaces.append(_nearest_records(sums.surface, source, np.rint(grid).astype(np.int64), start))
    tsdf = np.concatenate(parts) if parts else np.zeros((0, 2, VOXELS), np.int32)
    surface = _joined(surfaces, sums.surface)
    return _compact(VolumeSums(coords, tsdf, surface, free_coords, free))


def sums_without(sums: VolumeSums, points: Array, reach: float, voxel_size: float) -> VolumeSums:
    """The sums without what was measured at voxels at most `reach` metres from any of the points (N, 3)."""
    if not len(points) or not len(sums.coords):
        return sums
    tree, size = cKDTree(points), SIDE * voxel_size
    away = tree.query((sums.coords + 0.5) * size, distance_upper_bound=reach + size)[0]
    near = np.flatnonzero(np.isfinite(away))
    centers = (SIDE * sums.coords[near][:, None] + VOXEL_PLACES + 0.5) * voxel_size
    gone = np.zeros((len(sums.coords), VOXELS), dtype=bool)
    gone[near] = np.isfinite(tree.query(centers, distance_upper_bound=reach)[0])
    tsdf = np.where(gone[:, None], np.int32(0), sums.tsdf)
    surface = _chosen(sums.surface, ~gone[sums.surface.row, sums.surface.voxel])
    return _compact(replace(sums, tsdf=tsdf, surface=surface))


def _block_map(coords: NDArray[np.int32]) -> BlockMap:
    """Numbers the blocks (B, 3) by their rows."""
    blocks = BlockMap()
    blocks.insert(np.ascontiguousarray(coords))
    return blocks


def _covered(coords: NDArray[np.int32], T_new_old: Array, voxel_size: float) -> NDArray[np.int32]:
    """Sorted coordinates of the new blocks that the old blocks (B, 3), half a voxel wider, reach into."""
    steps = np.linspace(-1.0, SIDE + 1.0, 4)
    inside = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    found = [np.zeros((0, 3), np.int64)]
    for start in range(0, len(coords), SLICE):
        corners = SIDE * coords[start : start + SLICE, None].astype(np.float64) + inside
        moved = transform_points(T_new_old, corners.reshape(-1, 3) * voxel_size) / voxel_size
        found.append(np.unique(np.floor(np.round(moved, SNAP) / SIDE).astype(np.int64), axis=0))
    return np.unique(np.concatenate(found), axis=0).astype(np.int32)


def _rows_of(blocks: BlockMap, voxels: Numbers) -> tuple[NDArray[np.int32], Numbers]:
    """Row of the block, -1 for none, and number in it of voxels or cells (N, 3)."""
    rows = blocks.find(np.ascontiguousarray((voxels // SIDE).astype(np.int32)))
    i, j, k = (voxels & (SIDE - 1)).T
    return rows, (i << 6) | (j << 3) | k


def _trilinear(tsdf: NDArray[np.int32], blocks: BlockMap, grid: Array) -> NDArray[np.int32]:
    """(N, 2) sums of distance and weight at places (N, 3) of the old lattice."""
    low = np.floor(grid).astype(np.int64)
    share = grid - low
    total = np.zeros((len(grid), 2))
    for corner in np.ndindex(2, 2, 2):
        part = np.where(corner, share, 1 - share).prod(axis=1)
        used = np.flatnonzero(part > 0)
        rows, numbers = _rows_of(blocks, low[used] + corner)
        known = rows >= 0
        at = used[known]
        total[at] += part[at, None] * tsdf[rows[known], :, numbers[known]]
    result = np.rint(total).astype(np.int32)
    result[result[:, 1] <= 0] = 0
    return result


def _nearest_records(surface: SurfaceSums, blocks: BlockMap, voxels: Numbers, first_block: int) -> SurfaceSums:
    """The records of voxels (N, 3) of the old lattice, whose numbers in the new one continue from block `first_block`."""
    rows, numbers = _rows_of(blocks, voxels)
    keys = surface.row.astype(np.int64) * VOXELS + surface.voxel
    wanted = rows.astype(np.int64) * VOXELS + numbers
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    new = np.flatnonzero((rows >= 0) & (keys[at] == wanted)) if len(keys) else np.zeros(0, np.int64)
    taken = _taken(surface, at[new] if len(keys) else new)
    row, voxel = (first_block + new // VOXELS).astype(np.int32), (new % VOXELS).astype(np.uint16)
    return taken._replace(row=row, voxel=voxel)


def _chosen(surface: SurfaceSums, mask: NDArray[np.bool_]) -> SurfaceSums:
    return _taken(surface, np.flatnonzero(mask))


def _taken(surface: SurfaceSums, at: Numbers) -> SurfaceSums:
    """The records `at` (N,), which may repeat, with their label evidence."""
    first = np.searchsorted(surface.label_voxel, np.arange(len(surface.row) + 1))
    counts = (first[1:] - first[:-1])[at]
    entry = np.repeat(first[:-1][at] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    return SurfaceSums(
        row=surface.row[at],
        voxel=surface.voxel[at],
        color=surface.color[at],
        lost=surface.lost[at],
        label_voxel=np.repeat(np.arange(len(at)), counts).astype(np.int32),
        label=surface.label[entry],
        evidence=surface.evidence[entry],
    )


def _joined(parts: list[SurfaceSums], empty: SurfaceSums) -> SurfaceSums:
    """All records in order."""
    if not parts:
        return _taken(empty, np.zeros(0, np.int64))
    offsets = np.cumsum([0, *(len(part.row) for part in parts)])
    shifted = [p._replace(label_voxel=p.label_voxel + np.int32(o)) for p, o in zip(parts, offsets, strict=False)]
    return SurfaceSums(*(np.concatenate([getattr(p, name) for p in shifted]) for name in SurfaceSums._fields))


def _moved_free(
    sums: VolumeSums, T_new_old: Array, T_old_new: Array, cell_size: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Coordinates and sums of the new free-space blocks."""
    source, coords = _block_map(sums.free_coords), _covered(sums.free_coords, T_new_old, cell_size)
    free = np.zeros((len(coords), VOXELS), np.int32)
    for start in range(0, len(coords), SLICE):
        chosen = coords[start : start + SLICE]
        places = (SIDE * chosen[:, None].astype(np.int64) + VOXEL_PLACES).reshape(-1, 3)
        grid = np.round(transform_points(T_old_new, (places + 0.5) * cell_size) / cell_size - 0.5, SNAP)
        rows, numbers = _rows_of(source, np.rint(grid).astype(np.int64))
        values = np.where(rows >= 0, sums.free[rows, numbers], 0) if len(sums.free) else np.zeros(len(rows), np.int32)
        free[start : start + SLICE] = values.reshape(len(chosen), VOXELS)
    used = np.asarray(free.any(axis=1))
    return coords[used], free[used]


def _compact(sums: VolumeSums) -> VolumeSums:
    """Without blocks in which nothing is measured."""
    used = np.asarray(sums.tsdf[:, 1].any(axis=1))
    number = np.cumsum(used) - 1
    surface = _chosen(sums.surface, used[sums.surface.row])
    surface = surface._replace(row=number[surface.row].astype(np.int32))
    return replace(sums, coords=sums.coords[used], tsdf=sums.tsdf[used], surface=surface)
