"""What moves in a sequence, whatever its label: from the depth of all frames to the pixels of movers in each.

Depth that ends where other frames saw free space is moving or was moved. Clusters of it are tracked, and a track is accepted
when it went farther than the noise of depth explains, or when it is like a person and was there for a short time only.
After the idea of Khronos (Schmid et al., RSS 2024) and of Dynablox (Schmid et al., RA-L 2023), with the whole sequence known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scenegraph.labels import LabelSpace
from scenegraph.motion.clusters import moving_clusters
from scenegraph.motion.evidence import Comparison
from scenegraph.motion.views import Views
from scenegraph.tracks.detection import Detection, LabelledView
from scenegraph.tracks.detector import detect_parts
from scenegraph.tracks.track_config import DetectionConfig, DynamicsConfig
from scenegraph.tracks.tracking import Linked, link

Pixels = NDArray[np.int32]
Progress = Callable[[int, int], None]

LEAST_PATH = 0.5  # metres that a mover goes at least
NOISES = 2.0  # margins of the comparison that it goes at least
LEAST_DETECTIONS = 3
LEAST_SIZE, LEAST_STANDING = 0.08, 0.05
"""Square metres, width by height in view, of what goes somewhere and of who stands."""
LONGEST_GAP = 1.0  # seconds out of view after which the place of a thing is no evidence that it went there
EXACT = 0.15  # metres of margin up to which depth is exact enough to accept what does not go anywhere
SHORT_STAND, LONGEST_STAND = 20.0, 60.0
"""Seconds for which something upright, and something upright and slender, may rest that is still a mover."""
UPRIGHT = (1.2, 2.2)  # metres over the floor that somebody who stands reaches
BROADEST, SLENDER, NARROWEST = 1.0, 0.8, 0.25  # metres
PART_DISTANCE = 0.6  # metres over the floor plan between the middle of a mover and a part of it


@dataclass(frozen=True, eq=False)
class Movers:
    """Pixels of movers by position of the frame in the views, where there are any: track number from 1 and flat pixels (N,).

    The images have `shape` and are reduced by `stride`. `tracks` and `rejected` count what was accepted and what was not.
    """

    parts: dict[int, list[tuple[int, Pixels]]]
    shape: tuple[int, int]
    stride: int
    tracks: int
    rejected: int

    def mask(self, frame: int) -> NDArray[np.uint16]:
        """(H, W) track numbers, 0 for what does not move."""
        numbers = np.zeros(self.shape[0] * self.shape[1], np.uint16)
        for number, pixels in reversed(self.parts.get(frame, [])):
            numbers[pixels] = number
        return numbers.reshape(self.shape)


def find_movers(
    views: Views, label_space: LabelSpace, config: DynamicsConfig, progress: Progress = lambda done, total: None
) -> Movers:
    """The movers of a sequence whose world has z up."""
    comparison = Comparison(views)
    count = len(views.times)
    frames: list[tuple[float, list[Detection]]] = []
    pixels: dict[tuple[float, ...], tuple[Detection, int, Pixels]] = {}
    settings = DetectionConfig(min_pixels=6, min_area=0.01, max_depth=config.detection.max_depth)
    for frame in range(count):
        clusters = moving_clusters(comparison, frame)
        found = []
        if clusters.any():
            found = detect_parts(_view(views, frame, clusters), label_space, settings, separate=True)
            pixels |= {_key(each): (each, frame, np.flatnonzero(part).astype(np.int32)) for each, part in found}
        frames.append((float(views.times[frame]), [detection for detection, _ in found]))
        progress(frame + 1, count)
    linked = link(frames, replace(config.tracking, min_detections=1))
    accepted = [each for each in linked if _is_mover(each, comparison)]
    parts: dict[int, list[tuple[int, Pixels]]] = {}
    for number, each in enumerate(accepted, start=1):
        for detection in each.detections:
            _, frame, part = pixels.pop(_key(detection))
            parts.setdefault(frame, []).append((number, part))
    for each in linked:
        for detection in each.detections:
            pixels.pop(_key(detection), None)
    _add_parts(parts, list(pixels.values()), accepted)
    height, width = views.at.shape[1:]
    return Movers(parts, (height, width), views.stride, len(accepted), len(linked) - len(accepted))


def _add_parts(
    parts: dict[int, list[tuple[int, Pixels]]],
    others: Sequence[tuple[Detection, int, Pixels]],
    accepted: Sequence[Linked],
) -> None:
    """Add what was detected besides, such as an arm behind a post, where it is near a mover at that time."""
    for detection, frame, pixels in others:
        for number, each in enumerate(accepted, start=1):
            times = [other.time for other in each.detections]
            at = int(np.searchsorted(times, detection.time))
            if at < len(times) and times[at] == detection.time:
                away = np.linalg.norm(detection.center[:2] - each.positions[at, :2])
                if away <= PART_DISTANCE:
                    parts.setdefault(frame, []).append((number, pixels))


def _key(detection: Detection) -> tuple[float, ...]:
    """What distinguishes a detection from all others."""
    return (detection.time, *detection.low.tolist(), *detection.high.tolist())


def _view(views: Views, frame: int, clusters: NDArray[np.uint16]) -> LabelledView:
    depth = (views.at[frame] * views.unit).astype(np.float32)
    pose = views.T_world_camera[frame]
    return LabelledView(float(views.times[frame]), depth, None, views.camera(frame), pose, moving=clusters)


def _is_mover(each: Linked, comparison: Comparison) -> bool:
    """Whether a track is something that moves rather than an error of depth or a thing that was put somewhere."""
    distance = float(np.median([detection.distance for detection in each.detections]))
    margin = comparison.margin(distance)
    extents = np.array([detection.high[1:] - detection.low[1:] for detection in each.detections])
    size = float(np.sort(extents.prod(axis=1))[-2:][0])  # the second largest: not one outlier
    times = np.array([detection.time for detection in each.detections])
    for path in np.split(each.positions[:, :2], np.flatnonzero(np.diff(times) > LONGEST_GAP) + 1):
        if len(path) >= LEAST_DETECTIONS and size >= LEAST_SIZE:
            away = np.linalg.norm(path - np.median(path, axis=0), axis=1)
            gone = 2 * float(np.partition(away, -2)[-2])  # by the second farthest: not one outlier
            if gone >= max(LEAST_PATH, NOISES * margin):
                return True
    return margin <= EXACT and size >= LEAST_STANDING and _may_be_somebody(each.detections)


def _may_be_somebody(detections: Sequence[Detection]) -> bool:
    """Whether detections of one thing at rest show somebody upright for a short time, in most views."""
    width = float(np.median([detection.high[1] - detection.low[1] for detection in detections]))
    stay = detections[-1].time - detections[0].time
    upright = float(np.mean([_is_upright(detection) for detection in detections]))
    broadest, longest = (SLENDER, LONGEST_STAND) if stay > SHORT_STAND else (BROADEST, SHORT_STAND)
    return width <= broadest and stay <= longest and upright >= 0.5


def _is_upright(detection: Detection) -> bool:
    base = float(detection.low[2]) if detection.floor is None else detection.floor
    is_wide = bool(detection.cut & {"left", "right"}) or float(detection.high[1] - detection.low[1]) >= NARROWEST
    return is_wide and UPRIGHT[0] <= float(detection.high[2]) - base <= UPRIGHT[1]
