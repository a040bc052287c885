import numpy as np
import pytest
from apartments import LABELS, Apartment, box, chair, patch, table

from mapping import Intrinsics
from mapping.mesh.mesh import Mesh, concatenate
from mapping.se3 import look_at
from scenegraph.boxes import box_iou
from scenegraph.faces import Faces
from scenegraph.graph_config import ObjectConfig
from scenegraph.nodes import OrientedBox
from scenegraph.objects.accepted import accepted_objects
from scenegraph.objects.extract import extract_objects
from scenegraph.objects.pieces import prepare_surface
from scenegraph.objects.sizes import SIZES, excess, is_scrap, is_whole, plausible
from scenegraph.objects.split import best_cut
from scenegraph.objects.views import count_views

CONFIG = ObjectConfig()


def objects_of(mesh, config=CONFIG, floors=(0.0,)):
    return extract_objects(Faces.of(mesh), LABELS, config, floors=floors)


def room(*things):
    flat = Apartment([(0, 0, 5, 4)])
    for thing in things:
        flat.furnish(thing)
    return flat.mesh()


def true_box(low, high, yaw=0.0):
    low, high = np.asarray(low, float), np.asarray(high, float)
    c, s = np.cos(yaw), np.sin(yaw)
    return OrientedBox((low + high) / 2, high - low, np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]))


def only(objects, label):
    found = [node for node in objects if node.label == label]
    assert len(found) == 1, [(n.label, n.box.center, n.box.size) for n in objects]
    return found[0]


@pytest.mark.parametrize("yaw", [0.0, 0.3, 0.7, 1.2])
def test_a_box_is_boxed(yaw):
    mesh = room(box((2, 1, 0), (2.8, 1.5, 0.9), "dresser", yaw=yaw))
    objects, numbered = objects_of(mesh)
    node = only(objects, "dresser")
    assert box_iou(node.box, true_box((2, 1, 0), (2.8, 1.5, 0.9), yaw)) > 0.93
    assert node.number == 1
    assert (numbered.objects[mesh.labels == LABELS.id_of("dresser")] == 1).all()
    assert (numbered.objects[mesh.labels != LABELS.id_of("dresser")] == 0).all()
    assert node.label_scores == {"dresser": 1.0}


def test_chairs_at_a_table_are_apart_and_whole():
    objects, _ = objects_of(
        room(table((2.5, 2, 0)), chair(2.2, 1.5), chair(2.8, 1.5), chair(2.2, 2.5), chair(2.8, 2.5))
    )
    assert [node.label for node in objects] == ["chair"] * 4 + ["table"]
    for node in objects[:4]:
        assert node.box.size == pytest.approx([0.45, 0.45, 0.9], abs=0.04)


def height_field(surface, label, low, high, step=0.02):
    """A connected surface z = surface(x, y) over a rectangle."""
    x, y = np.meshgrid(np.arange(low[0], high[0], step), np.arange(low[1], high[1], step), indexing="ij")
    flat = patch(np.zeros(3), np.array([x.shape[0] - 1.0, 0, 0]), np.array([0, x.shape[1] - 1.0, 0]), label, 1.0)
    points = np.stack([x.ravel(), y.ravel(), surface(x, y).ravel()], axis=1)
    return Mesh(points, flat.faces, labels=flat.labels)


def pillows(x, y):
    """Two humps side by side, each 0.55 m wide, that meet in a crease."""
    across = np.minimum(np.abs(x - 0.275), np.abs(x - 0.825)) / 0.275
    return 0.5 + 0.16 * np.sqrt(np.clip(1 - across**2, 0, 1)) * np.clip(1 - (np.abs(y - 0.2) / 0.2) ** 4, 0, 1) ** 0.25


def test_two_pillows_that_touch_are_cut_at_the_crease():
    mesh = height_field(pillows, "pillow", (0.0, 0.0), (1.1, 0.4))
    objects, numbered = objects_of(mesh)
    assert [node.label for node in objects] == ["pillow", "pillow"]
    assert sorted(node.box.center[0] for node in objects) == pytest.approx([0.27, 0.81], abs=0.05)
    left = mesh.vertices[:, 0] < 0.5
    assert len(np.unique(numbered.objects[left & (mesh.vertices[:, 0] > 0.05)])) == 1


def test_the_cheapest_cut_runs_through_the_narrowest_place():
    bar = concatenate([box((0, 0, 0), (0.6, 0.5, 0.5), "box", step=0.04)])
    mesh = height_field(lambda x, y: np.zeros_like(x), "box", (0, 0), (1.2, 0.5), 0.03)
    inside = (np.abs(mesh.vertices[:, 0] - 0.6) > 0.1) | (np.abs(mesh.vertices[:, 1] - 0.25) < 0.06)
    dumbbell = mesh.submesh(inside[mesh.faces].all(axis=1))
    for surface, value in ((dumbbell, 0.2), (bar, 2.0)):
        edges = prepare_surface(Faces.of(surface), 0).edges
        cut = best_cut(surface.vertices, surface.vertex_normals(), edges)
        assert cut is not None
        assert cut[1] < value
    side, _ = best_cut(dumbbell.vertices, dumbbell.vertex_normals(), prepare_surface(Faces.of(dumbbell), 0).edges)
    assert (side == side[0])[dumbbell.vertices[:, 0] < 0.45].all()
    assert (side != side[0])[dumbbell.vertices[:, 0] > 0.75].all()


def test_what_is_too_small_to_cut_is_not_cut():
    tiny = box((0, 0, 0), (0.05, 0.05, 0.05), "box")
    assert best_cut(tiny.vertices, tiny.vertex_normals(), prepare_surface(Faces.of(tiny), 0).edges) is None


def test_a_sofa_with_a_strip_of_missing_depth_is_one():
    whole = box((1, 1, 0), (3.0, 1.9, 0.8), "sofa", step=0.04)
    middle = np.abs(whole.vertices[:, 0] - 2.0) < 0.09
    torn = whole.submesh(~middle[whole.faces].any(axis=1))
    node = only(objects_of(room(torn))[0], "sofa")
    assert node.box.size == pytest.approx([2.0, 0.9, 0.8], abs=0.04)


def test_two_whole_night_stands_with_a_gap_are_two():
    objects, _ = objects_of(
        room(box((1, 1, 0), (1.45, 1.4, 0.5), "night_stand"), box((1.5, 1, 0), (1.95, 1.4, 0.5), "night_stand"))
    )
    assert [node.label for node in objects] == ["night_stand", "night_stand"]


def test_seat_and_back_without_surface_between_are_one_chair():
    seat = box((1, 1, 0.4), (1.45, 1.45, 0.46), "chair")
    back = box((1, 1.4, 0.6), (1.45, 1.45, 0.95), "chair")
    node = only(objects_of(room(seat, back))[0], "chair")
    assert node.box.center[2] + node.box.size[2] / 2 == pytest.approx(0.95, abs=0.02)


def test_label_noise_makes_no_objects():
    mesh = room(box((2, 1, 0), (2.8, 1.5, 0.9), "dresser", step=0.03))
    rng = np.random.default_rng(0)
    labels = mesh.labels.copy()
    wrong = rng.random(len(labels)) < 0.08
    labels[wrong] = rng.integers(1, 41, wrong.sum())
    objects, _ = objects_of(Mesh(mesh.vertices, mesh.faces, labels=labels))
    node = only(objects, "dresser")
    assert len(objects) == 1
    assert box_iou(node.box, true_box((2, 1, 0), (2.8, 1.5, 0.9))) > 0.85
    assert 0.85 < node.label_scores["dresser"] < 0.97


def test_stray_vertices_do_not_stretch_a_box():
    body = box((2, 1, 0), (2.8, 1.5, 0.9), "dresser", step=0.02)
    moved = body.vertices.copy()
    moved[5] += [0.9, 0.0, 0.4]
    node = only(objects_of(room(Mesh(moved, body.faces, labels=body.labels)))[0], "dresser")
    assert box_iou(node.box, true_box((2, 1, 0), (2.8, 1.5, 0.9))) > 0.9


def test_scraps_are_no_objects():
    scrap = box((2, 1, 0.5), (2.1, 1.1, 0.6), "refrigerator", step=0.02)
    speck = box((3, 1, 0.5), (3.02, 1.02, 0.52), "box", step=0.01)
    assert objects_of(room(scrap, speck))[0] == []


def test_a_picture_ends_at_its_wall():
    front = patch(np.array([1.0, 0.03, 1.2]), np.array([0, 0, 0.6]), np.array([0.8, 0, 0]), "picture", 0.03)
    node = only(objects_of(room(front))[0], "picture")
    assert box_iou(node.box, true_box((1, 0, 1.2), (1.8, 0.03, 1.8))) > 0.75


def test_a_picture_away_from_walls_has_a_thickness():
    front = patch(np.array([2.0, 2.0, 1.2]), np.array([0, 0, 0.6]), np.array([0.8, 0, 0]), "picture", 0.03)
    node = only(objects_of(room(front))[0], "picture")
    assert node.box.size.min() == pytest.approx(CONFIG.flat_depth)
    facing = front.face_normals()[0]
    assert (node.box.center - [2.4, 2.0, 1.5]) @ facing == pytest.approx(-CONFIG.flat_depth / 2, abs=1e-6)


def test_a_cupboard_of_which_only_the_front_is_seen_goes_back_to_the_wall():
    front = patch(np.array([1.0, 0.6, 0.0]), np.array([0, 0, 2.0]), np.array([1.2, 0, 0]), "cabinet", 0.05)
    node = only(objects_of(room(front))[0], "cabinet")
    assert box_iou(node.box, true_box((1, 0, 0), (2.2, 0.6, 2.0))) > 0.95
    lamp = patch(np.array([1.0, 0.6, 1.0]), np.array([0, 0, 0.6]), np.array([0.3, 0, 0]), "lamp", 0.03)
    assert only(objects_of(room(lamp))[0], "lamp").box.size.min() < 0.05  # nothing determines how deep a lamp is


def test_furniture_whose_legs_were_not_seen_stands_on_the_floor():
    top = box((1, 1, 0.7), (2.2, 1.8, 0.75), "table")
    node = only(objects_of(room(top))[0], "table")
    assert box_iou(node.box, true_box((1, 1, 0), (2.2, 1.8, 0.75))) > 0.95
    floating = only(objects_of(top)[0], "table")  # the floor below it was not seen either, but is known
    assert floating.box.center[2] - floating.box.size[2] / 2 == pytest.approx(0.0, abs=0.01)


def test_things_on_a_table_do_not_reach_its_floor():
    objects, _ = objects_of(room(table((2, 2, 0)), box((1.9, 1.9, 0.76), (2.1, 2.1, 1.0), "box", without="b")))
    node = only(objects, "box")
    assert node.box.center[2] - node.box.size[2] / 2 == pytest.approx(0.74, abs=0.01)


def test_what_hangs_stays_up():
    node = only(objects_of(room(box((1, 0.01, 1.0), (1.5, 0.08, 1.6), "towel")))[0], "towel")
    assert node.box.center[2] - node.box.size[2] / 2 == pytest.approx(1.0, abs=0.02)


def test_order_is_by_label_and_place_and_the_same_in_every_run():
    things = [chair(3, 1), chair(1, 1), box((1, 3, 0), (2, 3.5, 0.5), "bed"), chair(1, 2.2)]
    first, mesh_a = objects_of(room(*things))
    second, mesh_b = objects_of(room(*things[::-1]))
    for objects in (first, second):
        assert [node.number for node in objects] == [1, 2, 3, 4]
        assert [node.label for node in objects] == sorted((n.label for n in objects), key=LABELS.id_of)
    assert [node.box.center.round(6).tolist() for node in first] == [
        node.box.center.round(6).tolist() for node in second
    ]
    again, mesh_c = objects_of(room(*things))
    assert mesh_a.objects.tobytes() == mesh_c.objects.tobytes()
    assert [node.box.rotation.tobytes() for node in first] == [node.box.rotation.tobytes() for node in again]
    assert mesh_b.objects.max() == mesh_a.objects.max()


def test_structure_people_and_the_unknown_are_no_objects():
    mesh = concatenate([box((0, 0, 0), (1, 1, 1), name) for name in ("wall", "curtain", "person", "unknown")])
    objects, numbered = objects_of(mesh)
    assert objects == []
    assert not numbered.objects.any()


def test_without_labels_or_surface_there_are_no_objects():
    bare = box((0, 0, 0), (1, 1, 1), "chair")
    for mesh in (Mesh(bare.vertices, bare.faces), Mesh.empty()):
        objects, numbered = objects_of(mesh)
        assert objects == []
        assert (numbered.objects == 0).all()


def test_confidence_is_the_share_of_the_surface_that_bore_the_label():
    body = box((0, 0, 0), (0.6, 0.6, 0.6), "box", step=0.05)
    labels = body.labels.copy()
    stray = (np.abs(body.vertices - (0.3, 0.3, 0.6)) < 0.02).all(axis=1)
    labels[stray] = LABELS.id_of("books")
    node = only(objects_of(Mesh(body.vertices, body.faces, labels=labels))[0], "box")
    assert node.confidence == node.label_scores["box"]
    assert 0.99 < node.confidence < 1.0


@pytest.mark.parametrize("name", sorted(SIZES))
def test_size_limits_agree_with_each_other(name):
    size = SIZES[name]
    assert name in LABELS.names
    assert all(small <= large for small, large in zip(size.small, size.large, strict=True))
    assert size.scrap <= max(size.small) or not any(size.small)
    assert plausible(name, np.array(size.large))
    assert not plausible(name, 1.2 * np.array(size.large))
    assert is_whole(name, np.array(size.large))
    assert not is_scrap(name, np.array(size.large))


def test_sizes_do_not_care_which_side_is_x():
    assert excess("bed", np.array([2.2, 2.5, 0.5])) == excess("bed", np.array([2.5, 2.2, 0.5])) == 1.0
    assert is_whole("chair", np.array([0.45, 0.5, 0.9]))
    assert not is_whole("chair", np.array([0.45, 0.5, 0.3]))
    assert excess("submarine", np.array([99, 9, 9])) == 0
    assert plausible("submarine", np.array([99, 9, 9]))


# --- views ---


def view_scene():
    flat = Apartment([(0, 0, 6, 4)]).furnish(box((4.5, 1.8, 0), (4.9, 2.2, 0.6), "box"))
    _, mesh = objects_of(flat.mesh())
    return flat, mesh


CAMERA = Intrinsics(80, 80, 79.5, 59.5, 160, 120)


def test_frames_that_see_an_object_are_counted():
    flat, mesh = view_scene()
    towards = look_at([2.0, 2, 1.4], [4.7, 2, 0.3])
    away = look_at([2.0, 2, 1.4], [0.0, 2, 1.0])
    too_far = look_at([0.2, 0.2, 1.4], [4.7, 2, 0.3])
    free = flat.free_space()
    assert count_views(mesh, 1, np.array([towards, away, towards]), CAMERA, free).tolist() == [2]
    assert count_views(mesh, 1, np.array([too_far]), CAMERA, free, max_depth=4.0).tolist() == [0]


def test_what_stands_in_between_hides_an_object():
    flat, mesh = view_scene()
    flat.furnish(box((3.4, 1.0, 0), (3.7, 3.0, 2.0), "cabinet"))
    poses = np.array([look_at([2.0, 2, 1.4], [4.7, 2, 0.3])])
    assert count_views(mesh, 1, poses, CAMERA, flat.free_space()).tolist() == [0]


def test_views_of_nothing():
    flat, mesh = view_scene()
    poses = flat.cameras()
    assert count_views(Mesh(mesh.vertices, mesh.faces), 0, poses, CAMERA, flat.free_space()).shape == (0,)
    assert count_views(mesh, 1, poses[:0], CAMERA, flat.free_space()).tolist() == [0]


def test_names_that_no_box_of_their_class_bears_out_are_withheld():
    sliver = box((1.0, 1.0, 0.5), (1.9, 1.08, 0.95), "bed")
    mesh = room(sliver, box((2, 2.5, 0), (4, 4, 0.5), "bed"), box((3.5, 1, 0), (4.3, 1.5, 0.9), "dresser"))
    objects, numbered = objects_of(mesh)
    assert sorted(node.label for node in objects) == ["bed", "bed", "dresser"]
    kept, relabelled = accepted_objects(objects, numbered, ObjectConfig(unnamed_extent=0.0))
    assert sorted(node.label for node in kept) == ["bed", "dresser", "unknown"]
    (doubtful,) = (node for node in kept if node.label == "unknown")
    assert doubtful.label_id == 0
    assert np.allclose(doubtful.box.size[:2].max(), 0.9, atol=0.1)
    mine = relabelled.objects == doubtful.number
    assert mine.any()
    assert (relabelled.labels[mine] == 0).all()
    assert (relabelled.labels[~mine] == numbered.labels[~mine]).all()
    assert [node.number for node in kept] == [node.number for node in objects]
