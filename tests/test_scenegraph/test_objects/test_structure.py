import numpy as np
import pytest
from apartments import LABELS, Apartment, box, table, two_rooms, welded

from mapping.mesh.mesh import Mesh, concatenate
from scenegraph.faces import Faces
from scenegraph.graph_config import ObjectConfig, StructureConfig
from scenegraph.labels import LabelClass, LabelSpace, LabelSpaceError
from scenegraph.objects.extract import extract_unlabelled_objects
from scenegraph.objects.structure import correct_structure, has_labels, label_structure
from scenegraph.objects.unlabelled import concave_segments

CONFIG = StructureConfig()
FLOOR, WALL, CEILING = (LABELS.id_of(name) for name in ("floor", "wall", "ceiling"))


def bare(mesh):
    return Mesh(mesh.vertices, mesh.faces)


def labelled(mesh, storeys=((0.0, 2.5),)):
    return label_structure(Faces.of(bare(mesh)), LABELS, storeys, CONFIG)


def share(found, true_mesh, name):
    """Share of the vertices with a true label that have it; the foot of walls may be floor."""
    truth = true_mesh.labels == LABELS.id_of(name)
    if name == "wall":
        truth &= true_mesh.vertices[:, 2] % 2.8 > 0.1
    return (found.labels[truth] == LABELS.id_of(name)).mean()


def test_floor_walls_and_ceiling_are_distinguished_from_furniture():
    flat = two_rooms().furnish(table((1.5, 1.2, 0))).furnish(box((5, 0.3, 0), (5.8, 0.9, 1.0), "cabinet"))
    mesh = flat.mesh()
    found = labelled(mesh)
    for name in ("floor", "wall", "ceiling"):
        assert share(found, mesh, name) > 0.95  # jambs are not walls
    for name in ("table", "cabinet"):
        body = (mesh.labels == LABELS.id_of(name)) & (mesh.vertices[:, 2] > 0.1)
        assert (found.labels[body] == 0).all()


def test_hung_cupboards_and_low_cabinets_are_no_walls():
    flat = Apartment([(0, 0, 4, 3)])
    flat.furnish(box((0.5, 2.6, 1.4), (2.5, 2.95, 2.1), "cabinet")).furnish(
        box((0.5, 2.3, 0), (2.5, 2.95, 0.9), "counter")
    )
    mesh = flat.mesh()
    found = labelled(mesh)
    for name in ("cabinet", "counter"):
        body = (mesh.labels == LABELS.id_of(name)) & (mesh.vertices[:, 2] > 0.1)
        assert (found.labels[body] == WALL).mean() < 0.05


def test_predicted_labels_give_way_where_the_surface_cannot_be_what_they_say():
    flat = two_rooms().furnish(table((1.5, 1.2, 0))).furnish(box((5, 0.3, 0), (6.2, 0.9, 2.2), "cabinet"))
    mesh = flat.mesh()
    wrong = {"floor": "sofa", "wall": "bed", "ceiling": "floor", "table": "floor"}
    labels = mesh.labels.copy()
    for name, guess in wrong.items():
        labels[mesh.labels == LABELS.id_of(name)] = LABELS.id_of(guess)
    guessed = Mesh(mesh.vertices, mesh.faces, labels=labels)
    found = correct_structure(Faces.of(guessed), LABELS, [(0.0, 2.5)], CONFIG)
    for name in ("floor", "wall", "ceiling"):
        assert share(found, mesh, name) > 0.95
    top = (mesh.labels == LABELS.id_of("table")) & (mesh.vertices[:, 2] > 0.5)
    assert (found.labels[top] == 0).all()
    tall = (mesh.labels == LABELS.id_of("cabinet")) & (mesh.vertices[:, 2] > 0.1)
    assert (found.labels[tall] == LABELS.id_of("cabinet")).mean() > 0.95


def test_right_labels_stay_and_carpets_lie_on_the_floor():
    flat = two_rooms().furnish(table((1.5, 1.2, 0))).furnish(box((5, 0.3, 0), (5.8, 0.9, 1.0), "cabinet"))
    mesh = flat.furnish(box((2, 2, 0), (3, 3, 0.01), "floor_mat")).mesh()
    found = correct_structure(Faces.of(mesh), LABELS, [(0.0, 2.5)], CONFIG)
    above = mesh.vertices[:, 2] > 0.1
    assert (found.labels == mesh.labels)[above].mean() > 0.97
    mat = mesh.labels == LABELS.id_of("floor_mat")
    assert (found.labels[mat] == LABELS.id_of("floor_mat")).mean() > 0.95
    bare_space = LabelSpace("tiny", (LabelClass(0, "unknown", (0, 0, 0), "unknown"),))
    assert correct_structure(Faces.of(mesh), bare_space, [(0.0, 2.5)], CONFIG) is mesh


def test_noise_on_walls_is_wall():
    flat = Apartment([(0, 0, 4, 3)])
    mesh = flat.mesh()
    rng = np.random.default_rng(0)
    noisy = Mesh(mesh.vertices + rng.normal(0, 0.004, mesh.vertices.shape), mesh.faces, labels=mesh.labels)
    assert share(labelled(noisy), noisy, "wall") > 0.97


def test_each_storey_has_its_floor_and_ceiling():
    low, high = Apartment([(0, 0, 4, 3)]), Apartment([(0, 0, 4, 3)], z=2.8)
    mesh = concatenate([low.mesh(), high.mesh()])
    found = labelled(mesh, ((0.0, 2.5), (2.8, 5.3)))
    for name in ("floor", "wall", "ceiling"):
        assert share(found, mesh, name) > 0.97


def test_a_label_space_without_walls_is_rejected():
    space = LabelSpace(
        "tiny", (LabelClass(0, "unknown", (0, 0, 0), "unknown"), LabelClass(1, "floor", (1, 1, 1), "structure"))
    )
    with pytest.raises(LabelSpaceError, match="has no class"):
        label_structure(Faces.of(bare(two_rooms().mesh())), space, [(0.0, 2.5)], CONFIG)


def test_an_empty_mesh_has_no_structure():
    found = label_structure(Faces.of(Mesh.empty()), LABELS, [(0.0, 2.4)], CONFIG)
    assert len(found.labels) == 0


@pytest.mark.parametrize(
    ("labels", "expected"), [(None, False), (np.zeros(8), False), (np.array([0] * 6 + [5] * 2), True)]
)
def test_a_mesh_is_labelled_when_some_of_it_is(labels, expected):
    mesh = bare(box((0, 0, 0), (1, 1, 1), "chair", step=1.0))
    if labels is not None:
        mesh = Mesh(mesh.vertices, mesh.faces, labels=labels.astype(np.uint16))
    assert has_labels(mesh) is expected


def stacked():
    """A box on a slab, one connected surface: where the box stands the slab has no top."""
    slab = box((0, 0, -0.2), (1.2, 0.8, 0), "table", step=0.04)
    inner = np.abs(slab.vertices[slab.faces].mean(axis=1) - [0.6, 0.4, 0.0])
    under = (inner[:, 0] < 0.2) & (inner[:, 1] < 0.2) & (inner[:, 2] < 0.01)
    top = box((0.4, 0.2, 0), (0.8, 0.6, 0.36), "table", step=0.04, without="b")
    return welded(concatenate([slab.submesh(~under), top]))


def edges_of(mesh):
    return np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]).astype(np.int64)


def test_a_thing_on_a_surface_is_cut_off_where_they_meet():
    mesh = stacked()
    segment = concave_segments(mesh.vertices, mesh.vertex_normals(), edges_of(mesh), CONFIG)
    on_top = mesh.vertices[:, 2] > 0.1
    below = (np.abs(mesh.vertices[:, :2] - [0.6, 0.4]) > 0.3).any(axis=1)
    assert len(np.unique(segment[on_top])) == 1
    assert len(np.unique(segment[below])) == 1
    assert segment[on_top][0] != segment[below][0]


def test_the_sides_of_a_box_stay_together():
    mesh = box((0, 0, 0), (0.8, 0.5, 0.6), "box", step=0.03)
    segment = concave_segments(mesh.vertices, mesh.vertex_normals(), edges_of(mesh), CONFIG)
    assert len(np.unique(segment)) == 1


def test_surface_of_nothing_has_no_segments():
    assert concave_segments(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 2), np.int64), CONFIG).shape == (0,)


def test_what_is_no_structure_becomes_unknown_objects_with_boxes():
    flat = Apartment([(0, 0, 4, 3)])
    flat.furnish(box((1, 1, 0), (1.8, 1.6, 0.7), "box")).furnish(box((2.5, 1, 0), (3.0, 1.5, 1.1), "cabinet", yaw=0.4))
    objects, mesh = extract_unlabelled_objects(Faces.of(labelled(flat.mesh())), LABELS, CONFIG, ObjectConfig())
    assert [node.label for node in objects] == ["unknown", "unknown"]
    assert [node.label_id for node in objects] == [0, 0]
    assert objects[0].box.center == pytest.approx([1.4, 1.3, 0.35], abs=0.05)
    assert objects[1].box.center == pytest.approx([2.75, 1.25, 0.55], abs=0.05)
    assert sorted(objects[1].box.size) == pytest.approx([0.5, 0.5, 1.1], abs=0.06)
    assert set(np.unique(mesh.objects)) == {0, 1, 2}
