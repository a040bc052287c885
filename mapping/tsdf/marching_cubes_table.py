"""The marching cubes case table, computed rather than listed.

Corner c of a cell is at ((c >> 2) & 1, (c >> 1) & 1, c & 1). On each face the crossing points of the surface are joined by
segments that depend on the signs of that face's four corners alone, so that the two cells of a face always agree and the surface
has no holes: where the signs alternate, each inside corner is separated. The segments close into loops, and each loop is
triangulated without a diagonal that lies in a face, which the neighbour could draw too.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

CORNERS = np.array([[(c >> 2) & 1, (c >> 1) & 1, c & 1] for c in range(8)], dtype=np.int32)
"""(8, 3) offsets of a cell's corners."""
EDGES = [(a, b) for a, b in product(range(8), repeat=2) if a < b and bin(a ^ b).count("1") == 1]
"""The twelve (corner, corner) pairs that differ along one axis; the first is the lower end."""
EDGE_AXES = [3 - (a ^ b).bit_length() for a, b in EDGES]
"""The axis of each edge: corners differ in bit 2 along x, 1 along y and 0 along z."""

Loop = tuple[int, ...]
Triangles = list[tuple[int, int, int]]


def _faces() -> list[Loop]:
    """The six faces as corners in counter-clockwise order seen from outside the cell."""
    faces = []
    for axis, side in product(range(3), (0, 1)):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        ring = []
        for du, dv in ((0, 0), (1, 0), (1, 1), (0, 1)):
            corner = np.zeros(3, dtype=int)
            corner[[axis, u, v]] = side, du, dv
            ring.append(int(corner @ [4, 2, 1]))
        faces.append(tuple(ring if side else ring[::-1]))
    return faces


def _segments(face: Loop, inside: tuple[bool, ...]) -> list[tuple[int, int]]:
    """Directed segments between edges of a face; the inside is to the right of each, seen from outside of the cell."""
    edges = [EDGES.index((min(pair), max(pair))) for pair in pairwise([*face, face[0]])]
    signs = [inside[c] for c in face]
    entering = [edges[i] for i in range(4) if not signs[i] and signs[(i + 1) % 4]]
    leaving = [edges[i] for i in range(4) if signs[i] and not signs[(i + 1) % 4]]
    segments = []
    for start in entering:  # around the face, the run of inside corners ends at the next edge that leaves
        position = edges.index(start)
        end = next(edges[(position + k) % 4] for k in range(1, 4) if edges[(position + k) % 4] in leaving)
        segments.append((start, end))
    return segments


def _loops(inside: tuple[bool, ...]) -> list[Loop]:
    follow: dict[int, int] = {}
    for face in _faces():
        follow.update(_segments(face, inside))
    loops = []
    while follow:
        start, step = next(iter(sorted(follow.items())))
        loop = [start]
        while step != start:
            loop.append(step)
            step = follow.pop(step)
        del follow[start]
        loops.append(tuple(loop))
    return loops


def _share_face(edge_a: int, edge_b: int) -> bool:
    corners = np.array([*EDGES[edge_a], *EDGES[edge_b]])
    return any(len(set(CORNERS[corners, axis])) == 1 for axis in range(3))


@cache
def _triangulate(loop: Loop) -> tuple[int, Triangles]:
    """The triangulation of a polygon with the fewest diagonals in faces, and their number."""
    if len(loop) == 3:
        return 0, [(loop[0], loop[1], loop[2])]
    best: tuple[int, Triangles] | None = None
    for k in range(1, len(loop) - 1):  # the triangle on the side (last, first) has its tip at k
        cost, triangles = 0, [(loop[0], loop[k], loop[-1])]
        for part in (loop[: k + 1], loop[k:]):
            if len(part) > 2:
                part_cost, part_triangles = _triangulate(part)
                cost += part_cost + _share_face(part[0], part[-1])
                triangles = triangles + part_triangles
        if best is None or cost < best[0]:
            best = cost, triangles
    assert best is not None
    return best


@cache
def case_table() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Triangles by case: counts (256,) and edges (256, N, 3), -1 beyond the count.

    Bit c of the case is set where corner c is inside (negative distance). Triangles are counter-clockwise seen from outside.
    """
    cases: list[Triangles] = []
    for case in range(256):
        inside = tuple(bool(case >> c & 1) for c in range(8))
        cases.append([t for loop in _loops(inside) for t in _triangulate(loop)[1]])
    counts = np.array([len(triangles) for triangles in cases], dtype=np.int32)
    table = np.full((256, int(counts.max()), 3), -1, np.int32)
    for case, triangles in enumerate(cases):
        if triangles:
            table[case, : len(triangles)] = triangles
    return counts, table


@cache
def cut_edges() -> NDArray[np.uint8]:
    """(256, 8) by case and corner: bit `axis` is set where the edge from that corner along the axis is cut by the surface."""
    cut = np.zeros((256, 8), np.uint8)
    for case in range(256):
        for (a, b), axis in zip(EDGES, EDGE_AXES, strict=True):
            if (case >> a & 1) != (case >> b & 1):
                cut[case, a] |= 1 << axis
    return cut


@cache
def grid_edges() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """`case_table` with edges numbered as in a grid of 9 x 9 x 9 voxels that have three edges each: counts, and (256, 3 N).

    Added to the number of the first edge of a cell's first voxel they give the edges of the cell.
    """
    counts, triangles = case_table()
    start = CORNERS[[a for a, _ in EDGES]]
    number = (3 * (start @ [81, 9, 1]) + EDGE_AXES).astype(np.int32)
    return counts, number[triangles.reshape(len(counts), -1)]
