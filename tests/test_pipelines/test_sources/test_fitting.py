"""Depth up to scale and shift is brought to the unit of the poses by what images prove."""

from dataclasses import replace

import numpy as np
import pytest
from textured_wall import CONFIG, Wall, error

from m2h import Predictions
from pipelines.sources.fitting import DepthShape, fit_depth, fitted
from pipelines.sources.refinement import refined
from pipelines.sources.source import DepthOrigin, Source, SourceError


def scene(rng):
    """Depth (60, 80) of 1 to 4 m with steps."""
    return (1 + 3 * np.kron(rng.random((6, 8)), np.ones((10, 10)))).astype(np.float32)


@pytest.mark.parametrize("shape", DepthShape)
def test_scale_and_shift_are_found_among_wrong_proofs(shape):
    rng = np.random.default_rng(0)
    depth = scene(rng)
    line = 1 / depth if shape is DepthShape.DISPARITY else depth
    predicted = ((line + 0.3) / 0.05).astype(np.float32)
    proved = depth * np.exp(rng.normal(0, 0.01, depth.shape)).astype(np.float32)
    proved[rng.random(depth.shape) < 0.2] = 9.0
    proved[:, :40] = 0
    predicted[:20, 40:] = 0  # where the network says nothing
    fit = fit_depth(predicted, proved, shape)
    assert (fit.scale, fit.shift) == (pytest.approx(0.05, rel=0.02), pytest.approx(-0.3, rel=0.05))
    assert fit.deviation == pytest.approx(0.0125, rel=0.4)
    np.testing.assert_allclose(fit(predicted)[20:], depth[20:], rtol=0.02)
    assert not fit(predicted)[:20, 40:].any()


def test_what_cannot_be_fitted():
    rng = np.random.default_rng(0)
    depth = scene(rng)
    upside_down = depth  # of what should be disparity
    assert fit_depth(upside_down, depth, DepthShape.DISPARITY) is None
    assert fit_depth(rng.random((60, 80)).astype(np.float32), depth, DepthShape.DISPARITY) is None
    few = np.zeros_like(depth)
    few[:2, :80] = depth[:2, :80]
    assert fit_depth(1 / depth, few, DepthShape.DISPARITY) is None


def test_depth_far_beyond_what_is_proved_is_unknown():
    depth = scene(np.random.default_rng(0))
    disparity = 1 / depth
    fit = fit_depth(disparity, depth, DepthShape.DISPARITY)
    disparity[0, 0], disparity[0, 1], disparity[0, 2] = 1e-3, 0, 50
    assert not fit(disparity)[0, :3].any()
    assert fit(disparity)[0, 3] > 0


def relative_source(wall, *, noise=0.0):
    """What a network like MiDaS says of a wall: disparity whose scale and shift change from frame to frame."""

    def predict(frame):
        rng = np.random.default_rng(frame.index)
        disparity = 1 / wall.depth(frame.index)
        uneven = np.kron(rng.normal(0, noise, (6, 8)), np.ones((10, 10)))
        return Predictions(
            depth=(rng.uniform(20, 60) * (disparity * np.exp(uneven) + rng.uniform(0, 0.3))).astype(np.float32)
        )

    return Source("midas", predict, "1", None, DepthOrigin.NETWORK)


@pytest.mark.slow
def test_frames_of_a_network_come_in_the_unit_of_the_poses():
    wall = Wall()
    source = fitted(relative_source(wall), DepthShape.DISPARITY, wall, CONFIG)
    assert source.depth_from is DepthOrigin.FITTED
    assert source.is_costly
    answers = [source.predict(wall[i]) for i in range(2, 7)]
    for i, answer in enumerate(answers, 2):
        assert (answer.depth > 0).all()
        assert np.median(error(answer, wall.depth(i))) < 0.02
        assert answer.confidence.min() > 0.5
    uneven = fitted(relative_source(wall, noise=0.08), DepthShape.DISPARITY, wall, CONFIG).predict(wall[4])
    assert uneven.confidence.max() < 0.5


def test_it_is_checked_by_the_images_as_other_predictions_are():
    wall = Wall()
    base = fitted(relative_source(wall), DepthShape.DISPARITY, wall, CONFIG)
    assert refined(base, "auto", wall, CONFIG).name == "checked:midas"
    in_feet = replace(CONFIG, align=replace(CONFIG.align, pose_scale=0.3))
    assert refined(base, "auto", wall, in_feet).name == "checked:midas"


def test_without_a_baseline_there_is_no_scale():
    still = Wall(spacing=0.0)
    with pytest.raises(SourceError, match="depth of midas has no scale, and the camera of wall never moves"):
        fitted(relative_source(still), DepthShape.DISPARITY, still, CONFIG)
    far = Wall(count=3, spacing=30.0)
    with pytest.raises(SourceError, match="no frame of wall sees the same"):
        fitted(relative_source(far), DepthShape.DISPARITY, far, CONFIG).predict(far[0])
