"""A volume in another world, and without a part of space."""

import numpy as np
import pytest
from fusion_scenes import View, orbit, random_views, sphere_depth
from scipy.spatial import cKDTree

from mapping.se3 import from_rotation_translation, inverse, transform_points
from mapping.tsdf.tsdf_config import TSDFConfig
from mapping.tsdf.volume import TSDFVolume

QUARTER = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def sphere():
    """A sphere of 0.5 m, from all sides."""
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05, threads=1))
    for pose in orbit(12, 1.6):
        depth = sphere_depth(pose, 0.5)
        labels = np.full(depth.shape, 7, np.uint8)
        View(depth, pose, {"labels": labels, "rgb": np.full((*depth.shape, 3), 99, np.uint8)}).into(volume)
    return volume


def saved(volume, path):
    volume.save(path)
    return path.read_bytes()


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.1, -0.3, 0.8)])
def test_between_coinciding_lattices_it_is_exact(shift, tmp_path):
    """A quarter turn and whole cells there and back give the same bytes."""
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05, threads=1))
    for view in random_views(np.random.default_rng(3), 3):
        view.into(volume)
    T = from_rotation_translation(QUARTER, shift)
    there = volume.transformed(T)
    assert saved(there, tmp_path / "there") != saved(volume, tmp_path / "volume")
    assert saved(there.transformed(inverse(T)), tmp_path / "back") == saved(volume, tmp_path / "volume")


def test_anywhere_else_the_surface_moves_along(sphere):
    c, s = np.cos(0.3), np.sin(0.3)
    T = from_rotation_translation([[c, -s, 0], [s, c, 0], [0, 0, 1]], [0.513, -0.207, 1.011])
    moved = sphere.transformed(T).extract_mesh(min_weight=0.1)
    center = transform_points(T, np.zeros(3))
    expected = sphere.extract_mesh(min_weight=0.1).transformed(T)
    errors = [np.abs(np.linalg.norm(mesh.vertices - center, axis=1) - 0.5) for mesh in (expected, moved)]
    assert errors[1].mean() < errors[0].mean() + 0.002
    assert errors[1].max() < errors[0].max() + 0.015
    assert set(moved.labels.tolist()) == {7}
    assert set(moved.colors.ravel().tolist()) == {99}
    assert cKDTree(moved.vertices).query(expected.vertices)[0].max() < 0.05
    free = 0.55 * orbit(12, 1.6)[0][None, :3, 3]  # between a camera and the sphere
    assert sphere.sample(free)[1][0] > 0
    assert sphere.transformed(T).sample(transform_points(T, free))[1][0] > 0  # known as before


def test_a_moved_volume_can_be_merged(sphere):
    T = from_rotation_translation(np.eye(3), [0.02, 0.0, 0.0])
    both = sphere.transformed(np.eye(4))
    both.merge(sphere.transformed(T))
    mesh = both.extract_mesh(min_weight=0.1)
    assert np.abs(np.linalg.norm(mesh.vertices - [0.01, 0.0, 0.0], axis=1) - 0.5).max() < 0.03


def test_without_a_part_of_space_nothing_is_measured_there(sphere):
    top = np.array([[0.0, 0.0, 0.5]])
    left = sphere.without(top, 0.3)
    mesh = left.extract_mesh(min_weight=0.1)
    away = np.linalg.norm(mesh.vertices - top[0], axis=1)
    assert away.min() > 0.25
    kept = sphere.extract_mesh(min_weight=0.1).vertices
    kept = kept[np.linalg.norm(kept - top[0], axis=1) > 0.4]
    assert cKDTree(mesh.vertices).query(kept)[0].max() < 1e-9
    assert len(left.without(np.zeros((1, 3)), 5.0).extract_mesh(min_weight=0.1).faces) == 0
    assert saved_equal(sphere.without(np.zeros((0, 3)), 1.0), sphere)


def saved_equal(a, b):
    first, second = a.blocks(), b.blocks()
    return np.array_equal(first.coords, second.coords) and np.array_equal(first.distance, second.distance)


def test_an_empty_volume_stays_empty():
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05, threads=1))
    assert len(volume.transformed(np.eye(4)).blocks().coords) == 0
