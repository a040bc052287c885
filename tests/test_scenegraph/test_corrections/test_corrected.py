"""Corrections made on a graph and its mesh."""

import numpy as np
import pytest
from scenes import make_object, small_flat

from mapping.mesh.mesh import Mesh, concatenate
from mapping.se3 import transform_points
from scenegraph.corrections.corrected import anchor_of, corrected, find
from scenegraph.corrections.entries import Anchor, Correction, CorrectionError
from scenegraph.graph_config import RelationConfig

RELATIONS = RelationConfig()


def flat_and_mesh():
    """The small flat with a box of surface for every object, dense enough to be cut."""
    graph = small_flat()
    meshes = []
    for _, node in graph.nodes("object"):
        grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 9)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        vertices = node.box.center + (grid * node.box.size) @ node.box.rotation.T
        count = len(vertices)
        faces = np.stack([np.arange(0, count - 2), np.arange(1, count - 1), np.arange(2, count)], axis=1)
        labels = np.full(count, node.label_id, np.uint16)
        meshes.append(
            Mesh(vertices, faces.astype(np.int32), labels=labels, objects=np.full(count, node.number, np.uint32))
        )
    return graph, concatenate(meshes)


def apply(graph, mesh, *corrections):
    graph, mesh, problems = corrected(graph, mesh, corrections, RELATIONS)
    graph.validate()
    return graph, mesh, problems


def about(graph, *keys):
    return tuple(anchor_of(graph, key) for key in keys)


def test_anchors_name_objects_and_rooms_in_the_input_world():
    graph = small_flat()
    for key in ("O0", "O1", "O2", "O3", "R0", "R1"):
        anchor = anchor_of(graph, key)
        np.testing.assert_allclose(anchor.at, transform_points(graph.T_input_world, graph[key].position))
        assert find(graph, anchor) == key
    moved = Anchor("object", "chair", anchor_of(graph, "O1").at + np.array([0.2, 0.1, 0.0]))
    assert find(graph, moved) == "O1"
    with pytest.raises(CorrectionError, match="no object within"):
        find(graph, Anchor("object", "chair", anchor_of(graph, "O1").at + np.array([0.0, 0.0, 1.5])))
    with pytest.raises(CorrectionError, match="is a place"):
        anchor_of(graph, "P0")


def test_the_stated_label_decides_between_an_object_and_what_is_on_it():
    graph = small_flat()
    at = transform_points(graph.T_input_world, [1.0, 2.0, 0.8])  # where the box stands on the table
    assert find(graph, Anchor("object", "table", at)) == "O0"
    assert find(graph, Anchor("object", "box", at)) == "O3"


def test_rename():
    graph, mesh = flat_and_mesh()
    chair, room = about(graph, "O1", "R1")
    graph, mesh, problems = apply(
        graph, mesh, Correction("rename", (chair,), "sofa"), Correction("rename", (room,), "study")
    )
    assert problems == []
    assert (graph["O1"].label, graph["O1"].label_id, graph["O1"].label_scores) == ("sofa", 6, {"sofa": 1.0})
    assert set(mesh.labels[mesh.objects == graph["O1"].number].tolist()) == {6}
    assert graph["R1"].label == "study"
    _, _, problems = apply(graph, mesh, Correction("rename", (chair,), "throne"))
    assert "has no class 'throne'" in problems[0]
    assert problems[0].startswith("correction 1, rename chair at (3.50, 3.00, 3.50) to throne, is not made: ")


def test_delete_takes_the_object_and_its_relations_and_leaves_its_surface():
    graph, mesh = flat_and_mesh()
    faces = len(mesh.faces)
    graph, mesh, problems = apply(graph, mesh, Correction("delete", about(graph, "O0")))
    assert problems == []
    assert [key for key, _ in graph.nodes("object")] == ["O1", "O2", "O3"]
    assert 3 not in mesh.objects
    assert len(mesh.faces) == faces
    assert all("O0" not in edge[:2] for edge in graph.edges())


def test_a_track_of_what_did_not_move_is_deleted():
    graph, mesh = flat_and_mesh()
    (anchor,) = about(graph, "T0")
    np.testing.assert_allclose(anchor.at, transform_points(graph.T_input_world, graph["T0"].positions[0]))
    elsewhere = Anchor("track", "person", anchor.at + np.array([0, 1, 0]))
    _, _, problems = apply(graph, mesh, Correction("delete", (elsewhere,)))
    assert "there is no track within" in problems[0]
    graph, _, problems = apply(graph, mesh, Correction("delete", (anchor,)))
    assert problems == []
    assert graph.nodes("track") == []
    assert len(graph.nodes("object")) == 4


def test_merge_keeps_the_key_of_the_first():
    graph, mesh = flat_and_mesh()
    other = make_object("chair", [3.1, 1, 0.5], number=5, views=9)
    graph.add(other, parent="R0")
    graph, mesh, problems = apply(graph, mesh, Correction("merge", about(graph, "O1", "O4")))
    assert problems == []
    assert "O4" not in graph
    np.testing.assert_allclose(graph["O1"].box.center, [2.8, 1.0, 0.5], atol=1e-9)
    np.testing.assert_allclose(sorted(graph["O1"].box.size), [0.6, 1.0, 1.1], atol=1e-9)
    assert graph["O1"].views == 9
    (anchor,) = about(graph, "O1")
    _, _, problems = apply(graph, mesh, Correction("merge", (anchor, anchor)))
    assert "expected different objects" in problems[0]


def test_split_gives_each_piece_to_the_nearest_point():
    graph, mesh = flat_and_mesh()
    points = transform_points(graph.T_input_world, [[2.3, 1.0, 0.5], [2.7, 1.0, 0.5]])
    (anchor,) = about(graph, "O1")
    graph, mesh, problems = apply(graph, mesh, Correction("split", (anchor,), points=points))
    assert problems == []
    assert graph.parent("O4") == "R0"
    assert graph["O1"].box.center[0] < 2.45
    assert graph["O4"].box.center[0] > 2.55
    assert graph["O4"].number == 5
    assert (mesh.objects == 5).sum() > 100
    far = Correction("split", (anchor,), points=points + np.array([[0, 0, 0], [9, 0, 0]]))
    assert "nearest to point 2 of 2" in apply(graph, mesh, far)[2][0]


def test_an_object_gets_another_room():
    graph, mesh = flat_and_mesh()
    chair, room = about(graph, "O1", "R1")
    graph, _, problems = apply(graph, mesh, Correction("room", (chair,), room=room))
    assert problems == []
    assert graph.parent("O1") == "R1"


def test_what_is_no_longer_there_is_reported_and_the_rest_is_made():
    graph, mesh = flat_and_mesh()
    gone = Correction("delete", (Anchor("object", "bed", np.array([50.0, 0.0, 0.0])),))
    graph, _, problems = apply(graph, mesh, gone, Correction("delete", about(graph, "O2")))
    assert problems == ["correction 1, delete bed at (50.00, 0.00, 0.00), is not made: there is no object within 0.3 m"]
    assert "O2" not in graph


def test_relations_are_found_again():
    """What stood on a table that is none stands on nothing."""
    graph, mesh = flat_and_mesh()
    graph, mesh, _ = apply(graph, mesh, Correction("rename", about(graph, "O3"), "lamp"))
    assert [(edge.source, edge.target) for edge in graph.edges("on")] == [("O3", "O0")]
    graph, mesh, _ = apply(graph, mesh, Correction("delete", about(graph, "O0")))
    assert graph.edges("on") == []
