"""The cost volume on a CPU without gradients: one compiled loop instead of maps of samples and products.

A sample of a neighbour is used for one product. Made by `grid_sample`, all of them are written to memory and read again, some
hundred megabytes for an image; here they stay in registers.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import float32
from numpy.typing import NDArray
from torch import Tensor

from mapping.compiling import FAST, kernel
from mapping.threads import run_parts, split

Floats = NDArray[np.float32]
SUMS = FAST | {"reassoc"}
"""Sums over channels may be taken in any order."""


def volume_on_cpu(
    features: Tensor, views: Tensor, to_pixels: Tensor, inverse_depths: Tensor, nearest: float
) -> tuple[Tensor, Tensor]:
    """Sums of the products of the features [C, h, w] of an image with those of its neighbours [N, C, H, W], at D depths of each
    pixel, over the neighbours that see the point, and their number: both [D, h, w] float32.

    `to_pixels` [N, 3, 4] leads from `(u d, v d, d, 1)`, (u, v) a pixel of the image's features, to homogeneous pixels of the
    neighbours' features. `inverse_depths` [D, hw] has 1 as its second size where all pixels share them. What lies no farther
    ahead of a neighbour than `nearest` is not seen.
    """
    own, others = _channels_last(features), _channels_last(views)
    height, width = own.shape[:2]
    inverse = inverse_depths.float().expand(-1, height * width).reshape(-1, height, width).numpy()
    sums = np.zeros((2, *inverse.shape), np.float32)
    matrices = to_pixels.float().contiguous().numpy()
    rows = split(height, torch.get_num_threads())

    def work(part: int) -> None:
        match_rows(own, others, matrices, inverse, np.float32(nearest), rows[part], sums)

    run_parts(work, len(rows))
    return torch.from_numpy(sums[0]), torch.from_numpy(sums[1])


def _channels_last(maps: Tensor) -> Floats:
    """[..., C, h, w] as [..., h, w, C]."""
    array: Floats = maps.float().movedim(-3, -1).contiguous().numpy()
    return array


@kernel(nogil=True, error_model="numpy", fastmath=SUMS)
def match_rows(
    own: Floats,
    others: Floats,
    to_pixels: Floats,
    inverse: Floats,
    nearest: np.float32,
    rows: tuple[int, int],
    sums: Floats,
) -> None:
    """Add to the products and numbers in `sums` [2, D, h, w], in the rows from rows[0] to before rows[1], those of all
    neighbours; the other arguments as in `volume_on_cpu`, channels last."""
    channels, width, depths = own.shape[2], own.shape[1], inverse.shape[0]
    count, height_other, width_other = others.shape[:3]
    for row in range(rows[0], rows[1]):
        for column in range(width):
            for n in range(count):
                P = to_pixels[n]
                x_far = P[0, 0] * column + P[0, 1] * row + P[0, 2]
                y_far = P[1, 0] * column + P[1, 1] * row + P[1, 2]
                z_far = P[2, 0] * column + P[2, 1] * row + P[2, 2]
                for depth in range(depths):
                    near = inverse[depth, row, column]
                    z = z_far + P[2, 3] * near
                    if not z > nearest:
                        continue
                    x, y = (x_far + P[0, 3] * near) / z, (y_far + P[1, 3] * near) / z
                    if not (-0.5 <= x <= width_other - 0.5 and -0.5 <= y <= height_other - 0.5):
                        continue
                    left, top = math.floor(x), math.floor(y)
                    right_share, low_share = float32(x - left), float32(y - top)
                    total = float32(0)
                    # Pixels beyond the border are zero, as those of grid_sample.
                    for k in range(4):
                        i, j = top + k // 2, left + k % 2
                        if 0 <= i < height_other and 0 <= j < width_other:
                            share = low_share if k // 2 else float32(1) - low_share
                            share *= right_share if k % 2 else float32(1) - right_share
                            product = float32(0)
                            for c in range(channels):
                                product += own[row, column, c] * others[n, i, j, c]
                            total += share * product
                    sums[0, depth, row, column] += total
                    sums[1, depth, row, column] += float32(1)
