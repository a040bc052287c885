"""What is refused of a sequence because no camera and no sensor has it, before anything is computed from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.frame import FrameInfo, SequenceError
from pipelines.sequences.conventions import FARTHEST

MOST_SPREADS, LEAST_SPREAD = 1e4, 1.0
"""A camera that is farther from the middle of all than this many times their median distance has a damaged pose."""
ALONE_SPREADS = 100.0
"""So has one that is farther than this many times, and half as far from every other camera: no path leads there."""
DEPTH_SCALES = (1e-4, 1e8)
"""Stored units per metre."""


def without_far_poses(infos: Sequence[FrameInfo]) -> tuple[FrameInfo, ...]:
    """The frames, of which those are lost whose cameras are where none can be: alone far from all others."""
    places = np.array([(np.nan,) * 3 if info.T_world_camera is None else info.T_world_camera[:3, 3] for info in infos])
    possible = (np.abs(places.reshape(-1, 3)) <= FARTHEST).all(axis=1)
    used = np.array([info.used for info in infos], dtype=bool)
    distance = np.zeros(len(infos))
    if (possible & used).any():
        middle = np.median(places[possible & used], axis=0)
        distance[possible] = np.linalg.norm(places[possible] - middle, axis=1)
        spread = max(float(np.median(distance[possible & used])), LEAST_SPREAD)
        far = distance > MOST_SPREADS * spread
        if (distance > ALONE_SPREADS * spread).any():
            far |= possible & (distance > ALONE_SPREADS * spread) & _is_alone(places, ALONE_SPREADS * spread / 2)
    else:
        far = np.zeros(len(infos), dtype=bool)
    return tuple(
        info
        if info.T_world_camera is None or (possible[i] and not far[i])
        else _lost(info, "far from the other cameras" if possible[i] else "too far from the origin")
        for i, info in enumerate(infos)
    )


def _is_alone(places: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """(N,) whether no other of the places (N, 3) is within a radius; those that are unknown are."""
    from scipy.spatial import cKDTree

    known = np.isfinite(places).all(axis=1)
    alone = np.ones(len(places), dtype=bool)
    if known.sum() > 1:
        alone[known] = cKDTree(places[known]).query(places[known], k=2)[0][:, 1] > radius
    return alone


def _lost(info: FrameInfo, where: str) -> FrameInfo:
    reason = info.reason or f"lost pose ({where})"
    return replace(info, used=False, reason=reason, T_world_camera=None)


def check_depth_scale(scale: float, where: str) -> None:
    """Raises SequenceError that begins with `where` for stored units per metre that no sensor has."""
    low, high = DEPTH_SCALES
    if not low <= scale <= high:
        raise SequenceError(f"{where}: depth has {scale:g} units per metre, expected a number from {low:g} to {high:g}")
