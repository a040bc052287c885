"""Names by the evidence of all frames, and what is reported where it is weak."""

import numpy as np
import pytest
from apartments import LABELS, Apartment, box

from mapping.mesh.mesh import Mesh, concatenate
from mapping.tsdf.label_evidence import LabelEvidence
from scenegraph.boxes import box_iou
from scenegraph.faces import Faces
from scenegraph.graph_config import ObjectConfig
from scenegraph.nodes import OrientedBox
from scenegraph.objects.accepted import accepted_objects
from scenegraph.objects.evidence import NameEvidence
from scenegraph.objects.extract import extract_objects

CONFIG = ObjectConfig(least_extent=0.2)
UNNAMED = LABELS.unnamed


def evidence_of(mesh, *parts):
    """Evidence at the vertices of a mesh: of each part, a mask of vertices with the weight of each label by name, - for none."""
    point, label, weight = [], [], []
    for mask, weights in parts:
        for name, amount in weights.items():
            at = np.flatnonzero(mask)
            point.append(at)
            label.append(np.full(len(at), UNNAMED if name == "-" else LABELS.id_of(name)))
            weight.append(np.full(len(at), float(amount)))
    order = np.lexsort((np.concatenate(label), np.concatenate(point)))
    entries = (np.concatenate(part)[order] for part in (point, label, weight))
    p, k, w = entries
    return NameEvidence.of(LabelEvidence(p, k.astype(np.uint16), w), len(mesh.vertices), LABELS)


def objects_of(mesh, evidence):
    faces = Faces.of(evidence.labelled(mesh, LABELS))
    return extract_objects(faces, LABELS, CONFIG, floors=(0.0,), evidence=evidence)


def has(mesh, name):
    return mesh.labels == LABELS.id_of(name)


def test_pixels_without_a_name_are_evidence_too():
    mesh = Mesh(np.zeros((4, 3)), np.zeros((0, 3), np.int32))
    first, second, fourth = (np.arange(4) == k for k in (0, 1, 3))
    evidence = evidence_of(
        mesh, (first, {"table": 3, "-": 1}), (second, {"wall": 1, "-": 3}), (fourth, {"chair": 1, "sofa": 0.5, "-": 5})
    )
    labels = evidence.labelled(mesh, LABELS).labels
    # The second is more often not wall than wall; the third was never seen; objects are judged as a whole.
    assert [LABELS.name_of(int(k)) for k in labels] == ["table", "unknown", "unknown", "chair"]
    np.testing.assert_allclose(evidence.share_of(labels), [0.75, 0.75, 0, 1 / 6.5])
    shares = evidence.shares(np.array([0, 3]), np.array([1.0, 2.0]))
    assert shares[LABELS.id_of("table")] == pytest.approx(3 / 17)
    assert shares[LABELS.id_of("chair")] == pytest.approx(2 / 17)
    assert shares[0] == pytest.approx(11 / 17)
    assert shares.sum() == pytest.approx(1)
    assert not evidence.shares(np.array([2]), np.ones(1)).any()


def test_what_is_seen_well_speaks_for_what_is_seen_badly_beside_it():
    """A strip of four vertices: the second is hardly seen, as a chair, between the first, well seen, and the third."""
    mesh = Mesh(np.zeros((4, 3)), np.array([[0, 1, 2], [1, 3, 2]], np.int32))
    of = [np.arange(4) == k for k in range(4)]
    evidence = evidence_of(mesh, (of[0], {"table": 4}), (of[1], {"chair": 1}), (of[2], {"chair": 1}), (of[3], {"-": 2}))
    smooth = evidence.smoothed(mesh.faces)
    table = smooth.weights.toarray()[:, [LABELS.id_of("table"), LABELS.id_of("chair"), 0]]
    # Edges 0-1, 1-2, 2-0, 1-3 and 3-2; that between the faces counts once.
    np.testing.assert_allclose(table, [[8, 2, 0], [4, 3, 2], [4, 3, 2], [0, 2, 4]])
    names = [LABELS.name_of(int(k)) for k in smooth.labelled(mesh, LABELS).labels]
    assert names == ["table", "table", "table", "chair"]


def test_structure_with_most_of_the_evidence_keeps_its_name():
    mesh = Mesh(np.zeros((2, 3)), np.zeros((0, 3), np.int32))
    evidence = evidence_of(mesh, (np.array([True, False]), {"wall": 3, "-": 2, "door": 1}))
    assert evidence.labelled(mesh, LABELS).labels.tolist() == [LABELS.id_of("wall"), 0]


@pytest.mark.parametrize(("share", "name"), [(0.8, "dresser"), (0.55, "dresser"), (0.45, "unknown"), (0.1, "unknown")])
def test_an_object_has_a_name_where_it_is_right_more_often_than_not(share, name):
    flat = Apartment([(0, 0, 5, 4)]).furnish(box((2, 1, 0), (2.8, 1.5, 0.9), "dresser"))
    mesh = flat.mesh()
    body = has(mesh, "dresser")
    weights = {"dresser": share, "cabinet": 0.05, "-": 0.95 - share}
    evidence = evidence_of(mesh, (body, weights), (has(mesh, "wall"), {"wall": 1}), (has(mesh, "floor"), {"floor": 1}))
    objects, numbered = objects_of(mesh, evidence)
    (node,) = objects
    assert node.label_scores == pytest.approx({"dresser": share, "cabinet": 0.05}, abs=1e-3)
    assert node.confidence == pytest.approx(share, abs=1e-3)
    (node,), labelled = accepted_objects(objects, numbered, CONFIG)
    assert node.label == name
    assert node.label_scores == pytest.approx({"dresser": share, "cabinet": 0.05}, abs=1e-3)
    assert (node.confidence > 0) is (name != "unknown")
    assert (labelled.labels[body] == LABELS.id_of(name)).all()
    assert (labelled.objects[body] == 1).all()


def test_without_a_name_a_single_face_is_no_object():
    """Of a dresser of which one side is mapped there is no box to speak of."""
    thin, whole = box((2, 1, 0), (2.8, 1.06, 0.9), "dresser"), box((3.5, 1, 0), (4.3, 1.5, 0.9), "dresser")
    mesh = concatenate([thin, whole])
    objects, numbered = objects_of(mesh, evidence_of(mesh, (np.ones(len(mesh.vertices), bool), {"dresser": 1, "-": 3})))
    assert [node.number for node in objects] == [1, 2]
    (node,), labelled = accepted_objects(objects, numbered, CONFIG)
    assert node.label == "unknown"
    assert node.number == 1
    assert node.box.center == pytest.approx([3.9, 1.25, 0.45], abs=0.05)
    first = np.arange(len(mesh.vertices)) < len(thin.vertices)
    assert (labelled.objects == np.where(first, 0, 1)).all()
    assert not labelled.labels.any()


def test_what_is_smaller_than_the_errors_of_depth_is_dropped():
    mesh = concatenate([box((1, 1, 1), (1.1, 1.1, 1.15), "box"), box((2, 1, 1), (2.1, 1.1, 1.4), "box")])
    objects, numbered = objects_of(mesh, evidence_of(mesh, (np.ones(len(mesh.vertices), bool), {"box": 1})))
    assert len(objects) == 2
    kept, _ = accepted_objects(objects, numbered, CONFIG)
    assert [node.box.center[0] for node in kept] == pytest.approx([2.05], abs=0.01)
    assert len(accepted_objects(objects, numbered, ObjectConfig(least_extent=0.0))[0]) == 2


def test_what_has_no_name_and_lies_in_an_object_with_one_is_part_of_it():
    counter, drawer = box((1, 1, 0), (3, 1.6, 0.9), "counter"), box((1.5, 0.95, 0.2), (1.9, 1.5, 0.6), "box")
    beside = box((3.5, 1, 0), (3.9, 1.4, 0.9), "bag")
    mesh = concatenate([counter, drawer, beside])
    no_name = {"-": 1, "towel": 0.2}
    evidence = evidence_of(
        mesh,
        (has(mesh, "counter"), {"counter": 1}),
        (has(mesh, "box"), {**no_name, "box": 0.3}),
        (has(mesh, "bag"), {**no_name, "bag": 0.3}),
    )
    kept, numbered = accepted_objects(*objects_of(mesh, evidence), CONFIG)
    assert [node.label for node in kept] == ["counter", "unknown"]
    assert kept[0].box.center[0] == pytest.approx(2, abs=0.02)
    assert kept[1].box.center[0] == pytest.approx(3.7, abs=0.02)
    for name, number in (("counter", 1), ("box", 1), ("bag", 2)):
        assert (numbered.objects[has(mesh, name)] == number).all()
    assert not numbered.labels[has(mesh, "box")].any()


def test_the_box_is_around_what_is_certain():
    """Labels spill from a cabinet onto the wall next to it in the few frames that see it from afar."""
    cabinet, spill = box((1, 1, 0), (2, 1.5, 1), "cabinet"), box((2.0, 1.4, 0), (2.4, 1.5, 1), "cabinet")
    mesh = concatenate([cabinet, spill])
    on_wall = mesh.vertices[:, 0] > 2.01
    evidence = evidence_of(mesh, (~on_wall, {"cabinet": 3, "-": 1}), (on_wall, {"cabinet": 1, "-": 2, "wall": 0.5}))
    objects, numbered = objects_of(mesh, evidence)
    (node,) = accepted_objects(objects, numbered, CONFIG)[0]
    true = OrientedBox(np.array([1.5, 1.25, 0.5]), np.array([1, 0.5, 1.0]), np.eye(3))
    assert box_iou(node.box, true) > 0.9


def test_what_is_too_large_for_its_class_is_cut_at_its_narrowest_place():
    """Two rows of books that blurred depth joins by half of their width."""
    rows = [box((0, 1, 0.4), (1.2, 1.2, 0.65), "books"), box((0, 1, 0.9), (1.2, 1.2, 1.15), "books")]
    between = box((0, 1, 0.65), (0.6, 1.2, 0.9), "books", without="bt")
    mesh = concatenate([*rows, between])
    _, index = np.unique(np.round(mesh.vertices, 4), axis=0, return_inverse=True)
    first = np.zeros(index.max() + 1, np.int64)
    first[index.ravel()[::-1]] = np.arange(len(index))[::-1]
    joined = Mesh(mesh.vertices, first[index.ravel()][mesh.faces].astype(np.int32), labels=mesh.labels)
    evidence = evidence_of(joined, (np.ones(len(joined.vertices), bool), {"books": 1}))
    kept, _ = accepted_objects(*objects_of(joined, evidence), CONFIG)
    heights = sorted(node.box.center[2] for node in kept)
    assert [node.label for node in kept] == ["books", "books"]
    assert heights[0] < 0.65 < 0.9 < heights[1]


def test_of_books_in_a_row_the_spines_are_enough():
    """Spines at y = 1 that face -y, 0.2 m in front of what supports them; and a stack that was seen from all sides."""
    spines = box((1, 1, 1.4), (1.8, 1.02, 1.65), "books")
    spines = spines.submesh(spines.face_normals()[:, 1] < -0.9)
    stack = box((3, 1, 0.7), (3.3, 1.08, 0.8), "books")
    objects, _ = extract_objects(Faces.of(concatenate([spines, stack])), LABELS, ObjectConfig())
    row, seen = objects
    true = OrientedBox(np.array([1.4, 1.11, 1.525]), np.array([0.8, 0.22, 0.25]), np.eye(3))
    assert box_iou(row.box, true) > 0.85
    assert seen.box.size == pytest.approx([0.3, 0.08, 0.1], abs=0.02)
