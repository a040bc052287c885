"""Association of images with depth images and poses by time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.se3 import interpolate_at
from pipelines.sequences.conventions import rigid_poses
from pipelines.sequences.times import describe_seconds

Array = NDArray[np.float64]
MAX_TIME_DIFFERENCE = 0.02
"""Seconds between an image and its depth image, as in the association script of the TUM benchmark."""


def nearest_pairs(times: ArrayLike, other_times: ArrayLike, max_difference: float) -> list[int | None]:
    """For each time the index of the nearest other time within `max_difference` seconds, or None; none is used twice.

    `other_times` are increasing. Where two times have the same partner the nearer one gets it.
    """
    times, others = np.asarray(times, dtype=np.float64), np.asarray(other_times, dtype=np.float64)
    partners: list[int | None] = [None] * len(times)
    if not len(others):
        return partners
    after = (
        np.clip(np.searchsorted(others, times), 1, max(len(others) - 1, 1))
        if len(others) > 1
        else np.ones(len(times), int)
    )
    candidates = np.stack([after - 1, np.minimum(after, len(others) - 1)], axis=1)
    differences = np.abs(others[candidates] - times[:, None])
    taken: set[int] = set()
    for flat in np.argsort(differences, axis=None, kind="stable"):
        i, side = divmod(int(flat), 2)
        j = int(candidates[i, side])
        if differences[i, side] > max_difference:
            break
        if partners[i] is None and j not in taken:
            partners[i] = j
            taken.add(j)
    return partners


SAME_TIME = 1e-4
"""Seconds in which no camera moves: stamps that were rounded to microseconds, or are floats of nanoseconds, count as equal."""


class Trajectory:
    """Stored poses over time, interpolated at any time; lost ones are bridged up to a gap.

    times : (N,) seconds, in any order; of equal ones the first counts.
    matrices : (N, 4, 4) stored matrices; what `rigid_poses` rejects counts as lost.
    max_gap : longest stretch of seconds between two known poses that is interpolated.
    """

    def __init__(self, times: ArrayLike, matrices: ArrayLike, *, max_gap: float) -> None:
        stamps, first = np.unique(np.asarray(times, dtype=np.float64), return_index=True)
        poses, reasons = rigid_poses(np.asarray(matrices, dtype=np.float64)[first])
        known = np.array([not reason for reason in reasons], dtype=bool) & np.isfinite(stamps)
        self._times, self._poses, self._max_gap = stamps[known], poses[known], max_gap
        self._lost = {float(stamp): reason for stamp, reason in zip(stamps, reasons, strict=True) if reason}

    def at(self, time: float) -> tuple[Array | None, str]:
        """The stored pose at `time`, or None and the reason."""
        after = int(np.searchsorted(self._times, time))
        for i in (after - 1, after):
            if 0 <= i < len(self._times) and abs(self._times[i] - time) < SAME_TIME:
                return np.asarray(self._poses[i]), ""
        window = slice(max(after - 1, 0), after + 1)
        T = interpolate_at(self._times[window], self._poses[window], time, max_gap=self._max_gap)
        if T is not None:
            return T, ""
        if time in self._lost:
            return None, self._lost[time]
        if not len(self._times):
            return None, "no pose in the trajectory"
        if time < self._times[0]:
            return None, f"before the first pose ({describe_seconds(self._times[0] - time)})"
        if time > self._times[-1]:
            return None, f"after the last pose ({describe_seconds(time - self._times[-1])})"
        gap = self._times[after] - self._times[after - 1]
        return None, f"gap of {gap:.2f} s between poses, more than {self._max_gap:g} s"
