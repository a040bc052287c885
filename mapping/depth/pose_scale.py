"""How many metres the unit of a sequence's poses is, from depth in metres: structure from motion cannot know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.depth.robust import weighted_median, weighted_spread
from mapping.depth.samples import DepthSamples
from mapping.se3 import inverse

Array = NDArray[np.float64]

COARSE_STRIDE = 6  # of the samples that are compared
MOST_FRAMES = 40
STEPS_PER_OCTAVE = 6
RANGE = 64.0  # times either way that the unit may be from a metre
TOLERANCE = 0.15  # log ratio of depths at which agreement ends
LEAST_SEEN = 0.02  # share of all points that must be looked at for a scale to be judged
LEAST_GAIN = 0.02  # agreement by which a scale must beat poses that never move
LEAST_RATIOS = 10


@dataclass(frozen=True)
class PoseScale:
    """Metres in one unit of the poses; spread is the relative deviation of what single frames say, None if not asked."""

    scale: float
    spread: float | None = None


def pose_scale_from_points(ratios: Sequence[Array]) -> PoseScale | None:
    """The scale from `depth in metres / depth of a sparse point in the poses' unit`, an array (n,) a frame.

    The median over frames of each frame's median: half the points of a frame and half the frames may be wrong. None where no
    frame has ten points.
    """
    logs = [float(np.median(np.log(ratio))) for ratio in ratios if len(ratio) >= LEAST_RATIOS]
    if not logs:
        return None
    values, weight = np.array(logs), np.ones(len(logs))
    return PoseScale(float(np.exp(weighted_median(values, weight))), weighted_spread(values, weight))


def pose_scale_from_overlap(frames: Sequence[DepthSamples]) -> PoseScale | None:
    """The scale of the camera's ways under which frames, brought into each other, agree best about depth.

    A search over all scales, then the vertex of a parabola around the best. None where frames agree hardly better than if the
    camera had never moved: then the ways are too short, or the depth too poor, to tell.
    """
    chosen = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, MOST_FRAMES).astype(int))] if frames else []
    if len(chosen) < 2:
        return None
    octaves = np.log2(RANGE)
    logs = np.linspace(-octaves, octaves, round(2 * octaves * STEPS_PER_OCTAVE) + 1) * np.log(2)
    scores = np.array([_agreement(chosen, float(np.exp(x))) for x in logs])
    best = int(np.argmax(scores))
    if not 0 < best < len(logs) - 1 or scores[best] < _agreement(chosen, 0.0) + LEAST_GAIN:
        return None
    for _ in range(3):  # the top is narrower than the first steps
        fine = np.linspace(-1, 1, 7) * (logs[1] - logs[0]) + logs[best]
        values = np.array([_agreement(chosen, float(np.exp(x))) for x in fine])
        logs, best = fine, int(np.clip(np.argmax(values), 1, len(fine) - 2))
    low, middle, high = values[best - 1 : best + 2]
    bend = low - 2 * middle + high
    offset = 0.5 * (low - high) / bend if bend < 0 else 0.0
    return PoseScale(float(np.exp(logs[best] + np.clip(offset, -1, 1) * (logs[1] - logs[0]))))


def scaled(frame: DepthSamples, scale: float) -> DepthSamples:
    """The frame at the place of its camera in another unit."""
    T = frame.T_world_camera.copy()
    T[:3, 3] *= scale
    return replace(frame, T_world_camera=T)


def _agreement(frames: Sequence[DepthSamples], scale: float) -> float:
    """How well depths agree, 0 to 1, over all points of all frames that others look at."""
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
        looked = inside & known & (there > 0) & (owner != j)
        error = np.log(z[looked] / there[looked]) / TOLERANCE
        agreed += float(np.maximum(1 - error**2, 0).sum())
        seen += int(looked.sum())
    return agreed / seen if seen > LEAST_SEEN * len(points) else 0.0
