"""Ray casting of volumes against shapes whose depth is known."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scenes import CAMERA, orbit, plane_depth, random_views, sphere_depth

from mapping import Intrinsics, TSDFConfig, TSDFVolume
from mapping.se3 import look_at


@pytest.fixture(scope="module")
def sphere():
    """A ball of radius 0.5 m in front of nothing, red above and blue below, labels 3 and 4."""
    volume = TSDFVolume(TSDFConfig(voxel_size=0.03))
    for T in orbit(40, 1.6):
        depth = sphere_depth(T, 0.5)
        world = (CAMERA.rays() * depth[..., None]) @ T[:3, :3].T + T[:3, 3]
        labels = np.where(depth > 0, np.where(world[..., 2] > 0, 3, 4), 0).astype(np.uint8)
        rgb = np.where(world[..., 2:] > 0, [250, 0, 0], [0, 0, 250]).astype(np.uint8)
        volume.integrate(depth, CAMERA, T, rgb=rgb, labels=labels)
    return volume


def test_a_sphere_is_seen_where_it_is(sphere):
    T = look_at((1.3, 0.7, 0.4), (0, 0, 0))
    true, seen = sphere_depth(T, 0.5), sphere.render(CAMERA, T)
    both = (true > 0) & (seen.depth > 0)
    assert both.sum() > 0.97 * (true > 0).sum()
    assert ((true == 0) & (seen.depth > 0)).sum() < 0.01 * both.sum()
    error = np.abs(seen.depth - true)[both]
    assert np.median(error) < 0.1 * 0.03
    assert np.quantile(error, 0.95) < 0.5 * 0.03


def test_normals_are_those_of_the_sphere(sphere):
    T = look_at((1.3, 0.7, 0.4), (0, 0, 0))
    seen = sphere.render(CAMERA, T)
    points = (CAMERA.rays() * seen.depth[..., None]) @ T[:3, :3].T + T[:3, 3]
    true = points / np.linalg.norm(points, axis=-1, keepdims=True) @ T[:3, :3]
    known = seen.normals.any(axis=-1) & (seen.depth > 0)
    assert known.sum() > 0.95 * (seen.depth > 0).sum()
    np.testing.assert_allclose(np.linalg.norm(seen.normals[known], axis=-1), 1, atol=1e-5)
    angle = np.rad2deg(np.arccos(np.clip((seen.normals * true).sum(-1)[known], -1, 1)))
    assert np.median(angle) < 5
    assert (seen.normals[..., 2][known] < 0.2).all()


def test_labels_colours_and_weight(sphere):
    T = look_at((1.5, 0, 0), (0, 0, 0))
    seen = sphere.render(CAMERA, T)
    hit = seen.depth > 0
    rows = np.arange(CAMERA.height)[:, None] * np.ones(CAMERA.width)
    upper, lower = hit & (rows < 52), hit & (rows > 67)
    assert (seen.labels[upper] == 3).mean() > 0.97
    assert (seen.labels[lower] == 4).mean() > 0.97
    assert np.median(seen.color[upper], axis=0).tolist() == [250, 0, 0]
    assert np.median(seen.color[lower], axis=0).tolist() == [0, 0, 250]
    assert (seen.weight[hit] > 0).mean() > 0.97
    for image in (seen.labels, seen.color, seen.normals, seen.weight):
        assert not image[~hit].any()
    dtypes = [image.dtype for image in (seen.depth, seen.labels, seen.color, seen.normals, seen.weight)]
    assert dtypes == [np.float32, np.uint16, np.uint8, np.float32, np.float32]


def test_other_cameras_see_the_same(sphere):
    small = Intrinsics(40.0, 41.0, 20.2, 11.9, 40, 24)
    T = look_at((0.2, -1.4, 0.5), (0, 0, 0))
    seen = sphere.render(small, T).depth
    points = ((small.rays() * seen[..., None]) @ T[:3, :3].T + T[:3, 3])[seen > 0]
    assert len(points) > 100
    assert np.abs(np.linalg.norm(points, axis=1) - 0.5).max() < 0.03


@pytest.mark.parametrize("carve", [False, True])
def test_a_plane_fused_from_one_frame_is_seen_again(carve):
    T = look_at((0.3, -0.2, 0.1), (2, 0.4, 0.3))
    depth = plane_depth(T, (1, 0.2, -0.1), 2.0)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.03, carve=carve))
    volume.integrate(depth, CAMERA, T)
    seen = volume.render(CAMERA, T)
    assert (seen.depth > 0).mean() > 0.97
    np.testing.assert_allclose(seen.depth[seen.depth > 0], depth[seen.depth > 0], atol=0.02)


def test_backs_of_surfaces_and_empty_volumes_are_not_seen():
    T = np.eye(4)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05))
    assert not volume.render(CAMERA, T).depth.any()
    volume.integrate(plane_depth(T, (0, 0, 1), 2.0), CAMERA, T)
    behind = look_at((0, 0, 4), (0, 0, 0), up=(0, -1, 0))
    assert not volume.render(CAMERA, behind).depth.any()


def test_depth_and_weight_limits():
    T = np.eye(4)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05))
    volume.integrate(plane_depth(T, (0, 0, 1), 2.0), CAMERA, T)
    assert not volume.render(CAMERA, T, max_depth=1.8).depth.any()
    assert not volume.render(CAMERA, T, min_weight=1.5).depth.any()
    with pytest.raises(ValueError, match="distortion"):
        volume.render(Intrinsics(150.0, 150.0, 79.5, 59.5, 160, 120, distortion=(0.1, 0, 0, 0)), T)


def test_threads_do_not_change_a_picture():
    views, pictures = random_views(np.random.default_rng(0), 3), []
    for threads in (1, 3):
        volume = TSDFVolume(TSDFConfig(voxel_size=0.06, threads=threads))
        for view in views:
            view.into(volume)
        pictures.append(volume.render(CAMERA, views[1].T_world_camera, min_weight=0.1))
    assert pictures[0].depth.any()
    for a, b in zip(vars(pictures[0]).values(), vars(pictures[1]).values(), strict=True):
        np.testing.assert_array_equal(a, b)
