"""The scene graph as spark_dsg JSON (MIT-SPARK/Spark-DSG 1.1.3), which Hydra's tools and `spark-dsg visualize` load.

spark_dsg has no storeys and no tracks, allows one parent per node and attaches an object to a place: storeys become metadata of
rooms, tracks become dynamic objects of layer 2, objects and poses are attached to the nearest place of their room. What
has no field there is kept under `metadata.m2h` of the graph, node or edge, with our key, so that nothing is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.files import write_text_atomic
from mapping.mesh.clustering import clustered
from mapping.mesh.mesh import Mesh
from mapping.se3 import quat_xyzw_from_rotation
from scenegraph.files.export import StrPath
from scenegraph.files.json_io import plain
from scenegraph.graph import SceneGraph, number_of, sort_key
from scenegraph.labels import nyu40
from scenegraph.nodes import AgentNode, BuildingNode, Node, ObjectNode, OrientedBox, PlaceNode, RoomNode, TrackNode

Array = NDArray[np.float64]

HEADER = {"project_name": "main", "version": {"major": 1, "minor": 1, "patch": 3}}
LAYER_KEYS = ((2, 0), (2, 97), (3, 0), (4, 0), (5, 0))
LAYER_NAMES = {"AGENTS": 2, "BUILDINGS": 5, "OBJECTS": 2, "PLACES": 3, "ROOMS": 4}
LAYER_OF = {"building": (5, 0), "room": (4, 0), "place": (3, 0), "object": (2, 0), "track": (2, 0), "agent": (2, 97)}
SYMBOL_OF = {"building": "B", "room": "R", "place": "p", "object": "O", "track": "O", "agent": "a"}

BUILDING_LABEL, BUILDING_COLOR = 22, (169, 8, 194)  # what Hydra gives its one building
ROOM_PALETTE = nyu40().palette()[1:]
NO_ROTATION = {"w": 1.0, "x": 0.0, "y": 0.0, "z": 0.0}
NO_BOX = {
    "type": "INVALID",
    "dimensions": [0.0, 0.0, 0.0],
    "world_P_center": [0.0, 0.0, 0.0],
    "world_R_center": NO_ROTATION,
}


MESH_CELL = 0.08
"""Metres: vertices of a map nearer to each other are one in the file, whose text is otherwise mesh for the most part."""


def export_map_dsg(graph: SceneGraph, path: StrPath, mesh: Mesh) -> None:
    """Write spark_dsg JSON of a map, with its mesh at the resolution of `MESH_CELL`."""
    export_spark_dsg(graph, path, mesh=clustered(mesh, MESH_CELL))


def export_spark_dsg(graph: SceneGraph, path: StrPath, mesh: Mesh | None = None) -> None:
    """Write spark_dsg JSON; with the map's mesh, objects refer to their vertices of it.

    The mesh is in the graph's world, its `objects` field has the objects' numbers. All its vertices carry the first and last
    time of the camera poses as time stamps, because fusion keeps none per vertex.
    """
    context = _Context(graph, mesh, _dsg_ids(graph), _room_labels(graph), _relations(graph))
    data: dict[str, Any] = {
        "SPARK_DSG_header": HEADER,
        "directed": False,
        "multigraph": False,
        "layer_keys": [{"layer": layer, "partition": partition} for layer, partition in LAYER_KEYS],
        "layer_names": {name: {"layer": layer, "partition": 0} for name, layer in LAYER_NAMES.items()},
        "metadata": _metadata(context),
        "nodes": [_node(context, key) for key in context.ids],
        "edges": [*_hierarchy(context), *_siblings(context)],
    }
    if mesh is not None:
        data["mesh"] = _mesh(mesh, [agent.time for _, agent in graph.nodes("agent")])
    write_text_atomic(path, json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")


def node_id_from_symbol(symbol: str, number: int) -> int:
    """spark_dsg's NodeSymbol: the character in the highest byte, the number below."""
    return ord(symbol) << 56 | number


@dataclass(frozen=True, eq=False)
class _Context:
    """What every part of the file needs: spark_dsg ids by our keys, numbers of room names, and the relations within a layer of
    spark_dsg (by unordered pair) and across layers (by source)."""

    graph: SceneGraph
    mesh: Mesh | None
    ids: dict[str, int]
    room_labels: dict[str, int]
    relations: tuple[dict[tuple[str, str], list[dict[str, Any]]], dict[str, list[dict[str, Any]]]]


def _dsg_ids(graph: SceneGraph) -> dict[str, int]:
    """spark_dsg ids by our keys. Track numbers follow those of the objects, whose symbol they share."""
    after_objects = 1 + max((number_of(key) for key, _ in graph.nodes("object")), default=-1)
    return {
        key: node_id_from_symbol(
            SYMBOL_OF[node.layer], number_of(key) + (after_objects if node.layer == "track" else 0)
        )
        for key, node in graph.nodes()
        if node.layer in SYMBOL_OF
    }


def _relations(
    graph: SceneGraph,
) -> tuple[dict[tuple[str, str], list[dict[str, Any]]], dict[str, list[dict[str, Any]]]]:
    within: dict[tuple[str, str], list[dict[str, Any]]] = {}
    across: dict[str, list[dict[str, Any]]] = {}
    for edge in graph.edges():
        if edge.kind == "contains":
            continue
        source, target = edge.source, edge.target
        relation = plain(
            {"kind": edge.kind, "source": source, "target": target, **edge.attributes}, f"{source} -> {target}"
        )
        if LAYER_OF[graph[source].layer] == LAYER_OF.get(graph[target].layer):
            pair = (source, target) if sort_key(source) < sort_key(target) else (target, source)
            within.setdefault(pair, []).append(relation)
        else:  # an edge across layers would be read as a second parent
            across.setdefault(source, []).append(relation)
    return within, across


def _metadata(context: _Context) -> dict[str, Any]:
    graph = context.graph
    classes = [[c.id, c.name] for c in graph.label_space.classes]
    rooms = [[number, name] for name, number in context.room_labels.items()]
    return {
        "labelspaces": {"_l2p0": classes, "_l4p0": rooms, "mesh": classes},
        "m2h": {
            "units": "m",
            "world_up": "+z",
            "label_space": graph.label_space.name,
            "T_input_world": plain(graph.T_input_world, "T_input_world"),
            "storeys": {key: list(plain(storey.z_range, key)) for key, storey in graph.nodes("storey")},
            "graph": plain(graph.metadata, "graph"),
        },
    }


def _room_labels(graph: SceneGraph) -> dict[str, int]:
    """Numbers for the rooms' names, in alphabetical order; 0 is kept for unknown."""
    names = sorted({room.label for _, room in graph.nodes("room")} - {"unknown"})
    return {"unknown": 0, **{name: number for number, name in enumerate(names, start=1)}}


def _node(context: _Context, key: str) -> dict[str, Any]:
    graph, node = context.graph, context.graph[key]
    layer, partition = LAYER_OF[node.layer]
    extras: dict[str, Any] = {"id": key, "room": graph.ancestor(key, "room"), "storey": graph.ancestor(key, "storey")}
    if key in context.relations[1]:
        extras["relations"] = context.relations[1][key]
    attributes = _attributes(context, node, extras)
    if isinstance(node, AgentNode):
        attributes["external_key"] = context.ids[key]
    attributes["metadata"] = {"m2h": plain(extras, key)}
    return {"id": context.ids[key], "layer": layer, "partition": partition, "attributes": attributes}


def _attributes(context: _Context, node: Node, extras: dict[str, Any]) -> dict[str, Any]:
    """The attributes of spark_dsg's class for the node; `extras` receives what that class has no field for."""
    match node:
        case BuildingNode():
            position = _building_position(context.graph)
            semantic = _semantic(node.label, BUILDING_LABEL, BUILDING_COLOR, position, None)
            return {"type": "SemanticNodeAttributes", **semantic}
        case RoomNode():
            return _room(node, context.room_labels[node.label], extras)
        case PlaceNode():
            place = {"distance": float(node.radius), "num_basis_points": 3, "real_place": True}
            semantic = _semantic("", 0, (255, 0, 0), node.position, None)
            return {"type": "PlaceNodeAttributes", **place, **semantic}
        case ObjectNode():
            return _object(context, node, extras)
        case TrackNode():
            return _track(context, node, extras)
        case AgentNode():
            x, y, z, w = (float(value) for value in node.rotation_xyzw)
            return {
                "type": "AgentNodeAttributes",
                "position": plain(node.position, "position"),
                "timestamp": _nanoseconds(node.time),
                "world_R_body": {"w": w, "x": x, "y": y, "z": z},
                "dbow_ids": None,
                "dbow_values": None,
            }
        case _:
            raise ValueError(f"spark_dsg has no layer for a {node.layer}")


def _room(node: RoomNode, number: int, extras: dict[str, Any]) -> dict[str, Any]:
    extras |= {"polygon": node.polygon, "z_range": node.z_range, "area": node.area, "evidence": node.evidence}
    low = np.array([*np.min(node.polygon, axis=0), node.z_range[0]])
    high = np.array([*np.max(node.polygon, axis=0), node.z_range[1]])
    box = _box(OrientedBox((low + high) / 2, high - low, np.eye(3))) | {"type": "AABB"}
    r, g, b = ROOM_PALETTE[number % len(ROOM_PALETTE)]
    return {
        "type": "RoomNodeAttributes",
        "semantic_class_probabilities": plain(node.label_scores or {node.label: 1.0}, "label_scores"),
        **_semantic(node.label, number, (int(r), int(g), int(b)), node.position, box),
    }


def _object(context: _Context, node: ObjectNode, extras: dict[str, Any]) -> dict[str, Any]:
    extras |= {"views": node.views, "confidence": node.confidence, "label_scores": node.label_scores}
    vertices: list[int] = []
    if context.mesh is not None and context.mesh.objects is not None and node.number > 0:
        vertices = np.flatnonzero(context.mesh.objects == node.number).tolist()
    return {
        "registered": False,
        "world_R_object": _quaternion(node.box.rotation),
        "mesh_connections": vertices,
        **(_khronos(node.presence) if node.presence else {"type": "ObjectNodeAttributes"}),
        **_class_semantic(context.graph, node, node.position, node.box),
    }


def _track(context: _Context, node: TrackNode, extras: dict[str, Any]) -> dict[str, Any]:
    extras |= {"confidence": node.confidence, "dynamic": True}
    start = np.asarray(node.positions[0])
    return {
        "registered": False,
        "world_R_object": NO_ROTATION,
        "mesh_connections": [],
        **_khronos(((float(node.times[0]), float(node.times[-1])),)),
        "trajectory_timestamps": [_nanoseconds(time) for time in node.times],
        "trajectory_positions": plain(node.positions, "positions"),
        **_class_semantic(context.graph, node, start, OrientedBox(start, node.size, np.eye(3))),
    }


def _semantic(
    name: str, label: int, color: tuple[int, int, int], position: Array, box: dict[str, Any] | None
) -> dict[str, Any]:
    r, g, b = color
    return {
        "name": name,
        "semantic_label": label,
        "color": {"r": r, "g": g, "b": b, "a": 255},
        "position": plain(position, "position"),
        "bounding_box": box or NO_BOX,
        "last_update_time_ns": 0,
        "is_active": False,
        "is_predicted": False,
    }


def _class_semantic(
    graph: SceneGraph, node: ObjectNode | TrackNode, position: Array, box: OrientedBox
) -> dict[str, Any]:
    known = graph.label_space.by_id.get(node.label_id)
    color = known.color if known else (128, 128, 128)
    return _semantic(node.label, node.label_id, color, position, _box(box))


def _khronos(presence: tuple[tuple[float, float], ...]) -> dict[str, Any]:
    return {
        "type": "KhronosObjectAttributes",
        "first_observed_ns": [_nanoseconds(start) for start, _ in presence],
        "last_observed_ns": [_nanoseconds(end) for _, end in presence],
        "trajectory_timestamps": [],
        "trajectory_positions": [],
        "dynamic_object_points": [],
        "details": {},
    }


def _box(box: OrientedBox) -> dict[str, Any]:
    return {
        "type": "RAABB" if abs(box.rotation[2, 2]) > 1 - 1e-6 else "OBB",
        "dimensions": plain(box.size, "size"),
        "world_P_center": plain(box.center, "center"),
        "world_R_center": _quaternion(box.rotation),
    }


def _quaternion(rotation: Array) -> dict[str, float]:
    x, y, z, w = (float(value) for value in quat_xyzw_from_rotation(rotation))
    return {"w": w, "x": x, "y": y, "z": z}


def _building_position(graph: SceneGraph) -> Array:
    positions = [room.position for _, room in graph.nodes("room")] or [o.position for _, o in graph.nodes("object")]
    return np.asarray(np.mean(positions, axis=0)) if positions else np.zeros(3)


def _nanoseconds(time: float) -> int:
    return max(0, round(float(time) * 1e9))  # spark_dsg counts without sign


def _hierarchy(context: _Context) -> Iterator[dict[str, Any]]:
    """Edges from parent to child: for objects, tracks and poses the nearest place, else the nearest known layer above."""
    graph = context.graph
    places = graph.nodes("place")
    positions = np.array([place.position for _, place in places]).reshape(-1, 3)
    rooms = np.array([graph.parent(key) for key, _ in places], dtype=object)
    for key, node_id in context.ids.items():
        node = graph[key]
        above = graph.parent(key)
        while above is not None and above not in context.ids:
            above = graph.parent(above)
        if isinstance(node, ObjectNode | TrackNode | AgentNode) and places:
            position = node.positions[0] if isinstance(node, TrackNode) else node.position
            distances = np.linalg.norm(positions - position, axis=1)
            same_room = rooms == graph.ancestor(key, "room")
            above = places[int(np.argmin(np.where(same_room, distances, distances + 1e6)))][0]
        if above is not None:
            yield _edge(context.ids[above], node_id)


def _siblings(context: _Context) -> Iterator[dict[str, Any]]:
    """Edges within a layer: one per pair of nodes, with every relation between the two in its metadata."""
    for (a, b), relations in context.relations[0].items():
        metadata = {"m2h": {"relations": relations}}
        yield _edge(context.ids[a], context.ids[b], weight=relations[0].get("clearance"), metadata=metadata)
    for before, after in pairwise(key for key, _ in context.graph.nodes("agent")):
        yield _edge(context.ids[before], context.ids[after])


def _edge(
    source: int, target: int, *, weight: float | None = None, metadata: dict[str, Any] | None = None
) -> dict[str, Any]:
    info = {
        "type": "EdgeAttributes",
        "weighted": weight is not None,
        "weight": 1.0 if weight is None else float(weight),
        "metadata": metadata or {},
    }
    return {"source": source, "target": target, "info": info}


def _mesh(mesh: Mesh, times: list[float]) -> dict[str, Any]:
    count = len(mesh.vertices)
    colors = mesh.colors if mesh.colors is not None else np.full((count, 3), 128, np.uint8)
    labels = mesh.labels if mesh.labels is not None else np.zeros(count, np.uint16)
    return {
        "header": HEADER,
        "has_colors": True,
        "has_labels": True,
        "has_timestamps": True,
        "has_first_seen_stamps": True,
        "points": np.round(mesh.vertices, 3).tolist(),
        "colors": [{"r": r, "g": g, "b": b, "a": 255} for r, g, b in colors.tolist()],
        "labels": labels.tolist(),
        "stamps": [_nanoseconds(max(times, default=0.0))] * count,
        "first_seen_stamps": [_nanoseconds(min(times, default=0.0))] * count,
        "faces": mesh.faces.tolist(),
    }
