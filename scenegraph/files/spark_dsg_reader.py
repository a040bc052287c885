"""spark_dsg JSON, ours and Hydra's, as a scene graph; also the layout of version 1.0.0 (without partitions)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from mapping.se3 import rotation_from_quat_xyzw
from scenegraph.files import json_values as values
from scenegraph.files.json_values import GraphFormatError
from scenegraph.graph import SceneGraph
from scenegraph.labels import LabelClass, LabelSpace, nyu40
from scenegraph.nodes import (
    AgentNode,
    BuildingNode,
    Node,
    ObjectNode,
    OrientedBox,
    PlaceNode,
    RoomNode,
    StoreyNode,
    TrackNode,
)

Array = NDArray[np.float64]

LAYERS = {5: "building", 4: "room", 3: "place", 2: "object"}
HIERARCHY = ("building", "room", "place")
PREFIXES = {"building": "B", "room": "R", "place": "P", "object": "O", "agent": "A"}
AGENT_PARTITION = ord("a")
LARGEST_LABEL = 65535


def load_spark_dsg(path: str | os.PathLike[str]) -> SceneGraph:
    """Read a spark_dsg JSON file.

    What our exporter put under `metadata.m2h` is used: keys, storeys, relations, room polygons. Without it, nodes are numbered as
    in the file, a room's polygon is its box or the hull of its places, and object classes have the names of the file's
    label space, or names like `label_17` where it has none. Meshes, mesh places and features are ignored.

    Raises GraphFormatError, one line with the file, the node or edge, the field and what was expected; FileNotFoundError.
    """
    where = str(path)
    try:
        data = values.mapping(json.loads(Path(path).read_text(encoding="utf-8")), where)
    except GraphFormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise GraphFormatError(f"{where}: not readable as JSON: {error}") from error
    if "layer_keys" not in data and "layer_ids" not in data:
        raise GraphFormatError(f"{where}: layer_keys: missing; this is not a spark_dsg file")
    nodes = [
        _source_node(entry, f"{where}: nodes[{number}]")
        for number, entry in enumerate(values.sequence(data.get("nodes"), f"{where}: nodes"))
    ]
    sources = {node.id: node for node in nodes if node is not None}
    _link(sources, values.sequence(data.get("edges"), f"{where}: edges"), f"{where}: edges")
    return _build(sources, _extras(data), _object_names(data, where), where)


def _object_names(data: dict[str, Any], where: str) -> dict[int, str]:
    """Names of object classes by number, from the file's own label space."""
    metadata = data.get("metadata") or {}
    pairs = (metadata.get("labelspaces") or {}).get("_l2p0", [])
    at = f"{where}: metadata.labelspaces._l2p0"
    return {values.whole(pair[0], at): values.text(pair[1], at) for pair in values.sequence(pairs, at)}


@dataclass(eq=False)
class _Source:
    """A node of the file: its layer's name, attributes, and what its edges imply."""

    id: int
    layer: str
    attributes: dict[str, Any]
    where: str
    key: str = ""
    parents: list[_Source] = field(default_factory=list)
    siblings: list[tuple[_Source, dict[str, Any]]] = field(default_factory=list)

    @property
    def extras(self) -> dict[str, Any]:
        return _extras(self.attributes)

    def vector(self, name: str, length: int = 3) -> Array:
        return values.array(self.attributes.get(name), f"{self.where}.{name}", (length,))

    def above(self, layer: str) -> _Source | None:
        """The first ancestor of a layer; a node with several parents has, as in spark_dsg, none."""
        parent = self.parents[0] if len(self.parents) == 1 else None
        return parent if parent is None or parent.layer == layer else parent.above(layer)


def _extras(holder: dict[str, Any]) -> dict[str, Any]:
    metadata = holder.get("metadata")
    extras = metadata.get("m2h") if isinstance(metadata, dict) else None
    return extras if isinstance(extras, dict) else {}


def _source_node(entry: object, where: str) -> _Source | None:
    """The node, or None when its layer is not one of ours (segments, mesh places, other dynamic layers)."""
    data = values.mapping(entry, where)
    node_id = values.whole(data.get("id"), f"{where}.id")
    attributes = dict(values.mapping(data.get("attributes"), f"{where}.attributes"))
    layer = LAYERS.get(values.whole(data.get("layer"), f"{where}.layer"))
    partition = data.get("partition", data.get("prefix", 0))  # version 1.0.0 marks dynamic layers by a prefix
    if layer == "object" and partition == AGENT_PARTITION:
        layer = "agent"
        attributes.setdefault("timestamp", data.get("timestamp"))
    elif partition != 0 or layer is None:
        return None
    source = _Source(node_id, layer, attributes, f"{where}.attributes")
    if layer == "object" and attributes.get("trajectory_positions"):
        source.layer = "track"
    return source


def _link(sources: dict[int, _Source], edges: list[Any], where: str) -> None:
    for number, entry in enumerate(edges):
        at = f"{where}[{number}]"
        edge = values.mapping(entry, at)
        ends = [sources.get(values.whole(edge.get(name), f"{at}.{name}")) for name in ("source", "target")]
        a, b = ends
        if a is None or b is None:
            continue  # an end lies in an ignored layer
        info = values.mapping(edge.get("info", {}), f"{at}.info")
        upper = _upper(a, b)
        if upper is not None:
            (b if upper is a else a).parents.append(upper)
        elif a.layer == b.layer:
            a.siblings.append((b, info))


def _upper(a: _Source, b: _Source) -> _Source | None:
    """Which of two nodes contains the other, None for siblings; the order in the file does not matter."""
    ranks = [HIERARCHY.index(node.layer) if node.layer in HIERARCHY else len(HIERARCHY) for node in (a, b)]
    if ranks[0] == ranks[1]:
        return None
    return a if ranks[0] < ranks[1] else b


def _build(sources: dict[int, _Source], extras: dict[str, Any], names: dict[int, str], where: str) -> SceneGraph:
    T = extras.get("T_input_world")
    graph = SceneGraph(
        _label_space(sources, extras, names),
        None if T is None else values.array(T, f"{where}: T_input_world", (4, 4)),
        values.mapping(extras.get("graph", {}), f"{where}: metadata.m2h.graph"),
    )
    ordered = [
        source
        for layer in READERS
        for source in sorted((s for s in sources.values() if s.layer == layer), key=lambda s: s.id)
    ]
    try:
        for key, z_range in sorted(values.mapping(extras.get("storeys", {}), f"{where}: storeys").items()):
            graph.add(StoreyNode(values.interval(z_range, f"{where}: storeys.{key}")), key=key)
        for source in ordered:
            source.key = graph.add(READERS[source.layer](source, ordered, graph.label_space), key=_key(graph, source))
        _connect(graph, ordered)
    except GraphFormatError:
        raise
    except ValueError as error:
        raise GraphFormatError(f"{where}: {error}") from error
    return graph


def _key(graph: SceneGraph, source: _Source) -> str | None:
    """The key that our exporter noted, else the prefix of the layer and the node's number, None where that key is taken."""
    noted = source.extras.get("id")
    if noted is not None:
        return values.text(noted, f"{source.where}.metadata.m2h.id")
    key = f"{PREFIXES.get(source.layer, '')}{source.id & ((1 << 56) - 1)}"
    return key if source.layer in PREFIXES and key not in graph else None


def _connect(graph: SceneGraph, ordered: list[_Source]) -> None:
    building = next((key for key, _ in graph.nodes("building")), None)
    for key, _ in graph.nodes("storey"):
        if building is not None:
            graph.connect(building, key, kind="contains")
    for source in ordered:
        storey = source.extras.get("storey")
        room, above = source.above("room"), source.above("building")
        if source.layer == "room" and isinstance(storey, str) and storey in graph:
            graph.connect(storey, source.key, kind="contains")
        elif room is not None:
            graph.connect(room.key, source.key, kind="contains")
        elif above is not None:
            graph.connect(above.key, source.key, kind="contains")
    for source in ordered:
        for relation in source.extras.get("relations", []):
            _relate(graph, relation)
        for other, info in source.siblings:
            _connect_siblings(graph, source, other, info)


def _connect_siblings(graph: SceneGraph, a: _Source, b: _Source, info: dict[str, Any]) -> None:
    relations = _extras(info).get("relations", [])
    for relation in relations:
        _relate(graph, relation)
    if relations or a.layer not in ("place", "room"):
        return  # edges between consecutive poses, and between objects without a stated meaning
    attributes = {"clearance": values.number(info["weight"], f"{a.where}: weight")} if info.get("weighted") else {}
    graph.connect(a.key, b.key, kind=f"{a.layer}_edge", **attributes)


def _relate(graph: SceneGraph, relation: dict[str, Any]) -> None:
    ends = [values.text(relation.get(name), f"metadata.m2h.relations: {name}") for name in ("source", "target", "kind")]
    rest = {name: value for name, value in relation.items() if name not in ("source", "target", "kind")}
    graph.connect(ends[0], ends[1], kind=ends[2], **rest)


def _label_space(sources: dict[int, _Source], extras: dict[str, Any], names: dict[int, str]) -> LabelSpace:
    if extras.get("label_space") == nyu40().name:
        return nyu40()
    used = {_label_id(source) for source in sources.values() if source.layer in ("object", "track")}
    classes = [LabelClass(0, names.get(0, "unknown"), (128, 128, 128), "unknown")]
    for label in sorted((used | set(names)) - {0}):
        classes.append(LabelClass(label, names.get(label, f"label_{label}"), (128, 128, 128), "object"))
    return LabelSpace("spark_dsg", tuple(classes))


def _label_id(source: _Source) -> int:
    """The class number; spark_dsg's own value for none, and any value that a label image cannot hold, become 0."""
    label = values.whole(source.attributes.get("semantic_label", 0), f"{source.where}.semantic_label")
    return label if label <= LARGEST_LABEL else 0


def _box(source: _Source) -> OrientedBox | None:
    """The bounding box, None when it is marked as invalid; version 1.0.0 gives corners in the box's own frame."""
    data = values.mapping(source.attributes.get("bounding_box", {}), f"{source.where}.bounding_box")
    if data.get("type", "INVALID") == "INVALID":
        return None
    at = f"{source.where}.bounding_box"
    center = values.array(data.get("world_P_center"), f"{at}.world_P_center", (3,))
    if "dimensions" in data:
        size = values.size(data["dimensions"], f"{at}.dimensions")
    else:
        low, high = (values.array(data.get(name), f"{at}.{name}", (3,)) for name in ("min", "max"))
        size = high - low
    turn = values.mapping(data.get("world_R_center", {"w": 1.0, "x": 0.0, "y": 0.0, "z": 0.0}), f"{at}.world_R_center")
    return OrientedBox(center, size, rotation_from_quat_xyzw(_quat_xyzw(turn, f"{at}.world_R_center")))


def _quat_xyzw(data: dict[str, Any], where: str) -> Array:
    return values.unit_quaternion([data.get(axis) for axis in "xyzw"], where)


def _building(source: _Source, ordered: list[_Source], space: LabelSpace) -> Node:
    noted = "id" in source.extras
    return BuildingNode(source.attributes["name"]) if noted and source.attributes.get("name") else BuildingNode()


def _room(source: _Source, ordered: list[_Source], space: LabelSpace) -> Node:
    extras, box = source.extras, _box(source)
    position = source.vector("position")
    if "polygon" in extras and "z_range" in extras:
        polygon = values.array(extras["polygon"], f"{source.where}.polygon", (None, 2), minimum=3)
        z_range = values.interval(extras["z_range"], f"{source.where}.z_range")
    elif box is not None:
        polygon = box.corners()[:4, :2]
        z_range = (float(box.corners()[:, 2].min()), float(box.corners()[:, 2].max()))
    else:
        polygon, z_range = _around_places(position, [s for s in ordered if source in s.parents and s.layer == "place"])
    x, y = polygon.T
    area = 0.5 * abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)))
    scores = source.attributes.get("semantic_class_probabilities") or {}
    return RoomNode(
        label=source.attributes.get("name") or "unknown",
        position=position,
        polygon=polygon,
        z_range=z_range,
        area=float(extras.get("area", area)),
        label_scores=values.scores(scores, f"{source.where}.semantic_class_probabilities"),
        evidence=values.mapping(extras.get("evidence", {}), f"{source.where}.evidence"),
    )


def _around_places(position: Array, places: list[_Source]) -> tuple[Array, tuple[float, float]]:
    """Hull of the places' spheres on the floor plan, and their heights."""
    centers = np.array([place.vector("position") for place in places] or [position])
    radii = np.array([values.at_least_zero(place.attributes.get("distance"), place.where) for place in places] or [0.5])
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = (centers[:, None, :2] + radii[:, None, None] * circle).reshape(-1, 2)
    hull = np.asarray(shapely.get_coordinates(shapely.MultiPoint(points).convex_hull))[:-1]
    z_range = (float((centers[:, 2] - radii).min()), float((centers[:, 2] + radii).max()))
    return hull if _is_counter_clockwise(hull) else hull[::-1], z_range


def _is_counter_clockwise(polygon: Array) -> bool:
    x, y = polygon.T
    return bool(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) > 0)


def _place(source: _Source, ordered: list[_Source], space: LabelSpace) -> Node:
    radius = values.at_least_zero(source.attributes.get("distance"), f"{source.where}.distance")
    return PlaceNode(source.vector("position"), radius)


def _object(source: _Source, ordered: list[_Source], space: LabelSpace) -> Node:
    label_id, extras, position = _label_id(source), source.extras, source.vector("position")
    starts, ends = (source.attributes.get(name, []) for name in ("first_observed_ns", "last_observed_ns"))
    return ObjectNode(
        label=values.text(source.attributes.get("name"), f"{source.where}.name") if extras else space.name_of(label_id),
        label_id=label_id,
        position=position,
        box=_box(source) or OrientedBox(position, np.zeros(3), np.eye(3)),
        label_scores=values.scores(extras.get("label_scores", {}), f"{source.where}.label_scores"),
        views=values.whole(extras.get("views", 0), f"{source.where}.views"),
        confidence=values.share(extras.get("confidence", 1.0), f"{source.where}.confidence"),
        presence=tuple((start / 1e9, end / 1e9) for start, end in zip(starts, ends, strict=False)),
    )


def _track(source: _Source, ordered: list[_Source], space: LabelSpace) -> Node:
    times = values.increasing(source.attributes.get("trajectory_timestamps"), f"{source.where}.trajectory_timestamps")
    points = source.attributes["trajectory_positions"]
    box, label_id = _box(source), _label_id(source)
    return TrackNode(
        label=space.name_of(label_id),
        label_id=label_id,
        size=np.zeros(3) if box is None else box.size,
        times=times / 1e9,
        positions=values.array(points, f"{source.where}.trajectory_positions", (len(times), 3)),
        confidence=values.share(source.extras.get("confidence", 1.0), f"{source.where}.confidence"),
    )


def _agent(source: _Source, ordered: list[_Source], space: LabelSpace) -> Node:
    time = values.number(source.attributes.get("timestamp"), f"{source.where}.timestamp") / 1e9
    turn = values.mapping(source.attributes.get("world_R_body"), f"{source.where}.world_R_body")
    return AgentNode(time, source.vector("position"), _quat_xyzw(turn, f"{source.where}.world_R_body"))


READERS: dict[str, Callable[[_Source, list[_Source], LabelSpace], Node]] = {
    "building": _building,
    "room": _room,
    "place": _place,
    "object": _object,
    "track": _track,
    "agent": _agent,
}
