"""Two visits compared by what each saw of the other's objects."""

from dataclasses import replace

import numpy as np
import pytest
from visit_maps import EYES, block, visit_of

from mapping.se3 import from_rotation_translation, inverse, yaw_rotation
from scenegraph.diff import diff_visits
from scenegraph.visits.space import VisitMap

CHAIR, TABLE, BOX = (0.5, 0.5, 0.9), (1.4, 0.8, 0.75), (0.5, 0.4, 0.4)
TABLE_HERE = block("table", (0, 0), TABLE)


def said(found):
    """Kind, label and keys of every change."""
    return [(change.kind, change.label, change.key_a, change.key_b) for change in found.changes]


@pytest.fixture(scope="module")
def before():
    return visit_of([TABLE_HERE, block("chair", (1.6, 0.4), CHAIR), block("box", (-1.5, 1.0), BOX)])


def test_a_visit_and_itself_do_not_differ(before):
    found = diff_visits(before, before)
    assert found.changes == []
    assert found.unchanged == [("O0", "O0"), ("O1", "O1"), ("O2", "O2")]
    assert (found.unseen_a, found.unseen_b) == ([], [])


def test_rays_say_what_moved_appeared_and_disappeared(before):
    after = visit_of([TABLE_HERE, block("chair", (1.0, -1.4), CHAIR), block("bag", (-0.5, 2.0), BOX)])
    found = diff_visits(before, after)
    assert said(found) == [
        ("appeared", "bag", None, "O2"),
        ("disappeared", "box", "O2", None),
        ("moved", "chair", "O1", "O1"),
    ]
    assert found.changes[2].distance == pytest.approx(np.hypot(0.6, 1.8), abs=0.06)
    assert min(change.confidence for change in found.changes) > 0.6
    assert found.unchanged == [("O0", "O0")]


def test_of_two_equal_chairs_each_goes_the_shorter_way():
    a = visit_of([block("chair", (1.5, 1.0), CHAIR), block("chair", (1.5, -1.0), CHAIR)])
    b = visit_of([block("chair", (0.4, -1.6), CHAIR), block("chair", (0.4, 1.6), CHAIR)])
    assert said(diff_visits(a, b)) == [("moved", "chair", "O0", "O1"), ("moved", "chair", "O1", "O0")]


def test_shape_decides_before_distance():
    tall, wide = (0.5, 0.5, 1.6), (1.4, 0.5, 0.6)
    a = visit_of([block("cabinet", (1.5, 1.2), tall), block("cabinet", (1.2, -1.5), wide)])
    b = visit_of([block("cabinet", (-1.2, 1.5), wide), block("cabinet", (-1.5, -1.2), tall)])
    assert said(diff_visits(a, b)) == [("moved", "cabinet", "O0", "O1"), ("moved", "cabinet", "O1", "O0")]


def test_what_was_seen_in_half_is_compared_by_what_both_saw():
    """The second visit sees the moved table from one side only; its box is half as deep, and the move is still right."""
    a = visit_of([block("table", (0.8, 0.8), (1.2, 1.2, 0.8))])
    b = visit_of([block("table", (-1.0, 0.5), (1.2, 1.2, 0.8))], eyes=[(-1.0, -3.5, 0.5), (0.0, -3.5, 0.5)])
    assert b.graph["O0"].box.size.min() < 0.9
    (change,) = diff_visits(a, b).changes
    assert change.kind == "moved"
    assert change.distance == pytest.approx(np.hypot(1.8, 0.3), abs=0.15)


def test_where_the_other_visit_did_not_look_nothing_is_said(before):
    turned_away = visit_of([TABLE_HERE], eyes=EYES[:1], target=(-3.5, -1.0, 1.0))
    found = diff_visits(before, turned_away)
    assert found.changes == []
    assert "O1" in found.unseen_a


def test_what_the_other_visit_saw_without_having_it_as_an_object_is_listed(before):
    other = VisitMap(before.graph.transformed(np.eye(4)), before.mesh, before.volume)
    other.graph.remove("O2")
    found = diff_visits(before, other)
    assert found.changes == []
    assert found.unchanged == [("O0", "O0"), ("O1", "O1")]
    assert (found.confirmed_a, found.confirmed_b) == (["O2"], [])
    assert diff_visits(other, before).confirmed_b == ["O2"]
    assert diff_visits(before, before).confirmed_a == []


def test_a_load_moves_with_what_carries_it():
    on_it = block("books", (0.2, 0.1, 0.85), (0.4, 0.3, 0.2))
    a = visit_of([TABLE_HERE, on_it])
    b = visit_of([block("table", (1.0, 1.5), TABLE), block("books", (1.2, 1.6, 0.85), (0.4, 0.3, 0.2))])
    found = diff_visits(a, b)
    assert said(found) == [("moved", "table", "O0", "O0"), ("moved", "books", "O1", "O1")]
    assert found.changes[1].distance == pytest.approx(np.hypot(1.0, 1.5), abs=0.1)


def test_a_picture_that_was_taken_off_its_wall_leaves_bare_wall():
    picture = block("picture", (5.98, 0.0, 1.5), (0.04, 0.9, 0.7))
    eyes = [(2.0, -1.5, 1.5), (2.0, 1.5, 1.5), (1.5, 0.0, 1.5)]
    a = visit_of([picture], eyes=eyes, target=(6.0, 0.0, 1.5))
    b = visit_of([], eyes=eyes, target=(6.0, 0.0, 1.5))
    assert said(diff_visits(a, b)) == [("disappeared", "picture", "O0", None)]
    assert said(diff_visits(b, a)) == [("appeared", "picture", None, "O0")]


def test_of_two_chairs_in_one_object_the_one_that_left_is_found():
    """The two touch and are one object; one is taken away."""
    a = visit_of([block("chair", (0.0, 0.0), (0.5, 0.5, 0.9)), block("chair", (0.52, 0.0), (0.5, 0.5, 0.9))])
    joined = a.mesh.objects.copy()
    joined[joined == 2] = 1
    graph = visit_of([block("chair", (0.26, 0.0), (1.02, 0.5, 0.9))]).graph
    whole = VisitMap(graph, replace(a.mesh, objects=joined), a.volume)
    b = visit_of([block("chair", (0.0, 0.0), (0.5, 0.5, 0.9))])
    (change,) = diff_visits(whole, b).changes
    assert (change.kind, change.label) == ("disappeared", "chair")
    np.testing.assert_allclose(change.position_a[:2], [0.52, 0.0], atol=0.12)


def test_the_place_of_the_other_visit_may_be_given(before):
    """The second map lies elsewhere, with the same objects."""
    T_a_b = from_rotation_translation(yaw_rotation(0.4), [3.0, -1.0, 0.0])
    volume = before.volume.transformed(inverse(T_a_b))
    moved = VisitMap(before.graph.transformed(inverse(T_a_b)), before.mesh.transformed(inverse(T_a_b)), volume)
    moved.graph.T_input_world = np.eye(4)
    assert diff_visits(before, moved, T_a_b=T_a_b).changes == []
    assert diff_visits(before, moved).changes != []
