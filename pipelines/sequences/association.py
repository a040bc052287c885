"""Association of images with depth images and poses by time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.se3 import interpolate_at
from pipelines.frame import SequenceError
from pipelines.sequences.conventions import rigid_poses
from pipelines.sequences.text import last_number

Array = NDArray[np.float64]


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


class Trajectory:
    """Stored poses over time, interpolated at any time; lost ones are bridged up to a gap.

    times : (N,) seconds, in any order; of equal ones the first counts.
    matrices : (N, 4, 4) stored matrices; what `rigid_poses` rejects counts as lost.
    max_gap : longest stretch of seconds between two known poses that is interpolated.
    """

    def __init__(self, times: ArrayLike, matrices: ArrayLike, *, max_gap: float) -> None:
        stamps, first = np.unique(np.asarray(times, dtype=np.float64), return_index=True)
        poses, reasons = rigid_poses(np.asarray(matrices, dtype=np.float64)[first])
        known = np.array([not reason for reason in reasons], dtype=bool)
        self._times, self._poses, self._max_gap = stamps[known], poses[known], max_gap
        self._lost = {float(stamp): reason for stamp, reason in zip(stamps, reasons, strict=True) if reason}

    def at(self, time: float) -> tuple[Array | None, str]:
        """The stored pose at `time`, or None and the reason."""
        after = int(np.searchsorted(self._times, time))
        window = slice(max(after - 1, 0), after + 1)
        T = interpolate_at(self._times[window], self._poses[window], time, max_gap=self._max_gap)
        if T is not None:
            return T, ""
        if time in self._lost:
            return None, self._lost[time]
        if not len(self._times):
            return None, "no pose in the trajectory"
        if time < self._times[0]:
            return None, f"before the first pose ({self._times[0] - time:.2f} s)"
        if time > self._times[-1]:
            return None, f"after the last pose ({time - self._times[-1]:.2f} s)"
        gap = self._times[after] - self._times[after - 1]
        return None, f"gap of {gap:.2f} s between poses, more than {self._max_gap:g} s"


def files_by_name(files: Sequence[Path], others: Sequence[Path]) -> list[Path | None]:
    """The one of `others` that belongs to each file: with the same stem, or, if no stem is the same, the same last number."""
    by_stem = {other.stem: other for other in others}
    if any(file.stem in by_stem for file in files):
        return [by_stem.get(file.stem) for file in files]
    by_number = {number: other for other in others if (number := last_number(other.name)) is not None}
    numbers = [last_number(file.name) for file in files]
    return [None if number is None else by_number.get(number) for number in numbers]


def images_in_pose_order(pose_file: Path, files: Sequence[Path], poses: int) -> list[Path]:
    """The image of each line of a pose file without time stamps, existing or not.

    Line i belongs to the i-th image. With fewer images than lines the numbers in the names decide (counted from 0 if they fit,
    else from the first); raises SequenceError when they are ambiguous.
    """
    if len(files) == poses:
        return list(files)
    numbers = [last_number(file.name) for file in files]
    known = [number for number in numbers if number is not None]
    first = 0 if known and max(known) < poses else min(known, default=0)
    if not 0 < len(files) == len(set(known)) < poses or max(known) - first >= poses:
        raise SequenceError(
            f"{pose_file}: has {poses} lines for {len(files)} images, and the images' numbers do not determine the assignment"
        )
    by_number = {number - first: file for number, file in zip(known, files, strict=True)}
    width = len(files[0].stem)
    return [by_number.get(i, files[0].with_name(f"{i + first:0{width}d}{files[0].suffix}")) for i in range(poses)]
