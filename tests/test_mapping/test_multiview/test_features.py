"""Features, their matches, and their distances from epipolar lines."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mapping.camera import Intrinsics
from mapping.multiview.features import (
    LARGEST_SIDE,
    RIM_PX,
    Features,
    epipolar_distance,
    find_features,
    match_features,
)
from mapping.se3 import from_rotation_translation

CAMERA = Intrinsics(300.0, 310.0, 159.5, 119.5, 320, 240)


def blotches(width: int, height: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (height // 8, width // 8)).astype(np.float32)
    return (
        np.repeat(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)[..., None], 3, 2)
        .clip(0, 255)
        .astype(np.uint8)
    )


def test_features_of_a_shifted_image_match():
    image = blotches(320, 240)
    a, b = find_features(image[:, :300], 400), find_features(image[:, 13:313], 400)
    matches = match_features(a, b)
    assert len(matches) > 100
    moved = a.pixels[matches[:, 0]] - b.pixels[matches[:, 1]]
    assert np.median(np.abs(moved - [13, 0])) < 0.05
    assert len(np.unique(a.pixels.round(1), axis=0)) == len(a.pixels)


def test_large_images_are_reduced_and_pixels_are_those_of_the_image():
    small = blotches(LARGEST_SIDE, 480)
    large = cv2.resize(small, (3 * LARGEST_SIDE, 3 * 480), interpolation=cv2.INTER_CUBIC)
    a, b = find_features(small, 300), find_features(large, 300)
    matches = match_features(a, b)
    assert len(matches) > 100
    moved = 3 * (a.pixels[matches[:, 0]] + 0.5) - 0.5 - b.pixels[matches[:, 1]]
    assert np.median(np.linalg.norm(moved, axis=1)) < 0.5


def test_an_image_without_texture_has_no_features():
    none = find_features(np.full((120, 160, 3), 90, np.uint8), 100)
    assert none.pixels.shape == (0, 2)
    assert none.descriptors.shape == (0, 128)
    assert match_features(none, none).shape == (0, 2)


def test_the_border_of_what_is_black_has_no_features():
    """A mask, and what is outside of an undistorted image: their borders would match themselves."""
    image = np.clip(blotches(320, 240), 1, 255)
    image[150:, 100:220] = 0
    image[:, :10] = 0
    image[40, 200] = 0  # a dark pixel is none
    pixels = find_features(image, 800).pixels
    black = (image[..., 0] == 0) & (np.arange(240)[:, None] != 40)
    v, u = np.nonzero(black)
    nearest = np.linalg.norm(pixels[:, None] - np.stack([u, v], axis=1)[None], axis=2).min(axis=1)
    assert nearest.min() > RIM_PX - 1
    assert np.linalg.norm(pixels - [200, 40], axis=1).min() < 2 * RIM_PX
    assert len(pixels) > 100


def test_a_match_that_is_hardly_better_than_another_is_rejected():
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(5, 128)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    a = Features(np.zeros((5, 2)), descriptors)
    twin = np.concatenate([descriptors, descriptors[2:3]])
    b = Features(np.zeros((6, 2)), twin)
    assert match_features(a, b).tolist() == [[0, 0], [1, 1], [3, 3], [4, 4]]


@pytest.mark.parametrize("distortion", [(), (-0.1, 0.02, 0.0, 0.0)])
def test_epipolar_distance(distortion: tuple[float, ...]):
    """Nothing for true matches, and as far as a pixel is moved across its line."""
    lens = Intrinsics(300.0, 310.0, 159.5, 119.5, 320, 240, distortion)
    rng = np.random.default_rng(1)
    points = rng.uniform([-1, -1, 2], [1, 1, 5], (50, 3))
    T_b_a = from_rotation_translation(Rotation.from_rotvec([0.02, 0.1, -0.03]).as_matrix(), [0.3, 0.02, 0.05])
    seen = points @ T_b_a[:3, :3].T + T_b_a[:3, 3]
    rays_a, rays_b = lens.pixel_rays(lens.project(points)), lens.pixel_rays(lens.project(seen))
    np.testing.assert_allclose(rays_a[:, :2], points[:, :2] / points[:, 2:], atol=1e-6)
    assert epipolar_distance(T_b_a, rays_a, rays_b).max() < 1e-6
    sideways = from_rotation_translation(np.eye(3), [0.3, 0, 0])  # lines are the rows
    moved = points / points[:, 2:] + [0, 0.01, 0]
    distance = epipolar_distance(sideways, points / points[:, 2:], moved)
    np.testing.assert_allclose(distance, 0.01 / np.sqrt(2), rtol=1e-6)  # half of it belongs to either image
    assert np.isnan(epipolar_distance(np.eye(4), rays_a, rays_b)).all()
