"""Simple queries on a scene graph: what is where, when, and how to get there. World metres, z up; seconds."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import Point, Polygon

from scenegraph.graph import SceneGraph
from scenegraph.nodes import AgentNode, ObjectNode, PlaceNode, RoomNode, TrackNode
from scenegraph.tracks.positions import MAX_GAP, positions_at

Array = NDArray[np.float64]

Z_MARGIN = 0.2  # metres by which a point may lie under a room's floor or over its ceiling and still be in it


class QueryError(ValueError):
    """Raised for a query without an answer: an unknown label, room or node, or no path between two places."""


@dataclass(frozen=True, eq=False)
class Hit:
    """A query result: key, label and position (3,), its room's key, and the distance to the query point."""

    key: str
    label: str
    position: Array
    room: str | None
    distance: float | None = None


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
    near: ArrayLike | None = None,
    radius: float = np.inf,
    time: float | None = None,
) -> list[Hit]:
    """Objects that meet every given condition, in the order of their keys or, with `near`, nearest first.

    label is a class name; room a key ("R0") or a name ("kitchen", which may be several rooms); near a point (3,), from which the
    object's box is at most `radius` metres away; time a moment at which it was present (an object without presence always was).

    Raises QueryError for a label or room that the graph does not have, with the nearest known name.
    """
    if label is not None:
        _check_label(graph, label)
    rooms = None if room is None else _rooms(graph, room)
    hits = []
    for key, node in graph.nodes("object"):
        inside = graph.ancestor(key, "room")
        wanted = (label is None or node.label == label) and (rooms is None or inside in rooms)
        if wanted and (time is None or is_present(node, time)):
            distance = None if near is None else distance_to_box(node, near)
            if distance is None or distance <= radius:
                hits.append(Hit(key, node.label, node.position, inside, distance))
    return hits if near is None else sorted(hits, key=lambda hit: hit.distance or 0.0)


def tracks(
    graph: SceneGraph, *, time: float, label: str | None = None, room: str | None = None, max_gap: float = MAX_GAP
) -> list[Hit]:
    """What moved and was seen at a time, with its interpolated position; `max_gap` as in `position_at`.

    Raises QueryError for a label or room that the graph does not have.
    """
    if label is not None:
        _check_label(graph, label)
    rooms = None if room is None else _rooms(graph, room)
    hits = []
    for key, node in graph.nodes("track"):
        position = position_at(node, time, max_gap=max_gap)
        if position is not None and (label is None or node.label == label):
            inside = room_at(graph, position)
            if rooms is None or inside in rooms:
                hits.append(Hit(key, node.label, position, inside))
    return hits


def nearest(graph: SceneGraph, point: ArrayLike, *, label: str | None = None, count: int = 1) -> list[Hit]:
    """The objects whose boxes are nearest to a point (3,), at most `count`, optionally of one class."""
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
    """The shortest path over place edges between two nodes (keys) or points (3,).

    A room stands for the place nearest to its centre, any other node or point for the nearest place, within its own room if
    that has one. Edges with less than `min_clearance` metres of clearance are not used.

    Raises QueryError when there are no places, a key is unknown or has no position, or no path connects the two.
    """
    free_lines: nx.Graph[str] = nx.Graph()
    free_lines.add_nodes_from(key for key, _ in graph.nodes("place"))
    for edge in graph.edges("place_edge"):
        clearance = float(edge.attributes.get("clearance", np.inf))
        if clearance >= min_clearance:
            length = float(np.linalg.norm(_place(graph, edge.source).position - _place(graph, edge.target).position))
            free_lines.add_edge(edge.source, edge.target, length=length, clearance=clearance)
    ends = [_end(graph, end) for end in (start, goal)]
    try:
        places = nx.shortest_path(free_lines, ends[0][0], ends[1][0], weight="length")
    except nx.NetworkXNoPath as error:
        kept = f" with {min_clearance} m of clearance" if min_clearance > 0 else ""
        raise QueryError(f"no path leads from {_name(start)} to {_name(goal)}{kept}") from error
    points = [*(_place(graph, key).position for key in places)]
    points = [ends[0][1], *points, ends[1][1]]
    line = np.array([p for i, p in enumerate(points) if i == 0 or np.linalg.norm(p - points[i - 1]) > 1e-9])
    clearances = [free_lines.edges[a, b]["clearance"] for a, b in pairwise(places)]
    narrowest = min([*clearances, *(_place(graph, key).radius for key in places)])
    return FreePath(tuple(places), line, float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()), float(narrowest))


def position_of(graph: SceneGraph, key: str) -> Array:
    """Position (3,) of a node; of a track, its last one. Raises QueryError for an unknown key or a node without one."""
    if key not in graph:
        raise QueryError(f"no node {key!r} in the scene graph")
    node = graph[key]
    if isinstance(node, TrackNode):
        return np.asarray(node.positions[-1])
    if isinstance(node, RoomNode | PlaceNode | ObjectNode | AgentNode):
        return np.asarray(node.position)
    raise QueryError(f"{key} is a {node.layer}, which has no position")


def _end(graph: SceneGraph, end: str | ArrayLike) -> tuple[str, Array]:
    """The place that represents an end of a path, and the end's own position."""
    if isinstance(end, str):
        position = position_of(graph, end)
        if isinstance(graph[end], PlaceNode):
            return end, position
        room = end if isinstance(graph[end], RoomNode) else graph.ancestor(end, "room")
    else:
        position = np.asarray(end, dtype=np.float64)
        if position.shape != (3,) or not np.isfinite(position).all():
            raise QueryError(f"expected a node's key or a point of three numbers, got {end!r}")
        room = room_at(graph, position)
    places = graph.nodes("place")
    if not places:
        raise QueryError("the scene graph has no places, so there are no paths")
    places = [(key, place) for key, place in places if graph.parent(key) == room] or places
    key = min(places, key=lambda each: float(np.linalg.norm(each[1].position - position)))[0]
    # A room's centre may lie in a table: its place is where a person can stand.
    return key, _place(graph, key).position if isinstance(end, str) and end == room else position


def _place(graph: SceneGraph, key: str) -> PlaceNode:
    node = graph[key]
    assert isinstance(node, PlaceNode)
    return node


def _rooms(graph: SceneGraph, room: str) -> set[str]:
    """Keys of the rooms that a key or a name means."""
    found = {key for key, node in graph.nodes("room") if room in (key, node.label)}
    if not found:
        names: Sequence[str] = [name for key, node in graph.nodes("room") for name in (key, node.label)]
        raise QueryError(f"no room {room!r} in the scene graph{_hint(room, names)}")
    return found


def _check_label(graph: SceneGraph, label: str) -> None:
    known = {*graph.label_space.names, *(node.label for layer in ("object", "track") for _, node in graph.nodes(layer))}
    if label not in known:
        raise QueryError(f"no class {label!r} in label space {graph.label_space.name}{_hint(label, sorted(known))}")


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _name(end: str | ArrayLike) -> str:
    return end if isinstance(end, str) else str(np.asarray(end).tolist())
