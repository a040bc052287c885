"""Ray casting against shapes whose answers are known, and pictures of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import box_mesh, random_se3, sphere_mesh

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh, concatenate, sample_surface
from mapping.mesh.pictures import BACK_FACE, shaded_picture, top_views
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import look_at, transform_points

CAMERA = Intrinsics(40.0, 42.0, 31.5, 23.5, 64, 48)
FAR_AWAY = np.array([5e5, 4e6, 300.0])  # a map in a national grid: float32 alone would be off by decimetres


def plane(z: float = 0.0, half: float = 50.0, *, up: bool = True) -> Mesh:
    corners = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Mesh(corners, faces if up else np.ascontiguousarray(faces[:, ::-1]))


@pytest.mark.parametrize("seed", range(3))
def test_depth_of_a_wall_is_planar_and_not_along_the_ray(seed):
    T_world_camera = random_se3(np.random.default_rng(seed))
    wall = Mesh(transform_points(T_world_camera, plane(2.5).vertices), plane().faces)
    depth, faces = MeshCaster(wall).cast(CAMERA, T_world_camera)
    assert (depth.dtype, faces.dtype) == (np.float32, np.int32)
    np.testing.assert_allclose(depth, 2.5, atol=1e-4)
    assert set(np.unique(faces)) == {0, 1}


def test_depth_of_a_sphere_against_the_formula():
    centre, radius = np.array([0.3, -0.2, 4.0]), 1.0
    depth, faces = MeshCaster(sphere_mesh(radius, centre, subdivisions=5)).cast(CAMERA, np.eye(4))
    rays = CAMERA.rays()
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
    root = b**2 - a * c
    truth = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 0)
    clear = np.abs(root) > 0.02  # away from the rim, where the facets count
    np.testing.assert_allclose(depth[clear], truth[clear], atol=3e-3)
    np.testing.assert_array_equal(faces[clear] >= 0, truth[clear] > 0)
    np.testing.assert_array_equal(depth == 0, faces == -1)


def test_far_from_the_origin_nothing_is_lost():
    T = look_at(FAR_AWAY + np.array([0, 0, 2]), FAR_AWAY)
    depth, _ = MeshCaster(Mesh(plane(half=5).vertices + FAR_AWAY, plane().faces)).cast(CAMERA, T)
    np.testing.assert_allclose(depth, 2.0, atol=1e-5)


def test_rays_by_hand():
    caster = MeshCaster(box_mesh((2, 2, 2)))
    distance, faces, weights = caster.cast_rays(
        [[5, 0.1, 0.2], [5, 0, 0], [5, 5, 0]], [[-2, 0, 0], [1, 0, 0], [-1, 0, 0]]
    )
    np.testing.assert_allclose(distance, [2.0, np.inf, np.inf])
    assert faces[1:].tolist() == [-1, -1]
    corners = caster.mesh.vertices[caster.mesh.faces[faces[0]]]
    np.testing.assert_allclose(weights[0] @ corners, [1, 0.1, 0.2], atol=1e-6)


def test_all_hits_of_a_line_through_two_boxes():
    caster = MeshCaster(concatenate([box_mesh(), box_mesh(center=(3, 0, 0))]))
    rays, t, faces = caster.all_hits([[-2, 0.1, 0.2], [-2, 9, 9], [-2, 0.2, 0.1]], [[1, 0, 0]] * 3)
    order = np.lexsort((t, rays))
    assert rays[order].tolist() == [0] * 4 + [2] * 4
    np.testing.assert_allclose(t[order], [1.5, 2.5, 4.5, 5.5] * 2, atol=1e-6)
    normals = caster.mesh.face_normals()[faces[order], 0]
    np.testing.assert_allclose(normals, [-1, 1, -1, 1] * 2)


def test_closest_point_by_hand():
    distance, faces, weights = MeshCaster(box_mesh((2, 2, 2))).closest([[0, 0, 3], [0.5, 0.2, 0], [2, 2, 0], [1, 1, 1]])
    np.testing.assert_allclose(distance, [2, 0.5, 2**0.5, 0], atol=1e-6)
    box = box_mesh((2, 2, 2))
    nearest = np.einsum("ij,ijk->ik", weights, box.vertices[box.faces[faces]])
    np.testing.assert_allclose(nearest, [[0, 0, 1], [1, 0.2, 0], [1, 1, 0], [1, 1, 1]], atol=1e-6)


def soup(count: int, seed: int) -> Mesh:
    """Random triangles, some of them without area, in a box of 4 m."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-2, 2, (count, 1, 3)) + rng.normal(0, 0.3, (count, 3, 3))
    corners[::17, 2] = corners[::17, 1]
    return Mesh(corners.reshape(-1, 3), np.arange(3 * count, dtype=np.int32).reshape(-1, 3))


def crossings_by_hand(mesh: Mesh, origin: np.ndarray, direction: np.ndarray) -> dict[int, float]:
    """By face: where the ray crosses it, by linear equations."""
    found = {}
    for face, (a, b, c) in enumerate(mesh.vertices[mesh.faces]):
        matrix = np.stack([b - a, c - a, -direction], axis=1)
        if abs(np.linalg.det(matrix)) > 1e-12:
            u, v, t = np.linalg.solve(matrix, origin - a)
            if u >= 0 and v >= 0 and u + v <= 1 and t >= 0:
                found[face] = float(t)
    return found


def test_hits_are_those_of_every_triangle_by_itself():
    mesh, rng = soup(200, 3), np.random.default_rng(4)
    origins = rng.uniform(-3, 3, (60, 3))
    directions = mesh.vertices[mesh.faces[rng.integers(200, size=60)]].mean(axis=1) - origins
    directions[:9, rng.integers(3)] = 0  # along a plane of the axes
    caster = MeshCaster(mesh)
    distance, faces, weights = caster.cast_rays(origins, directions)
    rays, t, crossed = caster.all_hits(origins, directions)
    for i in range(60):
        expected = crossings_by_hand(mesh, origins[i], directions[i])
        assert dict(zip(crossed[rays == i].tolist(), t[rays == i], strict=True)) == pytest.approx(expected, rel=1e-5)
        first = min(expected, key=expected.__getitem__, default=-1)
        assert faces[i] == first
        if first >= 0:
            point = weights[i] @ mesh.vertices[mesh.faces[first]]
            np.testing.assert_allclose(point, origins[i] + distance[i] * directions[i], atol=1e-5)
        else:
            assert np.isinf(distance[i])
    assert (faces >= 0).sum() > 20


def test_nearest_points_are_the_nearest_of_many_samples():
    mesh, rng = soup(80, 5), np.random.default_rng(6)
    points = rng.uniform(-3, 3, (200, 3))
    distance, faces, weights = MeshCaster(mesh).closest(points)
    corners = mesh.vertices[mesh.faces]
    nearest = np.einsum("ij,ijk->ik", weights, corners[faces])
    np.testing.assert_allclose(np.linalg.norm(nearest - points, axis=1), distance, atol=1e-6)
    steps = np.linspace(0, 1, 41)
    uv = np.array([(u, v) for u in steps for v in steps if u + v <= 1 + 1e-9])
    samples = np.einsum("ij,fjk->fik", np.column_stack([1 - uv.sum(axis=1), uv]), corners).reshape(-1, 3)
    apart = np.linalg.norm(points[:, None] - samples, axis=2).min(axis=1)
    assert (distance <= apart + 1e-9).all()
    np.testing.assert_allclose(distance, apart, atol=0.04)  # samples are that far from each other


def test_no_ray_passes_between_triangles_that_share_an_edge():
    caster = MeshCaster(box_mesh((2, 2, 2)))
    corners, faces = caster.mesh.vertices, caster.mesh.faces
    edges = np.concatenate([corners[faces[:, [k, (k + 1) % 3]]] for k in range(3)])
    shares = np.linspace(0, 1, 101)[:, None, None]
    targets = (edges[:, 0] + shares * (edges[:, 1] - edges[:, 0])).reshape(-1, 3)
    for eye in ([0.0, 0.0, 0.0], [0.1, -0.3, 0.2]):
        distance, _, _ = caster.cast_rays(np.broadcast_to(eye, targets.shape), targets - eye)
        np.testing.assert_allclose(distance, 1, atol=1e-6)


def test_many_rays_are_the_same_in_threads_as_one_by_one():
    caster, rng = MeshCaster(soup(300, 7)), np.random.default_rng(8)
    origins, directions = rng.uniform(-3, 3, (5000, 3)), rng.normal(size=(5000, 3))
    together = caster.cast_rays(origins, directions)
    for start in range(0, 5000, 500):
        alone = caster.cast_rays(origins[start : start + 500], directions[start : start + 500])
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a, b[start : start + 500])


def test_an_empty_mesh_is_nowhere():
    caster = MeshCaster(Mesh.empty())
    depth, faces = caster.cast(CAMERA, np.eye(4))
    assert not depth.any()
    assert (faces == -1).all()
    assert np.isinf(caster.distance([[0, 0, 0]])).all()
    assert len(caster.all_hits([[0, 0, 0]], [[1, 0, 0]])[0]) == 0
    assert MeshCaster(box_mesh()).distance(np.zeros((0, 3))).shape == (0,)


def test_visible_points_agree_with_the_depth_image():
    scene = concatenate([box_mesh((4, 4, 4), inward=True), sphere_mesh(0.5, (1, 0, 0), subdivisions=3)])
    caster = MeshCaster(scene)
    T = look_at([-1.5, 0.2, 0.1], [1, 0, 0])
    points, faces = sample_surface(scene, 4000, np.random.default_rng(0))
    seen = caster.visible_points(points, scene.face_normals()[faces], [T], CAMERA)
    depth, _ = caster.cast(CAMERA, T)
    in_camera = (points - T[:3, 3]) @ T[:3, :3]
    uv = np.rint(CAMERA.project(in_camera))
    inside = np.isfinite(uv).all(axis=1) & (uv >= 0).all(axis=1) & (uv <= [63, 47]).all(axis=1)
    assert not seen[~inside].any()
    u, v = uv[inside].astype(int).T
    hidden = in_camera[inside, 2] > depth[v, u] + 0.5
    shown = np.abs(in_camera[inside, 2] - depth[v, u]) < 0.01
    assert hidden.sum() > 50
    assert shown.sum() > 500
    assert not seen[inside][hidden].any()
    assert seen[inside][shown].mean() > 0.99


def test_visible_points_need_range_front_and_a_pose():
    wall = plane(3.0, up=False)  # looks down the z axis, towards the camera
    points, normals = np.array([[0, 0, 3.0], [0.5, 0, 3.0], [30, 0, 3.0]]), np.array([[0, 0, -1.0]] * 3)
    caster = MeshCaster(wall)
    assert caster.visible_points(points, normals, [np.eye(4)], CAMERA).tolist() == [True, True, False]
    assert not caster.visible_points(points, -normals, [np.eye(4)], CAMERA).any()
    assert not caster.visible_points(points, normals, [np.eye(4)], CAMERA, max_depth=2.9).any()
    assert not caster.visible_points(points, normals, [], CAMERA).any()


def test_picture_shows_colour_shade_background_and_inside():
    box = replace(box_mesh((1, 1, 1)), colors=np.full((8, 3), (200, 100, 50), np.uint8))
    T = look_at([0, -3, 0], [0, 0, 0])
    picture = shaded_picture(box, CAMERA, T)
    assert (picture.shape, picture.dtype) == ((48, 64, 3), np.uint8)
    assert picture[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_allclose(picture[23, 31], (200, 100, 50), atol=2)  # head-on: the full colour
    grazing = shaded_picture(box, CAMERA, look_at([-3, -0.9, 0], [0, -0.5, 0]))[23, 31]
    assert grazing[0] < 160
    inside = shaded_picture(box, CAMERA, look_at([0, 0, 0], [1, 0, 0]))
    np.testing.assert_array_equal(inside, BACK_FACE)


def test_picture_takes_other_colours_and_a_ready_caster():
    caster = MeshCaster(box_mesh())
    T = look_at([0, -3, 0], [0, 0, 0])
    grey = shaded_picture(caster, CAMERA, T, supersample=1)[23, 31]
    assert np.ptp(grey) == 0
    green = shaded_picture(caster, CAMERA, T, colors=np.full((8, 3), (0, 255, 0), np.uint8))[23, 31]
    np.testing.assert_allclose(green, (0, 255, 0), atol=2)


def test_colours_are_mixed_between_the_corners():
    floor = plane(0.0, half=1.0)
    colors = np.array([[0, 0, 0], [200, 0, 0], [200, 0, 0], [0, 0, 0]], np.uint8)  # red grows with x
    (picture,) = top_views(replace(floor, colors=colors), [None], pixel_size=0.1, cut_height=1.0, margin=0.0)
    np.testing.assert_allclose(picture[10, :, 0], np.arange(5, 200, 10), atol=1)


def test_top_view_is_cut_below_the_ceiling():
    floor = replace(plane(0.0, half=2.0), colors=np.full((4, 3), 100, np.uint8))
    ceiling = replace(plane(2.5, half=2.0, up=False), colors=np.full((4, 3), 250, np.uint8))
    cube = replace(box_mesh((1, 0.5, 0.5), (1.0, 0.5, 0.25)), colors=np.full((8, 3), (0, 200, 0), np.uint8))
    (picture,) = top_views(concatenate([floor, ceiling, cube]), [None], pixel_size=0.05, cut_height=2.0, margin=0.5)
    assert picture.shape == (100, 100, 3)
    assert picture[0, 0].tolist() == [255] * 3
    np.testing.assert_allclose(picture[40, 70], (0, 200, 0), atol=2)  # x = 1, y = 0.5: x to the right, y up
    np.testing.assert_allclose(picture[[40, 60], [30, 70]], 100, atol=2)
    with pytest.raises(ValueError, match="mesh with faces"):
        top_views(Mesh.empty(), [None], pixel_size=0.1, cut_height=1.0)
