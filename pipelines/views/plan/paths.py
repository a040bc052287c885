"""Smooth lines of what moved: the noise of single positions is taken out, gaps are left open."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

Array = NDArray[np.float64]

SPREAD = 0.5
"""Seconds: standard deviation of the weights around each moment."""
STEP = 0.1
LONGEST_GAP = 3.0
"""Seconds between two positions between which no line is drawn."""
MOST_POINTS, WIDEST = 20_000, 200
"""Points of a line, and points on either side that a mean takes in."""


def smoothed(
    times: Array, positions: Array, free: shapely.Geometry, *, longest_gap: float = LONGEST_GAP
) -> list[Array]:
    """Lines (N, 2) through positions (T, 2) at increasing times (T,), each the weighted mean of what is near it in time.

    No line is drawn over gaps longer than `longest_gap` seconds. Where smoothing would leave the floor `free` and the positions
    do not, the positions are kept.
    """
    breaks = np.flatnonzero(np.diff(times) > longest_gap) + 1
    pieces = zip(np.split(times, breaks), np.split(positions, breaks), strict=True)
    return [_smooth_piece(t, p, free) for t, p in pieces if len(t) > 1]


def _smooth_piece(times: Array, positions: Array, free: shapely.Geometry) -> Array:
    count = int(np.clip((times[-1] - times[0]) / STEP, 1, MOST_POINTS)) + 1
    at = np.linspace(times[0], times[-1], count)
    straight = np.stack([np.interp(at, times, positions[:, axis]) for axis in (0, 1)], axis=1)
    reach = int(np.clip(np.ceil(3 * SPREAD / max(at[1] - at[0], 1e-9)), 1, WIDEST))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) * (at[1] - at[0]) / SPREAD) ** 2)
    padded = np.pad(straight, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd")
    smooth = np.stack([np.convolve(padded[:, axis], weights / weights.sum(), mode="valid") for axis in (0, 1)], axis=1)
    if shapely.is_empty(free):
        return smooth
    left = shapely.contains_xy(free, straight) & ~shapely.contains_xy(free, smooth)
    smooth[left] = straight[left]
    return np.asarray(smooth)
