"""The metrics against scikit-learn's and scipy's own, on random data seen over several updates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    jaccard_score,
    mean_absolute_percentage_error,
    root_mean_squared_error,
)

from m2h.metrics import DepthMetrics, NormalMetrics, SegmentationMetrics


def test_depth_against_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    metrics, predicted, truth = DepthMetrics(), [], []
    for _ in range(3):
        t = rng.uniform(0.5, 8, (20, 30)) * (rng.random((20, 30)) > 0.3)
        p = np.maximum(t, 0.5) * np.exp(rng.normal(scale=0.3, size=t.shape))
        metrics.update(p, t)
        predicted.append(p[t > 0])
        truth.append(t[t > 0])
    p, t = np.concatenate(predicted), np.concatenate(truth)
    scores = metrics.compute()
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(t, p))
    assert scores["abs_rel"] == pytest.approx(mean_absolute_percentage_error(t, p))
    assert scores["silog"] == pytest.approx(np.std(np.log(p) - np.log(t)))
    for power in (1, 2, 3):
        within = accuracy_score(np.ones(len(p), int), (np.maximum(p / t, t / p) < 1.25**power).astype(int))
        assert scores[f"delta_{power}"] == pytest.approx(within)


@pytest.mark.parametrize("classes", [3, 40])
def test_segmentation_against_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(2)
    metrics, predicted, truth = SegmentationMetrics(classes), [], []
    for _ in range(3):
        t = rng.integers(0, classes + 1, (20, 30))
        p = np.where(rng.random(t.shape) < 0.6, t, rng.integers(1, classes + 1, t.shape))
        metrics.update(p, t)
        predicted.append(p[t > 0])
        truth.append(t[t > 0])
    p, t = np.concatenate(predicted), np.concatenate(truth)
    seen = np.unique(t)
    scores = metrics.compute()
    assert scores["miou"] == pytest.approx(jaccard_score(t, p, labels=seen, average="macro", zero_division=0))
    assert scores["mean_accuracy"] == pytest.approx(balanced_accuracy_score(t, p))
    assert scores["pixel_accuracy"] == pytest.approx(accuracy_score(t, p))
    np.testing.assert_array_equal(metrics.confusion, confusion_matrix(t, p, labels=np.arange(classes + 1)))


def test_normals_against_rotations() -> None:
    """Each normal is turned by a rotation about an axis at right angles to it, whose angle scipy returns."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(30, 40, 3))
    truth /= np.linalg.norm(truth, axis=-1, keepdims=True)
    axis = np.cross(truth, rng.normal(size=truth.shape))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    turn = Rotation.from_rotvec((axis * rng.uniform(0, np.pi, (30, 40, 1))).reshape(-1, 3))
    angle = np.rad2deg(turn.magnitude())
    metrics = NormalMetrics()
    metrics.update(3 * turn.apply(truth.reshape(-1, 3)).reshape(truth.shape), truth)
    scores = metrics.compute()
    assert scores["normal_mean_deg"] == pytest.approx(angle.mean())
    assert scores["normal_median_deg"] == pytest.approx(np.median(angle), abs=0.3)
    for limit, name in ((11.25, "normal_11_25"), (22.5, "normal_22_5"), (30, "normal_30")):
        assert scores[name] == pytest.approx((angle <= limit).mean())
