"""Labels of pixels as votes in fusion, in proportion to their confidences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2h.dithering import dither_pattern
from scenegraph.labels import LabelSpace


def pixel_votes(
    labels: NDArray[Any], confidence: NDArray[np.float32] | None, label_space: LabelSpace, index: int
) -> NDArray[Any]:
    """What the pixels of frame `index` vote for (H, W): a label, the space's `unnamed`, or 0 for nothing.

    A pixel has one vote or none, so the probability (H, W) that its label is right decides how many of such pixels vote: a share
    `confidence` of the named ones for their label, and a share 1 - `confidence` of those without a name, whose best guess has
    that probability, for no name. Which ones is spread evenly over the image and from frame to frame. Without confidences all
    pixels vote.
    """
    unnamed = label_space.unnamed
    wide = labels if unnamed <= np.iinfo(labels.dtype).max else labels.astype(np.uint16)
    no_name = wide.dtype.type(unnamed)
    if confidence is None:
        return np.where(wide == 0, no_name, wide)
    sure = dither_pattern(labels.shape, index) < confidence
    return np.where(sure, wide, np.where(wide == 0, no_name, 0)).astype(wide.dtype)
