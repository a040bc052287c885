"""The metric scale of sparse points by predicted depth."""

import numpy as np
import pytest

from pipelines.posing.scale_estimate import (
    CARRIED_DEVIATION,
    CARRIED_HEIGHT,
    LEAST_POINTS,
    SCENE_DEVIATION,
    ScaleEstimate,
    SparseView,
    estimate_scale,
    log_scale_of,
)

SIZE = (40, 60)


def views_and_depth(rng, count=20, unit=2.5, error=0.0, outliers=0.0):
    """Views of random points in metres / `unit`, and the depth maps, each off by its own factor."""
    views, maps = [], []
    for _ in range(count):
        depth = rng.uniform(1, 4, SIZE).astype(np.float32)
        pixels = np.stack([rng.integers(0, SIZE[1], 80), rng.integers(0, SIZE[0], 80)], axis=1)
        sparse = depth[pixels[:, 1], pixels[:, 0]] / unit
        wrong = rng.random(80) < outliers
        views.append(SparseView(pixels + rng.uniform(-0.4, 0.4, (80, 2)), np.where(wrong, sparse * 5, sparse)))
        maps.append(depth * np.float32(np.exp(error * rng.normal())))
    return views, maps


def test_exact_depth_gives_the_unit():
    views, maps = views_and_depth(np.random.default_rng(0))
    found = estimate_scale(views, maps.__getitem__)
    assert found.scale == pytest.approx(2.5, rel=1e-5)
    assert (found.spread, found.views) == (pytest.approx(0, abs=1e-5), 20)
    assert found.deviation == pytest.approx(
        2 * SCENE_DEVIATION
    )  # what all views of a place share does not show in their spread


def test_wrong_points_and_errors_of_frames_average_out():
    views, maps = views_and_depth(np.random.default_rng(1), count=40, error=0.15, outliers=0.3)
    found = estimate_scale(views, maps.__getitem__)
    assert found.scale == pytest.approx(2.5, rel=0.08)
    assert 0.1 < found.spread < 0.22
    assert 2 * SCENE_DEVIATION < found.deviation < 2 * SCENE_DEVIATION + found.spread


@pytest.mark.parametrize("shared", [-0.2, 0.2])
def test_what_is_stated_contains_an_error_that_all_views_of_a_place_share(shared):
    """As large as the shipped network's in the recordings, which the views' agreement does not show."""
    views, maps = views_and_depth(np.random.default_rng(5), count=40, error=0.1)
    found = estimate_scale(views, lambda i: maps[i] * np.float32(1 + shared))
    assert abs(found.scale / 2.5 - 1) > 0.15
    assert abs(found.scale / 2.5 - 1) < found.deviation


def test_a_frame_with_absurd_depth_does_not_count():
    views, maps = views_and_depth(np.random.default_rng(2), error=0.02)
    maps[3] = maps[3] * 20
    assert estimate_scale(views, maps.__getitem__).scale == pytest.approx(2.5, rel=0.03)


def test_few_views_and_views_with_few_points_tell_nothing():
    views, maps = views_and_depth(np.random.default_rng(3), count=5)
    assert estimate_scale(views[:2], maps.__getitem__) is None
    few = [SparseView(view.pixels[: LEAST_POINTS - 1], view.depths[: LEAST_POINTS - 1]) for view in views]
    assert estimate_scale(few, maps.__getitem__) is None
    assert estimate_scale([], maps.__getitem__) is None
    assert estimate_scale(views, lambda i: np.zeros(SIZE, np.float32)) is None


def test_only_so_many_views_are_predicted_spread_over_all():
    views, maps = views_and_depth(np.random.default_rng(4), count=30)
    asked = []
    estimate_scale(views, lambda i: asked.append(i) or maps[i], most_views=4)
    assert asked == [0, 9, 19, 29]


def test_points_outside_the_image_or_on_unknown_depth_are_ignored():
    depth = np.full(SIZE, 2.0, np.float32)
    depth[:, 30:] = 0
    inside = np.stack([np.arange(20), np.arange(20)], axis=1).astype(float)
    outside, unknown = inside + np.array([100, 0]), inside + np.array([30, 0])
    view = SparseView(np.concatenate([inside, outside, unknown]), np.full(60, 1.0))
    assert log_scale_of(view, depth) == pytest.approx(np.log(2.0))


def test_the_height_of_a_carried_camera_is_weighed_with_the_network():
    """Of a network that is 20 % short, with a camera at 1.6 m: of deviations of 15 and 14 % the height weighs 225 / 421."""
    alone = ScaleEstimate(2.0, 0.0, 48)
    found = alone.with_height(1.6 / 2.5)
    assert (SCENE_DEVIATION, CARRIED_DEVIATION, CARRIED_HEIGHT) == (0.15, 0.14, 1.45)
    assert found.scale == pytest.approx(2.0 * (1.45 / 1.28) ** (225 / 421))
    assert found.carried_height == pytest.approx(0.64 * found.scale)
    assert abs(found.scale / 2.5 - 1) < abs(alone.scale / 2.5 - 1)
    assert found.deviation == pytest.approx(2 * (0.0225 * 0.0196 / 0.0421) ** 0.5)
    unsure = ScaleEstimate(2.0, 0.9, 9).with_height(1.6 / 2.5)  # the height weighs more where single views differ much
    assert unsure.scale > found.scale


@pytest.mark.parametrize("metres", [0.4, 3.5])
def test_a_camera_that_nobody_carried_keeps_the_scale_of_the_network(metres):
    """A robot's, and one on a mast."""
    alone = ScaleEstimate(2.5, 0.1, 48)
    assert alone.with_height(metres / 2.5) == alone


@pytest.mark.parametrize("metres", [1.2, 1.45, 1.7])
@pytest.mark.parametrize("bias", [-0.2, 0.0, 0.2])
def test_what_is_stated_contains_the_error_of_both(metres, bias):
    """All heights that are stated as usual, with the largest errors of the network that were measured."""
    found = ScaleEstimate(2.5 * (1 + bias), 0.1, 48).with_height(metres / 2.5)
    assert found.carried_height is not None
    assert abs(found.scale / 2.5 - 1) < found.deviation
