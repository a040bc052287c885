"""Numba kernels: shortest paths over a grid, and the best path through a grid in time."""

from __future__ import annotations

import heapq
import math

import numpy as np

from mapping.arrays import Float64Array, Int8Array, Int32Array, Int64Array
from mapping.compiling import kernel

STEPS = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1], [1, 1], [-1, 1], [-1, -1], [1, -1]])
"""Moves between cells; the first is to stay."""


@kernel()
def travel(cost: Float64Array, start_i: int, start_j: int) -> tuple[Float64Array, Int8Array]:
    """Dijkstra over the 8-neighbour grid: (nx, ny) length from the start and the move of STEPS that leads back to it.

    cost (nx, ny) is the cost of a cell per length in cells, not finite where it is blocked. Unreached cells: inf and 0.
    """
    nx, ny = cost.shape
    length = np.full((nx, ny), np.inf)
    back = np.zeros((nx, ny), np.int8)
    length[start_i, start_j] = 0.0
    queue = [(0.0, start_i * ny + start_j)]
    while len(queue) > 0:
        so_far, cell = heapq.heappop(queue)
        i, j = cell // ny, cell % ny
        if so_far > length[i, j]:
            continue
        for k in range(1, 9):
            a, b = i + STEPS[k, 0], j + STEPS[k, 1]
            if a < 0 or b < 0 or a >= nx or b >= ny or not math.isfinite(cost[a, b]):
                continue
            if k > 4 and not (math.isfinite(cost[i, b]) and math.isfinite(cost[a, j])):
                continue  # no cutting of corners
            new = so_far + (1.0 if k <= 4 else 1.41421356) * 0.5 * (cost[i, j] + cost[a, b])
            if new < length[a, b]:
                length[a, b] = new
                back[a, b] = 1 + (k - 1 + 2) % 4 if k <= 4 else 5 + (k - 5 + 2) % 4
                heapq.heappush(queue, (new, a * ny + b))
    return length, back


@kernel(inline="always")
def _is_open(price: Float64Array, i: int, j: int, k: int) -> bool:
    """Whether move k of STEPS from a cell stays on the grid, ends in a free cell and cuts no corner."""
    a, b = i + STEPS[k, 0], j + STEPS[k, 1]
    if a < 0 or b < 0 or a >= price.shape[0] or b >= price.shape[1] or not math.isfinite(price[a, b]):
        return False
    return k <= 4 or (math.isfinite(price[i, b]) and math.isfinite(price[a, j]))


@kernel(inline="always")
def _is_hit(discs: Float64Array, i: int, j: int) -> bool:
    """Whether a cell lies in one of the discs (D, 3)."""
    for d in range(len(discs)):
        dx, dy, radius = i - discs[d, 0], j - discs[d, 1], discs[d, 2]
        if dx * dx + dy * dy < radius * radius:
            return True
    return False


@kernel()
def best_in_time(
    price: Float64Array, goal_of: Int64Array, goal_price: Float64Array, blocked: Float64Array, move_price: float
) -> Int32Array:
    """The cheapest path through time over cells: (T, 2) int32, -1 when there is none. Dynamic programming backwards
    from the last time.

    Parameters
    ----------
    price : (nx, ny) of being in a cell for one step, not finite where it is occupied.
    goal_of : (T,) the goal at each step; goal_price : (G, nx, ny) cost of a cell under each goal.
    blocked : (T, D, 3) discs (x, y, radius, in cells; radius 0 for none) that must not be entered at a time.
    move_price : per cell moved.
    """
    steps, (nx, ny) = len(goal_of), price.shape
    choice = np.zeros((steps, nx, ny), np.int8)
    ahead = np.zeros((nx, ny))
    for t in range(steps - 1, -1, -1):
        now = np.full((nx, ny), np.inf)
        for i in range(nx):
            for j in range(ny):
                if not math.isfinite(price[i, j]) or _is_hit(blocked[t], i, j):
                    continue
                best, which = np.inf, 0
                for k in range(9 if t + 1 < steps else 1):
                    if not _is_open(price, i, j, k):
                        continue
                    far = 0.0 if k == 0 else (1.0 if k <= 4 else 1.41421356)
                    value = ahead[i + STEPS[k, 0], j + STEPS[k, 1]] + far * move_price
                    if value < best:
                        best, which = value, k
                now[i, j] = price[i, j] + goal_price[goal_of[t], i, j] + best
                choice[t, i, j] = which
        ahead = now
    path = np.full((steps, 2), -1, np.int32)
    start = int(np.argmin(ahead))
    i, j = start // ny, start % ny
    if not math.isfinite(ahead[i, j]):
        return path
    for t in range(steps):
        path[t, 0], path[t, 1] = i, j
        k = choice[t, i, j]
        i, j = i + STEPS[k, 0], j + STEPS[k, 1]
    return path
