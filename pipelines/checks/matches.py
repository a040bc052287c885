"""Matched features of pairs of frames, and how well poses and a camera explain them: the epipolar error in pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.multiview.features import epipolar_distance, inside_image, match_features
from mapping.se3 import inverse
from pipelines.checks.sampler import FrameSampler, PairLimits
from pipelines.frame import Frame, FrameInfo

Array = NDArray[np.float64]
LIMITS = PairLimits(largest_turn_deg=25, sufficient_turn_deg=12, least_distance=0.1, longest_step=40)
"""Frames that have turned and moved: what depends on the focal length and on the time of a pose shows in them."""
MATCHED_PAIRS = 40
LEAST_MATCHES = 12
MOST_TRACKED, LEAST_TRACKED = 400, 20
"""Features that are followed in a pair, and with fewer of them it proves nothing."""
CLIP = 8 / 640
"""Error at which a match counts as wrong, as a share of the image's width."""


Kind = Literal["images", "depth"]
"""What of two frames is compared: features of their images, in pixels from their epipolar lines, or their depths, relatively."""


Lens = Callable[[Intrinsics], Intrinsics]
"""Another camera in place of each frame's."""


class ComparedPair(Protocol):
    """Two frames of which something in the one is looked for in the other."""

    kind: ClassVar[Kind]

    @property
    def a(self) -> FrameInfo:
        """The first frame."""
        ...

    @property
    def b(self) -> FrameInfo:
        """The second frame."""
        ...

    @property
    def count(self) -> int:
        """Features or points that are compared."""
        ...

    def error(self, T_b_a: Array | None = None, lens: Lens | None = None) -> float:
        """How far they are from where poses and cameras have them, on average: by default those of the frames, else the relative
        pose (4, 4), and what `lens` makes of each frame's camera."""
        ...


@dataclass(frozen=True, eq=False)
class MatchedPair:
    """Two frames, by their positions in the sequence, and the pixels (N, 2) of the same features in each."""

    kind: ClassVar[Kind] = "images"
    positions: tuple[int, int]
    a: FrameInfo
    b: FrameInfo
    pixels_a: Array
    pixels_b: Array

    @property
    def count(self) -> int:
        """Matched features."""
        return len(self.pixels_a)

    @cached_property
    def rays(self) -> tuple[Array, Array]:
        """Directions (N, 3) with z = 1 in the axes of either frame's camera."""
        return self.a.intrinsics.pixel_rays(self.pixels_a), self.b.intrinsics.pixel_rays(self.pixels_b)

    @property
    def poses(self) -> tuple[Array, Array]:
        """`T_world_camera` (4, 4) of both."""
        assert self.a.T_world_camera is not None
        assert self.b.T_world_camera is not None
        return self.a.T_world_camera, self.b.T_world_camera

    def with_focal_factor(self, factor: float) -> MatchedPair:
        """The same matches of frames whose cameras have focal lengths times a factor."""
        return self.seen_through(partial(with_focal_factor, factor=factor))

    def seen_through(self, lens: Lens) -> MatchedPair:
        """The same matches of frames whose cameras are what `lens` makes of each."""
        a, b = (replace(frame, intrinsics=lens(frame.intrinsics)) for frame in (self.a, self.b))
        return replace(self, a=a, b=b)

    def error(self, T_b_a: Array | None = None, lens: Lens | None = None) -> float:
        """Mean epipolar error in pixels, each match's clipped, with cameras that may be distorted; see `ComparedPair`."""
        return float(self._distances(T_b_a, lens).mean())

    def median_error(self, T_b_a: Array | None = None, lens: Lens | None = None) -> float:
        """The same, but the median over the matches, which wrong ones hardly change."""
        return float(np.median(self._distances(T_b_a, lens)))

    def _distances(self, T_b_a: Array | None, lens: Lens | None) -> Array:
        T_a, T_b = self.poses
        T = inverse(T_b) @ T_a if T_b_a is None else T_b_a
        a, b = (frame.intrinsics if lens is None else lens(frame.intrinsics) for frame in (self.a, self.b))
        rays = a.pixel_rays(self.pixels_a), b.pixel_rays(self.pixels_b)
        most = CLIP * a.width
        distance = np.nan_to_num(epipolar_distance(np.asarray(T), *rays) * a.fx, nan=most)
        return np.asarray(np.minimum(distance, most))


def matched_pairs(sampler: FrameSampler, limits: PairLimits = LIMITS, count: int = MATCHED_PAIRS) -> list[MatchedPair]:
    """Pairs spread over a sequence, of frames of one size, that have enough matches."""
    pairs = []
    for a, b in of_one_size(sampler, sampler.pairs(limits, count)):
        in_a, in_b = sampler.features(a), sampler.features(b)
        if in_a is None or in_b is None:
            continue
        matches = match_features(in_a, in_b)
        if len(matches) >= LEAST_MATCHES:
            pairs.append(_matched(sampler, (a, b), in_a.pixels[matches[:, 0]], in_b.pixels[matches[:, 1]]))
    return pairs


def tracked_pairs(sampler: FrameSampler, limits: PairLimits) -> list[MatchedPair]:
    """Pairs of frames that have hardly turned, with features followed from one image to the other."""
    pairs = []
    for a, b in of_one_size(sampler, sampler.pairs(limits)):
        in_a, in_b = sampler.frame(a), sampler.frame(b)
        if in_a is not None and in_b is not None:
            pairs.append(_matched(sampler, (a, b), *_tracked(in_a, in_b)))
    return [pair for pair in pairs if len(pair.pixels_a) >= LEAST_TRACKED]


def of_one_size(sampler: FrameSampler, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those whose images have one size: phones state a camera of its own for every frame."""
    cameras = [info.intrinsics for info in sampler.sequence.infos]
    return [(a, b) for a, b in pairs if (cameras[a].width, cameras[a].height) == (cameras[b].width, cameras[b].height)]


def _matched(sampler: FrameSampler, pair: tuple[int, int], pixels_a: Array, pixels_b: Array) -> MatchedPair:
    a, b = (sampler.sequence.infos[position] for position in pair)
    return MatchedPair(pair, a, b, pixels_a, pixels_b)


def _tracked(a: Frame, b: Frame) -> tuple[Array, Array]:
    """Pixels (N, 2) of features in a, and where they are in b: Lucas-Kanade forwards and backwards."""
    gray_a, gray_b = (cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY) for frame in (a, b))
    corners = cv2.goodFeaturesToTrack(gray_a, MOST_TRACKED, 0.01, 7, mask=inside_image(np.asarray(gray_a)))
    if corners is None:
        return np.zeros((0, 2)), np.zeros((0, 2))
    flow: Any = partial(cv2.calcOpticalFlowPyrLK, winSize=(21, 21), maxLevel=4)
    forth, found, _ = flow(gray_a, gray_b, corners, None)
    back, found_back, _ = flow(gray_b, gray_a, forth, None)
    start, end = corners.reshape(-1, 2), np.asarray(forth).reshape(-1, 2)
    returned = np.linalg.norm(np.asarray(back).reshape(-1, 2) - start, axis=1) < 0.5
    size = np.array([b.intrinsics.width, b.intrinsics.height])
    good = returned & (found.ravel() == 1) & (found_back.ravel() == 1) & ((end > 0) & (end < size - 1)).all(axis=1)
    return start[good].astype(np.float64), end[good].astype(np.float64)


def count_apart(stretches: Sequence[tuple[int, int]]) -> int:
    """How many of the stretches (first, last) can be chosen so that no two overlap."""
    count, end = 0, -1
    for first, last in sorted(stretches, key=lambda stretch: stretch[1]):
        if first >= end:
            count, end = count + 1, last
    return count


def with_focal_factor(camera: Intrinsics, factor: float) -> Intrinsics:
    """The camera with focal lengths times a factor."""
    return replace(camera, fx=camera.fx * factor, fy=camera.fy * factor)


def errors_shown(kind: Kind, found: float, given: float) -> str:
    """Errors with what was found and as given, for users."""
    if kind == "depth":
        return f"depths of frames differ by {found:.1%}, as given by {given:.1%}"
    return f"epipolar error {found:.2f} px, as given {given:.2f} px"


def is_clear_gain(before: Sequence[float] | Array, after: Sequence[float] | Array, share: float) -> bool:
    """Whether errors of the same pairs have fallen by at least `share`, and by three standard errors of the differences."""
    difference = np.subtract(before, after)
    if len(difference) < 3:
        return False
    error = float(difference.std(ddof=1)) / len(difference) ** 0.5
    return bool(difference.mean() > max(3 * error, share * float(np.mean(before))))
