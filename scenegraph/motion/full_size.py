"""From the moving pixels of a reduced image to those of the whole one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

JUMP, JUMP_SHARE = 0.15, 0.06  # metres, and share of depth: larger steps separate two things
REACH = 1.5  # pixels of the reduced image around a moving one that may belong to it


def enlarged(reduced: NDArray[np.uint16], depth: NDArray[np.float32], stride: int) -> NDArray[np.uint16]:
    """(H, W) numbers of things from those (h, w) in the image of every `stride`-th pixel.

    A pixel belongs to the nearest thing when it lies near it in the image and its depth (H, W) in metres is near that of the
    thing there.
    """
    away, nearest = distance_transform_edt(reduced == 0, return_indices=True)
    rows, columns = (np.minimum(np.arange(n) // stride, m - 1) for n, m in zip(depth.shape, reduced.shape, strict=True))
    at = np.ix_(rows, columns)
    source = tuple(
        np.minimum(index[at] * stride + stride // 2, n - 1) for index, n in zip(nearest, depth.shape, strict=True)
    )
    there = depth[source]
    same = np.abs(depth - there) <= np.maximum(JUMP, JUMP_SHARE * there)
    own = (away[at] <= REACH) & same & (depth > 0)
    return np.where(own, reduced[nearest[0][at], nearest[1][at]], 0).astype(np.uint16)
