"""Typical sizes: what the label alone implies about the size of an object.

Class names are NYU40's. A class that is not listed has no limits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ClassSize(NamedTuple):
    """Size limits of a class, in metres.

    scrap: the least extent of an object's piece; small, large: long side, short side and height of a small whole specimen
    and of a large one; stack: how far apart parts of one object may lie over one another; depth: how far it extends back to the
    wall behind it when only its front is observed; thick: how far it extends back at least when only its front is observed.
    """

    scrap: float
    small: tuple[float, float, float]
    large: tuple[float, float, float]
    stack: float = 0.6
    depth: float = 0.0
    thick: float = 0.0


ANY = (0.0, 0.0, 0.0)
"""Small size of classes whose objects vary so much that every piece may be whole."""

SIZES: dict[str, ClassSize] = {
    "cabinet": ClassSize(0.25, (0.4, 0.25, 0.4), (4.5, 1.3, 2.8), depth=0.65),
    "bed": ClassSize(0.7, (1.6, 0.7, 0.35), (2.5, 2.2, 1.8)),
    "chair": ClassSize(0.28, (0.36, 0.33, 0.6), (1.05, 0.95, 1.4)),
    "sofa": ClassSize(0.5, (1.1, 0.6, 0.5), (3.3, 2.0, 1.3), depth=1.0),
    "table": ClassSize(0.3, (0.35, 0.3, 0.3), (3.0, 1.7, 1.2)),
    "bookshelf": ClassSize(0.35, (0.4, 0.18, 0.6), (3.5, 0.8, 2.8), depth=0.4),
    "picture": ClassSize(0.12, (0.18, 0.0, 0.18), (1.9, 0.25, 1.6)),
    "counter": ClassSize(0.35, (0.6, 0.4, 0.6), (4.5, 1.6, 1.3), depth=0.65),
    "desk": ClassSize(0.4, (0.8, 0.4, 0.5), (2.4, 1.3, 1.5)),
    "shelves": ClassSize(0.25, (0.4, 0.15, 0.5), (3.0, 0.8, 2.8), depth=0.4),
    "dresser": ClassSize(0.35, (0.6, 0.3, 0.5), (2.2, 0.8, 1.7), depth=0.55),
    "pillow": ClassSize(0.15, (0.3, 0.2, 0.06), (0.9, 0.65, 0.6), stack=0.1),
    "mirror": ClassSize(0.15, (0.25, 0.0, 0.3), (1.8, 0.3, 2.2)),
    "clothes": ClassSize(0.1, ANY, (1.5, 1.2, 1.8)),
    "books": ClassSize(0.06, ANY, (1.2, 0.5, 0.5), thick=0.2),
    "refrigerator": ClassSize(0.4, (0.5, 0.45, 0.8), (1.2, 1.0, 2.2), depth=0.75),
    "television": ClassSize(0.18, (0.3, 0.02, 0.25), (1.9, 0.6, 1.3)),
    "paper": ClassSize(0.08, ANY, (1.0, 0.8, 0.8)),
    "towel": ClassSize(0.1, ANY, (1.0, 0.5, 1.3)),
    "shower_curtain": ClassSize(0.3, (0.5, 0.0, 1.2), (2.2, 1.0, 2.3)),
    "box": ClassSize(0.08, ANY, (1.0, 0.8, 1.0)),
    "whiteboard": ClassSize(0.3, (0.5, 0.0, 0.4), (3.0, 0.4, 1.7)),
    "night_stand": ClassSize(0.2, (0.3, 0.25, 0.3), (0.85, 0.65, 1.0), depth=0.5),
    "toilet": ClassSize(0.25, (0.5, 0.33, 0.6), (0.95, 0.65, 1.2), depth=0.75),
    "sink": ClassSize(0.18, (0.35, 0.3, 0.1), (1.4, 0.8, 1.2)),
    "lamp": ClassSize(0.1, (0.15, 0.12, 0.6), (0.9, 0.9, 2.2), stack=1.6),
    "bathtub": ClassSize(0.5, (1.2, 0.55, 0.4), (2.1, 1.65, 1.0)),
    "bag": ClassSize(0.12, ANY, (0.9, 0.7, 1.1)),
    "otherfurniture": ClassSize(0.2, ANY, (3.0, 1.5, 2.6)),
    "otherprop": ClassSize(0.04, ANY, (1.0, 0.8, 1.3)),
}

ON_LEGS = frozenset({"chair", "table", "desk", "sofa", "bed", "night_stand", "dresser"})
"""Classes that stand on legs too thin for a map to resolve."""

ON_WALLS = frozenset({"picture", "mirror", "whiteboard", "towel", "lamp", "television", "clothes", "shower_curtain"})
"""Classes that hang: nothing implies that they reach down to the surface below."""

FLAT = frozenset({"picture", "mirror", "whiteboard"})
"""Classes that are thin and lie against a wall."""

ABREAST = {"chair": (0.75, 1.5)}
"""Classes whose footprint is about as deep as it is wide: length in metres and ratio of the sides beyond which two stand side by
side."""

COMPACT = 0.25
"""Metres; short side of the smallest objects of a class that are no plates."""

SLACK = 1.1


def excess(name: str, size: Array) -> float:
    """Ratio by which a box of size (3,) exceeds what its class allows along its worst side; 0 for a class without limits."""
    if name not in SIZES:
        return 0.0
    return float((_sorted(size) / SIZES[name].large).max())


def plausible(name: str, size: Array) -> bool:
    """Whether one object of the class may fill a box of this size (3,)."""
    return excess(name, size) <= SLACK


def is_compact(name: str) -> bool:
    """Whether whole objects of a class have some depth, so that a part of their surface, such as a door, is known to be none."""
    return name in SIZES and SIZES[name].small[1] >= COMPACT


def varies(name: str) -> bool:
    """Whether objects of a class may be of any size, so that a piece of one may look whole."""
    return name in SIZES and SIZES[name].small == ANY


def are_abreast(name: str, size: Array) -> bool:
    """Whether a box of this size (3,) is so wide and shallow that it rather holds two objects of the class side by side."""
    if name not in ABREAST:
        return False
    long, short, _ = _sorted(size)
    length, ratio = ABREAST[name]
    return bool(long > length and long > ratio * short)


def is_whole(name: str, size: Array) -> bool:
    """Whether a box of this size (3,) may hold a whole object of the class rather than a part; true for a class without
    limits."""
    return name not in SIZES or bool((_sorted(size) * SLACK >= SIZES[name].small).all())


def is_scrap(name: str, size: Array) -> bool:
    """Whether a box of this size (3,) is too small for any object of the class."""
    return name in SIZES and float(size.max()) < SIZES[name].scrap


def _sorted(size: Array) -> Array:
    """Long side, short side and height (3,)."""
    return np.array([max(size[:2]), min(size[:2]), size[2]])
