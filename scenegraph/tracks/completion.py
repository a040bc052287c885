"""From the visible part of a thing to its whole box: its size, and its centre when it is cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scenegraph.tracks.detection import Detection
from scenegraph.tracks.track_config import TrackingConfig

Array = NDArray[np.float64]

LEAST_TOP, MOST_TOP = 0.6, 1.3  # shares of a thing's height between which what is visible of it ends
LEAST_HEIGHT = 0.7  # share of the height of its class that a thing has
BELOW = 0.15  # metres by which something may be seen below the floor on which it stands
STOREY = 2.3  # metres over a floor within which things stand on it
LEVEL_STEP, LEAST_SUPPORT = 0.2, 3  # metres between two floors, and views for one


@dataclass(frozen=True)
class BodySize:
    """Metres: `thickness` and `width` are the smaller and the larger horizontal extent, `height` is from the floor."""

    thickness: float
    width: float
    height: float


def body_size(detections: Sequence[Detection], prior: BodySize | None = None) -> BodySize:
    """The size behind many views of one thing, or of things of one class.

    Every view shows at most the whole, so extents are upper quantiles over the views that are not cut on that
    axis; where there are fewer than three of those, the prior counts, or else what the cut views show.
    """
    across = [d.high[1] - d.low[1] for d in detections if not d.cut & {"left", "right"}]
    if len(across) >= 3:
        # Seen along and across its width, a thing shows an extent between its thickness and its width.
        thickness, width = float(np.quantile(across, 0.2)), float(np.quantile(across, 0.8))
    elif prior is not None:
        thickness, width = prior.thickness, prior.width
    else:
        thickness = width = max(float(d.high[1] - d.low[1]) for d in detections)
    heights = [height for height in map(visible_height, detections) if height is not None]
    if len(heights) >= 3:
        height = float(np.quantile(heights, 0.8))
    elif prior is not None:
        height = prior.height
    else:
        height = max([*heights, *(float(d.high[2] - d.low[2]) for d in detections)])
    if prior is not None and detections[0].label_id and height < LEAST_HEIGHT * prior.height:
        height = prior.height  # its head was hidden by something that was not noticed
    return BodySize(thickness, width, height)


def complete(detection: Detection, size: BodySize, floor: float | None, config: TrackingConfig) -> tuple[Array, Array]:
    """Centre (3,) of the whole box in the world and its covariance (3, 3), from one view.

    Along the line of sight only the near side is visible, so half of the thickness lies behind it. A side that is cut is
    completed from the opposite side. Where the floor is known, the thing stands on it.
    """
    depth = np.clip(detection.high[0] - detection.low[0], size.thickness, size.width)
    away = detection.low[0] + depth / 2
    aside, aside_noise = _complete_axis(detection, 1, size.width, config)
    up, up_noise = _complete_axis(detection, 2, size.height, config)
    if floor is not None:
        up, up_noise = _over_floor(detection, floor, size.height, config)
    center = detection.axes @ np.array([away, aside, up])
    away_noise = config.position_noise + config.depth_noise * detection.distance
    noise = np.array([away_noise, aside_noise, up_noise])
    return center, detection.axes @ np.diag(noise**2) @ detection.axes.T


def _over_floor(detection: Detection, floor: float, height: float, config: TrackingConfig) -> tuple[float, float]:
    """Height of the centre of a thing that stands on a floor and its standard deviation.

    Its top is accepted where that gives nearly its whole height: a part may be hidden without a visible occluder.
    """
    top = float(detection.high[2]) - floor
    if "above" not in detection.cut and LEAST_TOP * height <= top <= MOST_TOP * height:
        return floor + top / 2, config.position_noise
    return floor + height / 2, float(np.hypot(config.position_noise, config.cut_noise / 2))


def _complete_axis(detection: Detection, axis: int, extent: float, config: TrackingConfig) -> tuple[float, float]:
    """Centre along the lateral (1) or vertical (2) axis and its standard deviation."""
    low_side, high_side = ("right", "left") if axis == 1 else ("below", "above")
    low, high = float(detection.low[axis]), float(detection.high[axis])
    half = max(extent, high - low) / 2
    low_cut, high_cut = low_side in detection.cut, high_side in detection.cut
    noise = float(np.hypot(config.position_noise, config.cut_noise * (low_cut + high_cut)))
    if low_cut == high_cut:
        return (low + high) / 2, noise
    return (high - half if low_cut else low + half), noise


def visible_height(detection: Detection) -> float | None:
    """Height over the floor where the head is visible and the feet or the floor are."""
    if "above" in detection.cut:
        return None
    if detection.floor is not None:
        return float(detection.high[2] - detection.floor)
    return None if "below" in detection.cut else float(detection.high[2] - detection.low[2])


def floors_under(detections: Sequence[Detection]) -> list[float | None]:
    """Floor height under each detection of one thing: that around it, else its feet, by the median of five close in time."""
    known = [(d.time, d.floor) for d in detections if d.floor is not None]
    if not known:
        known = [(d.time, float(d.low[2])) for d in detections if "below" not in d.cut]
    if not known:
        return [None] * len(detections)
    times, heights = np.array(known).T
    return [float(np.median(heights[np.argsort(np.abs(times - d.time), kind="stable")[:5]])) for d in detections]


def with_known_floors(frames: Sequence[tuple[float, list[Detection]]]) -> list[tuple[float, list[Detection]]]:
    """The detections of all frames; one whose floor is out of view stands on the highest floor below it that others saw.

    Where there are no labels, what is level may be furniture, and the lowest of a storey is its floor.
    """
    seen = np.sort([d.floor for _, found in frames for d in found if d.floor is not None])
    groups = np.split(seen, np.flatnonzero(np.diff(seen) > LEVEL_STEP) + 1) if len(seen) else []
    levels = np.array([np.median(group) for group in groups if len(group) >= LEAST_SUPPORT])

    def floor(detection: Detection) -> float | None:
        below = levels[(levels <= detection.low[2] + BELOW) & (levels >= detection.low[2] - STOREY)]
        if not len(below):
            return detection.floor
        return float(below.min() if detection.label_id == 0 else below.max())

    return [
        (time, [d if d.floor is not None and d.label_id else replace(d, floor=floor(d)) for d in found])
        for time, found in frames
    ]
