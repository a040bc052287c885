import numpy as np
import pytest
from apartments import LABELS, box, table

from mapping.mesh.mesh import concatenate
from scenegraph.faces import Faces
from scenegraph.graph_config import ObjectConfig, RelationConfig
from scenegraph.objects.extract import extract_objects
from scenegraph.objects.relations import object_relations


def relations_of(*bodies, config=None):
    """{(source label, kind, target label): relation} of the things in an empty world."""
    faces = Faces.of(concatenate(bodies))
    objects, mesh = extract_objects(faces, LABELS, ObjectConfig(), floors=(0.0,))
    found = object_relations(objects, faces.with_mesh(mesh), config or RelationConfig())
    return {(objects[r.source].label, r.kind, objects[r.target].label): r for r in found}


def shelf(x, y):
    """Two sides and three boards, 0.9 m wide, 0.35 m deep and 1.2 m high; the front is open."""
    sides = [box((x + i * 0.88, y, 0), (x + i * 0.88 + 0.02, y + 0.35, 1.2), "bookshelf", step=0.05) for i in (0, 1)]
    boards = [box((x, y, z), (x + 0.9, y + 0.35, z + 0.02), "bookshelf", step=0.03) for z in (0.05, 0.6, 1.18)]
    return concatenate([*sides, *boards])


def test_a_lamp_on_a_table():
    found = relations_of(table((0, 0, 0)), box((-0.1, -0.1, 0.74), (0.1, 0.1, 1.15), "lamp"))
    relation = found["lamp", "on", "table"]
    assert len(found) == 1
    assert relation.score > 0.8
    assert relation.evidence["overlap"] == pytest.approx(1.0, abs=0.01)
    assert abs(relation.evidence["gap"]) < 0.03


def test_books_on_a_board_inside_of_a_bookcase_are_on_it():
    found = relations_of(shelf(0, 0), box((0.2, 0.08, 0.62), (0.6, 0.28, 0.85), "books"))
    assert set(found) == {("books", "on", "bookshelf")}
    assert found["books", "on", "bookshelf"].evidence["surface_share"] > 0.9


def test_what_floats_within_a_larger_thing_is_in_it():
    found = relations_of(shelf(0, 0), box((0.3, 0.1, 0.9), (0.5, 0.25, 1.05), "books"))
    assert set(found) == {("books", "in", "bookshelf")}
    assert found["books", "in", "bookshelf"].score == pytest.approx(1.0, abs=0.02)


def test_a_stack_relates_each_thing_to_the_one_below():
    low, high = box((-0.3, -0.2, 0.74), (0.3, 0.2, 1.0), "box"), box((-0.1, -0.1, 1.0), (0.1, 0.1, 1.2), "books")
    assert set(relations_of(table((0, 0, 0)), low, high)) == {("box", "on", "table"), ("books", "on", "box")}


@pytest.mark.parametrize(("gap", "kinds"), [(0.1, {"next_to"}), (0.28, {"next_to"}), (0.5, set())])
def test_next_to_each_other_up_to_a_distance(gap, kinds):
    found = relations_of(
        box((0, 0, 0), (0.5, 0.5, 0.6), "night_stand"), box((0.5 + gap, 0, 0), (2.5 + gap, 1.6, 0.5), "bed")
    )
    assert {kind for _, kind, _ in found} == kinds
    for relation in found.values():
        assert relation.evidence["gap"] == pytest.approx(gap, abs=0.02)


def test_a_chair_pushed_under_a_table_is_not_on_it_and_a_thing_above_is_not_on_what_it_does_not_touch():
    seat = box((-0.2, -0.2, 0.0), (0.2, 0.2, 0.45), "chair")
    lamp = box((-0.2, -0.2, 1.9), (0.2, 0.2, 2.2), "lamp")
    kinds = {kind for _, kind, _ in relations_of(table((0, 0, 0)), seat, lamp)}
    assert "on" not in kinds


def test_one_relation_between_two_objects_and_one_support():
    desk, shelves = table((0, 0, 0)), shelf(0.62, -0.1)
    across = box((0.4, -0.1, 0.74), (0.62, 0.1, 0.95), "box")
    faces = Faces.of(concatenate([desk, shelves, across]))
    objects, mesh = extract_objects(faces, LABELS, ObjectConfig(), floors=(0.0,))
    found = object_relations(objects, faces.with_mesh(mesh), RelationConfig())
    pairs = [frozenset((r.source, r.target)) for r in found]
    assert len(pairs) == len(set(pairs))
    assert np.bincount([r.source for r in found if r.kind in ("on", "in")], minlength=1).max() == 1


def test_turning_the_world_changes_no_relation():
    bodies = [
        table((0, 0, 0)),
        box((-0.1, -0.1, 0.74), (0.1, 0.1, 1.15), "lamp"),
        box((1.0, -0.2, 0), (1.4, 0.2, 0.7), "chair"),
    ]
    angle = 0.6
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    from dataclasses import replace

    turned = [replace(body, vertices=body.vertices @ turn.T) for body in bodies]
    assert set(relations_of(*bodies)) == set(relations_of(*turned))


def test_fewer_than_two_objects_have_no_relations():
    assert relations_of(table((0, 0, 0))) == {}
