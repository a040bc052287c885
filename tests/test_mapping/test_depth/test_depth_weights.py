"""Normals, jumps and weights of depth images, on planes and steps whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.camera import Intrinsics
from mapping.depth import reference
from mapping.depth.depth_config import DepthWeightConfig
from mapping.depth.depth_weights import depth_weight, normals_from_depth

CAMERA = Intrinsics(100.0, 110.0, 39.5, 29.5, 80, 60)


def plane_depth(normal, offset):
    """Depth of the plane normal . p = offset seen by CAMERA."""
    return (offset / (CAMERA.rays() @ np.asarray(normal))).astype(np.float32)


@pytest.mark.parametrize("normal", [(0, 0, -1), (0.5, 0.2, -0.8), (-0.3, -0.6, -0.7)])
@pytest.mark.parametrize("radius", [1, 3])
def test_normals_of_a_plane_are_exact(normal, radius):
    normal = np.asarray(normal) / np.linalg.norm(normal)
    depth = plane_depth(normal, -2.0)
    depth.setflags(write=False)
    normals = normals_from_depth(depth, CAMERA, radius=radius)
    assert normals.dtype == np.float32
    np.testing.assert_allclose(normals, np.broadcast_to(normal, normals.shape), atol=2e-4)


def test_normals_stay_on_their_side_of_a_step():
    left, right = plane_depth((0.3, 0, -1), -1.0), plane_depth((-0.3, 0, -1), -3.0)
    depth = np.where(np.arange(80) < 40, left, right)
    normals = normals_from_depth(depth, CAMERA, radius=2)
    expected = np.array([[0.3, 0, -1], [-0.3, 0, -1]]) / np.hypot(0.3, 1)
    np.testing.assert_allclose(normals[:, :40], np.broadcast_to(expected[0], (60, 40, 3)), atol=1e-3)
    np.testing.assert_allclose(normals[:, 40:], np.broadcast_to(expected[1], (60, 40, 3)), atol=1e-3)


def test_unknown_depth_has_no_normal_and_changes_no_neighbour():
    depth = plane_depth((0, 0, -1), -2.0)
    depth[20, 30] = 0
    normals = normals_from_depth(depth, CAMERA)
    assert not normals[20, 30].any()
    known = np.ones(depth.shape, bool)
    known[20, 30] = False
    np.testing.assert_allclose(normals[known], np.broadcast_to([0, 0, -1], (known.sum(), 3)), atol=1e-5)


def step_depth(*columns):
    """Depth 1 on the left and 2 on the right, with columns of other depths in between from column 40 on."""
    depth = np.where(np.arange(80) < 40, np.float32(1), np.float32(2)) * np.ones((60, 1), np.float32)
    depth[:, 40 : 40 + len(columns)] = columns
    return depth


def test_flying_pixels_hang_between_surfaces():
    assert np.flatnonzero(reference.flying_pixels(step_depth(1.5)).all(axis=0)).tolist() == [40]
    assert np.flatnonzero(reference.flying_pixels(step_depth(1.3, 1.6)).any(axis=0)).tolist() == [40, 41]
    assert np.flatnonzero(reference.flying_pixels(step_depth(1.5).T).all(axis=1)).tolist() == [40]


def test_slopes_corners_and_clean_steps_do_not_fly():
    ramp = plane_depth((0.7, 0, -0.7), -1.0)
    assert not reference.flying_pixels(ramp).any()
    corner = np.minimum(plane_depth((0.7, 0, -0.7), -1.0), plane_depth((-0.7, 0, -0.7), -1.0))
    assert not reference.flying_pixels(corner).any()
    assert not reference.flying_pixels(step_depth()).any()
    assert not reference.flying_pixels(np.where(np.arange(80) % 2, step_depth(1.5), 0)).any()


def test_weight_falls_with_the_variance_of_depth():
    depth = np.full((4, 5), 2.0, np.float32)
    assert depth_weight(depth, config=DepthWeightConfig(noise_power=1))[1, 1] == pytest.approx(1 / 4)
    assert depth_weight(depth, config=DepthWeightConfig(noise_power=2))[1, 1] == pytest.approx(1 / 16)
    assert depth_weight(np.full((4, 5), 0.5, np.float32))[1, 1] == 1
    assert depth_weight(np.array([[0, np.nan, np.inf]], np.float32)).tolist() == [[0, 0, 0]]


def test_weight_falls_at_grazing_angles():
    normals = np.zeros((1, 3, 3), np.float32)
    normals[0, 0], normals[0, 1] = (0, 0.8, -0.6), (0, 0.9999, -0.01)
    weight = depth_weight(np.ones((1, 3), np.float32), normals=normals)
    np.testing.assert_allclose(weight, [[0.6, 0, 1]], atol=1e-6)


def test_weight_uses_the_angle_to_each_ray():
    normals = -(CAMERA.rays() / np.linalg.norm(CAMERA.rays(), axis=-1, keepdims=True)).astype(np.float32)
    depth = (1 / np.linalg.norm(CAMERA.rays(), axis=-1)).astype(np.float32)  # a sphere around the camera
    assert depth_weight(depth, CAMERA, normals=normals).min() > 0.98


def test_weight_falls_where_normals_and_depth_disagree():
    depth = plane_depth((0, 0, -1), -1.0)
    true = np.broadcast_to(np.array([0, 0, -1], np.float32), (60, 80, 3))
    tilted = np.broadcast_to(np.array([0, -np.sin(np.pi / 3), -np.cos(np.pi / 3)], np.float32), (60, 80, 3))
    right, wrong = depth_weight(depth, CAMERA, normals=true), depth_weight(depth, CAMERA, normals=tilted)
    assert right[30, 40] == pytest.approx(1, abs=1e-3)
    assert wrong[30, 40] == pytest.approx(0.5 * 0.1, abs=0.01)


def test_edges_and_confidence_take_weight_away():
    depth = np.ones((1, 2), np.float32)
    edges, confidence = np.array([[0, 1]], np.float32), np.array([[0.5, 1]], np.float32)
    config = DepthWeightConfig(edge_strength=0.8)
    np.testing.assert_allclose(depth_weight(depth, edges=edges, config=config), [[1, 0.2]], atol=1e-6)
    np.testing.assert_allclose(depth_weight(depth, confidence=confidence), [[0.5, 1]], atol=1e-6)


def test_flying_pixels_have_no_weight():
    weight = depth_weight(0.5 * step_depth(1.5))
    assert not weight[:, 40].any()
    assert (weight[:, :40] == 1).all()
    assert (weight[:, 41:] == 1).all()


def test_every_care_can_be_switched_off():
    depth = 0.5 * step_depth(1.5)
    leaning = np.broadcast_to(np.array([0.6, 0, -0.8], np.float32), (60, 80, 3)).copy()
    half = np.full((60, 80), 0.5, np.float32)
    images = {"normals": leaning, "edges": half, "confidence": half}
    off = {"noise_power": 0, "grazing": False, "flying": False, "edge_strength": 0, "agreement": False}
    np.testing.assert_array_equal(
        depth_weight(4 * depth, CAMERA, config=DepthWeightConfig(**off, confidence=False), **images), 1
    )
    for name, value in DepthWeightConfig(**off, confidence=False).__dict__.items():
        if value != getattr(DepthWeightConfig(), name):
            rest = {**off, "confidence": False}
            rest.pop(name)
            assert depth_weight(4 * depth, CAMERA, config=DepthWeightConfig(**rest), **images).min() < 0.9, name


def test_shapes_are_checked():
    depth = np.ones((60, 80), np.float32)
    with pytest.raises(ValueError, match=r"edges must have shape \(60, 80\), got \(60, 81\)"):
        depth_weight(depth, edges=np.zeros((60, 81), np.float32))
    with pytest.raises(ValueError, match="depth must have shape"):
        normals_from_depth(depth[1:], CAMERA)


@pytest.mark.parametrize("seed", range(3))
def test_kernels_compute_what_the_reference_defines(seed):
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:60, :80]
    depth = (1.5 + np.sin(0.1 * u + seed) * np.cos(0.07 * v) + (u > 37) + 0.01 * rng.standard_normal((60, 80))).astype(
        np.float32
    )
    depth[rng.random(depth.shape) < 0.1] = 0
    normals = rng.normal(size=(60, 80, 3)).astype(np.float32)
    normals[..., 2] = -2
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[rng.random(depth.shape) < 0.1] = 0
    edges, confidence = rng.random((2, 60, 80)).astype(np.float32)
    for radius in (1, 3):
        ours = normals_from_depth(depth, CAMERA, radius=radius)
        np.testing.assert_allclose(ours, reference.normals_from_depth(depth, CAMERA, radius=radius), atol=1e-4)
    for config in (
        DepthWeightConfig(),
        DepthWeightConfig(noise_power=1.7, jump=0.2, disagreement_deg=30, min_cosine=0.5),
        DepthWeightConfig(flying=False, agreement=False),
        DepthWeightConfig(grazing=False, confidence=False, edge_strength=0),
    ):
        for images in ({}, {"normals": normals}, {"normals": normals, "edges": edges, "confidence": confidence}):
            for camera in (None, CAMERA):
                ours = depth_weight(depth, camera, config=config, **images)
                theirs = reference.depth_weight(depth, camera, config=config, **images)
                assert (np.abs(ours - theirs) > 1e-4).mean() < 1e-3


def test_arguments_are_not_changed():
    depth, normals = plane_depth((0, 0, -1), -2.0), np.zeros((60, 80, 3), np.float32)
    for array in (depth, normals):
        array.setflags(write=False)
    depth_weight(depth, CAMERA, normals=normals, edges=depth * 0)
    assert depth.max() == 2
