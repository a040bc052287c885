"""The names of pixels on a CPU without gradients: one compiled loop over pixels instead of maps of all classes for every step.

The probabilities of 41 classes of an image of 640x480 are 50 MB, which a softmax, its maximum and the sums over groups write and
read again, several times; here those of a pixel stay in registers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numba import float32
from numpy.typing import NDArray
from torch import Tensor

from m2h.dithering import dither_pattern
from mapping.compiling import FAST, kernel
from mapping.threads import run_parts, split

Floats = NDArray[np.float32]
LEAST_LOG = np.float32(-17.0)
"""Log of the ratio to the likeliest class below which a class adds nothing to a sum of 32-bit numbers."""


class NamedRows(NamedTuple):
    """What is found of the pixels [R, W] of R rows, as in `m2h.pixel_labels.PixelLabels`."""

    confidence: Floats
    labels: NDArray[np.int64]
    sampled: NDArray[np.int64]


def labels_on_cpu(logits: Tensor, broader: Sequence[int] | None, threshold: float) -> list[Tensor]:
    """The fields of what `m2h.pixel_labels.labels_of_pixels` returns."""
    batch, classes, height, width = logits.shape
    maps = logits.detach().float().permute(0, 2, 3, 1).contiguous().view(batch * height, width, classes).numpy()
    group_of = np.arange(classes) if broader is None else np.array(broader)
    size = maps.shape[:2]
    found = NamedRows(np.zeros(size, np.float32), np.zeros(size, np.int64), np.zeros(size, np.int64))
    numbers = np.tile(dither_pattern((height, width)), (batch, 1))
    rows = split(len(maps), torch.get_num_threads())
    certain = threshold if broader is None else max(threshold, 0.5)

    def work(part: int) -> None:
        name_rows(maps, group_of, (np.float32(threshold), np.float32(certain)), rows[part], numbers, found)

    run_parts(work, len(rows))
    return [torch.from_numpy(each.reshape(batch, height, width)) for each in found]


@kernel(nogil=True, error_model="numpy", fastmath=FAST)
def name_rows(
    logits: Floats,
    group_of: NDArray[np.int64],
    limits: tuple[np.float32, np.float32],
    rows: tuple[int, int],
    numbers: Floats,
    found: NamedRows,
) -> None:
    """What is found of the pixels from row rows[0] to before rows[1] of logits [R, W, C].

    `group_of` [C] is the class that stands for the group of each. limits are the probability from which a class is named, and the
    one of the likeliest below which groups are asked. `numbers` [R, W] in [0, 1) say which class is sampled.
    """
    threshold, certain = limits
    width, classes = logits.shape[1], logits.shape[2]
    share, group_share = np.zeros(classes, np.float32), np.zeros(classes, np.float32)
    for row in range(rows[0], rows[1]):
        for column in range(width):
            top = 0
            for c in range(1, classes):
                if logits[row, column, c] > logits[row, column, top]:
                    top = c
            total = float32(0)
            for c in range(classes):
                log = logits[row, column, c] - logits[row, column, top]
                share[c] = math.exp(log) if log > LEAST_LOG else float32(0)
                total += share[c]
            sampled, passed, number = 0, share[0], numbers[row, column] * total
            while passed <= number and sampled < classes - 1:
                sampled += 1
                passed += share[sampled]
            label, sure = top, float32(1) / total
            if sure < certain:
                group_share[:] = 0
                for c in range(classes):
                    group_share[group_of[c]] += share[c] / total
                group = 0
                for c in range(1, classes):
                    if group_share[c] > group_share[group]:
                        group = c
                label, sure = group, group_share[group]
                inside = float32(0)
                likeliest = group
                for c in range(classes):
                    if group_of[c] == group and share[c] / total > inside:
                        likeliest, inside = c, share[c] / total
                if inside >= threshold:
                    label, sure = likeliest, inside
            found.confidence[row, column] = sure
            found.labels[row, column] = label if sure >= threshold else 0
            found.sampled[row, column] = sampled
