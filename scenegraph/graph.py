"""The scene graph: typed nodes in one networkx graph, from the building down to objects, places, tracks and camera poses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.se3 import inverse, is_se3, quat_xyzw_from_rotation, rotation_from_quat_xyzw, transform_points
from mapping.text import table_html
from scenegraph.labels import LabelSpace
from scenegraph.nodes import (
    NODE_TYPES,
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

RANKS = {"building": 0, "storey": 1, "room": 2, "place": 3, "object": 3, "track": 3, "agent": 3}
"""Depth of each layer in the hierarchy; a parent has a smaller rank than its child, and levels may be skipped."""
LAYERS = tuple(NODE_TYPES)
"""Layer names in the order in which nodes are listed and written."""
SYMMETRIC_KINDS = frozenset({"place_edge", "room_edge", "next_to"})
"""Kinds of edges that mean the same in both directions and are stored once."""
RESERVED_ATTRIBUTES = frozenset({"source", "target"})
"""Names that the file uses for the ends of an edge."""

_KEY = re.compile(r"([A-Z])(0|[1-9][0-9]*)")
_KIND = re.compile(r"[a-z][a-z0-9_]*")
_LAYER_OF_PREFIX = {node_type.prefix: layer for layer, node_type in NODE_TYPES.items()}


class Edge(NamedTuple):
    """One edge: keys of its ends, its kind (`contains`, `place_edge`, `on`, ...) and its further attributes."""

    source: str
    target: str
    kind: str
    attributes: dict[str, Any]


class SceneGraph:
    """Typed nodes under string keys ("R0", "O4": layer prefix and number) in one networkx DiGraph.

    `graph.nx` is that DiGraph: node data is `{"node": typed node}` and nothing else, edge data is `{"kind": ..., **attributes}`.
    The hierarchy is edges of kind `contains` from parent to child: building > storey > room > place, object, track, agent.
    Every other edge is a relation: `place_edge` and `room_edge` between places and between rooms (stored once), and
    from an object or track whatever geometric relation was found (`on`, `in`, `next_to`, ...). Between two nodes there
    is one edge per direction.

    Parameters
    ----------
    label_space : what label ids mean.
    T_input_world : (4, 4) rigid, takes the graph's world (metres, z up) to the world of the input sequence; None is identity.
    metadata : JSON-like facts about the whole graph (method used, counts, ...).
    """

    def __init__(
        self,
        label_space: LabelSpace,
        T_input_world: ArrayLike | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.label_space = label_space
        self.T_input_world: Array = np.asarray(np.eye(4) if T_input_world is None else T_input_world, dtype=np.float64)
        if not is_se3(self.T_input_world):
            raise ValueError(f"SceneGraph.T_input_world must be a rigid (4, 4) transform, got {T_input_world!r}")
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.nx: nx.DiGraph[str] = nx.DiGraph()
        self._next_number = dict.fromkeys(LAYERS, 0)

    def add(self, node: Node, *, key: str | None = None, parent: str | None = None) -> str:
        """Add a node under the next free number of its layer, or under `key`, optionally inside `parent`; return its key.

        Raises ValueError for a key that is taken or is not of the node's layer, and for a parent that `connect` rejects.
        """
        if not isinstance(node, tuple(NODE_TYPES.values())):
            raise ValueError(f"a scene graph contains {', '.join(LAYERS)} nodes, got {type(node).__name__}")
        if key is None:
            key = f"{node.prefix}{self._next_number[node.layer]}"
        elif layer_of(key) != node.layer:
            raise ValueError(f"key {key!r} is not one of a {node.layer} node: expected {node.prefix} and a number")
        if key in self.nx:
            raise ValueError(f"key {key!r} is already in the graph")
        if parent is not None:
            self._check_edge(parent, key, "contains", key_layer=node.layer)
        self.nx.add_node(key, node=node)
        self._next_number[node.layer] = max(self._next_number[node.layer], number_of(key) + 1)
        if parent is not None:
            self.connect(parent, key, kind="contains")
        return key

    def connect(self, a: str, b: str, /, *, kind: str, **attributes: Any) -> None:
        """Add the edge a -> b; for `contains`, a is the parent.

        Raises ValueError for an unknown key, a loop, a second edge between the same nodes, a second parent, and ends whose
        layers the kind does not connect.
        """
        if not RESERVED_ATTRIBUTES.isdisjoint(attributes):
            raise ValueError(f"edge {a} -> {b}: {', '.join(sorted(RESERVED_ATTRIBUTES))} cannot be names of attributes")
        if b not in self.nx:
            raise ValueError(f"unknown node {b!r}")
        self._check_edge(a, b, kind, key_layer=self[b].layer)
        if self.nx.has_edge(a, b) or (kind in SYMMETRIC_KINDS and self.nx.has_edge(b, a)):
            other = self.nx.edges[a, b] if self.nx.has_edge(a, b) else self.nx.edges[b, a]
            raise ValueError(f"{a} and {b} are already connected by {other['kind']!r}")
        if kind == "contains" and self.parent(b) is not None:
            raise ValueError(f"{b} already has the parent {self.parent(b)}")
        self.nx.add_edge(a, b)
        self.nx.edges[a, b].update(kind=kind, **attributes)

    def replace(self, key: str, node: Node) -> None:
        """Put another node of the same layer under a key, keeping its edges."""
        if node.layer != self[key].layer:
            raise ValueError(f"{key} is a {self[key].layer} node and cannot become a {node.layer} node")
        self.nx.nodes[key]["node"] = node

    def remove(self, key: str) -> None:
        """Take a node and its edges out of the graph; raises ValueError for one that contains others."""
        if children := self.children(key):
            raise ValueError(f"{key} contains {children[0]} and cannot be removed")
        self.nx.remove_node(key)

    def set_parent(self, key: str, parent: str) -> None:
        """Move a node into another one; raises ValueError for a parent that `connect` rejects."""
        self._check_edge(parent, key, "contains", key_layer=self[key].layer)
        before = self.parent(key)
        if before is not None:
            self.nx.remove_edge(before, key)
        self.connect(parent, key, kind="contains")

    def __getitem__(self, key: str) -> Node:
        """The node under a key; raises KeyError that names it."""
        if key not in self.nx:
            raise KeyError(f"no node {key!r} in the scene graph")
        node: Node = self.nx.nodes[key]["node"]
        return node

    def __contains__(self, key: object) -> bool:
        return key in self.nx

    def __len__(self) -> int:
        return len(self.nx)

    def nodes(self, layer: str | None = None) -> list[tuple[str, Any]]:
        """(key, node) of one layer in the order of their numbers, or of all layers from the building down.

        Raises ValueError for an unknown layer.
        """
        if layer is not None and layer not in NODE_TYPES:
            raise ValueError(f"unknown layer {layer!r}; expected one of {', '.join(LAYERS)}")
        chosen = [key for key in self.nx if layer is None or _LAYER_OF_PREFIX[key[0]] == layer]
        return [(key, self[key]) for key in sorted(chosen, key=sort_key)]

    def edges(self, kind: str | None = None) -> list[Edge]:
        """All edges, or those of a kind, in the order of their keys."""
        found = [
            Edge(a, b, data["kind"], {name: value for name, value in data.items() if name != "kind"})
            for a, b, data in self.nx.edges(data=True)
            if kind is None or data["kind"] == kind
        ]
        return sorted(found, key=lambda edge: (sort_key(edge.source), sort_key(edge.target)))

    def parent(self, key: str) -> str | None:
        """The key of the node that contains a node, None at the top; raises KeyError for an unknown key."""
        self[key]
        for a in self.nx.predecessors(key):
            if self.nx.edges[a, key]["kind"] == "contains":
                return str(a)
        return None

    def children(self, key: str, layer: str | None = None) -> list[str]:
        """Keys of what a node directly contains, of one layer or all, in order; raises KeyError for an unknown key."""
        self[key]
        found = [b for b in self.nx.successors(key) if self.nx.edges[key, b]["kind"] == "contains"]
        return sorted((b for b in found if layer is None or self[b].layer == layer), key=sort_key)

    def ancestor(self, key: str, layer: str) -> str | None:
        """The key of the node of a layer that contains a node directly or through others, None when there is none."""
        above = self.parent(key)
        while above is not None and self[above].layer != layer:
            above = self.parent(above)
        return above

    def _repr_html_(self) -> str:
        """Rooms with their areas in m2 and objects, and the number of nodes of each layer, as a table for notebooks."""
        rows: list[tuple[str, ...]] = []
        things = dict(self.nodes("object"))
        for key, room in self.nodes("room"):
            names = Counter(things[child].label.replace("_", " ") for child in self.children(key, "object"))
            listed = ", ".join(name if count == 1 else f"{count} {name}" for name, count in sorted(names.items()))
            rows.append((key, room.label.replace("_", " "), f"{room.area:.1f}", listed))
        found = ", ".join(f"{count} {layer}" for layer, count in self.counts().items() if count)
        return table_html("Scene graph", ("room", "name", "m2", "objects"), rows, found)

    def counts(self) -> dict[str, int]:
        """Number of nodes of each layer, from the building down."""
        return {layer: len(self.nodes(layer)) for layer in LAYERS}

    def validate(self) -> None:
        """Check all that `add` and `connect` guarantee, also after direct changes to `graph.nx`.

        Raises ValueError that names the node or edge.
        """
        for key, data in self.nx.nodes(data=True):
            if not isinstance(data.get("node"), tuple(NODE_TYPES.values())) or layer_of(key) != data["node"].layer:
                raise ValueError(f"node {key!r} must hold a typed node of the layer that its prefix names")
        parents: dict[str, str] = {}
        for a, b, data in self.nx.edges(data=True):
            kind = str(data.get("kind"))
            self._check_edge(a, b, kind, key_layer=self[b].layer)
            if kind in SYMMETRIC_KINDS and self.nx.has_edge(b, a):
                raise ValueError(f"{kind} between {a} and {b} is stored in both directions; it must be stored once")
            if kind == "contains" and parents.setdefault(b, a) != a:
                raise ValueError(f"{b} has two parents, {parents[b]} and {a}")

    def transformed(self, T_new_world: ArrayLike) -> SceneGraph:
        """The graph in another world, `p_new = T_new_world @ p_world`; `T_input_world` follows, so the input stays known.

        Raises ValueError when the transform is not rigid, or tilts z when there are rooms or storeys, which are stored as
        heights and floor polygons.
        """
        T = np.asarray(T_new_world, dtype=np.float64)
        if not is_se3(T):
            raise ValueError("transformed needs a rigid (4, 4) transform")
        if (self.nodes("room") or self.nodes("storey")) and not np.allclose(T[2, :3], [0, 0, 1], atol=1e-6):
            raise ValueError("a graph with rooms or storeys can only be rotated about z and translated")
        moved = SceneGraph(self.label_space, self.T_input_world @ inverse(T), self.metadata)
        for key, node in self.nodes():
            moved.add(_transformed_node(node, T), key=key)
        for edge in self.edges():
            attributes = dict(edge.attributes)
            if edge.kind == "room_edge" and attributes.get("door") is not None:
                attributes["door"] = transform_points(T, attributes["door"]).tolist()
            moved.connect(edge.source, edge.target, kind=edge.kind, **attributes)
        return moved

    def _check_edge(self, a: str, b: str, kind: str, *, key_layer: str) -> None:
        """Raise ValueError unless `kind` may connect node a to a node b of layer `key_layer`."""
        if a not in self.nx:
            raise ValueError(f"unknown node {a!r}")
        if a == b:
            raise ValueError(f"{kind} connects {a} to itself")
        if not _KIND.fullmatch(kind):
            raise ValueError(f"kind of edge {a} -> {b} must be lower case words joined by _, got {kind!r}")
        source = self[a].layer
        if kind == "contains":
            allowed = RANKS[source] < RANKS[key_layer]
        elif kind in ("place_edge", "room_edge"):
            allowed = source == key_layer == kind.removesuffix("_edge")
        else:
            allowed = source in ("object", "track")
        if not allowed:
            raise ValueError(f"{kind} cannot connect {source} {a} to {key_layer} {b}")


def layer_of(key: str) -> str:
    """The layer that a key names; raises ValueError when it is not a key."""
    match = _KEY.fullmatch(key) if isinstance(key, str) else None
    if match is None or match[1] not in _LAYER_OF_PREFIX:
        raise ValueError(
            f"{key!r} is not a node key: expected one of {', '.join(_LAYER_OF_PREFIX)} and a number, like O4"
        )
    return _LAYER_OF_PREFIX[match[1]]


def number_of(key: str) -> int:
    """The number in a key: 4 of "O4"."""
    return int(key[1:])


def sort_key(key: str) -> tuple[int, int]:
    """Orders keys by layer from the building down, then by number."""
    return LAYERS.index(layer_of(key)), number_of(key)


def _transformed_node(node: Node, T: Array) -> Node:
    dz = float(T[2, 3])
    match node:
        case BuildingNode():
            return node
        case StoreyNode():
            return replace(node, z_range=(node.z_range[0] + dz, node.z_range[1] + dz))
        case RoomNode():
            return replace(
                node,
                position=transform_points(T, node.position),
                polygon=np.asarray(node.polygon) @ T[:2, :2].T + T[:2, 3],
                z_range=(node.z_range[0] + dz, node.z_range[1] + dz),
            )
        case ObjectNode():
            box = OrientedBox(transform_points(T, node.box.center), node.box.size, T[:3, :3] @ node.box.rotation)
            return replace(node, position=transform_points(T, node.position), box=box)
        case PlaceNode():
            return replace(node, position=transform_points(T, node.position))
        case TrackNode():
            return replace(node, positions=transform_points(T, node.positions))
        case AgentNode():
            rotation = T[:3, :3] @ rotation_from_quat_xyzw(node.rotation_xyzw)
            return replace(
                node, position=transform_points(T, node.position), rotation_xyzw=quat_xyzw_from_rotation(rotation)
            )
