"""Simple queries on a scene graph: what is where, when, and how to get there. World metres, z up; seconds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import Point, Polygon

from scenegraph.graph import SceneGraph
from scenegraph.nodes import ObjectNode, PlaceNode, RoomNode, TrackNode
from scenegraph.references import QueryError, Spot, label_called, resolve_spots, rooms_called
from scenegraph.tracks.positions import MAX_GAP, positions_at

Array = NDArray[np.float64]

ROOM_STEP = 0.25  # metres between the points of a path whose rooms are looked up
Z_MARGIN = 0.2  # metres by which a point may lie under a room's floor or over its ceiling and still be in it


@dataclass(frozen=True, eq=False)
class Hit:
    """A query result: key, label and position (3,), its room's key, and the distance to the query point."""

    key: str
    label: str
    position: Array
    room: str | None
    distance: float | None = None


@dataclass(frozen=True, eq=False)
class Sighting:
    """Something that was not there at the time asked for: where (3,) and in which room it was at the nearest `time` at which it
    is known to have been."""

    key: str
    label: str
    position: Array
    room: str | None
    time: float


@dataclass(frozen=True, eq=False)
class FreePath:
    """A path through free space: the places passed, the points (N, 3) from start to goal, metres, and the narrowest clearance."""

    places: tuple[str, ...]
    points: Array
    length: float
    clearance: float


def objects(
    graph: SceneGraph,
    *,
    label: str | None = None,
    room: str | None = None,
    near: str | ArrayLike | None = None,
    radius: float = np.inf,
    time: float | None = None,
) -> list[Hit]:
    """Objects that meet every given condition, in the order of their keys or, with `near`, nearest first.

    label is a class name, also in the plural; room a key ("R0") or a name ("kitchen", which may be several rooms); near a point
    (3,) or what `resolve_spots` understands ("door", "table in kitchen"), from the nearest of which the object's box is at most
    `radius` metres away and which is itself no answer; time a moment at which it was present (an object without presence always
    was).

    Raises QueryError for a label or room that the graph does not have, with the nearest known name and what there is.
    """
    label = None if label is None else label_called(graph, label)
    rooms = None if room is None else set(rooms_called(graph, room))
    around = [] if near is None else _around(graph, near)
    references = {spot.key for spot in around}
    hits = []
    for key, node in graph.nodes("object"):
        inside = graph.ancestor(key, "room")
        wanted = (label is None or node.label == label) and (rooms is None or inside in rooms)
        if wanted and key not in references and (time is None or is_present(node, time)):
            distance = min((distance_to_box(node, s.nearest_to(node.box.center)) for s in around), default=None)
            if distance is None or distance <= radius:
                hits.append(Hit(key, node.label, node.position, inside, distance))
    return hits if near is None else sorted(hits, key=lambda hit: hit.distance or 0.0)


def tracks(
    graph: SceneGraph, *, time: float, label: str | None = None, room: str | None = None, max_gap: float = MAX_GAP
) -> list[Hit]:
    """What moved and was seen at a time, with its interpolated position; `max_gap` as in `position_at`.

    Raises QueryError for a label or room that the graph does not have.
    """
    label = None if label is None else label_called(graph, label)
    rooms = None if room is None else set(rooms_called(graph, room))
    hits = []
    for key, node in graph.nodes("track"):
        position = position_at(node, time, max_gap=max_gap)
        if position is not None and (label is None or node.label == label):
            inside = room_at(graph, position)
            if rooms is None or inside in rooms:
                hits.append(Hit(key, node.label, position, inside))
    return hits


def tracked(graph: SceneGraph, *, label: str | None = None, room: str | None = None) -> list[Hit]:
    """What moved, at any time, with the last position that is known of it; with a room, what was in it at some time.

    Raises QueryError for a label or room that the graph does not have.
    """
    label = None if label is None else label_called(graph, label)
    rooms = None if room is None else set(rooms_called(graph, room))
    hits = []
    for key, node in graph.nodes("track"):
        if label is not None and node.label != label:
            continue
        positions = np.asarray(node.positions, dtype=np.float64)
        if len(positions) and (rooms is None or any(room_at(graph, position) in rooms for position in positions)):
            hits.append(Hit(key, node.label, positions[-1], room_at(graph, positions[-1])))
    return hits


def sightings(
    graph: SceneGraph, *, time: float, label: str | None = None, room: str | None = None, max_gap: float = MAX_GAP
) -> list[Sighting]:
    """Where tracks that were not seen at a time, and objects that were not there, were at the nearest time at which they were;
    nearest in time first.

    Raises QueryError for a label or room that the graph does not have.
    """
    label = None if label is None else label_called(graph, label)
    rooms = None if room is None else set(rooms_called(graph, room))
    found = []
    for key, node in [*graph.nodes("track"), *graph.nodes("object")]:
        if label is not None and node.label != label:
            continue
        if isinstance(node, TrackNode):
            if not len(node.times) or position_at(node, time, max_gap=max_gap) is not None:
                continue
            sample = int(np.abs(np.asarray(node.times) - time).argmin())
            when, position = float(node.times[sample]), np.asarray(node.positions[sample], dtype=np.float64)
            inside = room_at(graph, position)
        else:
            if is_present(node, time):
                continue
            when = min((t for interval in node.presence for t in interval), key=lambda t: abs(t - time))
            position, inside = node.position, graph.ancestor(key, "room")
        if rooms is None or inside in rooms:
            found.append(Sighting(key, node.label, position, inside, when))
    return sorted(found, key=lambda sighting: abs(sighting.time - time))


def nearest(graph: SceneGraph, point: str | ArrayLike, *, label: str | None = None, count: int = 1) -> list[Hit]:
    """The objects whose boxes are nearest to a point (3,) or to what a text means, at most `count`, optionally of one class."""
    return objects(graph, label=label, near=point)[:count]


def is_present(node: ObjectNode, time: float) -> bool:
    """Whether an object was there at a time; one without presence intervals always is."""
    return not node.presence or any(start <= time <= end for start, end in node.presence)


def position_at(track: TrackNode, time: float, *, max_gap: float = MAX_GAP) -> Array | None:
    """Position (3,) at a time, on the straight line between the two nearest known; None outside and in gaps over `max_gap` s."""
    position = positions_at(track, [time], max_gap=max_gap)[0]
    return position if np.isfinite(position).all() else None


def distance_to_box(node: ObjectNode, point: ArrayLike) -> float:
    """Metres from a point (3,) to an object's box, 0 inside."""
    local = np.abs((np.asarray(point, dtype=np.float64) - node.box.center) @ node.box.rotation)
    return float(np.linalg.norm(np.maximum(local - node.box.size / 2, 0.0)))


def room_at(graph: SceneGraph, point: ArrayLike) -> str | None:
    """The key of the room that contains a point (3,): inside its polygon and its heights; None outside of all rooms.

    Of rooms that overlap, the smallest is taken.
    """
    x, y, z = np.asarray(point, dtype=np.float64)
    holding = [
        (room.area, number, key)
        for number, (key, room) in enumerate(graph.nodes("room"))
        if room.z_range[0] - Z_MARGIN <= z <= room.z_range[1] + Z_MARGIN and Polygon(room.polygon).covers(Point(x, y))
    ]
    return min(holding)[2] if holding else None


def path(graph: SceneGraph, start: str | ArrayLike, goal: str | ArrayLike, *, min_clearance: float = 0.0) -> FreePath:
    """The shortest path over place edges between two points (3,) or what texts mean: keys, room names, labels, "door".

    Of several things of a name those are taken between which the path is shortest. A room stands for the place nearest to its
    centre, anything else for the nearest place, within its own room if that has one. Edges with less than `min_clearance` metres
    of clearance are not used.

    Raises QueryError when there are no places, a text means nothing or has no position, or no path connects the two.
    """
    lines = _free_lines(graph, min_clearance)
    starts, goals = ([_end(graph, spot) for spot in _around(graph, end)] for end in (start, goal))
    shortest, places, ends = np.inf, [""], (starts[0][1], goals[0][1])
    for place, first in starts:
        lengths = nx.single_source_dijkstra_path_length(lines, place, weight="length")
        for other, last in goals:
            if lengths.get(other, np.inf) < shortest:
                shortest, places, ends = lengths[other], [place, other], (first, last)
    if not np.isfinite(shortest):
        kept = f" with {min_clearance} m of clearance" if min_clearance > 0 else ""
        raise QueryError(f"no path leads from {_name(start)} to {_name(goal)}{kept}")
    places = nx.shortest_path(lines, places[0], places[-1], weight="length")
    points = [ends[0], *(_place(graph, key).position for key in places), ends[1]]
    line = np.array([p for i, p in enumerate(points) if i == 0 or np.linalg.norm(p - points[i - 1]) > 1e-9])
    clearances = [lines.edges[a, b]["clearance"] for a, b in pairwise(places)]
    narrowest = min([*clearances, *(_place(graph, key).radius for key in places)])
    return FreePath(tuple(places), line, float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()), float(narrowest))


def rooms_along(graph: SceneGraph, points: Array) -> list[str]:
    """Keys of the rooms that a path of points (N, 3) leads through, in order, each passage once."""
    keys: list[str] = []
    for a, b in pairwise(points):
        for share in np.linspace(0, 1, max(2, int(np.linalg.norm(b - a) / ROOM_STEP) + 1)):
            room = room_at(graph, a + share * (b - a))
            if room is not None and (not keys or keys[-1] != room):
                keys.append(room)
    return keys


def _free_lines(graph: SceneGraph, min_clearance: float) -> nx.Graph[str]:
    """The places and the edges between them that are wide enough, with length and clearance."""
    lines: nx.Graph[str] = nx.Graph()
    lines.add_nodes_from(key for key, _ in graph.nodes("place"))
    for edge in graph.edges("place_edge"):
        clearance = float(edge.attributes.get("clearance", np.inf))
        if clearance >= min_clearance:
            length = float(np.linalg.norm(_place(graph, edge.source).position - _place(graph, edge.target).position))
            lines.add_edge(edge.source, edge.target, length=length, clearance=clearance)
    return lines


def _around(graph: SceneGraph, end: str | ArrayLike) -> list[Spot]:
    """What a text means, or the point itself."""
    if isinstance(end, str):
        return resolve_spots(graph, end)
    position = np.asarray(end, dtype=np.float64)
    if position.shape != (3,) or not np.isfinite(position).all():
        raise QueryError(f"expected a node's key or a point of three numbers, got {end!r}")
    return [Spot(_name(end), position)]


def _end(graph: SceneGraph, spot: Spot) -> tuple[str, Array]:
    """The place that represents an end of a path, and the end's own position."""
    key = spot.key
    if key is not None and isinstance(graph[key], PlaceNode):
        return key, spot.position
    is_room = key is not None and isinstance(graph[key], RoomNode)
    room = key if is_room else room_at(graph, spot.position) if key is None else graph.ancestor(key, "room")
    places = graph.nodes("place")
    if not places:
        raise QueryError("the scene graph has no places, so there are no paths")
    places = [(place, node) for place, node in places if graph.parent(place) == room] or places
    nearest_place = min(places, key=lambda each: float(np.linalg.norm(each[1].position - spot.position)))[0]
    # A room's centre may lie in a table: its place is where a person can stand.
    return nearest_place, _place(graph, nearest_place).position if is_room else spot.position


def _place(graph: SceneGraph, key: str) -> PlaceNode:
    node = graph[key]
    assert isinstance(node, PlaceNode)
    return node


def _name(end: str | ArrayLike) -> str:
    return end if isinstance(end, str) else str(np.asarray(end).tolist())
