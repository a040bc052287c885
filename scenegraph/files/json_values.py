"""Checked values out of JSON: each function takes a value and its position in the file, and returns it typed or raises."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.reading.files import shown
from mapping.se3 import is_se3

Array = NDArray[np.float64]
FARTHEST = 1e10
"""Metres: no position is farther from the origin of its world."""


class GraphFormatError(ValueError):
    """Raised for a scene graph file that cannot be read; the message names the file, the node or edge, the field and
    what was expected."""


def unexpected(where: str, expected: str, value: object) -> GraphFormatError:
    """The error to raise for a value that is not what was expected."""
    return GraphFormatError(f"{where}: expected {expected}, got {shown(value)}")


def text(value: object, where: str) -> str:
    """Text of at least one character."""
    if not isinstance(value, str) or not value:
        raise unexpected(where, "text", value)
    return value


def whole(value: object, where: str) -> int:
    """A whole number that is not negative."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise unexpected(where, "a whole number >= 0", value)
    return value


def number(value: object, where: str) -> float:
    """A finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise unexpected(where, "a finite number", value)
    return float(value)


def at_least_zero(value: object, where: str, *, most: float = math.inf) -> float:
    """A finite number that is not negative and no more than `most`."""
    if not 0 <= number(value, where) <= most:
        raise unexpected(where, "a number >= 0" if most == math.inf else f"a number from 0 to {most:g}", value)
    return number(value, where)


def share(value: object, where: str) -> float:
    """A number in [0, 1]."""
    if not 0 <= number(value, where) <= 1:
        raise unexpected(where, "a number in [0, 1]", value)
    return number(value, where)


def array(value: object, where: str, shape: tuple[int | None, ...], *, minimum: int = 1) -> Array:
    """Finite numbers of a shape; None in the shape is any count of at least `minimum`."""
    wanted = " x ".join(f"{minimum} or more" if count is None else str(count) for count in shape)
    expected = f"{wanted} finite numbers"
    if not isinstance(value, list):
        raise unexpected(where, expected, value)
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise unexpected(where, expected, value) from error
    if found.size == 0 and None in shape and minimum == 0:
        return np.zeros([count or 0 for count in shape])
    fits = found.ndim == len(shape) and all(
        got >= minimum if count is None else got == count for got, count in zip(found.shape, shape, strict=True)
    )
    if not fits or found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        raise unexpected(where, expected, value)
    return found.astype(np.float64)


def rigid(value: object, where: str) -> Array:
    """A rigid transform (4, 4)."""
    T = array(value, where, (4, 4))
    if not is_se3(T) or np.abs(T[:3, 3]).max() > FARTHEST:
        raise unexpected(where, "a rigid transform", value)
    return T


def index(value: object, where: str) -> int:
    """A whole number that is the name of an entry of an object."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,9}", value):
        raise unexpected(where, "names that are whole numbers", value)
    return int(value)


def interval(value: object, where: str) -> tuple[float, float]:
    """Two numbers, the first not larger than the second."""
    low, high = array(value, where, (2,)).tolist()
    if low > high:
        raise unexpected(where, "two numbers in ascending order", value)
    return low, high


def intervals(value: object, where: str) -> tuple[tuple[float, float], ...]:
    """A list of intervals, possibly empty."""
    if not isinstance(value, list):
        raise unexpected(where, "a list of [start, end]", value)
    return tuple(interval(entry, f"{where}[{number}]") for number, entry in enumerate(value))


def increasing(value: object, where: str) -> Array:
    """Numbers, each larger than the one before."""
    found = array(value, where, (None,))
    if (np.diff(found) <= 0).any():
        raise unexpected(where, "increasing numbers", value)
    return found


def size(value: object, where: str) -> Array:
    """Three edge lengths."""
    found = array(value, where, (3,))
    if (found < 0).any():
        raise unexpected(where, "3 numbers >= 0", value)
    return found


def unit_quaternion(value: object, where: str) -> Array:
    """Four numbers of length 1."""
    found = array(value, where, (4,))
    if abs(np.linalg.norm(found) - 1) > 1e-3:
        raise unexpected(where, "a quaternion of length 1", value)
    return found


def mapping(value: object, where: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise unexpected(where, "an object {...}", value)
    return value


def scores(value: object, where: str) -> dict[str, float]:
    """An object of numbers."""
    return {name: number(score, f"{where}.{name}") for name, score in mapping(value, where).items()}


def sequence(value: object, where: str) -> list[Any]:
    """A JSON list."""
    if not isinstance(value, list):
        raise unexpected(where, "a list [...]", value)
    return value
