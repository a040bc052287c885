"""How large objects of a class usually are and how high above the floor: what a box says of the class.

The boxes are those of furniture of catalogues and of rendered rooms (`python tools/typical_boxes.py`), and of two larger dining
tables. Class names are NYU40's; a class that is not listed may have any box.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scenegraph.objects.sizes import ON_LEGS

Array = NDArray[np.float64]
Box = tuple[float, float, float, float, float]

TYPICAL: dict[str, tuple[Box, ...]] = {
    "cabinet": (
        (1.36, 0.58, 2.05, 0.00, 0.22),
        (0.44, 0.35, 0.63, 1.45, 0.24),
        (0.56, 0.42, 1.11, 0.00, 0.02),
        (1.35, 0.47, 0.53, 0.00, 0.22),
        (0.53, 0.39, 0.60, 0.00, 0.06),
        (1.38, 0.43, 0.78, 0.00, 0.24),
    ),
    "bed": ((2.13, 1.56, 0.54, 0.00, 0.33), (2.13, 1.39, 1.04, 0.00, 0.68)),
    "chair": ((0.65, 0.63, 1.05, 0.00, 0.25), (0.48, 0.44, 0.87, 0.00, 0.75)),
    "sofa": ((1.95, 0.88, 0.85, 0.00, 1.00),),
    "table": (
        (2.60, 1.05, 0.75, 0.00, 0.05),
        (2.00, 0.95, 0.75, 0.00, 0.10),
        (1.62, 0.87, 0.75, 0.00, 0.16),
        (0.92, 0.56, 0.45, 0.01, 0.36),
        (0.44, 0.44, 0.53, 0.00, 0.11),
        (1.06, 1.04, 0.73, 0.00, 0.22),
    ),
    "bookshelf": ((0.92, 0.30, 1.66, 0.00, 1.00),),
    "picture": ((0.43, 0.02, 0.60, 1.37, 0.32), (0.64, 0.02, 0.40, 1.37, 0.27), (0.82, 0.02, 0.63, 1.38, 0.41)),
    "counter": ((1.17, 0.62, 0.90, 0.00, 1.00),),
    "desk": ((1.29, 0.64, 0.73, 0.00, 1.00),),
    "shelves": ((0.85, 0.22, 0.14, 1.47, 0.65), (0.81, 0.35, 1.37, 0.00, 0.35)),
    "dresser": ((1.05, 0.47, 0.97, 0.00, 1.00),),
    "pillow": ((0.62, 0.38, 0.13, 0.47, 1.00),),
    "mirror": ((0.61, 0.02, 0.68, 1.18, 0.55), (0.46, 0.02, 0.90, 1.28, 0.45)),
    "clothes": ((0.34, 0.31, 0.18, 0.00, 0.30), (0.28, 0.22, 0.11, 0.00, 0.28), (0.36, 0.28, 0.12, 0.00, 0.42)),
    "books": (
        (0.22, 0.07, 0.25, 0.79, 0.06),
        (0.62, 0.23, 0.28, 0.42, 0.20),
        (0.61, 0.23, 0.27, 1.34, 0.15),
        (0.28, 0.22, 0.10, 0.52, 0.30),
        (0.33, 0.22, 0.27, 0.07, 0.12),
        (0.37, 0.23, 0.26, 1.07, 0.18),
    ),
    "refrigerator": ((0.68, 0.61, 1.67, 0.00, 1.00),),
    "television": ((0.97, 0.20, 0.62, 0.53, 1.00),),
    "paper": ((0.33, 0.26, 0.01, 0.73, 0.62), (0.14, 0.12, 0.11, 0.65, 0.38)),
    "towel": (
        (0.33, 0.21, 0.21, 1.01, 0.32),
        (0.55, 0.10, 0.54, 0.86, 0.35),
        (0.31, 0.22, 0.10, 0.96, 0.23),
        (0.33, 0.21, 0.10, 0.12, 0.10),
    ),
    "shower_curtain": ((0.96, 0.06, 1.63, 0.30, 1.00),),
    "box": (
        (0.23, 0.18, 0.12, 0.90, 0.26),
        (0.22, 0.19, 0.13, 1.97, 0.13),
        (0.22, 0.17, 0.12, 1.40, 0.17),
        (0.45, 0.35, 0.30, 0.00, 0.11),
        (0.23, 0.17, 0.11, 0.07, 0.19),
        (0.20, 0.17, 0.13, 0.71, 0.14),
    ),
    "whiteboard": ((1.29, 0.07, 0.87, 0.90, 1.00),),
    "night_stand": ((0.48, 0.41, 0.48, 0.00, 1.00),),
    "toilet": ((0.61, 0.39, 0.80, 0.00, 1.00),),
    "sink": ((0.55, 0.49, 0.49, 0.72, 0.59), (0.56, 0.46, 0.96, 0.00, 0.41)),
    "lamp": (
        (0.32, 0.32, 0.52, 2.19, 0.28),
        (0.40, 0.40, 0.10, 2.40, 0.51),
        (0.25, 0.23, 0.41, 0.55, 0.10),
        (0.37, 0.37, 1.59, 0.00, 0.10),
    ),
    "bathtub": ((1.60, 0.74, 0.70, 0.00, 1.00),),
    "bag": (
        (0.36, 0.14, 0.37, 0.00, 0.50),
        (0.30, 0.30, 0.48, 0.00, 0.25),
        (0.34, 0.15, 0.37, 0.49, 0.08),
        (0.26, 0.12, 0.19, 0.00, 0.17),
    ),
    "otherfurniture": (
        (0.55, 0.47, 0.39, 0.00, 0.08),
        (0.83, 0.08, 0.50, 0.12, 0.41),
        (0.63, 0.60, 0.91, 0.00, 0.17),
        (0.94, 0.37, 0.46, 0.00, 0.07),
        (0.50, 0.12, 0.60, 0.12, 0.28),
    ),
    "otherprop": (
        (0.13, 0.12, 0.24, 0.77, 0.21),
        (0.53, 0.44, 0.69, 0.00, 0.12),
        (0.11, 0.08, 0.10, 0.74, 0.23),
        (0.26, 0.23, 0.09, 0.75, 0.21),
        (0.28, 0.26, 0.27, 0.70, 0.18),
        (0.24, 0.03, 0.28, 1.72, 0.06),
    ),
}
"""Long side, short side, height and height of the base above the floor in metres, and the share of the objects of the class that
are about like that."""

SPREAD, BASE_SPREAD = 0.45, 0.3
"""Of the log of a length about that of a typical box, and of the height of the base in metres: what objects differ by, and by
what boxes of maps are off."""
THINNEST = 0.1
"""Metres; boxes of maps are no thinner, whatever is in them."""
RARE = 0.005
"""Density of boxes of any class far from the typical ones, of 1 at one that all are like."""
RIGHT_BOX = 0.6
"""Share of the boxes of maps that are about right, so that they say something of the class."""


def box_features(long: float, short: float, height: float, base: float) -> Array:
    """(4,) coordinates in which boxes of one class lie about 1 from a typical one."""
    lengths = np.log(np.maximum([long, short, height], THINNEST)) / SPREAD
    return np.array([*lengths, base / BASE_SPREAD])


def box_ratios(size: Array, base: float, names: Sequence[str]) -> Array:
    """How much likelier (N,) classes of those names are for an object with a box of `size` (3,) at `base` metres above the floor
    than without knowing it.

    A box is either right, and then distributed about the typical ones, or wrong, and then says nothing. Of furniture on legs the
    lower part is often not mapped: it is taken to stand on the floor.
    """
    long, short, height = size[:2].max(), size[:2].min(), float(size[2])
    lifted, standing = box_features(long, short, height, base), box_features(long, short, height + base, 0.0)
    fit = np.array([_fit(name, standing if name in ON_LEGS else lifted) for name in names])
    usual = float(np.nanmean(fit)) if np.isfinite(fit).any() else 0.0
    ratios = fit / usual if usual > 0 else np.ones(len(names))
    return np.asarray(np.where(np.isnan(fit), 1.0, RIGHT_BOX * ratios + 1 - RIGHT_BOX))


def _fit(name: str, features: Array) -> float:
    """Density of boxes of a class at some features, NaN for a class without typical boxes."""
    if name not in TYPICAL:
        return float("nan")
    away = np.array([features - box_features(*box[:4]) for box in TYPICAL[name]])
    return RARE + float(np.exp(-(away**2).sum(axis=1) / 2) @ [share for *_, share in TYPICAL[name]])
