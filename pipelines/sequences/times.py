"""Time stamps in seconds, milliseconds, microseconds or nanoseconds, distinguished by their magnitude."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.frame import SequenceError

Array = NDArray[np.float64]
EPOCH = (6.3e8, 4.1e9)
"""Seconds since 1970 of a recording: the years 1990 to 2099. The windows of the four units do not meet."""
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""Units of time stamps since 1970, and how many make a second."""
LATEST_TIME = 1e11
"""Seconds; larger numbers (beyond the year 5138) are in another unit."""
LONGEST_INTERVAL = 1000.0
"""Seconds between the frames of a recording, in the median; microseconds between those of a video are more."""
MOST_REPEATED = 0.01
"""Share of poses that may have the time stamp of another pose: more of them means that stamps were rounded."""


def to_seconds(stamps: ArrayLike, where: str) -> Array:
    """Time stamps (N,) of one list in seconds: in milli-, micro- or nanoseconds when they are such times since 1970.

    Raises SequenceError that begins with `where` for numbers that are no time since 1970 in any unit and too large for seconds,
    and for numbers as far apart as no recording's frames are: times since its start in another unit.
    """
    times = np.asarray(stamps, dtype=np.float64)
    finite = times[np.isfinite(times)]
    largest = float(np.abs(finite).max(initial=0.0))
    if largest < LATEST_TIME:
        gaps = np.diff(np.unique(finite))
        if len(gaps) > 1 and np.median(gaps) >= LONGEST_INTERVAL:
            raise SequenceError(
                f"{where}: time stamps are {np.median(gaps):g} apart, expected seconds (or times since 1970 in s, ms, us or ns)"
            )
        return times
    for units in UNITS.values():
        if EPOCH[0] <= largest / units <= EPOCH[1]:
            return times / units
    raise SequenceError(f"{where}: {largest:g} is not a time stamp in seconds, nor a time since 1970 in ms, us or ns")


def stamps_in_names(paths: Sequence[Path]) -> Array | None:
    """Seconds (N,) of files that are named by time, None when one of them is not.

    A name is a time when it is a decimal number (`0.05.png`), or ends with a time since 1970 in s, ms, us or ns.
    """
    found = [_stamp(path.stem) for path in paths]
    if not found or any(stamp is None for stamp in found):
        return None
    stamps = np.array(found, dtype=np.float64)
    if not all(_is_decimal(path.stem) for path in paths):
        units = {_unit(stamp) for stamp in stamps}
        if None in units or len(units) > 1:
            return None
    return to_seconds(stamps, str(paths[0]))


def check_repeats(stamps: ArrayLike, poses: Array, where: str) -> None:
    """Raises SequenceError when stamps (N,) of different poses (N, ...) repeat, as they do after rounding."""
    times = np.asarray(stamps, dtype=np.float64)
    order = np.argsort(times, kind="stable")
    same_time = np.diff(times[order]) == 0
    moved = np.abs(np.diff(poses[order].reshape(len(times), -1), axis=0)).max(axis=1, initial=0.0) > 1e-9
    repeated = int((same_time & moved).sum())
    if repeated > MOST_REPEATED * len(times):
        first = times[order][1:][same_time & moved][0]
        raise SequenceError(
            f"{where}: {repeated} of {len(times)} poses repeat the time stamp of another one ({first:.12g}): "
            "stamps were rounded; write them with more digits"
        )


def describe_seconds(seconds: float) -> str:
    """A difference of times as text: two decimals, or three digits where it is large."""
    return f"{seconds:.2f} s" if abs(seconds) < 1e6 else f"{seconds:.3g} s"


def _stamp(stem: str) -> float | None:
    found = re.search(r"(?:^|[^\d.])(\d+(?:\.\d+)?)$", stem)
    if found is None:
        return None
    stamp = float(found[1])
    return stamp if _is_decimal(stem) or _unit(stamp) is not None else None


def _is_decimal(stem: str) -> bool:
    return re.fullmatch(r"\d+\.\d+", stem) is not None


def _unit(stamp: float) -> str | None:
    return next((name for name, units in UNITS.items() if EPOCH[0] <= stamp / units <= EPOCH[1]), None)
