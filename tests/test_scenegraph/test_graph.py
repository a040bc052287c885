import networkx as nx
import numpy as np
import pytest

from mapping.se3 import from_rotation_translation, inverse, rotation_from_quat_xyzw, transform_points
from scenegraph import SceneGraph
from scenegraph.graph import layer_of, sort_key
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


def chair(x=0.0, y=0.0, z=0.5):
    center = np.array([x, y, z])
    return ObjectNode("chair", 5, center, OrientedBox(center, np.array([0.5, 0.6, 1.0]), np.eye(3)))


def room(x=0.0):
    polygon = np.array([[x, 0], [x + 4, 0], [x + 4, 3], [x, 3]], dtype=float)
    return RoomNode("kitchen", np.array([x + 2, 1.5, 1.2]), polygon, (0.0, 2.5), 12.0)


def place(x):
    return PlaceNode(np.array([x, 1.0, 1.0]), 0.8)


@pytest.fixture
def graph():
    g = SceneGraph(nyu40())
    g.add(BuildingNode())
    g.add(StoreyNode((0.0, 2.5)), parent="B0")
    g.add(room(0), parent="F0")
    g.add(room(4), parent="F0")
    g.add(chair(1), parent="R0")
    g.add(chair(5), parent="R1")
    g.add(place(1), parent="R0")
    g.add(place(5), parent="R1")
    g.add(TrackNode("person", 31, np.array([0.5, 0.5, 1.7]), np.array([0.0, 1.0]), np.zeros((2, 3))), parent="B0")
    g.add(AgentNode(0.5, np.array([1.0, 1, 1]), np.array([0.0, 0, 0, 1])), parent="R0")
    g.connect("P0", "P1", kind="place_edge", clearance=0.4)
    g.connect("R0", "R1", kind="room_edge", door=[4.0, 1.0, 0.0])
    g.connect("O0", "O1", kind="on", score=0.9)
    return g


def test_keys_count_up_by_layer(graph):
    assert [key for key, _ in graph.nodes()] == ["B0", "F0", "R0", "R1", "P0", "P1", "O0", "O1", "T0", "A0"]
    assert graph.add(chair()) == "O2"
    assert graph.add(chair(), key="O10") == "O10"
    assert graph.add(chair()) == "O11"
    assert [key for key, _ in graph.nodes("object")] == ["O0", "O1", "O2", "O10", "O11"]


def test_nodes_are_sorted_by_number_not_text():
    g = SceneGraph(nyu40())
    for key in ("O10", "O2", "O1"):
        g.add(chair(), key=key)
    assert [key for key, _ in g.nodes("object")] == ["O1", "O2", "O10"]


def test_hierarchy(graph):
    assert graph.parent("O0") == "R0"
    assert graph.parent("B0") is None
    assert graph.children("R0") == ["P0", "O0", "A0"]
    assert graph.children("R0", "object") == ["O0"]
    assert graph.ancestor("O0", "storey") == "F0"
    assert graph.ancestor("T0", "room") is None
    assert graph.counts() == {
        "building": 1,
        "storey": 1,
        "room": 2,
        "place": 2,
        "object": 2,
        "track": 1,
        "agent": 1,
    }
    assert len(graph) == 10
    assert "O0" in graph
    assert "O9" not in graph
    graph.validate()


def test_edges_carry_their_attributes(graph):
    (edge,) = graph.edges("place_edge")
    assert edge == ("P0", "P1", "place_edge", {"clearance": 0.4})
    assert len(graph.edges("contains")) == 9
    assert len(graph.edges()) == 12


def test_networkx_algorithms_run_on_it(graph):
    assert isinstance(graph.nx, nx.DiGraph)
    assert nx.has_path(graph.nx, "B0", "O1")


def test_unknown_key_is_named(graph):
    for ask in (graph.__getitem__, graph.parent, graph.children):
        with pytest.raises(KeyError, match="O77"):
            ask("O77")


def test_unknown_layer_is_rejected(graph):
    with pytest.raises(ValueError, match="unknown layer 'furniture'"):
        graph.nodes("furniture")


@pytest.mark.parametrize("key", ["R7", "O", "O01", "o1", "O-1", "X1", ""])
def test_add_rejects_a_key_of_another_layer(graph, key):
    with pytest.raises(ValueError, match="key"):
        graph.add(chair(), key=key)


def test_add_rejects_a_taken_key_and_other_objects(graph):
    with pytest.raises(ValueError, match="already"):
        graph.add(chair(), key="O0")
    with pytest.raises(ValueError, match="dict"):
        graph.add({"layer": "object"})


@pytest.mark.parametrize("parent", ["R9", "O0", "P0", "T0"])
def test_a_refused_parent_leaves_the_graph_as_it_was(graph, parent):
    before = graph.counts()
    with pytest.raises(ValueError, match=parent):
        graph.add(chair(), parent=parent)
    assert graph.counts() == before
    assert graph.add(chair()) == "O2"


@pytest.mark.parametrize(
    ("a", "b", "kind", "message"),
    [
        ("R0", "O9", "contains", "unknown node 'O9'"),
        ("O9", "R0", "contains", "unknown node 'O9'"),
        ("O0", "O0", "on", "itself"),
        ("R1", "O0", "contains", "already has the parent R0"),
        ("O0", "R0", "contains", "cannot connect object O0 to room R0"),
        ("F0", "B0", "contains", "cannot connect storey F0 to building B0"),
        ("R0", "R1", "contains", "cannot connect room R0 to room R1"),
        ("R0", "P1", "place_edge", "cannot connect"),
        ("P0", "P1", "room_edge", "cannot connect"),
        ("R0", "O1", "on", "cannot connect"),
        ("P1", "P0", "place_edge", "already connected"),
        ("R1", "R0", "room_edge", "already connected"),
        ("O0", "O1", "in", "already connected by 'on'"),
        ("O1", "O0", "Next To", "lower case"),
        ("O1", "O0", "", "lower case"),
    ],
)
def test_connect_refuses(graph, a, b, kind, message):
    before = graph.edges()
    with pytest.raises(ValueError, match=message):
        graph.connect(a, b, kind=kind)
    assert graph.edges() == before


def test_levels_may_be_skipped():
    g = SceneGraph(nyu40())
    g.add(BuildingNode())
    assert g.parent(g.add(chair(), parent="B0")) == "B0"
    g.validate()


def test_replace_keeps_edges_and_layer(graph):
    graph.replace("O0", chair(2))
    assert graph["O0"].position[0] == 2
    assert graph.parent("O0") == "R0"
    with pytest.raises(ValueError, match="cannot become"):
        graph.replace("O0", place(0))


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda g: g.nx.add_edge("R1", "O0", kind="contains"), "two parents"),
        (lambda g: g.nx.add_edge("O0", "B0", kind="contains"), "cannot connect"),
        (lambda g: g.nx.add_edge("P1", "P0", kind="place_edge"), "both directions"),
        (lambda g: g.nx.add_node("O8"), "typed node"),
        (lambda g: g.nx.add_node("O8", node=place(0)), "typed node"),
        (lambda g: g.nx.add_node("chair", node=chair()), "is not a node key"),
        (lambda g: g.nx.add_edge("O1", "T0"), "lower case"),
    ],
)
def test_validate_sees_changes_made_behind_its_back(graph, corrupt, message):
    corrupt(graph)
    with pytest.raises(ValueError, match=message):
        graph.validate()


def turn_about_z(angle, shift):
    half = angle / 2
    return from_rotation_translation(rotation_from_quat_xyzw([0, 0, np.sin(half), np.cos(half)]), shift)


def test_transformed_moves_every_position(graph):
    T = turn_about_z(np.pi / 2, [10, 20, 1])
    moved = graph.transformed(T)
    np.testing.assert_allclose(moved["O0"].position, [10, 21, 1.5], atol=1e-12)
    np.testing.assert_allclose(
        np.sort(moved["O0"].box.corners(), axis=0), np.sort(transform_points(T, graph["O0"].box.corners()), axis=0)
    )
    np.testing.assert_allclose(moved["R0"].polygon[1], [10, 24], atol=1e-12)
    assert moved["R0"].z_range == (1.0, 3.5)
    assert moved["F0"].z_range == (1.0, 3.5)
    np.testing.assert_allclose(moved["A0"].rotation_xyzw, [0, 0, np.sqrt(0.5), np.sqrt(0.5)])
    np.testing.assert_allclose(moved.edges("room_edge")[0].attributes["door"], [9, 24, 1], atol=1e-12)
    assert [e[:3] for e in moved.edges()] == [e[:3] for e in graph.edges()]


def test_transformed_keeps_points_of_the_input_world(graph):
    graph.T_input_world = turn_about_z(0.3, [1, 2, 3])
    T = turn_about_z(-1.1, [4, 5, 6])
    moved = graph.transformed(T)
    for key in ("O0", "P1", "A0"):
        np.testing.assert_allclose(
            transform_points(moved.T_input_world, moved[key].position),
            transform_points(graph.T_input_world, graph[key].position),
        )
    back = moved.transformed(inverse(T))
    np.testing.assert_allclose(back.T_input_world, graph.T_input_world, atol=1e-12)
    np.testing.assert_allclose(back["T0"].positions, graph["T0"].positions, atol=1e-12)


def test_transformed_rejects_to_tilt_rooms(graph):
    tilt = from_rotation_translation(rotation_from_quat_xyzw([0.3, 0, 0, 1]), [0, 0, 0])
    with pytest.raises(ValueError, match="about z"):
        graph.transformed(tilt)
    with pytest.raises(ValueError, match="rigid"):
        graph.transformed(2 * np.eye(4))
    flat = SceneGraph(nyu40())
    flat.add(place(1))
    assert len(flat.transformed(tilt)) == 1


def test_T_input_world_must_be_rigid():
    with pytest.raises(ValueError, match="T_input_world"):
        SceneGraph(nyu40(), np.ones((4, 4)))


def test_key_helpers():
    assert layer_of("F3") == "storey"
    assert sorted(["A0", "O2", "B0", "O11", "O1"], key=sort_key) == ["B0", "O1", "O2", "O11", "A0"]


def test_names_of_edge_attributes(graph):
    graph.connect("O1", "T0", kind="next_to", a=1, b=2, self=3)
    assert graph.edges("next_to")[0].attributes == {"a": 1, "b": 2, "self": 3}
    with pytest.raises(ValueError, match="cannot be names"):
        graph.connect("T0", "O0", kind="on", source="camera")
