"""Compiled kernel of `walkable_grid`: which cells of a floor grid the triangles of a band of heights lie over."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True)
def _clip(polygon: Array, count: int, level: float, sign: float, out: Array) -> int:
    """Keep the side sign * (z - level) >= 0 of a convex polygon (count, 3); how many corners `out` got (Sutherland-Hodgman)."""
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


@njit(cache=True)
def mark_band(
    triangles: Array, band: tuple[float, float], low: Array, cell: float, occupied: NDArray[np.bool_]
) -> None:
    """Set the cells of `occupied` (nx, ny) under the part of triangles (F, 3, 3) whose z lies in the band.

    Cells that the outline crosses are found by steps of a third of a cell along it, cells inside by their middle.
    """
    nx, ny = occupied.shape
    first, second = np.zeros((8, 3)), np.zeros((8, 3))
    for f in range(len(triangles)):
        z0 = min(triangles[f, 0, 2], triangles[f, 1, 2], triangles[f, 2, 2])
        z1 = max(triangles[f, 0, 2], triangles[f, 1, 2], triangles[f, 2, 2])
        if z1 <= band[0] or z0 >= band[1]:
            continue
        count = _clip(triangles[f], 3, band[0], 1.0, first)
        count = _clip(first, count, band[1], -1.0, second)
        if count < 2:
            continue
        area, x0, x1, y0, y1 = 0.0, np.inf, -np.inf, np.inf, -np.inf
        for k in range(count):
            p, q = second[k], second[k + 1 if k + 1 < count else 0]
            area += p[0] * q[1] - q[0] * p[1]
            x0, x1, y0, y1 = min(x0, p[0]), max(x1, p[0]), min(y0, p[1]), max(y1, p[1])
            steps = int(math.hypot(q[0] - p[0], q[1] - p[1]) / (cell / 3)) + 1
            for s in range(steps + 1):
                t = s / steps
                i = math.floor((p[0] + t * (q[0] - p[0]) - low[0]) / cell)
                j = math.floor((p[1] + t * (q[1] - p[1]) - low[1]) / cell)
                if 0 <= i < nx and 0 <= j < ny:
                    occupied[i, j] = True
        side = 1.0 if area > 0 else -1.0
        for i in range(max(0, int((x0 - low[0]) / cell)), min(nx, int((x1 - low[0]) / cell) + 1)):
            for j in range(max(0, int((y0 - low[1]) / cell)), min(ny, int((y1 - low[1]) / cell) + 1)):
                x, y = low[0] + (i + 0.5) * cell, low[1] + (j + 0.5) * cell
                inside = True
                for k in range(count):
                    p, q = second[k], second[k + 1 if k + 1 < count else 0]
                    if side * ((q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0])) < 0:
                        inside = False
                        break
                if inside:
                    occupied[i, j] = True
