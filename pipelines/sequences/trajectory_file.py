"""Files of timed poses: `stamp tx ty tz qx qy qz qw` per line, or another order that a comment or header names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.reading.files import read_lines
from pipelines.frame import SequenceError
from pipelines.sequences.association import Trajectory
from pipelines.sequences.conventions import matrices_from_quaternions
from pipelines.sequences.text import number_rows
from pipelines.sequences.times import check_repeats, to_seconds

Array = NDArray[np.float64]
POSE_LINE = "a pose `stamp tx ty tz qx qy qz qw`"
ORDER = ("stamp", "tx", "ty", "tz", "qx", "qy", "qz", "qw")
WORDS = (
    (r"\bw\W+x\W+y\W+z\b|wxyz\b|\b(?:scalar|real|w)\W*first\b", ["qw", "qx", "qy", "qz"]),
    (r"\bx\W+y\W+z\W+w\b|xyzw\b|\b(?:scalar|real|w)\W*last\b", ["qx", "qy", "qz", "qw"]),
)
"""Orders of a quaternion as comments have them, of which the first that is found counts: `x y z w x y z` is a position first."""
TIME_NAMES = frozenset({"timestamp", "time", "stamp", "t", "ts"})


def read_trajectory(path: Path, *, max_gap: float) -> Trajectory:
    """The timed poses of a file; raises SequenceError naming the line, an unusable unit of time, or repeated stamps."""
    return trajectory_from_rows(number_rows(path, (8,), POSE_LINE), path, max_gap=max_gap)


def trajectory_from_rows(rows: Array, path: Path, *, max_gap: float) -> Trajectory:
    """Rows (N, 8) of a file as a trajectory, the columns in the order that the file names; raises as `read_trajectory`."""
    rows = rows[:, named_order(path, ORDER)]
    times = to_seconds(rows[:, 0], str(path))
    check_repeats(times, rows[:, 1:], str(path))
    return Trajectory(times, matrices_from_quaternions(rows[:, 1:4], rows[:, 4:], str(path)), max_gap=max_gap)


def named_order(path: Path, expected: tuple[str, ...]) -> list[int]:
    """For each of the expected columns its position in the lines of the file, from a comment or header that names them.

    A comment that names the parts of the quaternion alone, or has them in words (`quaternion (w x y z)`, `scalar first`), gives
    their order; without one the order is the expected one. Raises SequenceError for a header that leaves the order open.
    """
    for line in read_lines(path, SequenceError):
        text = line.strip()
        if text and not text.startswith("#") and re.match(r"[-+.\d]|nan|inf", text, re.IGNORECASE):
            break
        words = _column_words(text)
        names = [name for word in words if (name := _column_name(word))]
        if set(names) == set(expected) and len(names) == len(expected):
            return [names.index(name) for name in expected]
        parts = [name for name in names if name.startswith("q")]
        if sorted(parts) != ["qw", "qx", "qy", "qz"]:
            parts = next((order for pattern, order in WORDS if re.search(pattern, text.lower())), [])
            if not parts:
                _check_quaternion(words, names, path, len(expected))
        if parts:
            first = len(expected) - 4
            return [*range(first), *(first + parts.index(name) for name in expected[first:])]
    return list(range(len(expected)))


def _column_words(text: str) -> list[str]:
    """The words of a comment or header in small letters, those of a quaternion `w i j k` or `q0 q1 q2 q3` as qw, qx, qy, qz."""
    words = [re.sub(r"[\[(].*", "", word).strip("`'\":").lower() for word in re.split(r"[\s,;|]+", text.lstrip("#"))]
    words = [re.sub(r"^q_(\d)$", r"q\1", word) for word in words if word]
    for parts in (("q0", "q1", "q2", "q3"), ("w", "i", "j", "k")):
        if set(parts) <= set(words):
            named = dict(zip(parts, ("qw", "qx", "qy", "qz"), strict=True))
            return [named.get(word, word) for word in words]
    return words


def _check_quaternion(words: list[str], names: list[str], path: Path, columns: int) -> None:
    """Raises SequenceError for a header that names the columns of the position, and those of the quaternion in unknown words."""
    is_header = len(words) == columns and {"tx", "ty", "tz"} <= set(names) and len(names) < columns
    if is_header or any(re.fullmatch(r"q\d", word) for word in words):
        raise SequenceError(
            f"{path}: the header `{' '.join(words)[:80]}` does not show the order of the quaternion: name its columns qw, qx, qy "
            "and qz"
        )


def _column_name(word: str) -> str:
    """`qw` for qw, q_w, q.w, r_w or q_RS_w, `tx` for x, tx or p_RS_R_x, `stamp` for a time; empty for other words."""
    if word in TIME_NAMES:
        return "stamp"
    if found := re.fullmatch(r"(?:q(?:uat(?:ernion)?)?|r(?:ot(?:ation)?)?)[_.]?(?:[a-z]+_)*([wxyz])", word):
        return f"q{found[1]}"
    found = re.fullmatch(r"(?:[tp]|pos|position|trans|translation)?[_.]?(?:[a-z]+_)*([xyz])", word)
    return f"t{found[1]}" if found else ""
