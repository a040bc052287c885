"""Where a track is at a time that it may have no sample of."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenegraph.nodes import TrackNode

MAX_GAP = 1.0  # seconds between two samples of a track over which it is interpolated
SAME_TIME = 1e-4  # seconds


def positions_at(track: TrackNode, times: ArrayLike, *, max_gap: float = MAX_GAP) -> NDArray[np.float64]:
    """(T, 3) centres at times (T,), interpolated between samples at most `max_gap` seconds apart, NaN where there is none."""
    times = np.asarray(times, dtype=np.float64)
    known = np.asarray(track.times, dtype=np.float64)
    positions = np.asarray(track.positions, dtype=np.float64)
    if len(known) == 0:
        return np.full((len(times), 3), np.nan)
    after = np.clip(np.searchsorted(known, times), 0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    result = np.stack([np.interp(times, known, positions[:, axis]) for axis in range(3)], axis=1)
    on_sample = np.minimum(np.abs(known[after] - times), np.abs(known[before] - times)) <= SAME_TIME
    between = (known[before] <= times) & (times <= known[after]) & (known[after] - known[before] <= max_gap)
    result[~(on_sample | between)] = np.nan
    return result
