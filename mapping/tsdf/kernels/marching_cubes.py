"""Compiled passes of marching cubes over blocks. Voxel (i, j, k) of a block is number 64 i + 8 j + k.

Each pass writes only what belongs to the blocks of its span, so that threads may share the work. An edge of the grid belongs to
the voxel it starts at: edge 4 v + axis of a block starts at voxel v.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import Float32Array, Float64Array, Int32Array, Int64Array, Span, UInt8Array, UInt16Array
from mapping.compiling import INNER, kernel

SIDE = 8
VOXELS = SIDE**3
AROUND = SIDE + 1  # voxels along the edge of a block and of the layer behind it
_OUTSIDE, _INSIDE, _HIDDEN = np.uint8(0), np.uint8(1), np.uint8(2)


class Blocks(NamedTuple):
    """B blocks and the field in them."""

    coords: Int32Array
    """(B, 3) coordinates in blocks."""
    rows: Int32Array
    """(B,) what voxels are numbered by: `512 * row + voxel`."""
    distance: Float32Array
    """(B, 512) signed distance, in any unit."""
    weight: Float32Array
    """(B, 512) weight, 0 where never seen."""
    after: Int32Array
    """(B, 8) which of the blocks is at offset c, with bits x y z of c; -1 for none."""
    before: Int32Array
    """(B, 8) which is at offset -c; -1 for none."""


class Cells(NamedTuple):
    """C cells that the surface passes, in the order of their blocks."""

    first: Int64Array
    """(B + 1,) where those of a block begin, and the end of the last."""
    voxel: UInt16Array
    """(C,) the voxel at the lowest corner."""
    case: UInt8Array
    """(C,) which corners are inside, bit by bit."""


class Vertices(NamedTuple):
    """V vertices in the order of their blocks."""

    first: Int64Array
    """(B + 1,) where those of a block begin, and the end of the last."""
    edge: UInt16Array
    """(V,) four times the voxel at which the edge starts plus its axis."""
    ends: Int64Array
    """(V, 2) the voxels `512 * row + voxel` between which the vertex lies."""
    places: Float64Array
    """(V, 3) in voxels."""
    fraction: Float64Array
    """(V,) of the edge from the first end to the second."""
    weight: Float64Array
    """(V,) of the field there."""


@numba.njit(**INNER)
def read_signs(
    sign: UInt8Array, first: tuple[int, int, int], distance: Float32Array, weight: Float32Array, min_weight: np.float32
) -> np.uint8:
    """Write the signs of voxels (512,) into `sign` (9, 9, 9) from voxel `first` on, as far as it reaches; unseen ones stay.

    Returns a bit per sign that was written.
    """
    i0, j0, k0 = first
    found = np.uint8(0)
    for i in range(SIDE if i0 == 0 else 1):
        for j in range(SIDE if j0 == 0 else 1):
            for k in range(SIDE if k0 == 0 else 1):
                voxel = 64 * i + 8 * j + k
                if weight[voxel] >= min_weight:
                    value = _INSIDE if distance[voxel] < 0 else _OUTSIDE
                    sign[i0 + i, j0 + j, k0 + k] = value
                    found |= np.uint8(1) << value
    return found


@kernel(nogil=True)
def find_cases(blocks: Blocks, min_weight: float, span: Span, cases: UInt8Array, count: Int64Array) -> None:
    """The case (B, 512) of every cell of the blocks and how many there are (B,) that the surface passes.

    A case is 0 where the surface does not pass or a corner has less than `min_weight`.
    """
    distance, weight, after = blocks.distance, blocks.weight, blocks.after
    sign = np.zeros((AROUND, AROUND, AROUND), np.uint8)
    column, hidden = np.zeros(AROUND, np.uint8), np.zeros(AROUND, np.uint8)
    for n in range(span[0], span[1]):
        sign[:] = _HIDDEN
        found = np.uint8(0)
        for c in range(8):
            source = after[n, c]
            if source >= 0:
                at = SIDE * (c >> 2), SIDE * ((c >> 1) & 1), SIDE * (c & 1)
                found |= read_signs(sign, at, distance[source], weight[source], min_weight)
        count[n] = 0
        cases[n] = 0
        if found != 3:  # nowhere in it does the field change its sign
            continue
        for i in range(SIDE):
            for j in range(SIDE):
                for k in range(AROUND):  # a cell shares four of its corners with the next one
                    a, b = sign[i, j, k], sign[i, j + 1, k]
                    c, d = sign[i + 1, j, k], sign[i + 1, j + 1, k]
                    column[k] = (a & 1) | (b & 1) << 2 | (c & 1) << 4 | (d & 1) << 6
                    hidden[k] = (a | b | c | d) & _HIDDEN
                for k in range(SIDE):
                    case = column[k] | column[k + 1] << 1
                    if (hidden[k] | hidden[k + 1]) == 0 and 0 < case < 255:
                        cases[n, 64 * i + 8 * j + k] = case
                        count[n] += 1


@kernel(nogil=True)
def pack_cells(cases: UInt8Array, span: Span, cells: Cells) -> None:
    """List the cells whose case (B, 512) is not 0."""
    first, voxels, case = cells.first, cells.voxel, cells.case
    for n in range(span[0], span[1]):
        at = first[n]
        for voxel in range(VOXELS):
            if cases[n, voxel]:
                voxels[at], case[at] = voxel, cases[n, voxel]
                at += 1


@kernel(nogil=True)
def find_edges(
    blocks: Blocks,
    cells: Cells,
    cut: UInt8Array,
    span: Span,
    used: UInt8Array,
    count: Int64Array,
) -> None:
    """Set bit `axis` of `used` (B, 512) for every voxel of the blocks whose edge along the axis carries a vertex.

    count (B,): how many that are. cut (256, 8): by case and corner the axes of the cut edges that start there.
    """
    before, first = blocks.before, cells.first
    voxels, cases = cells.voxel, cells.case
    for n in range(span[0], span[1]):
        used[n] = 0
        for c in range(8):
            source = before[n, c]
            if source < 0:
                continue
            x, y, z = SIDE * (c >> 2), SIDE * ((c >> 1) & 1), SIDE * (c & 1)
            for cell in range(first[source], first[source + 1]):
                voxel, case = np.int64(voxels[cell]), cases[cell]
                i, j, k = (voxel >> 6) - x, (voxel >> 3 & 7) - y, (voxel & 7) - z
                if min(i, j, k) < -1:
                    continue  # it does not reach into this block
                for corner in range(8):
                    ci, cj, ck = i + (corner >> 2), j + ((corner >> 1) & 1), k + (corner & 1)
                    if ((ci | cj | ck) & ~7) == 0:
                        used[n, ci << 6 | cj << 3 | ck] |= cut[case, corner]
        count[n] = 0
        for start in range(VOXELS):
            bits = used[n, start]
            count[n] += (bits & 1) + (bits >> 1 & 1) + (bits >> 2)


@kernel(nogil=True)
def place_vertices(blocks: Blocks, used: UInt8Array, margin: float, span: Span, vertices: Vertices) -> None:
    """Fill in the vertices on the edges that are `used` (B, 512) bit by bit.

    `margin` keeps them off the voxels, where several would fall on one point and triangles would lose their area.
    """
    distance, weight = blocks.distance, blocks.weight
    coords, after, rows = blocks.coords, blocks.after, blocks.rows
    edges, ends, places = vertices.edge, vertices.ends, vertices.places
    fraction, weights = vertices.fraction, vertices.weight
    for n in range(span[0], span[1]):
        vertex = vertices.first[n]
        for voxel in range(VOXELS):
            bits = used[n, voxel]
            for axis in range(3 if bits else 0):
                if not bits >> axis & 1:
                    continue
                i, j, k = voxel >> 6, (voxel >> 3) & 7, voxel & 7
                i1, j1, k1 = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                other = after[n, (i1 >> 3) * 4 + (j1 >> 3) * 2 + (k1 >> 3)]
                end = ((i1 & 7) << 6) | ((j1 & 7) << 3) | (k1 & 7)
                ends[vertex, 0] = np.int64(rows[n]) * VOXELS + voxel
                ends[vertex, 1] = np.int64(rows[other]) * VOXELS + end
                d0, d1 = np.float64(distance[n, voxel]), np.float64(distance[other, end])
                along = min(max(d0 / (d0 - d1), margin), 1 - margin)
                edges[vertex], fraction[vertex] = 4 * voxel + axis, along
                weights[vertex] = weight[n, voxel] + along * (weight[other, end] - weight[n, voxel])
                places[vertex, 0] = SIDE * np.int64(coords[n, 0]) + i + along * (axis == 0) + 0.5
                places[vertex, 1] = SIDE * np.int64(coords[n, 1]) + j + along * (axis == 1) + 0.5
                places[vertex, 2] = SIDE * np.int64(coords[n, 2]) + k + along * (axis == 2) + 0.5
                vertex += 1


@kernel(nogil=True)
def make_faces(
    blocks: Blocks,
    cells: Cells,
    vertices: Vertices,
    table: tuple[Int32Array, Int32Array],
    first_face: Int64Array,
    span: Span,
    faces: Int32Array,
) -> None:
    """The triangles (F, 3) of blocks, cell by cell, those of a cell from first_face[cell] on.

    table: triangles by case and, of their corners, the edges as numbers from the cell on in the grid of 9 x 9 x 9 voxels with
    three edges each.
    """
    first, voxels, cases = cells.first, cells.voxel, cells.case
    after, first_vertex, edges = blocks.after, vertices.first, vertices.edge
    counts, corners = table
    number = np.zeros(3 * AROUND**3, np.int32)  # of the vertex on an edge; cells only ask for edges that have one
    for n in range(span[0], span[1]):
        if first[n] == first[n + 1]:
            continue
        for c in range(8):
            source = after[n, c]
            if source < 0:
                continue
            x, y, z = c >> 2, (c >> 1) & 1, c & 1
            for vertex in range(first_vertex[source], first_vertex[source + 1]):
                edge = np.int64(edges[vertex])
                i, j, k = edge >> 8, edge >> 5 & 7, edge >> 2 & 7
                if x * i + y * j + z * k == 0:
                    i, j, k = i + SIDE * x, j + SIDE * y, k + SIDE * z
                    number[3 * (AROUND * (AROUND * i + j) + k) + (edge & 3)] = vertex
                elif x * i:
                    break  # edges are in order
        for cell in range(first[n], first[n + 1]):
            voxel, case = np.int64(voxels[cell]), cases[cell]
            base = 3 * (AROUND * (AROUND * (voxel >> 6) + (voxel >> 3 & 7)) + (voxel & 7))
            face = first_face[cell]
            for t in range(counts[case]):
                for corner in range(3):
                    faces[face + t, corner] = number[base + corners[case, 3 * t + corner]]
