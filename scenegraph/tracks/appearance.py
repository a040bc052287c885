"""Appearance in a few numbers, so that two people who pass each other are distinguished by their clothes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Look = tuple[Array | None, Array | None]

NO_LOOK: Look = (None, None)
BAND_LIMITS = ((0.9, 1.5), (0.2, 0.8))  # metres over the floor: a person's top, and the legs
MIN_PIXELS = 20
DARK = 0.05  # keeps logarithms of dark colours from amplifying noise
BRIGHTNESS_WEIGHT = 0.3  # weight of brightness: light changes from place to place, the colour of clothes hardly does
SPREAD = 0.25  # standard deviation of the features of one thing between views
MOST_UNLIKE = 9.0  # beyond three standard deviations a larger difference carries no more information
STAY_SPREAD = (
    0.08  # standard deviation of the features of one thing between its stays in view: other light, other sides
)
VIEW_SPREAD = 0.25  # between single views within a stay
PEOPLE_SPREAD = 0.35  # between different things of a class
MISTAKEN = 0.01  # share of stays whose features are those of something else


def appearance_features(rgb: NDArray[np.uint8], heights: Array) -> Look:
    """Features (3,) of the upper and the lower band from the pixels (N, 3) and their heights (N,) over the floor.

    A band with fewer than 20 pixels is None. The features are two logarithms of colour ratios, which are nearly independent
    of lighting, and a fraction of the brightness.
    """
    bands = [(heights >= low) & (heights < high) for low, high in BAND_LIMITS]
    upper, lower = (_features(rgb[band]) if band.sum() >= MIN_PIXELS else None for band in bands)
    return upper, lower


def mean_look(looks: Sequence[Look]) -> Look:
    """The mean of several, band by band; None where none of them has the band."""
    bands = [[band for each in looks if (band := each[number]) is not None] for number in (0, 1)]
    upper, lower = (np.mean(band, axis=0) if band else None for band in bands)
    return upper, lower


def appearance_distance(a: Look, b: Look) -> float:
    """Squared difference in standard deviations, the mean of the bands that both have, at most 9; 0 when they share none."""
    squared = [
        float(np.sum((x - y) ** 2)) / SPREAD**2 for x, y in zip(a, b, strict=True) if x is not None and y is not None
    ]
    return min(float(np.mean(squared)), MOST_UNLIKE) if squared else 0.0


@dataclass(frozen=True, eq=False)
class LookSummary:
    """The median (2, 3) of the looks in some views, one row per band, and the number of views (2,) that show each band."""

    middle: Array
    views: NDArray[np.int64]


def summarise_looks(looks: Sequence[Look]) -> LookSummary:
    """The median of each feature, which a few views of something else do not change; rows of 0 where no view has the band."""
    middle, views = np.zeros((2, 3)), np.zeros(2, dtype=np.int64)
    for number in (0, 1):
        band = [each[number] for each in looks if each[number] is not None]
        views[number] = len(band)
        if band:
            middle[number] = np.median(np.array(band), axis=0)
    return LookSummary(middle, views)


def log_odds_same(a: LookSummary, b: LookSummary) -> float:
    """Log odds that two looks belong to one thing rather than to two; 0 when they share no band.

    Differences are normal, narrow between stays of one thing and wide between two things; a few stays are outliers.
    """
    total = 0.0
    for number in np.flatnonzero((a.views > 0) & (b.views > 0)):
        seldom = VIEW_SPREAD**2 * (1 / a.views[number] + 1 / b.views[number])
        same, other = 2 * STAY_SPREAD**2 + seldom, 2 * PEOPLE_SPREAD**2 + seldom
        squared = float(np.sum((a.middle[number] - b.middle[number]) ** 2))
        odds = 1.5 * np.log(other / same) - squared * (1 / same - 1 / other) / 2
        total += float(np.logaddexp(np.log(1 - MISTAKEN) + odds, np.log(MISTAKEN)))
    return total


def _features(rgb: ArrayLike) -> Array:
    r, g, b = np.mean(np.asarray(rgb, dtype=np.float64) / 255.0, axis=0) + DARK
    return np.array([np.log(r / g), np.log(b / g), BRIGHTNESS_WEIGHT * np.log(r + g + b)])
