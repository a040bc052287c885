"""Augmentation keeps the geometry: every pixel of a transformed sample shows the point that its source pixel showed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from m2h.data import Camera, Sample
from m2h.data.sample import DatasetError
from m2h.data.transforms import AugmentConfig, augmented, cropped, flipped, recolored, resized

HEIGHT, WIDTH = 48, 64
CAMERA = Camera(50.0, 55.0, 30.3, 25.1)
NORMAL = np.array([0.48, 0.36, -0.8])
OFFSET = -2.0


def rays(camera: Camera, height: int, width: int) -> np.ndarray:
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)


def plane_sample() -> Sample:
    """A tilted plane n . p = OFFSET; its red channel is the column, green the row."""
    depth = (OFFSET / (rays(CAMERA, HEIGHT, WIDTH) @ NORMAL)).astype(np.float32)
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[..., 0], rgb[..., 1] = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    labels = (1 + (rgb[..., 0] > 20)).astype(np.uint8)
    edges = (rgb[..., 0] == 20).astype(np.float32)
    normals = np.broadcast_to(NORMAL.astype(np.float32), (HEIGHT, WIDTH, 3)).copy()
    return Sample("plane", rgb, depth, labels, normals, edges, CAMERA)


def points(sample: Sample) -> np.ndarray:
    assert sample.camera is not None
    assert sample.depth is not None
    return rays(sample.camera, *sample.depth.shape) * sample.depth[..., None]


def assert_on_plane(sample: Sample, normal: np.ndarray, tolerance: float) -> None:
    """All known pixels reproject onto the plane with that normal, and say that they have it."""
    assert sample.depth is not None
    assert sample.normals is not None
    known = sample.depth > 0
    assert known.any()
    np.testing.assert_allclose(points(sample)[known] @ normal, OFFSET, atol=tolerance)
    np.testing.assert_allclose(sample.normals[known], np.tile(normal, (known.sum(), 1)), atol=1e-6)


def test_the_sample_itself_lies_on_the_plane() -> None:
    assert_on_plane(plane_sample(), NORMAL, 1e-5)


def test_flip_mirrors_camera_and_normals() -> None:
    sample = flipped(plane_sample())
    assert_on_plane(sample, NORMAL * [-1, 1, 1], 1e-5)
    assert sample.rgb[0, 0, 0] == WIDTH - 1
    twice, original = flipped(sample), plane_sample()
    np.testing.assert_array_equal(twice.rgb, original.rgb)
    np.testing.assert_array_equal(twice.normals, original.normals)
    assert twice.camera is not None
    assert twice.camera.cx == pytest.approx(CAMERA.cx)


@pytest.mark.parametrize(("left", "top"), [(10, 5), (-8, -3), (20, -3)])
def test_crop_moves_the_principal_point(left: int, top: int) -> None:
    sample = cropped(plane_sample(), left, top, 30, 40)
    assert_on_plane(sample, NORMAL, 1e-5)
    assert sample.rgb.shape == (30, 40, 3)
    known = sample.depth > 0  # type: ignore[operator]
    v, u = np.nonzero(known)
    np.testing.assert_array_equal(sample.rgb[v, u, 0], u + left)
    assert sample.edges is not None
    assert (sample.edges[~known] == -1).all()
    assert sample.labels is not None
    assert not sample.labels[~known].any()


@pytest.mark.parametrize("factor", [2.0, 1.5, 0.5])
def test_resize_scales_the_camera_and_keeps_depth(factor: float) -> None:
    """Maps take the nearest pixel, so points are off by at most half a source pixel along the plane."""
    height, width = round(HEIGHT * factor), round(WIDTH * factor)
    sample = resized(plane_sample(), height, width)
    slope = np.abs(np.gradient(plane_sample().depth)).max()
    assert_on_plane(sample, NORMAL, 1.5 * slope + 0.02)
    error = points(sample) @ NORMAL - OFFSET
    # No shift, which half a pixel of bias would show; halving must choose one of two middle pixels.
    assert abs(error.mean()) < (0.002 if factor > 1 else slope)
    assert sample.camera is not None
    assert sample.camera.fx == pytest.approx(50 * factor)
    assert (sample.camera.cx + 0.5) / width == pytest.approx((CAMERA.cx + 0.5) / WIDTH)


def test_labels_and_colours_follow_the_same_pixels() -> None:
    sample = resized(plane_sample(), 96, 128)
    assert sample.labels is not None
    boundary = np.nonzero(np.diff(sample.labels[10].astype(int)))[0]
    np.testing.assert_array_equal(boundary, [41])  # between source columns 20 and 21
    np.testing.assert_allclose(sample.rgb[50, ::2, 0], np.arange(64), atol=1)


def test_lines_of_edges_survive_shrinking() -> None:
    sample = resized(plane_sample(), 12, 16)
    assert sample.edges is not None
    assert (sample.edges.max(axis=1) == 1).all()
    assert sample.edges.mean() < 0.2


@pytest.mark.parametrize("seed", range(6))
def test_whole_augmentation_keeps_the_plane(seed: int) -> None:
    sample, zoom = augmented(plane_sample(), (40, 40), AugmentConfig(label_share=1), np.random.default_rng(seed))
    assert 0.5 <= zoom <= 2
    assert sample.rgb.shape == (40, 40, 3)
    assert sample.normals is not None
    known = sample.normals[..., 2] < 0
    assert_on_plane(sample, sample.normals[known][0].astype(np.float64), 0.15)
    assert sample.camera is not None
    assert sample.camera.fx == pytest.approx(50 * zoom * 40 / 48, rel=0.03)


def test_same_generator_same_bytes() -> None:
    one, other = (augmented(plane_sample(), (32, 32), AugmentConfig(), np.random.default_rng(7))[0] for _ in range(2))
    np.testing.assert_array_equal(one.rgb, other.rgb)
    np.testing.assert_array_equal(one.depth, other.depth)


def test_augmentation_leaves_its_input_alone() -> None:
    sample = plane_sample()
    for name in ("rgb", "depth", "labels", "normals", "edges"):
        getattr(sample, name).flags.writeable = False
    augmented(sample, (32, 32), AugmentConfig(photometric=1, flip=1), np.random.default_rng(0))


def test_crops_of_one_class_are_drawn_again() -> None:
    sample = plane_sample()
    assert sample.labels is not None
    sample = replace(sample, labels=np.where(sample.rgb[..., 0] > 50, 2, 1).astype(np.uint8))
    config = AugmentConfig(zoom=(2, 2), flip=0, label_share=0.9)
    shares = []
    for seed in range(20):
        labels = augmented(sample, (30, 30), config, np.random.default_rng(seed))[0].labels
        assert labels is not None
        shares.append(np.mean(labels == 1))
    assert np.mean(np.array(shares) <= 0.9) > 0.8


def test_colour_changes_stay_in_range_and_can_be_off() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    off = AugmentConfig(photometric=0)
    np.testing.assert_array_equal(recolored(rgb, off, np.random.default_rng(0)), rgb)
    grey = np.full((4, 4, 3), 100, np.uint8)
    only_light = AugmentConfig(photometric=1, contrast=(1, 1), saturation=(1, 1), hue_deg=0)
    values = [int(recolored(grey, only_light, np.random.default_rng(s))[0, 0, 0]) for s in range(30)]
    assert 68 <= min(values) < 85
    assert 115 < max(values) <= 132


def test_impossible_values_are_rejected() -> None:
    for change in ({"zoom": (0.0, 1.0)}, {"flip": 1.5}, {"photometric": -1}, {"nonsense": 1}):
        with pytest.raises(ValueError, match=next(iter(change))):
            AugmentConfig(**change)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"plane: depth must be float32 \(48, 64\), got float64"):
        replace(plane_sample(), depth=np.zeros((HEIGHT, WIDTH)))  # type: ignore[arg-type]
