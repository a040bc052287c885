"""A small scene graph with every layer, for the tests of the graph's files, exports and queries."""

import numpy as np

from mapping.se3 import from_rotation_translation, rotation_from_quat_xyzw
from scenegraph.graph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import (
    AgentNode,
    BuildingNode,
    ObjectNode,
    OrientedBox,
    PlaceNode,
    RoomNode,
    StoreyNode,
    TrackNode,
)


def make_object(label, center, size=(0.5, 0.6, 1.0), *, yaw=0.0, **fields):
    """An object of nyu40 whose position is the centre of its box."""
    rotation = rotation_from_quat_xyzw([0, 0, np.sin(yaw / 2), np.cos(yaw / 2)])
    box = OrientedBox(np.array(center, dtype=float), np.array(size, dtype=float), rotation)
    return ObjectNode(label, nyu40().id_of(label), box.center, box, **fields)


def make_room(label, x0, y0, x1, y1, z0=0.0, z1=2.5):
    """A rectangular room."""
    polygon = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)
    position = np.array([(x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2])
    return RoomNode(label, position, polygon, (z0, z1), float((x1 - x0) * (y1 - y0)), {label: 0.75, "office": 0.25})


def small_flat():
    """A kitchen (0..4 m) and a bedroom (4..8 m) with a door at x = 4, y = 1.5, and a person who walks from one to the other."""
    graph = SceneGraph(nyu40(), from_rotation_translation(np.eye(3), [1.0, 2.0, 3.0]), {"method": "hand", "frames": 2})
    graph.add(BuildingNode())
    graph.add(StoreyNode((0.0, 2.5)), parent="B0")
    graph.add(make_room("kitchen", 0, 0, 4, 3), parent="F0")
    graph.add(make_room("bedroom", 4, 0, 8, 3), parent="F0")
    for x, room in ((1.0, "R0"), (3.0, "R0"), (5.0, "R1"), (7.0, "R1")):
        graph.add(PlaceNode(np.array([x, 1.5, 1.0]), 0.8), parent=room)
    table = make_object("table", [1, 2, 0.4], (1.2, 0.8, 0.8), yaw=0.3, views=12, confidence=0.9, number=3)
    graph.add(table, parent="R0")
    graph.add(make_object("chair", [2.5, 1, 0.5], presence=((0.0, 4.0),), number=1), parent="R0")
    graph.add(make_object("chair", [6, 1, 0.5], presence=((0.0, 2.0), (6.0, 9.0)), number=2), parent="R1")
    graph.add(make_object("box", [1, 2, 0.9], (0.2, 0.2, 0.2), number=4), parent="R0")
    times = np.array([0.0, 1.0, 2.0, 6.0])
    positions = np.array([[1, 1.5, 0.9], [2, 1.5, 0.9], [3, 1.5, 0.9], [7, 1.5, 0.9]])
    graph.add(TrackNode("person", 31, np.array([0.5, 0.6, 1.8]), times, positions, 0.8), parent="B0")
    for number in range(3):
        pose = AgentNode(float(number), np.array([1.0 + number, 1, 1.5]), np.array([0.5, -0.5, 0.5, -0.5]))
        graph.add(pose, parent="R0")
    for a, b in (("P0", "P1"), ("P1", "P2"), ("P2", "P3")):
        graph.connect(a, b, kind="place_edge", clearance=0.4)
    graph.connect("R0", "R1", kind="room_edge", door=[4.0, 1.5, 0.0])
    graph.connect("O3", "O0", kind="on", score=0.9, evidence={"gap": 0.01})
    return graph
