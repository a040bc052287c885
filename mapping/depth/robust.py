"""Robust statistics: medians and spreads that outliers do not move, and weights that exclude them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TUNING = 4.685  # of Tukey's biweight: 95 % of least squares' efficiency under normal noise
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
MIN_SPREAD = 1e-6
OUTLIER_DEVIATIONS = 4.0
MIN_OUTLIER = 0.02  # log scale; frames nearer than this to the others are never outliers


def weighted_median(values: Array, weight: Array) -> float:
    """The value at which half of the weight lies on either side. Raises ValueError when no weight is positive."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order])
    if not len(below) or not below[-1] > 0:
        raise ValueError("a median needs a positive weight")
    middle = 0.5 * below[-1]
    low = int(np.searchsorted(below, middle, side="left"))
    high = int(np.searchsorted(below, middle, side="right"))  # differs where the weight falls into two equal halves
    return float(0.5 * (values[order[low]] + values[order[min(high, len(order) - 1)]]))


def weighted_spread(values: Array, weight: Array) -> float:
    """A standard deviation that outliers do not move: from the weighted median of the distances to the weighted median."""
    centre = weighted_median(values, weight)
    return max(MAD_TO_DEVIATION * weighted_median(np.abs(values - centre), weight), MIN_SPREAD)


def biweight(error: Array, spread: Array | float) -> Array:
    """Tukey's weights: 1 for no error, 0 beyond 4.685 standard deviations."""
    share = error / (TUNING * np.maximum(spread, MIN_SPREAD))
    return np.where(np.abs(share) < 1, (1 - share * share) ** 2, 0.0)


def frame_outliers(logs: Array) -> tuple[int, ...]:
    """Frames whose log scale, of (N,), is far from that of the others; none of fewer than three."""
    if len(logs) < 3:
        return ()
    off = np.abs(logs - np.median(logs))
    limit = max(OUTLIER_DEVIATIONS * weighted_spread(logs, np.ones(len(logs))), MIN_OUTLIER)
    return tuple(np.flatnonzero(off > limit).tolist())
