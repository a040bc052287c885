"""Two visits to one place, compared only by their scene graphs."""

from dataclasses import replace

import numpy as np
import pytest

from mapping.se3 import from_rotation_translation, inverse, transform_points, yaw_rotation
from scenegraph.diff import DiffConfig, DiffError, diff_graphs
from scenegraph.graph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import ObjectNode, OrientedBox, PlaceNode

SPACE = nyu40()
CHAIR, TABLE, BOX = (0.5, 0.5, 0.9), (1.4, 0.8, 0.75), (0.4, 0.3, 0.3)


def thing(label, x, y, size, *, yaw=0.0, views=10):
    center = np.array([x, y, size[2] / 2])
    return ObjectNode(
        label, SPACE.id_of(label), center, OrientedBox(center, np.array(size), yaw_rotation(yaw)), views=views
    )


def graph(*things, T_input_world=None, places=((0.0, 0.0),)):
    """The objects, given in the input's world, in a graph with its own levelling."""
    plain = SceneGraph(SPACE)
    for node in things:
        plain.add(node)
    for x, y in places:
        plain.add(PlaceNode(np.array([x, y, 1.0]), 4.0))
    return plain if T_input_world is None else plain.transformed(inverse(T_input_world))


def kinds(found):
    return [(change.kind, change.label) for change in found.changes]


def test_nothing_changes_between_a_graph_and_itself():
    things = [thing("chair", 0, 0, CHAIR), thing("table", 1.5, 0, TABLE), thing("box", 2, 2, BOX)]
    found = diff_graphs(graph(*things), graph(*things))
    assert found.changes == []
    assert found.unchanged == [("O0", "O0"), ("O1", "O1"), ("O2", "O2")]


@pytest.mark.parametrize("turned", [False, True])
def test_appeared_disappeared_and_moved(turned):
    """Also when each visit is levelled to an own origin and yaw; positions are in the first one's world."""
    T_a = from_rotation_translation(yaw_rotation(0.7), [3.0, -1.0, 0.4]) if turned else np.eye(4)
    T_b = from_rotation_translation(yaw_rotation(-2.0), [-5.0, 2.0, 0.1]) if turned else np.eye(4)
    table = thing("table", 0, 0, TABLE, yaw=0.3)
    a = graph(table, thing("chair", 2, 0, CHAIR), thing("box", -2, 1, BOX), T_input_world=T_a)
    b = graph(table, thing("chair", 2, 2.5, CHAIR, yaw=1.0), thing("bag", -1, -2, BOX), T_input_world=T_b)
    found = diff_graphs(a, b)
    assert kinds(found) == [("appeared", "bag"), ("disappeared", "box"), ("moved", "chair")]
    assert found.unchanged == [("O0", "O0")]
    bag, box, chair = found.changes
    assert (bag.key_a, bag.key_b, box.key_a, box.key_b, chair.key_a, chair.key_b) == (
        None,
        "O2",
        "O2",
        None,
        "O1",
        "O1",
    )
    assert chair.distance == pytest.approx(2.5)
    np.testing.assert_allclose(transform_points(T_a, chair.position_b), [2, 2.5, 0.45], atol=1e-9)
    np.testing.assert_allclose(transform_points(T_a, bag.position_b), [-1, -2, 0.15], atol=1e-9)
    back = diff_graphs(b, a)
    assert kinds(back) == [("appeared", "box"), ("disappeared", "bag"), ("moved", "chair")]
    assert back.changes[2].distance == pytest.approx(2.5)


def test_to_json_is_plain():
    moved = diff_graphs(graph(thing("chair", 2, 0, CHAIR)), graph(thing("chair", 0, 0, CHAIR))).changes[0].to_json()
    assert moved == {
        "kind": "moved",
        "label": "chair",
        "a": "O0",
        "b": "O0",
        "from": [2.0, 0.0, 0.45],
        "to": [0.0, 0.0, 0.45],
        "distance": 2.0,
        "confidence": 0.6,
        "with": None,
    }


def test_what_was_mapped_in_part_or_in_pieces_did_not_change():
    sofa = thing("sofa", 0, 0, (2.0, 0.9, 0.8))
    halves = [thing("sofa", -0.5, 0, (1.0, 0.9, 0.8)), thing("sofa", 0.5, 0, (1.0, 0.9, 0.8))]
    assert diff_graphs(graph(sofa), graph(*halves)).changes == []
    assert diff_graphs(graph(*halves), graph(sofa)).changes == []
    assert diff_graphs(graph(sofa), graph(thing("sofa", 0.2, 0.1, (1.7, 0.8, 0.7)))).changes == []


def test_another_name_at_the_same_place_is_the_same_thing():
    a, b = thing("table", 0, 0, TABLE), thing("desk", 0.05, 0, TABLE)
    assert diff_graphs(graph(a), graph(b)).unchanged == [("O0", "O0")]
    found = diff_graphs(graph(a), graph(thing("desk", 0, 1.5, TABLE)))
    assert kinds(found) == [("appeared", "desk"), ("disappeared", "table")]


def test_size_tells_what_moved():
    a = graph(thing("cabinet", 0, 0, (0.5, 0.4, 1.8)), thing("cabinet", 2, 0, (1.5, 0.4, 0.6)))
    b = graph(thing("cabinet", 0.5, 2, (1.5, 0.4, 0.6)), thing("cabinet", 2, -2, (0.4, 0.5, 1.8)))
    assert [(c.key_a, c.key_b) for c in diff_graphs(a, b).changes] == [("O0", "O1"), ("O1", "O0")]
    b = graph(thing("cabinet", 0.5, 2, (0.5, 0.4, 0.6)))
    assert kinds(diff_graphs(a, b)) == [("appeared", "cabinet"), ("disappeared", "cabinet"), ("disappeared", "cabinet")]


def test_where_a_visit_has_not_been_nothing_is_said():
    far = thing("chair", 20, 0, CHAIR)
    a, b = graph(far, places=((0, 0), (20, 0))), graph(places=((0, 0),))
    found = diff_graphs(a, b)
    assert (found.changes, found.unseen_a, found.unseen_b) == ([], ["O0"], [])
    found = diff_graphs(b, a)
    assert (found.changes, found.unseen_a, found.unseen_b) == ([], [], ["O0"])
    assert kinds(diff_graphs(a, graph(places=()))) == [("disappeared", "chair")]  # without places it is unknown


def test_small_and_hardly_seen_things_do_not_count():
    b = graph(thing("box", 0, 0, (0.1, 0.1, 0.1)), thing("chair", 1, 0, CHAIR, views=1), thing("chair", 0, 2, CHAIR))
    assert kinds(diff_graphs(graph(), b)) == [("appeared", "chair")]
    assert len(diff_graphs(graph(), b, DiffConfig(min_views=0, min_diagonal=0)).changes) == 3
    unknown = graph(thing("chair", 1, 0, CHAIR, views=0))
    assert kinds(diff_graphs(graph(), unknown)) == [("appeared", "chair")]


def test_what_cannot_be_compared_is_rejected():
    leaning = SceneGraph(SPACE, from_rotation_translation([[1, 0, 0], [0, 0, -1], [0, 1, 0]], [0, 0, 0]))
    with pytest.raises(DiffError, match="up differs by 90 degrees"):
        diff_graphs(graph(), leaning)
    other = replace(SPACE, name="other")
    with pytest.raises(DiffError, match="different label spaces, nyu40 and other"):
        diff_graphs(graph(), SceneGraph(other))
    with pytest.raises(ValueError, match="size_ratio"):
        DiffConfig(size_ratio=0.5)
