"""How given poses stray from refined ones along the path: the relative error over stretches of it, as trackers are judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.se3 import inverse, turn_between

Array = NDArray[np.float64]
SHARE_OF_PATH = 0.25
"""Length of a stretch: it is long enough for errors to add up, and there are several of them."""
LEAST_STRETCHES = 4


@dataclass(frozen=True)
class Drift:
    """Over stretches of the path of `length` in the unit of the poses: the median and the largest error of the relative position,
    as shares of the length, and the median error of the relative rotation in degrees."""

    length: float
    median: float
    largest: float
    turn_deg: float

    def describe(self) -> str:
        """As words for users."""
        return (
            f"given poses differ from refined ones by {100 * self.median:.1f} % of the path and {self.turn_deg:.1f} degrees "
            f"over stretches of {self.length:.2g} (medians; up to {100 * self.largest:.0f} %)"
        )


def measure_drift(given: Array, refined: Array) -> Drift | None:
    """The drift of given poses (N, 4, 4) `T_world_camera` against refined ones in order of time; None for a short path.

    Errors of relative poses over stretches of equal length, from every frame on that has one (Geiger et al., CVPR 2012, section
    3.1); where the whole trajectory lies does not count.
    """
    steps = np.linalg.norm(np.diff(refined[:, :3, 3], axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    length = SHARE_OF_PATH * float(along[-1])
    if length <= 0:
        return None
    ends = np.searchsorted(along, along + length)
    starts = np.flatnonzero(ends < len(along))
    if len(starts) < LEAST_STRETCHES:
        return None
    ends = ends[starts]
    found = inverse(refined[starts]) @ refined[ends]
    said = inverse(given[starts]) @ given[ends]
    errors = np.linalg.norm(said[:, :3, 3] - found[:, :3, 3], axis=1) / (along[ends] - along[starts])
    turns = turn_between(said, found)
    return Drift(length, float(np.median(errors)), float(errors.max()), float(np.median(turns)))


def unlinked_stretches(linked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches (first, last) of several frames in a row that are not `linked` (N,) to others by common features."""
    edges = np.diff(np.concatenate([[False], ~linked, [False]]).astype(np.int8))
    runs = zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True)
    return [(first, last) for first, last in runs if last > first]
