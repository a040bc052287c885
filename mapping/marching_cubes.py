"""Triangles from a sparse signed distance field: marching cubes (Lorensen and Cline 1987) with faces that always agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping._marching_cubes_table import CORNERS, EDGE_OWNERS, case_table
from mapping._threads import run_parts, split
from mapping.blocks import BlockMap

SIDE = 8
LEAST_WEIGHT = 1e-9
"""What was seen at all weighs more."""
VERTEX_MARGIN = 1e-3
"""A vertex stays this share of the edge away from its ends."""


@dataclass(frozen=True, eq=False)
class Isosurface:
    """The zero level of a field as triangles.

    vertices (V, 3) float64 in voxels; faces (F, 3) int32, counter-clockwise seen from positive distance; ends (V, 2) int64 the
    voxels `512 * row + voxel` between which a vertex lies; fraction (V,) float64 of the way from the first to the second.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    ends: NDArray[np.int64]
    fraction: NDArray[np.float64]


def isosurface(
    coords: NDArray[np.int32],
    distance: NDArray[np.float32],
    weight: NDArray[np.float32],
    min_weight: float,
    *,
    threads: int = 1,
) -> Isosurface:
    """The surface between blocks' voxels that were all seen with at least `min_weight`.

    coords (B, 3) block coordinates, each once; distance and weight (B, 8, 8, 8). A vertex belongs to an edge between two voxels
    and is shared by all cells around it, across block borders too.
    """
    from mapping import _marching_cubes_numba as kernels

    count = len(coords)
    distance, weight = (np.ascontiguousarray(a, np.float32).reshape(count, SIDE**3) for a in (distance, weight))
    after, table = _blocks_after(coords), case_table()
    cases, least = np.zeros((count, SIDE**3), np.uint8), np.float32(max(min_weight, LEAST_WEIGHT))
    spans = split(count, threads)
    run_parts(lambda part: kernels.find_cases(distance, weight, after, least, spans[part], cases), threads)
    used, first = np.zeros_like(cases), np.zeros((count, SIDE**3), np.int32)
    faces = np.zeros((kernels.mark_edges(cases, after, EDGE_OWNERS, table, used), 3), np.int32)
    vertices = kernels.number_vertices(used, first)
    ends, fraction = np.zeros((vertices, 2), np.int64), np.zeros(vertices)
    kernels.place_vertices(distance, after, used, ends, fraction, VERTEX_MARGIN)
    kernels.make_faces(cases, after, EDGE_OWNERS, table, used, first, faces)
    start, end = (voxel_coordinates(coords, ends[:, i]) for i in range(2))
    return Isosurface(start + fraction[:, None] * (end - start) + 0.5, faces, ends, fraction)


def voxel_coordinates(coords: NDArray[np.int32], voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Integer voxel coordinates (N, 3) of flat voxel numbers `512 * row + voxel` in blocks at `coords` (B, 3)."""
    local = np.stack([(voxels >> 6) & 7, (voxels >> 3) & 7, voxels & 7], axis=1)
    return coords[voxels >> 9].astype(np.int64) * SIDE + local


def _blocks_after(coords: NDArray[np.int32]) -> NDArray[np.int32]:
    """(B, 8) row of the block at each corner offset, -1 where there is none."""
    rows = BlockMap()
    rows.insert(coords)
    return np.stack([rows.find(coords + offset) for offset in CORNERS], axis=1)
