"""Rendered truth against rays computed by hand."""

import numpy as np
import pytest
from synth_worlds import BOX, CEILING, FLOOR, GREY, WALL, at, body, box_world, cube

from mapping.camera import Intrinsics
from mapping.se3 import inverse, look_at, transform_points
from pipelines.synth.base.shapes import block, sphere
from pipelines.synth.rendering.edges import CONTACT, CREASE, NONE, OCCLUSION, true_edges
from pipelines.synth.rendering.people_light import Moving
from pipelines.synth.rendering.render import Renderer
from pipelines.synth.rendering.surfaces import local_surfaces, world_surfaces

SIZE = (5.0, 4.0, 2.5)
CAMERA = Intrinsics(130.0, 128.0, 79.5, 59.5, 160, 120)
EYES = [((0.6, 0.5, 1.5), (4.0, 3.0, 0.9)), ((4.5, 3.6, 1.4), (1.0, 0.8, 1.6)), ((2.5, 0.3, 1.6), (2.5, 3.9, 0.2))]


def rays_in_world(pose):
    return CAMERA.rays() @ pose[:3, :3].T


def room_depth(pose):
    """Depth of the walls seen from inside, and the number of the body (1 floor, 2 ceiling, walls at x = 0, X, y = 0, Y)."""
    directions, eye = rays_in_world(pose), pose[:3, 3]
    with np.errstate(divide="ignore"):
        planes = [((0 if k % 2 == 0 else SIZE[k // 2]) - eye[k // 2]) / directions[..., k // 2] for k in range(6)]
    t = np.where(np.array(planes) > 1e-9, planes, np.inf)
    return t.min(axis=0), np.array([3, 4, 5, 6, 1, 2])[np.argmin(t, axis=0)]


def box_depth(pose, low, high):
    """Depth at which rays enter a box in world axes, infinite where they miss."""
    directions, eye = rays_in_world(pose), pose[:3, 3]
    with np.errstate(divide="ignore"):
        a, b = (low - eye) / directions, (high - eye) / directions
    enter, leave = np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)
    return np.where((enter <= leave) & (enter > 0), enter, np.inf)


@pytest.mark.parametrize(("eye", "target"), EYES)
def test_an_empty_room_is_exact(eye, target):
    pose = look_at(eye, target)
    view = Renderer(box_world(SIZE), 0).view(CAMERA, pose)
    depth, number = room_depth(pose)
    np.testing.assert_allclose(view.depth, depth, rtol=2e-6)
    np.testing.assert_array_equal(view.instances, number)
    np.testing.assert_array_equal(view.labels, np.array([0, FLOOR, CEILING, WALL, WALL, WALL, WALL])[number])
    inward = np.array([[0, 0, 0], [0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=float)
    np.testing.assert_allclose(view.normals, inward[number] @ pose[:3, :3], atol=1e-6)
    assert (np.einsum("ijk,ijk->ij", view.normals, CAMERA.rays()) < 0).all()


def test_furniture_hides_the_room_behind_it():
    pose = look_at(*EYES[0])
    world = box_world(SIZE, [cube(7, 0.8, at(3.0, 2.2))])
    view = Renderer(world, 0).view(CAMERA, pose)
    front = box_depth(pose, np.array([2.6, 1.8, 0.0]), np.array([3.4, 2.6, 0.8]))
    room, number = room_depth(pose)
    np.testing.assert_allclose(view.depth, np.minimum(front, room), rtol=5e-6)
    np.testing.assert_array_equal(view.instances, np.where(front < room, 7, number))
    assert (view.labels[view.instances == 7] == BOX).all()
    assert (view.instances == 7).sum() > 500


def test_a_turned_body_has_its_own_depth():
    pose, T = look_at(*EYES[0]), at(3.0, 2.2, 0.4, 0.6)
    view = Renderer(box_world(SIZE, [body(7, BOX, [block((0.9, 0.5, 0.3))], T)]), 0).view(CAMERA, pose)
    in_body = inverse(T) @ pose
    front = box_depth(in_body, np.array([-0.45, -0.25, 0.0]), np.array([0.45, 0.25, 0.3]))
    mine = view.instances == 7
    np.testing.assert_array_equal(mine, np.isfinite(front))
    np.testing.assert_allclose(view.depth[mine], front[mine], rtol=5e-6)


def test_bodies_absent_at_a_visit_are_not_rendered():
    world = box_world(SIZE, [cube(7, 0.8, at(3.0, 2.2), None)], visits=2)
    pose = look_at(*EYES[0])
    assert 7 in Renderer(world, 0).view(CAMERA, pose).instances
    assert 7 not in Renderer(world, 1).view(CAMERA, pose).instances


def test_nothing_seen_is_zero():
    view = Renderer(box_world(SIZE), 0).view(CAMERA, look_at((2.0, 2.0, 5.0), (2.0, 2.0, 9.0)))
    for image in (view.depth, view.labels, view.instances, view.normals, view.edge_kinds):
        assert not image.any()


def test_depth_warps_from_one_frame_to_the_next():
    world = box_world(SIZE, [cube(7, 0.8, at(3.0, 2.2)), cube(8, 0.4, at(3.1, 2.2, 0.8, 0.4))])
    renderer = Renderer(world, 0)
    first, second = look_at((0.8, 0.6, 1.5), (3.0, 2.4, 0.8)), look_at((0.95, 0.55, 1.52), (3.1, 2.4, 0.75))
    a, b = renderer.view(CAMERA, first), renderer.view(CAMERA, second)
    points = transform_points(inverse(second) @ first, CAMERA.rays() * a.depth[..., None])
    uv = CAMERA.project(points)
    u, v = np.rint(uv[..., 0]).astype(int), np.rint(uv[..., 1]).astype(int)
    inside = (u >= 0) & (v >= 0) & (u < CAMERA.width) & (v < CAMERA.height)
    u, v, points = u[inside], v[inside], points[inside]
    # The plane seen at the nearest pixel, at the exact direction of the point: no resampling error is left.
    normal = b.normals[v, u].astype(float)
    plane = np.einsum("ij,ij->i", normal, CAMERA.rays()[v, u] * b.depth[v, u][:, None])
    depth = plane / np.einsum("ij,ij->i", normal, points / points[:, 2:])
    same = b.instances[v, u] == a.instances[inside]
    agree = np.abs(depth - points[:, 2]) < 1e-4
    assert same.mean() > 0.95
    assert agree[same].mean() > 0.99


def test_what_moves_is_nearer_or_hidden():
    renderer, pose = Renderer(box_world(SIZE, [cube(7, 0.8, at(3.0, 2.2))]), 0), look_at(*EYES[0])
    for x, y, seen in ((2.2, 2.4, True), (4.2, 3.1, False)):
        surfaces = local_surfaces([cube(50, 0.3, at(0, 0))]).posed(at(x, y)[None])
        moving = Moving(surfaces, np.zeros((1, 6, 3), np.float32), np.zeros((0, 4)), np.array([[x, y, 0.2]]))
        view = renderer.view(CAMERA, pose, moving)
        front = box_depth(pose, np.array([x - 0.15, y - 0.15, 0.0]), np.array([x + 0.15, y + 0.15, 0.3]))
        still = renderer.view(CAMERA, pose)
        expected = front < still.depth
        assert expected.any() == seen
        np.testing.assert_array_equal(view.instances == 50, expected)
        np.testing.assert_allclose(view.depth, np.minimum(front, still.depth), rtol=5e-6)


def test_the_corners_of_a_room_are_creases_and_nothing_else_is_an_edge():
    pose = look_at(*EYES[0])
    view = Renderer(box_world(SIZE), 0).view(CAMERA, pose)
    number = view.instances.astype(int)
    expected = np.zeros(number.shape, bool)
    expected[:, :-1] |= number[:, :-1] != number[:, 1:]
    expected[:-1] |= number[:-1] != number[1:]
    np.testing.assert_array_equal(view.edge_kinds == CREASE, expected)
    assert set(np.unique(view.edge_kinds)) == {NONE, CREASE}
    assert set(np.unique(view.edges)) == {0.0, 1.0}


def test_a_cube_has_its_outline_and_its_own_edges():
    """A cube on the floor: occlusion where the room shows behind it, contact or crease at its foot, creases between its faces."""
    pose = look_at(*EYES[0])
    view = Renderer(box_world(SIZE, [cube(7, 0.8, at(3.0, 2.2))]), 0).view(CAMERA, pose)
    mine = view.instances == 7
    right = mine[:, :-1] != mine[:, 1:]
    ends = np.zeros(mine.shape, bool)
    ends[:, :-1] |= right & mine[:, :-1]
    ends[:, 1:] |= right & mine[:, 1:]
    # All pixels at the left and right end of the cube in a row are edges; on the cube's side, not the room's.
    assert (view.edge_kinds[ends] != NONE).all()
    outline = view.edge_kinds == OCCLUSION
    assert outline.sum() > 50
    assert mine[outline].all()
    # Inside there are three faces with creases between them: their pixels have a neighbour of another normal.
    inner = mine & (view.edge_kinds == CREASE)
    changed = np.zeros(mine.shape, bool)
    changed[:, :-1] |= (np.abs(view.normals[:, :-1] - view.normals[:, 1:]).max(axis=-1) > 0.1) & mine[:, :-1]
    changed[:-1] |= (np.abs(view.normals[:-1] - view.normals[1:]).max(axis=-1) > 0.1) & mine[:-1]
    assert inner.sum() > 60
    assert changed[inner].all()


def test_flush_things_touch_and_smooth_things_have_no_edges():
    """A book a millimetre thick on a wall is a contact; the facets of a ball are no creases."""
    poster = body(7, BOX, [block((0.001, 0.6, 0.6))], at(4.9995, 2.0, 1.0))
    pose = look_at((2.0, 2.0, 1.3), (5.0, 2.0, 1.3))
    view = Renderer(box_world(SIZE, [poster]), 0).view(CAMERA, pose)
    assert (view.edge_kinds == CONTACT).sum() >= 4 * 20
    assert not (view.edge_kinds == OCCLUSION).any()
    ball = body(7, BOX, [sphere(0.5, segments=40)], at(4.0, 2.0, 1.3))
    view = Renderer(box_world(SIZE, [ball]), 0).view(CAMERA, pose)
    rows, columns = np.nonzero(view.instances == 7)
    middle = np.hypot(rows - rows.mean(), columns - columns.mean()) < 0.8 * (np.ptp(rows) / 2)
    assert not view.edge_kinds[rows[middle], columns[middle]].any()


def test_a_small_step_is_an_edge_and_a_slanted_floor_is_none():
    height, width = 24, 32
    camera = Intrinsics(30.0, 30.0, 15.5, 11.5, width, height)
    what = (np.ones((height, width), np.uint16), np.ones((height, width), np.uint8), np.zeros((height, width), bool))
    slanted = np.array([0.0, -0.2, -1.0]) / np.hypot(1.0, 0.2)
    offset = slanted @ [0.0, 0.0, 3.0]
    rays = camera.rays()
    seen = np.zeros((height, width, 5))
    seen[..., 0], seen[..., 1:4], seen[..., 4] = offset / (rays @ slanted), slanted, offset
    assert not true_edges(seen, rays, *what).any()
    for step, kind in ((0.01, NONE), (0.06, OCCLUSION)):
        stepped = seen.copy()
        stepped[:, 16:, 4] = slanted @ [0.0, 0.0, 3.0 + step]
        stepped[:, 16:, 0] = stepped[:, 16:, 4] / (rays @ slanted)[:, 16:]
        edges = true_edges(stepped, rays, *what)
        assert (edges[:, 15] == kind).all()  # on the nearer side
        assert not np.delete(edges, 15, axis=1).any()


def test_shading_normals_are_round_on_a_ball_and_flat_on_a_cube():
    ball = local_surfaces([body(7, BOX, [sphere(1.0, segments=32)], np.eye(4))])
    corners = ball.vertices[ball.faces]
    np.testing.assert_allclose(ball.corner_normals, corners / np.linalg.norm(corners, axis=2, keepdims=True), atol=0.03)
    flat = local_surfaces([cube(7, 1.0, np.eye(4))])
    np.testing.assert_allclose(flat.corner_normals, np.repeat(flat.planes[:, None, :3], 3, axis=1), atol=1e-6)


def test_planes_hold_their_vertices_at_any_pose():
    T = at(1.0, -2.0, 0.3, 0.7)
    surfaces = world_surfaces([cube(7, 0.5, T), body(8, BOX, [sphere(0.4)], T, material=GREY)], 0)
    corners = surfaces.vertices[surfaces.faces]
    np.testing.assert_allclose(
        np.einsum("fi,fki->fk", surfaces.planes[:, :3], corners), surfaces.planes[:, 3:] + np.zeros(3), atol=1e-9
    )
    back = np.einsum("vij,vj->vi", surfaces.T_body_world[surfaces.vertex_body, :, :3], surfaces.vertices)
    back += surfaces.T_body_world[surfaces.vertex_body, :, 3]
    local = local_surfaces([cube(7, 0.5, T), body(8, BOX, [sphere(0.4)], T, material=GREY)])
    np.testing.assert_allclose(back, local.vertices, atol=1e-9)


def test_faces_without_area_are_ignored():
    flat = block((1.0, 1.0, 0.0))
    surfaces = local_surfaces([body(7, BOX, [flat], np.eye(4))])
    assert len(surfaces.faces) == 4
    assert np.isfinite(surfaces.planes).all()


def test_color_needs_light():
    with pytest.raises(ValueError, match="has no lighting"):
        Renderer(box_world(SIZE), 0).color(CAMERA, look_at(*EYES[0]))
