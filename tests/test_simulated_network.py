"""The simulated network: the size and correlation of its errors, and determinism."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_network import MonocularConfig, MonocularNetwork, bleed, smooth_field

from m2h import Predictions

SIZE = (60, 80)
NOTHING = {"scale": 0, "bias": 0, "noise": 0, "bleeding_px": 0, "normal_lean_deg": 0, "normal_noise_deg": 0}


def wall(step: bool = False) -> Predictions:
    """A wall seen head-on at 2 m, the right half of it at 3 m where it steps, with the edge on the nearer side."""
    depth = np.full(SIZE, 2, np.float32)
    edges = np.zeros(SIZE, np.float32)
    if step:
        depth[:, 40:], edges[:, 39] = 3, 1
    normals = np.broadcast_to(np.array([0, 0, -1], np.float32), (*SIZE, 3)).copy()
    return Predictions(depth, np.ones(SIZE, np.uint8), normals=normals, edges=edges)


def errors(config: MonocularConfig, frames: int, seed: int = 0) -> np.ndarray:
    """(frames, H, W) log of the depth of a wall over its true depth."""
    network = MonocularNetwork(config, np.random.default_rng(seed))
    return np.log(np.array([network(wall()).depth for _ in range(frames)]) / 2)


def test_without_errors_it_is_exact():
    seen = MonocularNetwork(MonocularConfig(**NOTHING, edge_blur_px=0), np.random.default_rng(0))(wall(step=True))
    np.testing.assert_array_equal(seen.depth, wall(step=True).depth)
    np.testing.assert_allclose(seen.normals, wall().normals, atol=1e-6)
    assert seen.labels is not None
    assert seen.confidence.min() > 0.4


def test_scale_is_one_number_per_frame_of_the_deviation_asked_for():
    error = errors(MonocularConfig(**{**NOTHING, "scale": 0.05}), 400)
    assert np.ptp(error, axis=(1, 2)).max() < 1e-6
    scales = np.exp(error[:, 0, 0])
    assert scales.std() == pytest.approx(0.05, rel=0.1)
    assert scales.mean() == pytest.approx(1, abs=0.01)
    assert abs(np.corrcoef(scales[1:], scales[:-1])[0, 1]) < 0.15


def test_bias_is_smooth_and_stays_a_while():
    error = errors(MonocularConfig(**{**NOTHING, "bias": 0.03, "persistence": 0.8}), 400)
    assert error.std() == pytest.approx(0.03, rel=0.1)
    assert np.corrcoef(error[1:].ravel(), error[:-1].ravel())[0, 1] == pytest.approx(0.8, abs=0.06)
    far, near = (np.corrcoef(error[:, :, :40].ravel(), error[:, :, d : 40 + d].ravel())[0, 1] for d in (40, 20))
    assert near == pytest.approx(np.exp(-0.5), abs=0.08)  # a correlation length apart
    assert far == pytest.approx(np.exp(-2), abs=0.08)


@pytest.mark.parametrize("length", [1.0, 3.0, 40.0])
def test_fields_have_unit_variance(length):
    rng = np.random.default_rng(1)
    fields = np.array([smooth_field(rng, SIZE, length) for _ in range(150)])
    assert fields.shape[1:] == SIZE
    assert fields.std() == pytest.approx(1, rel=0.1)


def test_depth_bleeds_over_silhouettes_alone():
    exact = wall(step=True)
    mixed, share = bleed(exact.depth, exact.edges, 1.5)
    between = (mixed > 2.05) & (mixed < 2.95)
    assert between[:, 38:42].any()
    assert not between[:, :34].any()
    assert not between[:, 46:].any()
    assert (np.diff(mixed, axis=1) >= -1e-5).all()
    assert share[:, 39:41].min() > 0.05
    assert share[:, :30].max() == 0
    crease, _ = bleed(wall().depth, exact.edges, 1.5)  # an edge where nothing steps
    np.testing.assert_array_equal(crease, wall().depth)


def test_normals_lean_by_what_was_asked_for_and_stay_unit_vectors():
    config = MonocularConfig(**{**NOTHING, "normal_lean_deg": 4.0})
    network = MonocularNetwork(config, np.random.default_rng(2))
    normals = np.array([network(wall()).normals for _ in range(100)])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)
    assert np.degrees(np.arcsin(normals[..., :2])).std() == pytest.approx(4, rel=0.15)


def test_edges_and_confidence_are_probabilities_that_mark_silhouettes():
    seen = MonocularNetwork(MonocularConfig(edge_misses=0), np.random.default_rng(3))(wall(step=True))
    for image in (seen.edges, seen.confidence):
        assert image.min() >= 0
        assert image.max() <= 1
    assert seen.edges[:, 39].mean() > 0.8 > 0.2 > seen.edges[:, :30].mean()
    assert seen.confidence[:, 39:41].mean() < 0.5 * seen.confidence[:, :30].mean()
    quiet = MonocularNetwork(MonocularConfig(confidence=False), np.random.default_rng(3))(wall())
    assert quiet.confidence is None


def test_a_seed_decides_everything_and_unknown_depth_stays_unknown():
    depth = wall(step=True).depth.copy()
    depth[5:9] = 0
    exact = Predictions(depth, normals=wall().normals, edges=wall(step=True).edges)
    first, second = (MonocularNetwork(MonocularConfig(), np.random.default_rng(4))(exact) for _ in range(2))
    for name in ("depth", "normals", "edges", "confidence"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert not first.depth[5:9].any()
    with pytest.raises(ValueError, match="exact depth, normals and edges"):
        MonocularNetwork(MonocularConfig(), np.random.default_rng(0))(Predictions(depth))
