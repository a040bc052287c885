"""Where a track is at a time that it may have no sample of, and its path as far as it is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenegraph.nodes import TrackNode

MAX_GAP = 1.0  # seconds between two samples of a track over which it is interpolated
SAME_TIME = 1e-4  # seconds
LEAST_PATH = 0.5
"""Metres that something goes at least of which it is said that it moved."""


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


def stretches(track: TrackNode, *, max_gap: float = MAX_GAP) -> list[NDArray[np.float64]]:
    """The positions (K, 3) of each stretch of time without a gap of more than `max_gap` seconds.

    Nobody knows the path between two of them, which may lead through other rooms; a line from one to the next crosses walls.
    """
    positions = np.asarray(track.positions, dtype=np.float64)
    return np.split(positions, np.flatnonzero(np.diff(np.asarray(track.times)) > max_gap) + 1) if len(positions) else []


def path_length(track: TrackNode) -> float:
    """Metres along a track, without the gaps between its stretches."""
    return sum(float(np.linalg.norm(np.diff(piece, axis=0), axis=1).sum()) for piece in stretches(track))
