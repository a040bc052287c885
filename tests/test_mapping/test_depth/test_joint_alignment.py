"""Alignment of all frames at once in a room whose depth is exact: what was done to the depth is found and undone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import box_mesh

from mapping.camera import Intrinsics
from mapping.depth.correction import DepthField, field_covariance, hats
from mapping.depth.depth_config import AlignmentConfig
from mapping.depth.joint_alignment import KnownDepth, align_sequence
from mapping.depth.samples import choose_pairs, sample_frame, sample_pixels, sample_shape
from mapping.mesh.mesh import concatenate
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import look_at

CAMERA = Intrinsics(75.0, 75.0, 63.5, 47.5, 128, 96)
FRAMES = 24


@pytest.fixture(scope="module")
def room():
    """Exact depth, normals and pose of frames that turn in a furnished room."""
    parts = [((5, 4, 2.5), (0, 0, 1.25)), ((1.2, 0.8, 0.7), (1.6, 1.2, 0.35)), ((0.6, 1.5, 1.8), (-2.1, 0.4, 0.9))]
    mesh = concatenate([box_mesh(size, centre, inward=i == 0) for i, (size, centre) in enumerate(parts)])
    caster, normals = MeshCaster(mesh), mesh.face_normals()
    views = []
    for k in range(FRAMES):
        angle = 2 * np.pi * k / 12
        eye = np.array([0.7 * np.cos(1.7 * angle), -0.3 + 0.6 * np.sin(angle), 1.4 + 0.1 * np.cos(angle)])
        T = look_at(eye, eye + np.array([np.cos(angle), np.sin(angle), -0.2 if k % 2 else 0.1]))
        depth, faces = caster.cast(CAMERA, T)
        views.append((depth, (normals[faces] @ T[:3, :3]).astype(np.float32), T))
    return views


def smooth(rng, deviation):
    """A correction with nodes drawn from the prior's smooth part."""
    covariance = field_covariance(5, 6, 0.75, scale_deviation=1e-4, field_deviation=deviation, length=0.35)
    return DepthField(rng.multivariate_normal(np.zeros(30), covariance).reshape(5, 6))


def degraded(views, factors):
    return [
        sample_frame(view[0] * factor, CAMERA, view[2], normals=view[1])
        for view, factor in zip(views, factors, strict=True)
    ]


def log_errors(views, factors, aligned):
    """(N, H, W) log of corrected over true depth."""
    depths = [depth for depth, _, _ in views]
    pairs = zip(depths, factors, aligned.fields, strict=True)
    return np.array([np.log(field((depth * f).astype(np.float32)) / depth) for depth, f, field in pairs])


def test_exact_depth_is_left_alone(room):
    ones = [np.float32(1)] * FRAMES
    aligned = align_sequence(degraded(room, ones))
    assert np.abs(log_errors(room, ones, aligned)).max() < 0.01
    assert np.sqrt((log_errors(room, ones, aligned) ** 2).mean()) < 1e-3
    assert aligned.outliers == ()
    assert aligned.residual.max() < 0.005
    assert aligned.matches.min() > 300


@pytest.mark.parametrize("grid", [(1, 1), (5, 6)])
def test_scales_are_found(room, grid):
    factors = np.exp(np.random.default_rng(0).normal(0, 0.05, FRAMES)).astype(np.float32)
    aligned = align_sequence(degraded(room, factors), AlignmentConfig(rows=grid[0], columns=grid[1]))
    errors = log_errors(room, factors, aligned)
    assert np.abs(np.median(errors, axis=(1, 2))).max() < 0.01
    np.testing.assert_allclose(aligned.scales * factors, 1, atol=0.02)


def test_smooth_fields_are_found_with_scales(room):
    rng = np.random.default_rng(1)
    fields = [smooth(rng, 0.03) for _ in range(FRAMES)]
    factors = [np.exp(rng.normal(0, 0.05) + field.log_scale((96, 128))).astype(np.float32) for field in fields]
    before = np.log(np.array(factors)).std()
    fitted = log_errors(room, factors, align_sequence(degraded(room, factors))).std()
    scales = log_errors(
        room, factors, align_sequence(degraded(room, factors), AlignmentConfig(rows=1, columns=1))
    ).std()
    assert fitted < 0.25 * before
    assert fitted < 0.5 * scales


def test_normals_alone_show_a_bent_wall(room):
    depth, normals, T = room[0]
    field = DepthField(np.tile(np.linspace(-0.06, 0.06, 6), (5, 1)))
    bent = (depth * np.exp(field.log_scale(depth.shape))).astype(np.float32)
    sample = [sample_frame(bent, CAMERA, T, normals=normals)]
    for use, least, most in ((True, 0.0, 0.01), (False, 0.03, 0.05)):
        corrected = align_sequence(sample, AlignmentConfig(normals=use, normal_deviation_deg=1.0)).fields[0](bent)
        assert least <= np.log(corrected / depth).std() < most


def test_one_frame_far_off_is_found_and_named(room):
    factors = np.ones(FRAMES, np.float32)
    factors[7] = 1.2
    aligned = align_sequence(degraded(room, factors))
    assert aligned.outliers == (7,)
    assert np.abs(log_errors(room, factors, aligned)).mean() < 0.005


def test_known_depth_fixes_a_frame_without_neighbours(room):
    depth, normals, T = room[3]
    wrong = (1 / (0.9 / depth + 0.03)).astype(np.float32)
    sample = sample_frame(wrong, CAMERA, T, normals=normals)
    v, u = sample_pixels(CAMERA)
    few = np.arange(0, sample.depth.size, 17)
    true = depth[v, u].ravel()[few].astype(np.float64)
    true[::4] *= 1.5  # a quarter is wrong
    known = KnownDepth(few, true, np.full(len(few), 0.01))
    config = AlignmentConfig(rows=1, columns=1, neighbours=0, scale_deviation=0.2, shift_deviation=0.1)
    field = align_sequence([sample], replace(config, rounds=20), [known]).fields[0]
    assert field.scale == pytest.approx(0.9, abs=0.005)
    assert field.shift == pytest.approx(-0.03 / 0.9, abs=0.005)
    np.testing.assert_allclose(field(wrong), depth, rtol=0.01)


def test_order_of_frames_does_not_matter(room):
    factors = np.exp(np.random.default_rng(2).normal(0, 0.03, FRAMES)).astype(np.float32)
    frames = degraded(room, factors)
    forward, back = align_sequence(frames), align_sequence(frames[::-1])
    np.testing.assert_allclose(forward.scales, back.scales[::-1], atol=0.005)


def test_nothing_to_align_and_frames_of_other_sizes(room):
    assert align_sequence([]).fields == ()
    depth, _, T = room[0]
    small = CAMERA.cropped(0, 0, 128, 64)
    frames = [sample_frame(depth, CAMERA, T), sample_frame(depth[:64], small, T)]
    with pytest.raises(ValueError, match="same shape"):
        align_sequence(frames)


def test_samples_are_pixels_of_the_image_and_find_themselves():
    depth = np.random.default_rng(0).uniform(1, 4, (96, 128)).astype(np.float32)
    depth[40:50] = 0
    sample = sample_frame(depth, CAMERA, np.eye(4), columns=32)
    v, u = sample_pixels(CAMERA, 32)
    assert sample_shape(CAMERA, 32) == sample.depth.shape == (24, 32)
    np.testing.assert_array_equal(sample.depth, depth[v, u])
    inside, z, index = sample.look_up((sample.rays * sample.depth[..., None]).reshape(-1, 3))
    known = sample.depth.ravel() > 0
    np.testing.assert_array_equal(inside, known)
    np.testing.assert_array_equal(index[known], np.flatnonzero(known))
    np.testing.assert_allclose(z[known], sample.depth.ravel()[known])
    with pytest.raises(ValueError, match=r"weight must have shape \(96, 128\)"):
        sample_frame(depth, CAMERA, np.eye(4), weight=depth[:10])


def test_pairs_see_the_same(room):
    frames = degraded(room, [np.float32(1)] * FRAMES)
    pairs = choose_pairs(frames, 6, 0.3)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    forward = np.array([frame.T_world_camera[:3, 2] for frame in frames])
    assert (np.einsum("pc,pc->p", forward[pairs[:, 0]], forward[pairs[:, 1]]) > 0).all()
    assert set(pairs.ravel()) == set(range(FRAMES))
    assert choose_pairs(frames, 0, 0.3).shape == (0, 2)


def test_hats_and_fields_by_hand():
    np.testing.assert_allclose(hats(4, 2), [[7 / 8, 1 / 8], [5 / 8, 3 / 8], [3 / 8, 5 / 8], [1 / 8, 7 / 8]])
    np.testing.assert_allclose(hats(50, 7).sum(axis=1), 1)
    field = DepthField(np.array([[0.0, np.log(4.0)]]), shift=0.25)
    assert field.scale == pytest.approx(2.0)
    depth = np.array([[1.0, 0.0]], np.float32)
    half = 4.0**0.25  # the first of two pixels lies a quarter from node to node
    np.testing.assert_allclose(field(depth), [[1 / (1 / half + 0.25), 0.0]], rtol=1e-6)
    assert DepthField(np.zeros((1, 1)), shift=-2.0)(depth).tolist() == [[0.0, 0.0]]
