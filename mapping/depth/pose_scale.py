"""The metric scale of the poses of a sequence, from depth in metres: structure from motion leaves it undetermined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.depth.robust import frame_outliers, weighted_spread
from mapping.depth.samples import DepthSamples
from mapping.evenly import evenly
from mapping.se3 import inverse

Array = NDArray[np.float64]

COARSE_STRIDE = 6  # of the samples that are compared
MAX_FRAMES = 40
STEPS_PER_OCTAVE = 6
RANGE = 64.0  # factor by which the unit may be larger or smaller than a metre
TOLERANCE = 0.15  # log ratio of depths at which agreement ends
MIN_SEEN_SHARE = 0.02  # share of all points that must be seen by other frames for a scale to be scored
MIN_GAIN = 0.02  # agreement by which a scale must exceed that of a camera that does not move
LEAST_POINTS = 12
"""Points of a frame from which a scale is estimated."""


@dataclass(frozen=True)
class PoseScale:
    """Metres per unit of the poses; spread is the relative deviation of the scales of single frames, None if not computed.

    deviation is how far the scale may be off, relative: two standard deviations with what all frames share; None if not known.
    evidence is what it was estimated by, in a few words each.
    """

    scale: float
    spread: float | None = None
    deviation: float | None = None
    evidence: tuple[str, ...] = ()


def pose_scale_from_points(ratios: Sequence[Array]) -> PoseScale | None:
    """The scale from `depth in metres / depth of a sparse point in the poses' unit`, an array (n,) per frame.

    Of each frame the median of the log ratios, half of whose points may be wrong; of all frames the mean without outliers. A
    network that is unsure tends to middle distances: near views come out too large and far ones too small. The mean balances the
    two, where the median follows the more frequent ones. None where no frame has twelve points.
    """
    logs = [float(np.median(np.log(ratio))) for ratio in ratios if len(ratio) >= LEAST_POINTS]
    if not logs:
        return None
    values = np.array(logs)
    kept = np.delete(values, list(frame_outliers(values)))
    return PoseScale(float(np.exp(kept.mean())), weighted_spread(values, np.ones(len(values))))


def pose_scale_from_overlap(frames: Sequence[DepthSamples]) -> PoseScale | None:
    """The scale of the camera's motion at which frames, projected into each other, agree best in depth.

    A search over all scales, then the vertex of a parabola around the best. None where frames agree hardly better than for a
    camera that does not move: then the motion is too short, or the depth too inaccurate, to determine the scale.
    """
    chosen = evenly(frames, MAX_FRAMES)
    if len(chosen) < 2:
        return None
    octaves = np.log2(RANGE)
    logs = np.linspace(-octaves, octaves, round(2 * octaves * STEPS_PER_OCTAVE) + 1) * np.log(2)
    scores = np.array([_agreement(chosen, float(np.exp(x))) for x in logs])
    best = int(np.argmax(scores))
    if not 0 < best < len(logs) - 1 or scores[best] < _agreement(chosen, 0.0) + MIN_GAIN:
        return None
    for _ in range(3):  # the maximum is narrower than the first steps
        fine = np.linspace(-1, 1, 7) * (logs[1] - logs[0]) + logs[best]
        values = np.array([_agreement(chosen, float(np.exp(x))) for x in fine])
        logs, best = fine, int(np.clip(np.argmax(values), 1, len(fine) - 2))
    low, middle, high = values[best - 1 : best + 2]
    bend = low - 2 * middle + high
    offset = 0.5 * (low - high) / bend if bend < 0 else 0.0
    return PoseScale(float(np.exp(logs[best] + np.clip(offset, -1, 1) * (logs[1] - logs[0]))))


def scaled(frame: DepthSamples, scale: float, depth_scale: float = 1.0) -> DepthSamples:
    """The frame with its camera position times `scale` and its depth times `depth_scale`."""
    T = frame.T_world_camera.copy()
    T[:3, 3] *= scale
    depth = frame.depth if depth_scale == 1 else frame.depth * frame.depth.dtype.type(depth_scale)
    return replace(frame, T_world_camera=T, depth=depth)


def _agreement(frames: Sequence[DepthSamples], scale: float) -> float:
    """Agreement of depths, 0 to 1, over all points of all frames that others see."""
    moved = [scaled(frame, scale) for frame in frames]
    coarse = slice(COARSE_STRIDE // 2, None, COARSE_STRIDE)
    points = np.concatenate([frame.points()[coarse, coarse].reshape(-1, 3) for frame in moved])
    known = np.concatenate([frame.depth[coarse, coarse].ravel() > 0 for frame in moved])
    owner = np.repeat(np.arange(len(moved)), len(points) // len(moved))
    agreed, seen = 0.0, 0
    for j, frame in enumerate(moved):
        T = inverse(frame.T_world_camera)
        inside, z, sample = frame.look_up(points @ T[:3, :3].T + T[:3, 3])
        there = frame.depth.ravel()[sample]
        compared = inside & known & (there > 0) & (owner != j)
        error = np.log(z[compared] / there[compared]) / TOLERANCE
        agreed += float(np.maximum(1 - error**2, 0).sum())
        seen += int(compared.sum())
    return agreed / seen if seen > MIN_SEEN_SHARE * len(points) else 0.0
