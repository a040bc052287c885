"""Upright boxes that must not intersect, and floor grids of where a person can walk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.synth.base.world import Body, World

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CELL = 0.05
BAND = (0.1, 1.9)
"""Heights above the floor (metres) at which a body blocks a walker."""


def turned_boxes(solids: Array, x: float, y: float, z: float, yaw: float) -> Array:
    """Boxes (K, 6) in a body's frame to (K, 8) in the building: centre x y, half sizes, cos and sin of yaw, z low and high."""
    center = (solids[:, :2] + solids[:, 3:5]) / 2
    half = (solids[:, 3:5] - solids[:, :2]) / 2
    c, s = np.cos(yaw), np.sin(yaw)
    boxes = np.zeros((len(solids), 8))
    boxes[:, 0] = c * center[:, 0] - s * center[:, 1] + x
    boxes[:, 1] = s * center[:, 0] + c * center[:, 1] + y
    boxes[:, 2:4], boxes[:, 4], boxes[:, 5] = half, c, s
    boxes[:, 6:] = solids[:, [2, 5]] + z
    return boxes


def boxes_meet(a: Array, b: Array, margin: float = 0.0) -> bool:
    """Whether any box of `a` (K, 8) is horizontally nearer than `margin` to one of `b` (M, 8) and overlaps it in height.

    Separating axis test on the four directions of the two rectangles.
    """
    low, high = np.maximum(a[:, None, 6], b[None, :, 6]), np.minimum(a[:, None, 7], b[None, :, 7])
    level = high - low > 1e-6
    if not level.any():
        return False
    i, j = np.nonzero(level)
    a, b = a[i], b[j]
    between = b[:, :2] - a[:, :2]
    apart = np.zeros(len(a), bool)
    for owner in (a, b):
        c, s = owner[:, 4], owner[:, 5]
        for axis in (np.stack([c, s], axis=1), np.stack([-s, c], axis=1)):
            reach = np.zeros(len(a))
            for box in (a, b):
                u = np.abs(box[:, 4] * axis[:, 0] + box[:, 5] * axis[:, 1])
                v = np.abs(-box[:, 5] * axis[:, 0] + box[:, 4] * axis[:, 1])
                reach += box[:, 2] * u + box[:, 3] * v
            apart |= np.abs(np.einsum("ij,ij->i", between, axis)) > reach + margin
    return bool((~apart).any())


def footprint(boxes: Array) -> shapely.Polygon:
    """The bounding rectangle of boxes (K, 8) that share one yaw."""
    c, s = boxes[0, 4:6]
    u = boxes[:, 0] * c + boxes[:, 1] * s
    v = -boxes[:, 0] * s + boxes[:, 1] * c
    u0, u1 = (u - boxes[:, 2]).min(), (u + boxes[:, 2]).max()
    v0, v1 = (v - boxes[:, 3]).min(), (v + boxes[:, 3]).max()
    corners = [(u0, v0), (u1, v0), (u1, v1), (u0, v1)]
    return shapely.Polygon([(c * p - s * q, s * p + c * q) for p, q in corners])


class RoomGrid:
    """Cells of one room's floor that a round walker can stand on, updated while furniture is placed."""

    def __init__(self, polygon: Array, radius: float) -> None:
        self.radius = radius
        self.origin = polygon.min(axis=0)
        shape = np.ceil((polygon.max(axis=0) - self.origin) / CELL).astype(int)
        x = self.origin[0] + (np.arange(shape[0]) + 0.5) * CELL
        y = self.origin[1] + (np.arange(shape[1]) + 0.5) * CELL
        self.x, self.y = np.meshgrid(x, y, indexing="ij")
        inside = shapely.contains_xy(shapely.Polygon(polygon).buffer(-radius), self.x, self.y)
        self.free: Mask = np.asarray(inside)
        self.start_count = int(self.free.sum())

    def blocked_by(self, boxes: Array) -> Mask:
        """Cells nearer than the radius to the bounding rectangle of those boxes (K, 8) that block a walker."""
        boxes = boxes[(boxes[:, 6] < BAND[1]) & (boxes[:, 7] > BAND[0])]
        if not len(boxes):
            return np.zeros_like(self.free)
        c, s = boxes[0, 4:6]
        u, v = c * self.x + s * self.y, -s * self.x + c * self.y
        p, q = boxes[:, 0] * c + boxes[:, 1] * s, -boxes[:, 0] * s + boxes[:, 1] * c
        u0, u1 = (p - boxes[:, 2]).min(), (p + boxes[:, 2]).max()
        v0, v1 = (q - boxes[:, 3]).min(), (q + boxes[:, 3]).max()
        du = np.maximum(np.maximum(u0 - u, u - u1), 0.0)
        dv = np.maximum(np.maximum(v0 - v, v - v1), 0.0)
        return np.asarray(du**2 + dv**2 < self.radius**2)

    def connected(self, free: Mask, targets: Sequence[Array], share: float) -> bool:
        """Whether all targets (2,) are connected through free cells, and to a sufficient share of the initially free floor."""
        numbers, _ = ndimage.label(free)
        seen = set()
        for target in targets:
            i, j = np.floor((target - self.origin) / CELL).astype(int)
            window = numbers[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3]
            near = np.unique(window[window > 0])
            if not len(near):
                return False
            counts = [int((numbers == n).sum()) for n in near]
            seen.add(int(near[int(np.argmax(counts))]))
        if len(seen) > 1:
            return False
        count = int((numbers == seen.pop()).sum()) if seen else int(np.bincount(numbers.ravel())[1:].max(initial=0))
        return count >= share * self.start_count


def walkable_grid(
    world: World, storey: int, visit: int, *, radius: float = 0.25, cell: float = CELL
) -> tuple[Array, float, Mask]:
    """Floor cells of a storey on which a round walker can stand at a visit.

    Parameters
    ----------
    world : the world; only bodies that are present at `visit` count.
    storey : index of the storey.
    visit : index of the visit.
    radius : metres around the centre of a cell that must be free between 0.1 and 1.9 m above the floor.
    cell : edge length of a cell in metres.

    Returns
    -------
    origin (2,) : world x and y of the outer corner of cell (0, 0).
    cell : as given.
    walkable (nx, ny) bool : first index along x; the centre of cell (i, j) lies at origin + (i + 0.5, j + 0.5) * cell. Cells
        outside of rooms and doorways, on stairs and over their holes are False.
    """
    from pipelines.synth.base.occupancy_kernel import mark_band

    floor_z = world.storeys[storey][0]
    polygons = [shapely.Polygon(room.polygon) for room in world.rooms if room.storey == storey]
    polygons += [_doorway(world, number) for number in range(len(world.openings)) if _on_storey(world, number, storey)]
    ground = shapely.union_all(polygons)
    low = np.floor(np.array(ground.bounds[:2]) / cell) * cell - cell
    shape = np.ceil((np.array(ground.bounds[2:]) - low) / cell).astype(int) + 1
    occupied = np.zeros(shape, bool)
    for body in world.bodies:
        mark_band(_triangles(body, visit, floor_z), BAND, low, cell, occupied)
    x = low[0] + (np.arange(shape[0]) + 0.5) * cell
    y = low[1] + (np.arange(shape[1]) + 0.5) * cell
    gx, gy = np.meshgrid(x, y, indexing="ij")
    inside = np.asarray(shapely.contains_xy(ground, gx, gy)) & _has_floor(world, storey, gx, gy)
    # A point of an occupied cell lies at most half a cell's diagonal from its centre, hence the allowance.
    reach = radius + cell * np.sqrt(0.5)
    clear = ndimage.distance_transform_edt(~occupied) * cell >= reach if occupied.any() else inside
    return low, cell, inside & clear


def _on_storey(world: World, opening: int, storey: int) -> bool:
    rooms = {room.number: room for room in world.rooms}
    return all(rooms[number].storey == storey for number in world.openings[opening].rooms)


def _doorway(world: World, opening: int) -> shapely.Polygon:
    """The floor inside the wall of a door or passage, a little longer than any wall is thick."""
    door = world.openings[opening]
    side = np.array([-door.direction[1], door.direction[0]]) * door.width / 2
    reach = door.direction * 0.2
    center = door.position[:2]
    return shapely.Polygon([center - side - reach, center + side - reach, center + side + reach, center - side + reach])


def _has_floor(world: World, storey: int, x: Array, y: Array) -> Mask:
    """Where there is no hole of a stair in the floor: away from the flights that arrive on the storey."""
    floor = np.ones(x.shape, bool)
    rooms = {room.number: room for room in world.rooms}
    for opening in world.openings:
        if opening.kind != "stair" or rooms[opening.rooms[1]].storey != storey:
            continue
        along = opening.direction
        across = np.array([-along[1], along[0]])
        foot, head = opening.waypoints[1][:2], opening.waypoints[-2][:2]
        u = (x - foot[0]) * along[0] + (y - foot[1]) * along[1]
        v = (x - foot[0]) * across[0] + (y - foot[1]) * across[1]
        length = float(np.dot(head - foot, along))
        floor &= ~((u > -0.3) & (u < length + 0.1) & (np.abs(v) < opening.width / 2 + 0.1))
    return floor


def _triangles(body: Body, visit: int, floor_z: float) -> Array:
    """(F, 3, 3) triangles of a body, z above the floor; none when it is absent or entirely outside the walker's band."""
    pose = body.poses[visit]
    if pose is None:
        return np.zeros((0, 3, 3))
    corners = np.concatenate([part.vertices[part.faces] for part in body.parts])
    corners = corners @ pose[:3, :3].T + pose[:3, 3] - [0.0, 0.0, floor_z]
    if corners[..., 2].max() <= BAND[0] or corners[..., 2].min() >= BAND[1]:
        return np.zeros((0, 3, 3))
    return np.asarray(corners)
