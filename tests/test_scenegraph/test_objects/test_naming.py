"""Names of objects by mean probabilities and boxes."""

import numpy as np
import pytest
from apartments import LABELS, Apartment, box
from scipy.sparse import csr_matrix

from mapping.camera import Intrinsics
from mapping.se3 import from_rotation_translation
from scenegraph.faces import Faces
from scenegraph.graph_config import ObjectConfig
from scenegraph.nodes import OrientedBox
from scenegraph.objects.accepted import accepted_objects
from scenegraph.objects.evidence import NameEvidence
from scenegraph.objects.extract import extract_objects
from scenegraph.objects.naming import found_name, likely_name
from scenegraph.objects.sampled_labels import SampledLabels
from scenegraph.objects.sizes import is_whole, plausible
from scenegraph.objects.typical_boxes import TYPICAL, box_ratios

CHAIR = OrientedBox(np.array([1.0, 1.0, 0.44]), np.array([0.48, 0.46, 0.88]), np.eye(3))
CONFIG = ObjectConfig(least_extent=0.2)


def probabilities(**shares):
    """(41,) mean probabilities, what is left at no label."""
    found = np.zeros(41)
    for name, share in shares.items():
        found[LABELS.id_of(name)] = share
    found[0] = 1 - found.sum()
    return found


@pytest.mark.parametrize("name", ["chair", "bed", "refrigerator", "bathtub", "toilet", "sofa", "desk"])
def test_a_typical_box_speaks_for_its_class(name):
    long, short, height, base, _ = TYPICAL[name][0]
    names = sorted(TYPICAL)
    ratios = dict(zip(names, box_ratios(np.array([short, long, height]), base, names), strict=True))
    others = [ratio for other, ratio in ratios.items() if other != name]
    assert ratios[name] > 3 * np.median(others)
    assert ratios[name] >= 0.5 * max(others)  # a desk is a table, too
    assert min(others) > 0.1  # the box may be wrong


def test_typical_boxes_are_whole_objects_of_their_class():
    for name, boxes in TYPICAL.items():
        assert sum(share for *_, share in boxes) == pytest.approx(1, abs=0.03), name
        large = max(boxes, key=lambda each: each[4])
        size = np.maximum(np.array(large[:3]), 0.03)
        assert plausible(name, size), name
        assert is_whole(name, size) or name in ("lamp", "shelves"), name


def test_what_is_known_of_no_class_speaks_neither_for_nor_against_it():
    assert box_ratios(CHAIR.size, 0.0, ["thing", "other"]).tolist() == [1, 1]
    assert box_ratios(CHAIR.size, 0.0, ["thing", "bed", "chair"])[0] == 1
    assert box_ratios(np.array([9.0, 9.0, 9.0]), 0.0, ["bed", "chair"]) == pytest.approx([1, 1], abs=0.01)


def test_furniture_whose_legs_are_not_mapped_stands_on_the_floor():
    seat = np.array([0.48, 0.46, 0.45])
    chair, bag = box_ratios(seat, 0.43, ["chair", "bag", "bed", "sofa"])[:2]
    assert chair > 2 * bag
    seen = OrientedBox(np.array([1.0, 1.0, 0.65]), seat, np.eye(3))
    assert found_name(probabilities(chair=0.4, sofa=0.2), seen, 0.0, LABELS).label == LABELS.id_of("chair")


def test_the_box_decides_between_what_the_network_confuses():
    doubtful = probabilities(chair=0.3, sofa=0.25, bed=0.1, floor=0.2)
    assert LABELS.name_of(likely_name(doubtful, CHAIR, 0.0, LABELS).label) == "chair"
    sofa = OrientedBox(np.array([1.0, 1.0, 0.42]), np.array([1.95, 0.88, 0.85]), np.eye(3))
    found = likely_name(doubtful, sofa, 0.0, LABELS)
    assert LABELS.name_of(found.label) == "sofa"
    assert 0.5 < found.probability < 1


def test_a_name_needs_to_be_likely():
    assert found_name(probabilities(chair=0.5, sofa=0.2), CHAIR, 0.0, LABELS).label == LABELS.id_of("chair")
    assert (
        found_name(probabilities(chair=0.1, sofa=0.08, wall=0.6), CHAIR, 0.0, LABELS) is None
    )  # rather wall than chair
    assert found_name(probabilities(otherfurniture=0.9), CHAIR, 0.0, LABELS) is None  # says nothing
    assert found_name(probabilities(sofa=0.35, chair=0.3), CHAIR, 0.0, LABELS) is None  # labels and box disagree
    small = OrientedBox(np.zeros(3), np.array([0.2, 0.25, 0.28]), np.eye(3))
    assert found_name(probabilities(books=0.9), small, 0.0, LABELS) is None
    high = OrientedBox(np.array([1.0, 1.0, 3.44]), CHAIR.size, np.eye(3))
    assert found_name(probabilities(chair=0.5, sofa=0.2), high, 3.0, LABELS).label == LABELS.id_of("chair")


def evidence_of(mesh, sampled):
    """Evidence of frames that name structure alone, and labels sampled as `sampled` (41,) on all the rest."""
    structure = LABELS.mask_of_kind("structure", mesh.labels)
    names, counts = np.zeros((len(mesh.vertices), 41)), np.zeros((len(mesh.vertices), 41))
    names[np.arange(len(names)), np.where(structure, mesh.labels, 0)] = 1
    counts[~structure] = 10 * sampled
    return NameEvidence(csr_matrix(names), csr_matrix(counts))


def mapped(sampled):
    """What is found of a room with a chair's seat and back that no frame names."""
    mesh = (
        Apartment([(0, 0, 5, 4)])
        .furnish(box((2, 1, 0.05), (2.46, 1.46, 0.88), "chair"))
        .furnish(box((2, 3, 0), (2.1, 3.1, 0.25), "bag"))
        .mesh()
    )
    evidence = evidence_of(mesh, sampled)
    faces = Faces.of(evidence.labelled(mesh, LABELS))
    objects, numbered = extract_objects(faces, LABELS, CONFIG, floors=(0.0,), evidence=evidence)
    return *accepted_objects(objects, numbered, CONFIG), mesh


def test_an_object_that_frames_do_not_name_is_named_as_a_whole():
    (node,), mesh, before = mapped(probabilities(chair=0.4, sofa=0.2, table=0.1, floor=0.2))
    assert node.label == "chair"
    assert 0.6 < node.confidence < 1
    assert node.label_scores == pytest.approx({"chair": 0.4, "sofa": 0.2, "floor": 0.2, "table": 0.1}, abs=1e-3)
    assert node.box.center[2] - node.box.size[2] / 2 == pytest.approx(0, abs=0.02)
    body = before.labels == LABELS.id_of("chair")
    assert (mesh.labels[body] == LABELS.id_of("chair")).mean() > 0.9
    assert (mesh.objects[body] == 1).mean() > 0.9


def test_an_object_without_any_likely_name_is_there_all_the_same():
    (node,), mesh, before = mapped(probabilities(counter=0.1, sofa=0.1, table=0.1, wall=0.2))
    assert (node.label, node.confidence) == ("unknown", 0)
    assert node.box.size[2] == pytest.approx(0.88, abs=0.07)
    assert not mesh.labels[before.labels == LABELS.id_of("chair")].any()


def test_what_frames_name_must_not_be_improbable():
    """Few frames with much weight name a television, and all the others see a wall."""
    mesh = box((2, 1, 0.5), (3, 1.2, 1.1), "television")
    names, counts = np.zeros((len(mesh.vertices), 41)), np.zeros((len(mesh.vertices), 41))
    names[:, LABELS.id_of("television")] = 1
    for television, name in ((0.15, "television"), (0.05, "unknown")):
        counts[:] = 10 * probabilities(television=television, wall=0.4)
        evidence = NameEvidence(csr_matrix(names), csr_matrix(counts))
        objects, numbered = extract_objects(Faces.of(mesh), LABELS, CONFIG, floors=(0.0,), evidence=evidence)
        kept, labelled = accepted_objects(objects, numbered, ObjectConfig(unnamed_extent=0.1))
        assert [node.label for node in kept] == [name]
        assert (labelled.labels == LABELS.id_of(name)).all()


def test_labels_are_counted_where_a_frame_sees_the_surface():
    vertices = np.array([[0, 0, 2.0], [0.5, 0, 2.0], [0, 0, 3.0], [0, 0, -1.0], [9.0, 0, 2.0]])
    camera = Intrinsics(100, 100, 50, 40, 101, 81)
    T_world_camera = from_rotation_translation(np.eye(3), [0, 0, 1.0])
    depth = np.full((81, 101), 1.0, np.float32)
    sampled = np.full((81, 101), LABELS.id_of("chair"), np.uint8)
    sampled[:, 60:] = 200  # an id of no class
    depth[40, 100] = 0
    counted = SampledLabels(vertices, LABELS)
    assert counted.counts() is None
    for _ in range(2):
        counted.add(depth, sampled, camera, T_world_camera)
    counts = counted.counts().toarray()
    assert counts[0, LABELS.id_of("chair")] == 2
    assert not counts[1:].any()  # of unknown depth, behind what is seen, behind the camera, outside of the image
    depth[40, 100] = 1.03
    counted.add(depth, sampled, camera, T_world_camera)
    assert counted.counts().toarray()[1].tolist() == [1, *[0] * 40]
