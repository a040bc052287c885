"""Time stamps in seconds, milliseconds, microseconds or nanoseconds: the one rule by which all formats read them.

Times since 1970 are distinguished by their magnitude. Times since any other start have the unit of their format, and are refused
where frames would then be closer or farther apart than those of a recording.
"""

from __future__ import annotations

import math
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
STEPS, STEPS_OF_KNOWN_UNIT = (9e-4, 5.0), (0.0, 1000.0)
"""Seconds between successive stamps of a recording, in the median: of times since any start, whose unit is an assumption, and of
those whose unit is known, by their magnitude since 1970 or by the file, and between which may be minutes, as between photos."""
USUAL_STEP = 1 / 30
"""Seconds between frames; of two readings the one that comes nearer to it by its factor is meant."""
NUMBER = r"[0-9]+(?:\.[0-9]+)?"
MOST_REPEATED = 0.01
"""Share of poses that may have the time stamp of another pose: more of them means that stamps were rounded."""


def to_seconds(stamps: ArrayLike, where: str, *, unit: str = "s", states_unit: bool = False) -> Array:
    """Time stamps (N,) of one list in seconds.

    Parameters
    ----------
    stamps : in any order. Times since 1970 may be in s, ms, us or ns, which their magnitude shows.
    where : what an error begins with.
    unit : a name of `UNITS`: the format's unit, which times since another start are in.
    states_unit : whether the file states the unit of its stamps, so that frames may be minutes apart.

    Raises SequenceError that names the median step and the likely unit where it is outside of `STEPS` in the format's unit (of
    `STEPS_OF_KNOWN_UNIT` where the file states it), and for numbers that are too large and no time since 1970 in any unit.
    """
    times = np.asarray(stamps, dtype=np.float64)
    finite = np.unique(times[np.isfinite(times)])
    largest = float(np.abs(finite).max(initial=0.0))
    step = float(np.median(np.diff(finite))) if len(finite) > 2 else None
    factor = UNITS[unit]
    since_1970 = _unit(largest)
    if since_1970 is not None and _is_since_1970(step, UNITS[since_1970], factor):
        return times / UNITS[since_1970]
    steps = STEPS_OF_KNOWN_UNIT if states_unit else STEPS
    if step is not None and not _is_plausible(finite / factor, step / factor, steps):
        raise SequenceError(_wrong_step(where, step, unit, steps))
    if largest / factor >= LATEST_TIME:
        raise SequenceError(
            f"{where}: {largest:g} is not a time stamp in seconds, nor a time since 1970 in ms, us or ns"
        )
    return times / factor


def stamps_in_names(paths: Sequence[Path]) -> Array | None:
    """Seconds (N,) of files that are named by time, None when one of them is not.

    Names are times when they are decimal numbers (`0.05.png`; whole ones among them have lost a fraction of zeros), or end with
    times since 1970 in s, ms, us or ns.
    """
    stems = [path.stem for path in paths]
    if any("." in stem for stem in stems) and all(re.fullmatch(NUMBER, stem) for stem in stems):
        decimals = last_decimals(paths)
        return None if decimals is None else to_seconds(decimals, str(paths[0]))
    stamps = [_stamp(stem) for stem in stems]
    units = {None if stamp is None else _unit(stamp) for stamp in stamps}
    if None in units or len(units) != 1:
        return None
    return to_seconds(np.array(stamps, dtype=np.float64), str(paths[0]))


def last_decimals(paths: Sequence[Path]) -> Array | None:
    """The numbers (N,) with which names end after equal beginnings, where some have a fraction; None for other names.

    Numbers after a point that are counted (`1.9.png`, `1.10.png`) are no fractions: those have one length, or no zeros at their
    ends.
    """
    found = [re.fullmatch(rf"(.*?)({NUMBER})", path.stem) for path in paths]
    if not found or any(match is None for match in found):
        return None
    parts = [(match[1], match[2]) for match in found if match is not None]
    fractions = [number.partition(".")[2] for _, number in parts]
    is_counted = len(set(map(len, fractions))) > 1 and any(len(part) > 1 and part.endswith("0") for part in fractions)
    if not any(fractions) or is_counted or len({prefix for prefix, _ in parts}) > 1:
        return None
    return np.array([float(number) for _, number in parts])


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


def _is_since_1970(step: float | None, factor: float, format_factor: float) -> bool:
    """Whether stamps that could be times since 1970 with `factor` per second are, rather than times since another start in the
    format's unit: a clock that started an hour ago shows such numbers of nanoseconds, too."""
    if step is None:
        return True
    return step / factor < STEPS_OF_KNOWN_UNIT[1] and _strangeness(step / factor) <= _strangeness(step / format_factor)


def _is_plausible(times: Array, step: float, steps: tuple[float, float]) -> bool:
    """Whether sorted times are as far apart as those of a recording; pairs of cameras have stamps that are hardly apart."""
    mean = float(times[-1] - times[0]) / (len(times) - 1)
    return max(step, mean) >= steps[0] and step <= steps[1]


def _wrong_step(where: str, step: float, unit: str, steps: tuple[float, float]) -> str:
    likely = [name for name, factor in UNITS.items() if STEPS[0] <= step / factor <= STEPS[1] and name != unit]
    likely.sort(key=lambda name: _strangeness(step / UNITS[name]))
    guess = f"they are likely in {likely[0]}" if likely else "they are in no known unit"
    return (
        f"{where}: time stamps are {step:g} {unit} apart in the median, expected {steps[0]:g} to {steps[1]:g} s: {guess}; "
        f"write {unit}, or times since 1970"
    )


def _strangeness(seconds: float) -> float:
    """How far a step is from a usual one, as the logarithm of their factor."""
    return abs(math.log(max(seconds, 1e-300) / USUAL_STEP))


def _stamp(stem: str) -> float | None:
    """The number with which a name ends."""
    found = re.search(rf"(?:^|[^\d.])({NUMBER})$", stem)
    return None if found is None else float(found[1])


def _unit(stamp: float) -> str | None:
    return next((name for name, units in UNITS.items() if EPOCH[0] <= stamp / units <= EPOCH[1]), None)
