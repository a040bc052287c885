"""Which rooms share a wall, and the access between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.synth.base.plan import RoomPlan

LEAST_SHARED = 1.15
"""Least metres of common wall for a door with its frame."""

THROUGH = {
    "hallway": 0.0,
    "living_room": 0.3,
    "dining_room": 0.6,
    "kitchen": 1.0,
    "office": 3.0,
    "bedroom": 4.0,
    "storage": 20.0,
    "bathroom": 20.0,
}
"""Cost of passing through a room of a kind."""


@dataclass(frozen=True)
class SharedWall:
    """A stretch of wall between two rooms: edge numbers in each, and the stretch as distances along the first room's edge."""

    rooms: tuple[int, int]
    edges: tuple[int, int]
    interval: tuple[float, float]

    @property
    def length(self) -> float:
        """Metres."""
        return self.interval[1] - self.interval[0]


def shared_walls(rooms: Sequence[RoomPlan], thickness: float, *, least: float = 0.0) -> list[SharedWall]:
    """All stretches where two rooms share a wall of that thickness, longer than `least` metres."""
    owner = np.repeat(np.arange(len(rooms)), [len(room.polygon) for room in rooms])
    number = np.concatenate([np.arange(len(room.polygon)) for room in rooms])
    start = np.concatenate([room.polygon for room in rooms])
    end = np.concatenate([np.roll(room.polygon, -1, axis=0) for room in rooms])
    length = np.linalg.norm(end - start, axis=1)
    along = (end - start) / length[:, None]
    outward = np.column_stack((along[:, 1], -along[:, 0]))
    gap = np.einsum("abk,ak->ab", start[None] - start[:, None], outward)
    back_to_back = (along @ along.T < -0.5) & (np.abs(gap - thickness) < 1e-3) & (owner[:, None] < owner[None])
    found = []
    for a, b in np.argwhere(back_to_back):
        ends = sorted(((np.stack([start[b], end[b]]) - start[a]) @ along[a]).tolist())
        low, high = max(0.0, ends[0]), min(float(length[a]), ends[1])
        if high - low > max(least, 1e-6):
            pair = (int(owner[a]), int(owner[b])), (int(number[a]), int(number[b]))
            found.append(SharedWall(*pair, (low, high)))
    return found


def access_tree(rooms: Sequence[RoomPlan], walls: Sequence[SharedWall]) -> list[SharedWall]:
    """Walls to be opened so that every room is reachable from room 0 through the least private rooms (Prim's algorithm).

    Fewer than len(rooms) - 1 when a room has no common wall long enough for a door.
    """
    reached, depth = {0}, {0: 0.0}
    opened: list[SharedWall] = []
    while True:
        best = None
        for wall in walls:
            for inside, outside in (wall.rooms, wall.rooms[::-1]):
                if inside in reached and outside not in reached and wall.length >= LEAST_SHARED:
                    cost = depth[inside] + THROUGH[rooms[inside].kind]
                    key = (cost, -wall.length, wall.rooms, wall.edges)
                    if best is None or key < best[0]:
                        best = (key, wall, outside, cost)
        if best is None:
            return opened
        wall, outside, cost = best[1:]
        opened.append(wall)
        reached.add(outside)
        depth[outside] = cost


def access_cost(rooms: Sequence[RoomPlan], thickness: float) -> float:
    """Infinite where a room cannot be reached; grows with the private rooms on the path."""
    walls = shared_walls(rooms, thickness, least=LEAST_SHARED)
    tree = access_tree(rooms, walls)
    if len(tree) < len(rooms) - 1:
        return float("inf")
    reached, total = {0}, 0.0
    for wall in tree:
        a, b = wall.rooms
        inside, outside = (a, b) if a in reached else (b, a)
        total += THROUGH[rooms[inside].kind]
        reached.add(outside)
    return total
