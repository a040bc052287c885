"""Marching cubes over sparse blocks (Lorensen and Cline 1987) with faces that always agree.

A cell belongs to the block of its lowest corner, a vertex to the block in which its edge starts. So cells depend on the block and
the seven after it, and vertices on the cells of the block and the seven before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.threads import run_parts, split
from mapping.tsdf.blocks import BlockMap
from mapping.tsdf.kernels import marching_cubes as kernels
from mapping.tsdf.marching_cubes_table import CORNERS, cut_edges, grid_edges

MIN_WEIGHT = 1e-9
"""Every voxel that was seen has a greater weight."""
VERTEX_MARGIN = 1e-3
"""A vertex stays this share of the edge away from its ends."""


@dataclass(frozen=True, eq=False)
class Isosurface:
    """The zero level of a field as triangles.

    vertices (V, 3) float64 in voxels; faces (F, 3) int32, counter-clockwise seen from positive distance; ends (V, 2) int64 the
    voxels `512 * row + voxel` between which a vertex lies; fraction (V,) float64 of the path from the first to the second;
    weight (V,) float64 of the field there.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    ends: NDArray[np.int64]
    fraction: NDArray[np.float64]
    weight: NDArray[np.float64]


def isosurface(
    blocks: BlockMap,
    rows: NDArray[np.int32],
    distance: NDArray[np.float32],
    weight: NDArray[np.float32],
    min_weight: float,
    *,
    threads: int = 1,
) -> Isosurface:
    """The surface between the voxels of the blocks `rows` (B,) of a map that were all seen with at least `min_weight`.

    distance and weight (B, 512) of the voxels; blocks that are not listed were never seen. A vertex belongs to an edge between
    two voxels and is shared by all cells around it, across block borders too. The order of the blocks is that of the vertices
    and of the faces.
    """
    after, before = _neighbours(blocks, rows)
    field = kernels.Blocks(np.ascontiguousarray(blocks.coords[rows]), rows, distance, weight, after, before)
    cells = _find_cells(field, min_weight, threads)
    vertices = _find_vertices(field, cells, threads)
    faces = _make_faces(field, cells, vertices, threads)
    return Isosurface(vertices.places, faces, vertices.ends, vertices.fraction, vertices.weight)


def _neighbours(blocks: BlockMap, rows: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Which of the listed blocks (B,) is after and before each by each offset, both (B, 8), -1 for none."""
    place = np.full(blocks.count + 1, -1, np.int32)  # the last one is for absent blocks, row -1
    place[rows] = np.arange(len(rows))
    coords = blocks.coords[rows]
    after, before = np.full((2, len(rows), len(CORNERS)), -1, np.int32)
    for c, offset in enumerate(CORNERS):
        after[:, c] = place[blocks.find(coords + offset)]
        there = np.flatnonzero(after[:, c] >= 0)
        before[after[there, c], c] = there
    return after, before


def _find_cells(blocks: kernels.Blocks, min_weight: float, threads: int) -> kernels.Cells:
    count = np.zeros(len(blocks.rows), np.int64)
    cases = np.zeros((len(count), kernels.VOXELS), np.uint8)
    least, spans = np.float32(max(min_weight, MIN_WEIGHT)), split(len(count), threads)
    run_parts(lambda part: kernels.find_cases(blocks, least, spans[part], cases, count), threads)
    first = _first(count)
    cells = kernels.Cells(first, np.zeros(first[-1], np.uint16), np.zeros(first[-1], np.uint8))
    run_parts(lambda part: kernels.pack_cells(cases, spans[part], cells), threads)
    return cells


def _find_vertices(blocks: kernels.Blocks, cells: kernels.Cells, threads: int) -> kernels.Vertices:
    count = np.zeros(len(blocks.rows), np.int64)
    used = np.zeros((len(count), kernels.VOXELS), np.uint8)
    spans, cut = split(len(count), threads), cut_edges()
    run_parts(lambda part: kernels.find_edges(blocks, cells, cut, spans[part], used, count), threads)
    first = _first(count)
    total = int(first[-1])
    vertices = kernels.Vertices(
        first,
        edge=np.zeros(total, np.uint16),
        ends=np.zeros((total, 2), np.int64),
        places=np.zeros((total, 3)),
        fraction=np.zeros(total),
        weight=np.zeros(total),
    )
    run_parts(lambda part: kernels.place_vertices(blocks, used, VERTEX_MARGIN, spans[part], vertices), threads)
    return vertices


def _make_faces(
    blocks: kernels.Blocks, cells: kernels.Cells, vertices: kernels.Vertices, threads: int
) -> NDArray[np.int32]:
    """The triangles (F, 3) of all cells, in their order."""
    table = grid_edges()
    first_face = _first(table[0][cells.case].astype(np.int64))
    faces, spans = np.zeros((int(first_face[-1]), 3), np.int32), split(len(blocks.rows), threads)
    run_parts(lambda part: kernels.make_faces(blocks, cells, vertices, table, first_face, spans[part], faces), threads)
    return faces


def _first(count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of several consecutive ranges of these lengths (N,) begins, and where the last one ends: (N + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
