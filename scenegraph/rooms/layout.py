"""Rooms: the floor plan of each storey cut at its doors, with polygons, doors and the room of every place and object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt

from mapping.distance_field import FreeSpace
from scenegraph.faces import Faces
from scenegraph.graph_config import RoomConfig
from scenegraph.labels import LabelSpace
from scenegraph.nodes import RoomNode
from scenegraph.rooms.names import name_room
from scenegraph.rooms.place_filtration import Filtration, filter_places
from scenegraph.rooms.places import Places
from scenegraph.rooms.polygons import region_polygon, snap_to_walls
from scenegraph.rooms.room_segmentation import RegionOpening, Segments, segment_rooms
from scenegraph.rooms.storeys import storey_of
from scenegraph.rooms.wall_map import WallMap, WallSurface, build_wall_map, nearest_label

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Door:
    """An opening between two rooms (numbers, the smaller first): its centre on the floor, its width in metres and its
    evidence."""

    rooms: tuple[int, int]
    position: tuple[float, float, float]
    width: float
    evidence: dict[str, float | bool]


@dataclass(frozen=True, eq=False)
class FoundRoom:
    """A room before it is named: storey index, polygon (N, 2) counter-clockwise, and the evidence for it."""

    storey: int
    polygon: Array
    evidence: dict[str, float | int]

    @property
    def area(self) -> float:
        """Square metres."""
        return float(shapely.Polygon(self.polygon).area)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Room number of every cell of a storey's floor plan, the nearest room's where there is none; -1 in a storey without
    rooms."""

    walls: WallMap
    numbers: Indices


@dataclass(frozen=True, eq=False)
class RoomLayout:
    """All rooms of a building, the doors between them, and the room of any point.

    storeys: (floor z, ceiling z), lowest first; rooms are ordered by storey, then by least x, then y.
    """

    storeys: tuple[tuple[float, float], ...]
    rooms: tuple[FoundRoom, ...]
    doors: tuple[Door, ...]
    plans: tuple[_Plan, ...]

    def room_of(self, points: ArrayLike) -> Indices:
        """Room number (N,) of each point (N, 3): the room under or nearest to it on its storey; -1 where a storey has no
        room."""
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        storeys = storey_of(points[:, 2], list(self.storeys))
        result = np.full(len(points), -1, np.int64)
        for index, plan in enumerate(self.plans):
            here = storeys == index
            result[here] = plan.numbers[tuple(plan.walls.cell_of(points[here]).T)]
        return result

    def storey_of(self, position: ArrayLike) -> int:
        """Index of the storey at the height of a point (3,)."""
        return int(storey_of(np.asarray(position, dtype=np.float64)[2], list(self.storeys)))


def find_rooms(
    faces: Faces,
    label_space: LabelSpace,
    free_space: FreeSpace,
    places: Places,
    storeys: Sequence[tuple[float, float]],
    config: RoomConfig,
) -> RoomLayout:
    """The rooms of a levelled building.

    On every storey the place graph's dilation filtration and the walls seen from above vote at each opening
    (see `segments`). A storey where neither finds a room is one room around its free space.
    """
    surface = WallSurface.of(faces, label_space)
    place_storeys = storey_of(places.positions[:, 2], list(storeys))
    rooms: list[FoundRoom] = []
    doors: list[Door] = []
    plans: list[_Plan] = []
    for index, z_range in enumerate(storeys):
        here = _subset(places, place_storeys == index)
        filtration = filter_places(here, config)
        walls = build_wall_map(surface, free_space, z_range, config)
        segments = _segments(walls, here, filtration, config)
        found, numbers = _outlined(segments, walls, surface.faces_between(z_range), config)
        evidence = {
            "basins": segments.basins,
            "place_rooms": filtration.count,
            "dilation": round(filtration.dilation, 3),
        }
        rooms += [FoundRoom(index, polygon, {**evidence}) for polygon in found]
        doors += [
            _door(pair, opening, len(rooms) - len(found), z_range[0]) for pair, opening in segments.openings.items()
        ]
        plans.append(_Plan(walls, np.where(numbers >= 0, numbers + len(rooms) - len(found), -1)))
    layout = RoomLayout(tuple(storeys), tuple(rooms), tuple(doors), tuple(plans))
    return replace(layout, doors=_with_place_doors(layout, places))


def room_node(layout: RoomLayout, number: int, object_names: Sequence[str], *, predicted: bool = False) -> RoomNode:
    """The graph's node of a room, named after the classes of the objects in it, which may be `predicted`."""
    room, z_range = layout.rooms[number], layout.storeys[layout.rooms[number].storey]
    shape = shapely.Polygon(room.polygon)
    inside = shape.centroid if shape.contains(shape.centroid) else shape.representative_point()
    doors = sum(number in door.rooms for door in layout.doors)
    sides = np.ptp(room.polygon, axis=0)
    elongation = float(sides.max() / max(sides.min(), 1e-6)) if room.area > 0.75 * np.prod(sides) else 1.0
    label, scores = name_room(object_names, doors=doors, elongation=elongation, area=room.area, predicted=predicted)
    position = np.array([inside.x, inside.y, (z_range[0] + z_range[1]) / 2])
    return RoomNode(label, position, room.polygon, z_range, room.area, scores, {**room.evidence, "doors": doors})


def _segments(walls: WallMap, places: Places, filtration: Filtration, config: RoomConfig) -> Segments:
    """Regions of the storey; without any, all free cells are one region, and without those all observed ones."""
    place_rooms = np.full(walls.wall.shape, -1, np.int64)
    place_rooms[tuple(walls.cell_of(places.positions).T)] = filtration.rooms
    place_rooms = nearest_label(place_rooms, walls.open, reach=1.5 / walls.cell_size)
    segments = segment_rooms(walls, config, place_rooms)
    if segments.count:
        return segments
    everything = walls.open if walls.open.any() else walls.observed
    return Segments(np.where(everything, 0, -1).astype(np.int64))


def _outlined(
    segments: Segments, walls: WallMap, faces: tuple[Array, Array, Array], config: RoomConfig
) -> tuple[list[Array], Indices]:
    """Polygons of the regions, and the number of the nearest region for every cell."""
    labels = segments.labels
    enclosed = binary_fill_holes(walls.barrier | (labels >= 0))
    allowed = ~walls.barrier & (walls.observed | enclosed)
    filled = nearest_label(labels, allowed, reach=config.fill_distance / walls.cell_size)
    polygons = []
    for number in range(segments.count):
        polygon = region_polygon(filled == number, walls.origin, walls.cell_size)
        polygons.append(snap_to_walls(polygon, *faces))
    if not polygons:
        return [], filled
    _, (i, j) = distance_transform_edt(filled < 0, return_indices=True)
    return polygons, filled[i, j]


def _door(pair: tuple[int, int], opening: RegionOpening, first: int, floor: float) -> Door:
    evidence: dict[str, float | bool] = {
        "ratio": round(float(opening.ratio), 3),
        "lintel": opening.lintel,
        "door": opening.door,
        "jambs": opening.jambs,
        "places_differ": round(opening.places_differ, 3),
        "score": round(opening.score, 3),
    }
    position = (opening.position[0], opening.position[1], floor)
    return Door((pair[0] + first, pair[1] + first), position, opening.width, evidence)


def _with_place_doors(layout: RoomLayout, places: Places) -> tuple[Door, ...]:
    """The doors, and one more for each pair of rooms that only the place graph connects, such as by a stair.

    Its position is the midpoint of the widest edge between the two.
    """
    rooms = layout.room_of(places.positions)
    pairs = np.sort(rooms[places.edges], axis=1) if len(places.edges) else np.zeros((0, 2), np.int64)
    known = {door.rooms for door in layout.doors}
    found: dict[tuple[int, int], Door] = {}
    for row in np.argsort(-places.clearances, kind="stable"):
        a, b = int(pairs[row, 0]), int(pairs[row, 1])
        different_storeys = a >= 0 and layout.rooms[a].storey != layout.rooms[b].storey
        if a != b and different_storeys and (a, b) not in known and (a, b) not in found:
            x, y, z = places.positions[places.edges[row]].mean(axis=0).tolist()
            clearance = float(places.clearances[row])
            found[(a, b)] = Door((a, b), (x, y, z), 2 * clearance, {"stair": True})
    return tuple(sorted([*layout.doors, *found.values()], key=lambda door: door.rooms))


def _subset(places: Places, mask: NDArray[np.bool_]) -> Places:
    """The places of a mask and the edges between them."""
    renumber = np.cumsum(mask) - 1
    kept = mask[places.edges].all(axis=1)
    return Places(places.positions[mask], places.radii[mask], renumber[places.edges[kept]], places.clearances[kept])
