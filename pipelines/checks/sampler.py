"""Frames, their features, and pairs of frames of a sequence for checks; those that cannot be decoded are listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mapping.evenly import evenly
from mapping.lru_cache import LruCache
from mapping.multiview.features import Features
from mapping.se3 import turn_between
from pipelines.features import FrameFeatures
from pipelines.frame import Frame, FrameInfo, FrameSequence, SequenceError

T = TypeVar("T")
PAIRS = 12
KEPT_BYTES = 256 << 20
"""Of frames that are kept for the next time that they are asked for."""


@dataclass(frozen=True)
class PairLimits:
    """Which frames make a pair: the rotation between them in degrees, their distance, and at most so many frames later.

    The distance is a share of the median one over the longest step, since the unit of poses may be unknown. Limits of the
    rotation are met where possible; it is the same under every convention.
    """

    largest_turn_deg: float
    sufficient_turn_deg: float = 180.0
    least_distance: float = 0.0
    longest_step: int = 16


class FrameSampler:
    """Reads frames, keeps some, and records which are unreadable; `used` are the positions of the frames that may be read.

    Features are put into `features` and found there, by position in the sequence.
    """

    def __init__(self, sequence: FrameSequence, used: list[int], features: FrameFeatures | None = None) -> None:
        self.sequence, self.used = sequence, used
        self._features = FrameFeatures() if features is None else features
        self.broken: dict[int, str] = {}
        self._frames: LruCache[Frame] = LruCache(KEPT_BYTES, lambda frame: frame.rgb.nbytes + frame.recorded.nbytes)

    @property
    def used_infos(self) -> list[FrameInfo]:
        """What is known of the frames that may be read."""
        return [self.sequence.infos[position] for position in self.used]

    def frame(self, index: int) -> Frame | None:
        """The frame, or None when it is unreadable."""
        if index in self.broken:
            return None
        try:
            return self._frames.get(index, lambda: self.sequence[index])
        except SequenceError as error:
            self.broken[index] = str(error)
            return None

    def features(self, index: int) -> Features | None:
        """The features of the frame, or None when it is unreadable and they are not known."""
        if index in self._features:
            return self._features[index]
        frame = self.frame(index)
        return None if frame is None else self._features.find(index, frame)

    def frames(self, count: int) -> list[Frame]:
        """At most `count` readable frames, evenly spread."""
        return [frame for i in evenly(self.used, count) if (frame := self.frame(i)) is not None]

    def pairs(self, limits: PairLimits, count: int = PAIRS) -> list[tuple[int, int]]:
        """Positions of frames spread over the sequence, each with the farthest later one within the limits, or the next."""
        least_distance = limits.least_distance * self._typical_distance(limits.longest_step)
        starts = evenly(range(len(self.used) - 1), count)
        partners = [(self.used[start], self._partner(start, limits, least_distance)) for start in starts]
        return [(start, partner) for start, partner in partners if partner is not None]

    def first_reason(self) -> str:
        """Why the first unreadable frame is unreadable."""
        return next(iter(self.broken.values()), "")

    def _typical_distance(self, step: int) -> float:
        """The median distance of frames so many apart, or of the first and the last."""
        positions = np.array([self._pose(i)[:3, 3] for i in self.used])
        step = min(step, len(positions) - 1)
        return float(np.median(np.linalg.norm(positions[step:] - positions[: len(positions) - step], axis=1)))

    def _partner(self, start: int, limits: PairLimits, least_distance: float) -> int | None:
        """The frame that goes with the `start`-th used one: the last before the largest turn, the first with enough motion."""
        a, partner = self.used[start], None
        for b in self.used[start + 1 : start + 1 + limits.longest_step]:
            turn, distance = self._motion(a, b)
            if partner is not None and turn > limits.largest_turn_deg:
                break
            if distance < least_distance:
                continue
            if limits.least_distance and turn > limits.largest_turn_deg:
                break
            partner = b
            if turn > limits.sufficient_turn_deg:
                break
        return partner

    def _motion(self, a: int, b: int) -> tuple[float, float]:
        """Degrees and distance between the poses of two used frames."""
        T_a, T_b = self._pose(a), self._pose(b)
        return float(turn_between(T_a, T_b)), float(np.linalg.norm(T_a[:3, 3] - T_b[:3, 3]))

    def _pose(self, index: int) -> NDArray[np.float64]:
        pose = self.sequence.infos[index].T_world_camera
        assert pose is not None
        return pose
