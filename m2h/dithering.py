"""Numbers spread evenly over the pixels of images, in place of chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dither_pattern(shape: tuple[int, int], index: int = 0) -> NDArray[np.float32]:
    """(H, W) numbers evenly spread over [0, 1) of frame `index`, alike in every run: an additive recurrence over columns, rows
    and frames, whose steps are the powers of one over the root of x^4 = x + 1."""
    steps = [1.2207440846057596**-power for power in (1, 2, 3)]
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])
    return ((0.5 + columns * steps[0] + rows * steps[1] + index * steps[2]) % 1).astype(np.float32)
