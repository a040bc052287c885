"""Files of timed poses: `stamp tx ty tz qx qy qz qw` per line, or another order that a comment or header names."""

from __future__ import annotations

import re
from itertools import chain
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
W_FIRST, W_LAST = ["qw", "qx", "qy", "qz"], ["qx", "qy", "qz", "qw"]
LISTS = ((r"\bw\W+x\W+y\W+z\b|wxyz\b", W_FIRST), (r"\bx\W+y\W+z\W+w\b|xyzw\b", W_LAST))
"""Orders of a quaternion as comments list them, of which the first that is found counts: `x y z w x y z` is a position first."""
SENTENCES = (
    (r"\b(?:scalar|real|q?w) first\b|\b(?:vector|imaginary) last\b", W_FIRST),
    (r"\b(?:scalar|real|q?w) last\b|\b(?:vector|imaginary) first\b", W_LAST),
    (r"\bfirst (?:scalar|q?w)\b|\b(?:starts|starting|begins|beginning) (?:scalar|real|q?w)\b", W_FIRST),
    (r"\blast (?:scalar|q?w)\b|\b(?:ends|ending) (?:scalar|real|q?w)\b", W_LAST),
)
"""The same in sentences without the words of `FILLERS`: `the real part comes first`."""
FILLERS = frozenset(
    "a as is are its of the with part parts component element entry value term number coordinate quaternion quaternions "
    "orientation rotation being comes come goes stands stored written given listed".split()
)
ROTATION = r"(?:q|quat|quaternion|r|rot|rotation|ori|orientation)"
POSITION = r"(?:t|p|pos|position|trans|translation)"
TIME_NAMES = frozenset({"timestamp", "time", "stamp", "t", "ts"})


def read_trajectory(path: Path, *, max_gap: float, has_times: bool = True) -> Trajectory:
    """The timed poses of a file; `has_times` is False where stamps are numbers of images.

    Raises SequenceError naming the line, an unusable unit of time, or repeated stamps.
    """
    return trajectory_from_rows(number_rows(path, (8,), POSE_LINE), path, max_gap=max_gap, has_times=has_times)


def trajectory_from_rows(rows: Array, path: Path, *, max_gap: float, has_times: bool = True) -> Trajectory:
    """Rows (N, 8) of a file as a trajectory, the columns in the order that the file names; raises as `read_trajectory`."""
    rows = rows[:, named_order(path, ORDER)]
    times = to_seconds(rows[:, 0], str(path)) if has_times else rows[:, 0]
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
            parts = _order_in_words(text.lower())
            if not parts:
                _check_quaternion(words, names, path, len(expected))
        if parts:
            first = len(expected) - 4
            return [*range(first), *(first + parts.index(name) for name in expected[first:])]
    return list(range(len(expected)))


def _order_in_words(text: str) -> list[str]:
    """The parts of a quaternion in the order that a comment in small letters lists or describes, none where it does neither."""
    sentence = " ".join(word for word in re.findall(r"[a-z]+", text) if word not in FILLERS)
    listed = (order for pattern, order in LISTS if re.search(pattern, text))
    described = (order for pattern, order in SENTENCES if re.search(pattern, sentence))
    return next(chain(listed, described), [])


def _column_words(text: str) -> list[str]:
    """The words of a comment or header in small letters, those of a quaternion `w i j k` or `q0 q1 q2 q3` as qw, qx, qy, qz."""
    words = [_bare(word) for word in re.split(r"[\s,;|]+", text.lstrip("#"))]
    words = [re.sub(r"^q_(\d)$", r"q\1", word) for word in words if word]
    for parts in (("q0", "q1", "q2", "q3"), ("w", "i", "j", "k")):
        if set(parts) <= set(words):
            named = dict(zip(parts, ("qw", "qx", "qy", "qz"), strict=True))
            return [named.get(word, word) for word in words]
    return words


def _bare(word: str) -> str:
    """A word in small letters without signs around it, nor a unit in brackets, which names of a quaternion's parts are none."""
    word = word.lower().strip("`'\":%=")
    if re.match(r"[\[({](?!.*q)[^\[({]*[\])}]$", word):
        return ""
    return re.sub(r"[\[({].*", "", word.lstrip("[({")).rstrip("])}.`'\":=")


def _check_quaternion(words: list[str], names: list[str], path: Path, columns: int) -> None:
    """Raises SequenceError for a header that names the columns of the position, and those of the quaternion in unknown words."""
    is_header = len(words) == columns and {"tx", "ty", "tz"} <= set(names) and len(names) < columns
    if is_header or any(re.fullmatch(r"q\d", word) for word in words):
        raise SequenceError(
            f"{path}: the header `{' '.join(words)[:80]}` does not show the order of the quaternion: name its columns qw, qx, qy "
            "and qz"
        )


def _column_name(word: str) -> str:
    """`qw` for qw, q_w, q.w, r_w, q_RS_w or pose.orientation.w, `tx` for x, tx, p_RS_R_x or pose.position.x, `stamp` for a time;
    empty for other words."""
    if re.split(r"[./]", word)[-1] in TIME_NAMES:
        return "stamp"
    word = re.sub(rf"^.*[./](?={ROTATION}[._/]?[wxyz]$|{POSITION}[._/]?[xyz]$)", "", word)
    word = re.sub(r"^(?:[a-z]+_)+(?=(?:orientation|quaternion|quat|position)_[wxyz]$)", "", word)
    if found := re.fullmatch(rf"{ROTATION}[_./]?(?:[a-z]+_)*([wxyz])", word):
        return f"q{found[1]}"
    found = re.fullmatch(rf"{POSITION}?[_./]?(?:[a-z]+_)*([xyz])", word)
    return f"t{found[1]}" if found else ""
