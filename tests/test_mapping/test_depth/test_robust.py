"""Robust statistics by hand: medians by weight, spreads, and what counts as an outlier."""

import numpy as np
import pytest

from mapping.depth.robust import biweight, frame_outliers, weighted_median, weighted_spread


def test_weighted_median_by_hand():
    assert weighted_median(np.array([1.0, 2.0, 10.0]), np.array([1.0, 1.0, 3.0])) == 10.0
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.ones(3)) == 2.0
    assert weighted_median(np.array([1.0, 2.0]), np.ones(2)) == 1.5
    with pytest.raises(ValueError, match="positive weight"):
        weighted_median(np.zeros(0), np.zeros(0))


def test_a_spread_is_the_deviation_of_most_values():
    values = np.random.default_rng(2).normal(5, 0.03, 10_000)
    values[:2000] = 99
    assert weighted_spread(values, np.r_[np.zeros(2000), np.ones(8000)]) == pytest.approx(0.03, rel=0.05)
    assert weighted_spread(values, np.ones(10_000)) < 0.06


def test_biweight_by_hand():
    np.testing.assert_allclose(biweight(np.array([0, 4.685 / 2, 4.685, 9.0]), 1.0), [1, 0.5625, 0, 0])


def test_frames_of_another_scale_are_outliers():
    logs = np.random.default_rng(8).normal(0, 0.01, 30)
    logs[[4, 17]] += 0.4
    assert frame_outliers(logs) == (4, 17)
    assert frame_outliers(np.array([0, 0, 0, 0.019])) == ()
    assert frame_outliers(np.array([0, 9.0])) == ()
