"""Whether the poses of a sequence belong to the times of its images, or to times that are some tenths of a second off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.se3 import interpolate_at, inverse
from pipelines.checks.matches import ComparedPair, Kind, errors_shown, is_clear_gain
from pipelines.frame import FrameInfo

Array = NDArray[np.float64]
OFFSETS = np.array([*np.arange(-0.5, -0.1, 0.05), *np.arange(-0.1, 0.11, 0.02), *np.arange(0.15, 0.51, 0.05)])
"""Seconds that are tried."""
LEAST = 0.03
"""Smaller offsets are not distinguished from none."""
GAIN = 0.2
"""Share by which the epipolar error must fall at least for an offset to be reported."""
LEAST_PAIRS = 3


@dataclass(frozen=True)
class TimeOffset:
    """The poses at the images' times plus `seconds` fit the images, or the depth of frames; errors are means: epipolar ones in
    pixels, or relative ones of depth."""

    seconds: float
    error_given: float
    error_found: float
    by: Kind = "images"

    @property
    def remaining(self) -> float:
        """The error that is left, as a share of that as given."""
        return self.error_found / max(self.error_given, 1e-9)

    def describe(self) -> str:
        """As a sentence for users."""
        late = "later" if self.seconds > 0 else "earlier"
        return (
            f"the poses {abs(self.seconds):.2f} s {late} than the images' times fit the {self.by} "
            f"({errors_shown(self.by, self.error_found, self.error_given)})"
        )


def measure_time_offset(pairs: Sequence[ComparedPair], infos: Sequence[FrameInfo]) -> TimeOffset | None:
    """The offset at which poses, interpolated between frames, fit the pairs, of one kind, clearly better, or None."""
    used = [info for info in infos if info.used and info.T_world_camera is not None]
    times = np.array([info.timestamp for info in used])
    poses = np.array([info.T_world_camera for info in used])
    best: TimeOffset | None = None
    for seconds in OFFSETS[np.abs(OFFSETS) >= LEAST].tolist():
        moved = [(pair, T) for pair in pairs if (T := _moved(pair, times, poses, seconds)) is not None]
        if len(moved) < max(LEAST_PAIRS, len(pairs) / 2):
            continue
        given = [pair.error() for pair, _ in moved]
        found = [pair.error(T) for pair, T in moved]
        offset = TimeOffset(seconds, float(np.mean(given)), float(np.mean(found)), pairs[0].kind)
        if (
            is_clear_gain(given, found, GAIN)
            and _is_worse_backwards(moved, times, poses, seconds)
            and (best is None or offset.remaining < best.remaining)
        ):
            best = offset
    return best


def _is_worse_backwards(moved: list[tuple[ComparedPair, Array]], times: Array, poses: Array, seconds: float) -> bool:
    """Whether the opposite offset raises the error. Poses between noisy ones are smoother, which helps whatever the direction."""
    other = [(pair, T) for pair, _ in moved if (T := _moved(pair, times, poses, -seconds)) is not None]
    given = [pair.error() for pair, _ in other]
    return not other or float(np.mean([pair.error(T) for pair, T in other])) > float(np.mean(given))


def _moved(pair: ComparedPair, times: Array, poses: Array, seconds: float) -> Array | None:
    """T_b_a by the poses at times that are off; None beyond the first or last pose."""
    T_a, T_b = (interpolate_at(times, poses, info.timestamp + seconds, max_gap=math.inf) for info in (pair.a, pair.b))
    return None if T_a is None or T_b is None else np.asarray(inverse(T_b) @ T_a)
