"""Compiled kernel of `walkable_grid`: which cells of a floor grid are covered by triangles within a band of heights."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.compiling import kernel

Array = NDArray[np.float64]


class Outline(NamedTuple):
    """Twice the signed area of a polygon's outline, and its lowest and highest x and y."""

    area: float
    x0: float
    x1: float
    y0: float
    y1: float


@kernel()
def _clip(polygon: Array, count: int, level: float, sign: float, out: Array) -> int:
    """Keep the side sign * (z - level) >= 0 of a convex polygon (count, 3); returns the number of corners written to
    `out` (Sutherland-Hodgman)."""
    kept = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        a, b = sign * (polygon[i, 2] - level), sign * (polygon[j, 2] - level)
        if a >= 0:
            out[kept] = polygon[i]
            kept += 1
        if (a >= 0) != (b >= 0):
            t = a / (a - b)
            out[kept] = polygon[i] + t * (polygon[j] - polygon[i])
            kept += 1
    return kept


@kernel()
def _inside(polygon: Array, count: int, x: float, y: float, side: float) -> bool:
    """Whether (x, y) lies in the outline of a convex polygon that turns counter-clockwise (side 1) or clockwise (-1)."""
    for k in range(count):
        p, q = polygon[k], polygon[k + 1 if k + 1 < count else 0]
        if side * ((q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0])) < 0:
            return False
    return True


@kernel()
def _outline(polygon: Array, count: int) -> Outline:
    area = 0.0
    x0, x1 = np.inf, -np.inf
    y0, y1 = np.inf, -np.inf
    for k in range(count):
        p, q = polygon[k], polygon[k + 1 if k + 1 < count else 0]
        area += p[0] * q[1] - q[0] * p[1]
        x0, x1 = min(x0, p[0]), max(x1, p[0])
        y0, y1 = min(y0, p[1]), max(y1, p[1])
    return Outline(area, x0, x1, y0, y1)


@kernel()
def _mark(polygon: Array, count: int, low: Array, cell: float, marks: NDArray[np.bool_]) -> None:
    """Set the cells that the outline crosses, by steps of a third of a cell along it, and those whose centre lies inside."""
    nx, ny = marks.shape
    for k in range(count):
        p, q = polygon[k], polygon[k + 1 if k + 1 < count else 0]
        steps = int(math.hypot(q[0] - p[0], q[1] - p[1]) / (cell / 3)) + 1
        for s in range(steps + 1):
            t = s / steps
            i = math.floor((p[0] + t * (q[0] - p[0]) - low[0]) / cell)
            j = math.floor((p[1] + t * (q[1] - p[1]) - low[1]) / cell)
            if 0 <= i < nx and 0 <= j < ny:
                marks[i, j] = True
    outline = _outline(polygon, count)
    side = 1.0 if outline.area > 0 else -1.0
    for i in range(max(0, int((outline.x0 - low[0]) / cell)), min(nx, int((outline.x1 - low[0]) / cell) + 1)):
        for j in range(max(0, int((outline.y0 - low[1]) / cell)), min(ny, int((outline.y1 - low[1]) / cell) + 1)):
            if not marks[i, j] and _inside(polygon, count, low[0] + (i + 0.5) * cell, low[1] + (j + 0.5) * cell, side):
                marks[i, j] = True


@kernel()
def _wind(polygon: Array, count: int, low: Array, cell: float, winding: NDArray[np.int16]) -> None:
    """Count a piece of surface below the band: downward faces open the solid above them, upward faces close it."""
    outline = _outline(polygon, count)
    if abs(outline.area) < 1e-14:
        return
    side = 1.0 if outline.area > 0 else -1.0
    nx, ny = winding.shape
    for i in range(max(0, int((outline.x0 - low[0]) / cell)), min(nx, int((outline.x1 - low[0]) / cell) + 1)):
        for j in range(max(0, int((outline.y0 - low[1]) / cell)), min(ny, int((outline.y1 - low[1]) / cell) + 1)):
            if _inside(polygon, count, low[0] + (i + 0.5) * cell, low[1] + (j + 0.5) * cell, side):
                winding[i, j] -= 1 if outline.area > 0 else -1


@kernel()
def mark_band(
    triangles: Array, band: tuple[float, float], low: Array, cell: float, occupied: NDArray[np.bool_]
) -> None:
    """Set the cells of `occupied` (nx, ny) over which a body reaches into a band of heights.

    Parameters
    ----------
    triangles : (F, 3, 3) all triangles of one body, z above the floor.
    band : lowest and highest height that count.
    low : (2,) outer corner of cell (0, 0).

    Surface within the band counts, and the interior of closed bodies that cross the whole band (the winding number at the
    band's lower end, from the faces below it).
    """
    nx, ny = occupied.shape
    first, second = np.zeros((8, 3)), np.zeros((8, 3))
    winding = np.zeros((nx, ny), np.int16)
    wound = False
    for f in range(len(triangles)):
        z0 = min(triangles[f, 0, 2], triangles[f, 1, 2], triangles[f, 2, 2])
        z1 = max(triangles[f, 0, 2], triangles[f, 1, 2], triangles[f, 2, 2])
        if z0 < band[0]:
            count = _clip(triangles[f], 3, band[0], -1.0, first)
            if count > 2:
                _wind(first, count, low, cell, winding)
                wound = True
        if z1 > band[0] and z0 < band[1]:
            count = _clip(triangles[f], 3, band[0], 1.0, first)
            count = _clip(first, count, band[1], -1.0, second)
            if count > 1:
                _mark(second, count, low, cell, occupied)
    if wound:
        for i in range(nx):
            for j in range(ny):
                if winding[i, j] > 0:
                    occupied[i, j] = True
