"""What is refused of a sequence because no camera and no sensor has it, before anything is computed from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.frame import FrameInfo, SequenceError
from pipelines.sequences.conventions import FARTHEST

MOST_SPREADS, LEAST_SPREAD = 1e4, 1.0
"""A camera that is farther from the middle of all than this many times their median distance has a damaged pose."""
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
        limit = MOST_SPREADS * max(float(np.median(distance[possible & used])), LEAST_SPREAD)
    else:
        limit = np.inf
    return tuple(
        info
        if info.T_world_camera is None or (possible[i] and distance[i] <= limit)
        else _lost(info, "far from the other cameras" if possible[i] else "too far from the origin")
        for i, info in enumerate(infos)
    )


def _lost(info: FrameInfo, where: str) -> FrameInfo:
    reason = info.reason or f"lost pose ({where})"
    return replace(info, used=False, reason=reason, T_world_camera=None)


def check_depth_scale(scale: float, where: str) -> None:
    """Raises SequenceError that begins with `where` for stored units per metre that no sensor has."""
    low, high = DEPTH_SCALES
    if not low <= scale <= high:
        raise SequenceError(f"{where}: depth has {scale:g} units per metre, expected a number from {low:g} to {high:g}")
