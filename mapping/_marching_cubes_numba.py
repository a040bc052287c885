"""Compiled passes of marching cubes over blocks. Rows are blocks, voxel (i, j, k) of a block is number 64 i + 8 j + k."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mapping._kernel_cache import INNER

SIDE = 8


@numba.njit(cache=True, nogil=True)
def find_cases(
    distance: NDArray[np.float32],
    weight: NDArray[np.float32],
    after: NDArray[np.int32],
    min_weight: float,
    span: tuple[int, int],
    cases: NDArray[np.uint8],
) -> None:
    """The case (B, 512) of every cell in rows `span`; 0 where the surface does not pass or a corner has less than `min_weight`.

    distance, weight: (B, 512). after: (B, 8) row of the block at offset c (bits x y z), -1 where there is none.
    """
    code = np.zeros((SIDE + 1, SIDE + 1, SIDE + 1), np.uint8)  # 0 outside, 1 inside, 16 not observed
    for row in range(span[0], span[1]):
        code[:] = 16
        for c in range(8):
            source = after[row, c]
            if source < 0:
                continue
            i0, j0, k0 = SIDE * (c >> 2), SIDE * ((c >> 1) & 1), SIDE * (c & 1)
            for i in range(SIDE if i0 == 0 else 1):
                for j in range(SIDE if j0 == 0 else 1):
                    for k in range(SIDE if k0 == 0 else 1):
                        voxel = 64 * i + 8 * j + k
                        if weight[source, voxel] >= min_weight:
                            code[i0 + i, j0 + j, k0 + k] = 1 if distance[source, voxel] < 0 else 0
        for i in range(SIDE):
            for j in range(SIDE):
                for k in range(SIDE):
                    case = (
                        np.int32(code[i, j, k])
                        | code[i, j, k + 1] << 1
                        | code[i, j + 1, k] << 2
                        | code[i, j + 1, k + 1] << 3
                        | code[i + 1, j, k] << 4
                        | code[i + 1, j, k + 1] << 5
                        | code[i + 1, j + 1, k] << 6
                        | code[i + 1, j + 1, k + 1] << 7
                    )
                    hidden = (
                        code[i, j, k]
                        | code[i, j, k + 1]
                        | code[i, j + 1, k]
                        | code[i, j + 1, k + 1]
                        | code[i + 1, j, k]
                        | code[i + 1, j, k + 1]
                        | code[i + 1, j + 1, k]
                        | code[i + 1, j + 1, k + 1]
                    ) & 16
                    cases[row, 64 * i + 8 * j + k] = case if not hidden and case < 255 else 0


@numba.njit(**INNER)
def edge_voxel(after: Any, owners: Any, row: Any, voxel: Any, edge: Any) -> Any:
    """The row and voxel that own an edge of a cell, and its axis."""
    i, j, k = (voxel >> 6) + owners[edge, 0], ((voxel >> 3) & 7) + owners[edge, 1], (voxel & 7) + owners[edge, 2]
    source = after[row, (i >> 3) * 4 + (j >> 3) * 2 + (k >> 3)]
    return source, ((i & 7) << 6) | ((j & 7) << 3) | (k & 7), owners[edge, 3]


@numba.njit(cache=True, nogil=True)
def mark_edges(
    cases: NDArray[np.uint8],
    after: NDArray[np.int32],
    owners: NDArray[np.int32],
    table: tuple[NDArray[np.int32], NDArray[np.int32]],
    used: NDArray[np.uint8],
) -> int:
    """Set bit `axis` of `used` (B, 512) for every voxel whose edge along the axis carries a vertex; returns the triangles."""
    counts, triangles = table
    total = 0
    for row in range(len(cases)):
        for voxel in range(SIDE**3):
            case = cases[row, voxel]
            for t in range(counts[case]):
                for corner in range(3):
                    source, owner, axis = edge_voxel(after, owners, row, voxel, triangles[case, t, corner])
                    used[source, owner] |= 1 << axis
            total += counts[case]
    return total


@numba.njit(cache=True, nogil=True)
def number_vertices(used: NDArray[np.uint8], first: NDArray[np.int32]) -> int:
    """The number of the first vertex that each voxel owns, (B, 512); returns their count."""
    count = 0
    for row in range(len(used)):
        for voxel in range(SIDE**3):
            first[row, voxel] = count
            bits = used[row, voxel]
            count += (bits & 1) + (bits >> 1 & 1) + (bits >> 2)
    return count


@numba.njit(cache=True, nogil=True)
def place_vertices(
    distance: NDArray[np.float32],
    after: NDArray[np.int32],
    used: NDArray[np.uint8],
    ends: NDArray[np.int64],
    fraction: NDArray[np.float64],
    margin: float,
) -> None:
    """For every vertex the voxels `512 row + voxel` at both ends (V, 2) of its edge and how far along it lies.

    `margin` keeps vertices off the voxels, where several would fall on one point and triangles would lose their area.
    """
    vertex = 0
    for row in range(len(used)):
        for voxel in range(SIDE**3):
            bits = used[row, voxel]
            for axis in range(3):
                if not bits >> axis & 1:
                    continue
                i, j, k = voxel >> 6, (voxel >> 3) & 7, voxel & 7
                i, j, k = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                source = after[row, (i >> 3) * 4 + (j >> 3) * 2 + (k >> 3)]
                end = ((i & 7) << 6) | ((j & 7) << 3) | (k & 7)
                ends[vertex, 0] = np.int64(row) * SIDE**3 + voxel
                ends[vertex, 1] = np.int64(source) * SIDE**3 + end
                d0, d1 = np.float64(distance[row, voxel]), np.float64(distance[source, end])
                fraction[vertex] = min(max(d0 / (d0 - d1), margin), 1 - margin)
                vertex += 1


@numba.njit(cache=True, nogil=True)
def make_faces(
    cases: NDArray[np.uint8],
    after: NDArray[np.int32],
    owners: NDArray[np.int32],
    table: tuple[NDArray[np.int32], NDArray[np.int32]],
    used: NDArray[np.uint8],
    first: NDArray[np.int32],
    faces: NDArray[np.int32],
) -> None:
    """The triangles (F, 3) of all cells in order."""
    counts, triangles = table
    face = 0
    for row in range(len(cases)):
        for voxel in range(SIDE**3):
            case = cases[row, voxel]
            for t in range(counts[case]):
                for corner in range(3):
                    source, owner, axis = edge_voxel(after, owners, row, voxel, triangles[case, t, corner])
                    below = used[source, owner] & ((1 << axis) - 1)
                    faces[face, corner] = first[source, owner] + (below & 1) + (below >> 1)
                face += 1
