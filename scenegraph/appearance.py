"""What a thing looks like in a few numbers, so that two who pass each other are told apart by their clothes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Look = tuple[Array | None, Array | None]

NO_LOOK: Look = (None, None)
BAND_LIMITS = ((0.9, 1.5), (0.2, 0.8))  # metres over the floor: a person's top, and the legs
MIN_PIXELS = 20
DARK = 0.05  # keeps logarithms of dark colours from following the noise
BRIGHTNESS_WEIGHT = 0.3  # light changes from place to place, the colour of clothes hardly does
SPREAD = 0.25  # standard deviation of the features of one thing between views
MOST_UNLIKE = 9.0  # beyond three standard deviations a larger difference says no more


def look(rgb: NDArray[np.uint8], heights: Array) -> Look:
    """Features (3,) of the upper and the lower band from the pixels (N, 3) and their heights (N,) over the floor.

    A band with fewer than 20 pixels is None. The features are two logarithms of colour ratios, which lighting leaves nearly
    alone, and a little of the brightness.
    """
    bands = [(heights >= low) & (heights < high) for low, high in BAND_LIMITS]
    upper, lower = (_features(rgb[band]) if band.sum() >= MIN_PIXELS else None for band in bands)
    return upper, lower


def mean_look(looks: Sequence[Look]) -> Look:
    """The mean of several, band by band; None where none of them has the band."""
    bands = [[band for each in looks if (band := each[number]) is not None] for number in (0, 1)]
    upper, lower = (np.mean(band, axis=0) if band else None for band in bands)
    return upper, lower


def unlikeness(a: Look, b: Look) -> float:
    """Squared difference in standard deviations, the mean of the bands that both have, at most 9; 0 when they share none."""
    squared = [
        float(np.sum((x - y) ** 2)) / SPREAD**2 for x, y in zip(a, b, strict=True) if x is not None and y is not None
    ]
    return min(float(np.mean(squared)), MOST_UNLIKE) if squared else 0.0


def _features(rgb: ArrayLike) -> Array:
    r, g, b = np.mean(np.asarray(rgb, dtype=np.float64) / 255.0, axis=0) + DARK
    return np.array([np.log(r / g), np.log(b / g), BRIGHTNESS_WEIGHT * np.log(r + g + b)])
