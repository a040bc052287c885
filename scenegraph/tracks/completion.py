"""From the visible part of a thing to its whole box: its size, and its centre when it is cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenegraph.tracks.detection import Detection
from scenegraph.tracks.track_config import TrackingConfig

Array = NDArray[np.float64]


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
    return BodySize(thickness, width, height)


def complete(detection: Detection, size: BodySize, floor: float | None, config: TrackingConfig) -> tuple[Array, Array]:
    """Centre (3,) of the whole box in the world and its covariance (3, 3), from one view.

    Along the line of sight only the near side is visible, so half of the thickness lies behind it. A side that is cut is
    completed from the opposite side; downwards the floor is used.
    """
    depth = np.clip(detection.high[0] - detection.low[0], size.thickness, size.width)
    away = detection.low[0] + depth / 2
    aside, aside_noise = _complete_axis(detection, 1, size.width, config)
    up, up_noise = _complete_axis(detection, 2, size.height, config)
    if floor is not None and "below" in detection.cut:
        top = detection.high[2] if "above" not in detection.cut else floor + size.height
        up = (floor + top) / 2 if top - floor > 0.5 * size.height else floor + size.height / 2
        up_noise = config.cut_noise
    center = detection.axes @ np.array([away, aside, up])
    away_noise = config.position_noise + config.depth_noise * detection.distance
    noise = np.array([away_noise, aside_noise, up_noise])
    return center, detection.axes @ np.diag(noise**2) @ detection.axes.T


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
    if "below" not in detection.cut:
        return float(detection.high[2] - detection.low[2])
    return None if detection.floor is None else float(detection.high[2] - detection.floor)


def floors_under(detections: Sequence[Detection]) -> list[float | None]:
    """Floor height under each detection of one thing: the floor around it or its feet, by the median of five close in time."""
    known = [
        (d.time, d.floor if d.floor is not None else float(d.low[2]))
        for d in detections
        if d.floor is not None or "below" not in d.cut
    ]
    if not known:
        return [None] * len(detections)
    times, heights = np.array(known).T
    return [float(np.median(heights[np.argsort(np.abs(times - d.time), kind="stable")[:5]])) for d in detections]
