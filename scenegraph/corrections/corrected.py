"""A scene graph and its mesh after the user's corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mapping.mesh.mesh import Mesh
from mapping.se3 import inverse, transform_points
from scenegraph.boxes import box_around
from scenegraph.corrections.entries import Anchor, Correction, CorrectionError, Layer
from scenegraph.faces import Faces
from scenegraph.graph import SceneGraph
from scenegraph.graph_config import RelationConfig
from scenegraph.labels import LabelSpaceError
from scenegraph.nodes import ObjectNode, OrientedBox, RoomNode, TrackNode
from scenegraph.objects.relations import object_relations

Array = NDArray[np.float64]

REACH = 0.3
"""Metres from an object's box within which a point names it."""
OTHER_LABEL = 0.5
"""Metres by which an object of another label than was stated is taken to be farther away."""
OVER_ONE_ANOTHER = 2.0
"""How much farther apart in height than in plan points of a split lie that cuts an object level."""


@dataclass
class _Map:
    """The graph and, per vertex (V,) of the mesh, object numbers and labels as they are corrected."""

    graph: SceneGraph
    mesh: Mesh
    objects: NDArray[np.uint32]
    labels: NDArray[np.uint16] | None

    def vertices(self, node: ObjectNode) -> NDArray[np.bool_]:
        return np.asarray(self.objects == node.number)


def corrected(
    graph: SceneGraph, mesh: Mesh, corrections: Sequence[Correction], config: RelationConfig
) -> tuple[SceneGraph, Mesh, list[str]]:
    """The graph, changed in place, its mesh, and a sentence on each correction that could not be made.

    Each is applied to what the ones before it left. Objects keep their keys; a merged one has that of the first, the parts of a
    split one follow all others. Relations between objects are found again.
    """
    if not corrections:
        return graph, mesh, []
    numbers = np.zeros(len(mesh.vertices), np.uint32) if mesh.objects is None else mesh.objects.copy()
    state = _Map(graph, mesh, numbers, None if mesh.labels is None else mesh.labels.copy())
    problems = []
    for number, correction in enumerate(corrections):
        try:
            APPLY[correction.kind](state, correction)
        except CorrectionError as error:
            problems.append(f"correction {number + 1}, {correction}, is not made: {error}")
    mesh = replace(mesh, objects=state.objects, labels=state.labels)
    _relate_again(graph, mesh, config)
    return graph, mesh, problems


def find(graph: SceneGraph, anchor: Anchor) -> str:
    """The key of the object, room or track that an anchor means; raises CorrectionError when nothing is there."""
    point = transform_points(inverse(graph.T_input_world), anchor.at)
    ranked = []
    for key, node in graph.nodes(anchor.layer):
        away = _away(node, point)
        other = OTHER_LABEL if node.label != anchor.label else 0.0
        if away <= REACH:
            middle = node.positions[0] if isinstance(node, TrackNode) else node.position
            ranked.append((away + other, float(np.linalg.norm(middle - point)), key))
    if not ranked:
        raise CorrectionError(f"there is no {anchor.layer} within {REACH:g} m")
    return min(ranked)[2]


def anchor_of(graph: SceneGraph, key: str) -> Anchor:
    """What names an object, a room or a track in a file."""
    node = graph[key]
    if isinstance(node, TrackNode):
        return Anchor("track", node.label, transform_points(graph.T_input_world, np.asarray(node.positions[0])))
    if not isinstance(node, ObjectNode | RoomNode):
        raise CorrectionError(f"{key}: is a {node.layer}; only objects, rooms and tracks can be corrected")
    layer: Layer = "object" if isinstance(node, ObjectNode) else "room"
    return Anchor(layer, node.label, transform_points(graph.T_input_world, node.position))


def _away(node: ObjectNode | RoomNode | TrackNode, point: Array) -> float:
    """Metres from a point (3,) to an object's box, a room's space or where a track was seen first."""
    if isinstance(node, TrackNode):
        return float(np.linalg.norm(np.asarray(node.positions[0]) - point))
    if isinstance(node, ObjectNode):
        local = np.abs((point - node.box.center) @ node.box.rotation) - node.box.size / 2
        return float(np.linalg.norm(np.maximum(local, 0.0)))
    low, high = node.z_range
    outside = shapely.Polygon(node.polygon).distance(shapely.Point(point[:2]))
    return float(np.hypot(outside, max(low - point[2], point[2] - high, 0.0)))


def _object(state: _Map, anchor: Anchor) -> tuple[str, ObjectNode]:
    key = find(state.graph, anchor)
    node = state.graph[key]
    assert isinstance(node, ObjectNode)
    return key, node


def _rename(state: _Map, correction: Correction) -> None:
    """Another class for an object, any name for a room."""
    (anchor,) = correction.about
    if anchor.layer == "room":
        key = find(state.graph, anchor)
        room = state.graph[key]
        assert isinstance(room, RoomNode)
        state.graph.replace(key, replace(room, label=correction.name, label_scores={correction.name: 1.0}))
        return
    key, node = _object(state, anchor)
    try:
        label_id = state.graph.label_space.id_of(correction.name)
    except LabelSpaceError as error:
        raise CorrectionError(str(error)) from error
    if state.labels is not None:
        state.labels[state.vertices(node)] = label_id
    scores = {correction.name: 1.0}
    state.graph.replace(key, replace(node, label=correction.name, label_id=label_id, label_scores=scores))


def _merge(state: _Map, correction: Correction) -> None:
    """Several objects as one, with the label of the first."""
    found = dict(_object(state, anchor) for anchor in correction.about)
    if len(found) < len(correction.about):
        raise CorrectionError(f"two of the points are at {next(iter(found))}; expected different objects")
    (key, first), *others = found.items()
    corners = np.concatenate([node.box.corners() for node in found.values()])
    for other, node in others:
        mine = state.vertices(node)
        state.objects[mine] = first.number
        if state.labels is not None:
            state.labels[mine] = first.label_id
        state.graph.remove(other)
    box = box_around(corners)
    views = max(node.views for node in found.values())
    state.graph.replace(key, replace(first, box=box, position=box.center, views=views))


def _split(state: _Map, correction: Correction) -> None:
    """One object as several: each piece of its surface goes to the nearest of the points."""
    assert correction.points is not None
    (anchor,) = correction.about
    key, node = _object(state, anchor)
    points = transform_points(inverse(state.graph.T_input_world), correction.points)
    at = np.flatnonzero(state.vertices(node))
    owner = cKDTree(points).query(state.mesh.vertices[at])[1] if len(at) else np.zeros(0, np.int64)
    empty = [k for k in range(len(points)) if (owner == k).sum() < 3]
    if empty:
        raise CorrectionError(f"no surface of {key} is nearest to point {empty[0] + 1} of {len(points)}")
    parent = state.graph.parent(key)
    for k in range(len(points)):
        box = _part_box(state.mesh.vertices[at[owner == k]], node.box, points)
        part = replace(node, box=box, position=box.center)
        if k == 0:
            state.graph.replace(key, part)
            continue
        number = 1 + max(int(state.objects.max()), *(other.number for _, other in state.graph.nodes("object")))
        state.objects[at[owner == k]] = number
        state.graph.add(replace(part, number=number), parent=parent)


def _part_box(vertices: Array, whole: OrientedBox, points: Array) -> OrientedBox:
    """The box around a part; parts next to each other reach as far down as the whole did."""
    box = box_around(vertices)
    apart = np.ptp(points, axis=0)
    base = whole.center[2] - whole.size[2] / 2
    low, top = box.center[2] - box.size[2] / 2, box.center[2] + box.size[2] / 2
    if apart[2] > OVER_ONE_ANOTHER * np.hypot(apart[0], apart[1]) or base >= low:
        return box
    center = np.array([box.center[0], box.center[1], (base + top) / 2])
    return OrientedBox(center, np.array([box.size[0], box.size[1], top - base]), box.rotation)


def _set_room(state: _Map, correction: Correction) -> None:
    """The room that an object belongs to."""
    assert correction.room is not None
    key, _ = _object(state, correction.about[0])
    state.graph.set_parent(key, find(state.graph, correction.room))


def _delete(state: _Map, correction: Correction) -> None:
    """An object that is none, whose surface stays, or a track of what did not move."""
    if correction.about[0].layer == "track":
        state.graph.remove(find(state.graph, correction.about[0]))
        return
    key, node = _object(state, correction.about[0])
    state.objects[state.vertices(node)] = 0
    state.graph.remove(key)


APPLY = {"rename": _rename, "merge": _merge, "split": _split, "room": _set_room, "delete": _delete}


def _relate_again(graph: SceneGraph, mesh: Mesh, config: RelationConfig) -> None:
    """Find the relations between objects anew, whose numbers may have gaps now."""
    assert mesh.objects is not None
    entries = graph.nodes("object")
    for edge in graph.edges():
        if graph[edge.source].layer == graph[edge.target].layer == "object":
            graph.nx.remove_edge(edge.source, edge.target)
    table = np.zeros(1 + max([int(mesh.objects.max(initial=0)), *(node.number for _, node in entries)]), np.uint32)
    nodes = []
    for place, (_, node) in enumerate(entries):
        table[node.number] = place + 1
        nodes.append(replace(node, number=place + 1))
    faces = Faces.of(replace(mesh, objects=table[mesh.objects]))
    for relation in object_relations(nodes, faces, config):
        ends = entries[relation.source][0], entries[relation.target][0]
        graph.connect(*ends, kind=relation.kind, score=relation.score, evidence=relation.evidence)
