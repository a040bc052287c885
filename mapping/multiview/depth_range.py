"""The depth range of the surfaces of a sequence, from feature points that its images share. OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.evenly import evenly
from mapping.multiview.views import PosedImage
from mapping.se3 import inverse

Array = NDArray[np.float64]

PROBES = 12  # frames, spread over the sequence, whose points are measured
GAPS = (2, 4, 8, 16, 32)  # frames between the two images of a pair; the speed of the camera is unknown
WIDTH = 540  # pixels of the long side of the images in which points are found
FEATURES = 800
RATIO = 0.8  # a match is unlike the second best one (Lowe, IJCV 2004, section 7.1)
MAX_TURN_DEG = 45.0  # between the viewing directions of a pair
MIN_ANGLE_DEG = 1.5  # between the rays to a point: less measures no depth
MAX_ERROR_PX = 3.0  # reprojection error of a point
ENOUGH = 40  # points of a probe after which no wider pair is tried
MIN_POINTS = 60  # points of a sequence that are needed for a range
TAIL = 2.0  # percent of the points at either end that may be wrong
MARGIN = 1.6  # surfaces without points may be this much nearer or farther


@dataclass(frozen=True)
class DepthRange:
    """Depths between which surfaces lie and that of a typical one, in the unit of the poses, and the number of points used."""

    near: float
    far: float
    typical: float
    points: int


def find_depth_range(load: Callable[[int], PosedImage | None], poses: Array) -> DepthRange | None:
    """The depth range of a sequence in the unit of its poses (N, 4, 4); None where its images share too few points.

    SIFT points of a dozen frames are matched with those of frames that follow, and triangulated. The range extends
    beyond the outermost inliers. `load` returns a frame by its number, None for an unreadable one.
    """
    usable = np.flatnonzero(np.isfinite(poses).all(axis=(1, 2)))
    features = _Features(load)
    found: list[Array] = []
    for place in evenly(range(len(usable)), PROBES):
        count = 0
        for other in _partners(usable, poses, place):
            depths = _shared_depths(features, poses, int(usable[place]), other)
            found.append(depths)
            count += len(depths)
            if count >= ENOUGH:
                break
    depth = np.concatenate([*found, np.zeros(0)])
    if len(depth) < MIN_POINTS:
        return None
    near, typical, far = np.percentile(depth, [TAIL, 50.0, 100.0 - TAIL])
    return DepthRange(float(near / MARGIN), float(far * MARGIN), float(typical), len(depth))


def triangulate(
    K_a: Array, K_b: Array, T_b_a: Array, pixels_a: Array, pixels_b: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Points (M, 3) in camera a of pixels (M, 2) in a and b, and which of them are valid.

    Valid ones lie in front of both cameras, are seen under a wide enough angle, and have a small reprojection error.
    """
    P_a, P_b = K_a @ np.eye(4)[:3], K_b @ T_b_a[:3]
    homogeneous = cv2.triangulatePoints(P_a, P_b, pixels_a.T.astype(np.float64), pixels_b.T.astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        points = (homogeneous[:3] / homogeneous[3]).T
        in_b = points @ T_b_a[:3, :3].T + T_b_a[:3, 3]
        good = (points[:, 2] > 0) & (in_b[:, 2] > 0)
        for K, local, pixels in ((K_a, points, pixels_a), (K_b, in_b, pixels_b)):
            projected = local @ K.T
            error = np.linalg.norm(projected[:, :2] / projected[:, 2:] - pixels, axis=1)
            good &= error <= MAX_ERROR_PX
        centre = inverse(T_b_a)[:3, 3]
        cosine = (points * (points - centre)).sum(axis=1)
        cosine /= np.linalg.norm(points, axis=1) * np.linalg.norm(points - centre, axis=1)
        good &= cosine < np.cos(np.deg2rad(MIN_ANGLE_DEG))
    return points, good


class _FramePoints(NamedTuple):
    """Feature points of a frame: pixels (M, 2), SIFT descriptors (M, 128), and the camera matrix (3, 3) of both."""

    pixels: Array
    descriptors: NDArray[np.float32]
    K: Array


class _Features:
    """Feature points of frames, detected once per frame; None for a frame without."""

    def __init__(self, load: Callable[[int], PosedImage | None]) -> None:
        self._load = load
        self._known: dict[int, _FramePoints | None] = {}
        self._detector = cv2.SIFT.create(FEATURES)

    def __call__(self, index: int) -> _FramePoints | None:
        if index not in self._known:
            view = self._load(index)
            self._known[index] = None if view is None else self._detect(view.rgb, view.intrinsics)
        return self._known[index]

    def _detect(self, rgb: NDArray[np.uint8], camera: Intrinsics) -> _FramePoints | None:
        scale = min(1.0, WIDTH / max(rgb.shape[:2]))
        small = camera.resized(max(round(camera.width * scale), 1), max(round(camera.height * scale), 1))
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        grey = cv2.resize(grey, (small.width, small.height), interpolation=cv2.INTER_AREA)
        points, descriptors = self._detector.detectAndCompute(grey, None)
        if descriptors is None or len(points) < 2:
            return None
        return _FramePoints(np.array([point.pt for point in points]), descriptors, small.matrix)


def _partners(usable: NDArray[np.int64], poses: Array, place: int) -> Iterator[int]:
    """Frames to pair with the one at `place` of the usable ones, nearest first: later ones if they exist, else earlier ones."""
    T = poses[usable[place]]
    for gap in GAPS:
        other = place + gap if place + gap < len(usable) else place - gap
        if other < 0:
            continue
        there = poses[usable[other]]
        if T[:3, 2] @ there[:3, 2] > np.cos(np.deg2rad(MAX_TURN_DEG)) and (T[:3, 3] != there[:3, 3]).any():
            yield int(usable[other])


def _shared_depths(features: _Features, poses: Array, a: int, b: int) -> Array:
    """Depths (M,) in frame a of the points that it shares with frame b."""
    seen_a, seen_b = features(a), features(b)
    if seen_a is None or seen_b is None:
        return np.zeros(0)
    pairs = cv2.BFMatcher().knnMatch(seen_a.descriptors, seen_b.descriptors, k=2)
    matches = [best for best, second in pairs if best.distance < RATIO * second.distance]
    if not matches:
        return np.zeros(0)
    pixels_a = seen_a.pixels[[match.queryIdx for match in matches]]
    pixels_b = seen_b.pixels[[match.trainIdx for match in matches]]
    points, good = triangulate(seen_a.K, seen_b.K, inverse(poses[b]) @ poses[a], pixels_a, pixels_b)
    return np.asarray(points[good, 2])
