"""Placement of doors, passages, windows and the entrance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from pipelines.synth.base.plan import Construction, DoorPlan, RoomPlan, StairPlan, StoreyPlan, WallOpening
from pipelines.synth.building.access import LEAST_SHARED, SharedWall, access_tree, shared_walls

Array = NDArray[np.float64]

FRAME = 0.035
"""Thickness of a door's lining; the hole in the wall is wider and higher than the clear opening by this much on each side."""
CASING = 0.062
"""Overlap of a door's casing on the wall beyond the hole, in metres."""
OPEN_PAIRS = (
    {"living_room", "dining_room"},
    {"living_room", "kitchen"},
    {"kitchen", "dining_room"},
    {"hallway", "living_room"},
    {"hallway", "dining_room"},
)
LOOP_PAIRS = (*OPEN_PAIRS, {"bedroom", "bathroom"})
CORNER = 0.12
"""Least metres of wall between an opening and a corner."""


def clear_zone(room: RoomPlan, door: DoorPlan, *, into_second: bool, depth: float = 0.85) -> BaseGeometry:
    """The floor in front of a door that must stay free, inside one of its two rooms."""
    direction = door.direction if into_second else -door.direction
    side = np.array([-direction[1], direction[0]]) * (door.width / 2 + 0.02)
    base = door.center - 0.0 * direction
    corners = [base + side, base - side, base - side + direction * depth, base + side + direction * depth]
    return shapely.Polygon(corners).intersection(shapely.Polygon(room.polygon).buffer(0.3))


def leaf_footprint(door: DoorPlan, wall: float) -> shapely.Polygon:
    """The floor under an open leaf with its handle, generously; empty for a passage."""
    if door.leaf_room < 0:
        return shapely.Polygon()
    hinge, tip, normal = leaf_line(door, wall)
    return shapely.Polygon([hinge + 0.09 * normal, hinge - 0.09 * normal, tip - 0.09 * normal, tip + 0.09 * normal])


def leaf_line(door: DoorPlan, wall: float) -> tuple[Array, Array, Array]:
    """Hinge and tip (2,) of the centre line of an open leaf and the unit normal of the leaf."""
    into = door.direction if door.leaf_room == door.rooms[1] else -door.direction
    left = np.array([-door.direction[1], door.direction[0]])
    hinge = door.center + into * (wall / 2) + left * door.hinge * (door.width / 2)
    closed = -left * door.hinge
    axis = np.cos(door.angle) * closed + np.sin(door.angle) * into
    start = hinge + 0.02 * axis
    return start, start + axis * (door.width - 0.02), np.array([-axis[1], axis[0]])


def _blocked(
    rooms: Sequence[RoomPlan], door: DoorPlan, others: Sequence[DoorPlan], taken: Sequence[shapely.Polygon]
) -> bool:
    """Whether a door's leaf or free floor conflicts with another door or an occupied area (a stair)."""
    wall = 0.2
    zones = [clear_zone(rooms[door.rooms[k]], door, into_second=bool(k)) for k in (0, 1)]
    leaf = leaf_footprint(door, wall)
    for other in others:
        other_zones = [clear_zone(rooms[other.rooms[k]], other, into_second=bool(k)) for k in (0, 1)]
        other_leaf = leaf_footprint(other, wall)
        if any(leaf.intersects(zone) for zone in other_zones) or any(other_leaf.intersects(zone) for zone in zones):
            return True
        if leaf.intersects(other_leaf) or any(zone.intersection(z).area > 0.3 for zone in zones for z in other_zones):
            return True
    return any(shape.intersects(area) for area in taken for shape in (*zones, leaf))


def place_door(
    rng: Generator,
    rooms: Sequence[RoomPlan],
    wall: SharedWall,
    construction: Construction,
    others: Sequence[DoorPlan],
    taken: Sequence[shapely.Polygon],
) -> DoorPlan | None:
    """A door or passage somewhere in a shared wall; None when every attempt has a conflict."""
    i, j = wall.rooms
    edge = rooms[i].edges()[wall.edges[0]]
    low, high = wall.interval
    for attempt in range(24):
        passage = {rooms[i].kind, rooms[j].kind} in OPEN_PAIRS and rng.random() < 0.55
        width = float(rng.choice([0.8, 0.85, 0.9]))
        if passage:
            width = float(np.clip(round(rng.uniform(0.9, 1.9), 2), 0.9, wall.length - 2 * CORNER - 0.05))
        room_left = (wall.length - width) / 2 - FRAME - CORNER
        shift = rng.uniform(-1, 1) if rng.random() < 0.3 else rng.choice([-1.0, 1.0])
        distance = (low + high) / 2 + shift * max(room_left, 0.0) * (1.0 if attempt < 12 else rng.random())
        center = edge.point(distance, -construction.inner_wall / 2)
        leaf = -1 if passage else (j if rooms[i].kind in ("hallway", "living_room") else i)
        # The hinge is at the jamb next to the nearer corner, so that the open leaf stands along the crossing wall
        near_start = distance - low < high - distance
        hinge = -1 if near_start else 1
        angle = (
            float(rng.uniform(np.radians(82), np.radians(97))) if rng.random() < 0.7 else float(rng.uniform(1.2, 1.6))
        )
        gap = min(distance - low, high - distance) - width / 2
        if leaf >= 0 and gap < 0.2:
            angle = min(angle, np.radians(88))
        door = DoorPlan((i, j), center, -edge.inward, width, 2.05, leaf, hinge, angle)
        if attempt >= 18 and leaf >= 0:
            door = DoorPlan((i, j), center, -edge.inward, width, 2.05)
        if not _blocked(rooms, door, others, taken):
            return door
    return None


def _stair_area(stair: StairPlan) -> shapely.Polygon:
    return shapely.box(stair.x0 - 0.75, stair.y0 - 0.05, stair.x1 + 0.75, stair.y1)


def place_doors(
    rng: Generator, rooms: Sequence[RoomPlan], construction: Construction, stairs: Sequence[StairPlan]
) -> tuple[DoorPlan, ...]:
    """Doors along the least private tree of rooms, and some more that close loops."""
    walls = shared_walls(rooms, construction.inner_wall, least=LEAST_SHARED)
    taken = [_stair_area(stair) for stair in stairs]
    tree = access_tree(rooms, walls)
    doors: list[DoorPlan] = []
    for wall in tree:
        door = place_door(rng, rooms, wall, construction, doors, taken)
        if door is None:
            door = _any_door(rooms, wall, construction)
        doors.append(door)
    for wall in walls:
        loop = {rooms[k].kind for k in wall.rooms} in LOOP_PAIRS and wall not in tree
        if loop and rng.random() < 0.35 and all(set(door.rooms) != set(wall.rooms) for door in doors):
            extra = place_door(rng, rooms, wall, construction, doors, taken)
            if extra is not None:
                doors.append(extra)
    return tuple(doors)


def _any_door(rooms: Sequence[RoomPlan], wall: SharedWall, construction: Construction) -> DoorPlan:
    """A passage without a leaf in the centre of the wall, when nothing else fits."""
    edge = rooms[wall.rooms[0]].edges()[wall.edges[0]]
    center = edge.point(sum(wall.interval) / 2, -construction.inner_wall / 2)
    return DoorPlan(wall.rooms, center, -edge.inward, 0.85, 2.05)


def outer_stretches(rooms: Sequence[RoomPlan], room: int, wall: float) -> list[tuple[int, float, float]]:
    """Stretches (edge number, from, to) of a room's sides that border no other room."""
    found = []
    shared = [s for s in shared_walls(rooms, wall) if room in s.rooms]
    for number, edge in enumerate(rooms[room].edges()):
        cuts = []
        for s in shared:
            side = s.rooms.index(room)
            if s.edges[side] != number:
                continue
            low, high = s.interval
            if side == 1:  # given along the other room's edge, which runs the other way
                other = rooms[s.rooms[0]].edges()[s.edges[0]]
                ends = [float(np.dot(other.point(d) - edge.start, edge.along)) for d in s.interval]
                low, high = min(ends), max(ends)
            cuts.append((low - wall, high + wall))
        at = 0.0
        for low, high in [*sorted(cuts), (edge.length, edge.length)]:
            if low - at > 0.3:
                found.append((number, at, min(low, edge.length)))
            at = max(at, high)
    return found


def place_windows(
    rng: Generator,
    rooms: Sequence[RoomPlan],
    construction: Construction,
    stairs: Sequence[StairPlan],
) -> tuple[WallOpening, ...]:
    """Windows in outer walls: large in living rooms, high and small in bathrooms, never behind a flight of stairs."""
    windows = []
    blocked = [_stair_area(stair).buffer(0.1) for stair in stairs]
    for index, room in enumerate(rooms):
        stretches = outer_stretches(rooms, index, construction.inner_wall)
        stretches = [stretches[i] for i in rng.permutation(len(stretches))]
        wanted = {"living_room": 3, "hallway": 1, "storage": 0, "bathroom": 1}.get(room.kind, 2)
        for number, low, high in stretches:
            edge = room.edges()[number]
            pieces = 2 if high - low > 4.6 and wanted > 1 else 1
            for k in range(pieces):
                a, b = low + (high - low) * k / pieces, low + (high - low) * (k + 1) / pieces
                window = _window(rng, room, (number, a, b), index)
                if wanted <= 0 or window is None:
                    continue
                width = window.width / 2
                span = shapely.LineString([window.center - width * edge.along, window.center + width * edge.along])
                if not any(span.intersects(area) for area in blocked):
                    windows.append(window)
                    wanted -= 1
    return tuple(windows)


def _window(rng: Generator, room: RoomPlan, stretch: tuple[int, float, float], index: int) -> WallOpening | None:
    number, low, high = stretch
    edge = room.edges()[number]
    most = high - low - 0.7
    if room.kind == "bathroom":
        width, bottom, top = rng.uniform(0.5, 0.8), rng.uniform(1.35, 1.5), 2.1
    elif room.kind == "kitchen":
        width, bottom, top = rng.uniform(0.9, 1.4), rng.uniform(1.1, 1.15), 2.1
    elif room.kind == "living_room" and rng.random() < 0.4:
        width, bottom, top = rng.uniform(1.4, 2.4), rng.uniform(0.15, 0.4), 2.2
    else:
        width, bottom, top = rng.uniform(0.9, 1.8), rng.uniform(0.8, 0.95), 2.15
    width = round(min(float(width), most), 2)
    if width < 0.5:
        return None
    middle = (low + high) / 2 + rng.uniform(-0.5, 0.5) * (most - width)
    return WallOpening(index, edge.point(float(middle)), -edge.inward, width, round(float(bottom), 2), top)


def place_entrance(
    rng: Generator,
    rooms: Sequence[RoomPlan],
    doors: Sequence[DoorPlan],
    windows: Sequence[WallOpening],
    construction: Construction,
) -> WallOpening | None:
    """A closed entrance door in an outer wall of the hub, away from windows and doors; None where none fits."""
    width, margin = 0.9, 0.2
    stretches = outer_stretches(rooms, 0, construction.inner_wall)
    for k in rng.permutation(len(stretches)):
        number, low, high = stretches[int(k)]
        edge = rooms[0].edges()[number]
        if high - low < width + 2 * margin:
            continue
        for _ in range(6):
            center = edge.point(float(rng.uniform(low + margin + width / 2, high - margin - width / 2)))
            others = [w.center for w in windows if w.room == 0] + [d.center for d in doors if 0 in d.rooms]
            reach = [w.width / 2 for w in windows if w.room == 0] + [d.width / 2 + 0.5 for d in doors if 0 in d.rooms]
            if all(np.linalg.norm(center - o) > width / 2 + r + 0.15 for o, r in zip(others, reach, strict=True)):
                return WallOpening(0, center, -edge.inward, width, 0.0, 2.08)
    return None


def open_storey(
    rng: Generator, rooms: Sequence[RoomPlan], construction: Construction, stairs: Sequence[StairPlan], *, ground: bool
) -> StoreyPlan:
    """A storey with all its openings; `stairs` are the flights that start or end on it."""
    doors = place_doors(rng, rooms, construction, stairs)
    windows = place_windows(rng, rooms, construction, stairs)
    entrance = place_entrance(rng, rooms, doors, windows, construction) if ground else None
    if entrance is not None and any(
        _stair_area(s).buffer(0.3).contains(shapely.Point(*entrance.center)) for s in stairs
    ):
        entrance = None
    return StoreyPlan(tuple(rooms), doors, windows, entrance)
