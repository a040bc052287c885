"""The names of pixels on a CPU without gradients: one compiled loop over pixels instead of maps of all classes for every step.

The probabilities of 41 classes of an image of 640x480 are 50 MB, which a softmax, its maximum and the sums over groups write and
read again, several times; here those of a pixel stay in registers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numba import float32
from numpy.typing import NDArray
from torch import Tensor

from mapping.compiling import FAST, kernel
from mapping.threads import run_parts, split

Floats = NDArray[np.float32]
LEAST_LOG = np.float32(-17.0)
"""Log of the ratio to the likeliest class below which a class adds nothing to a sum of 32-bit numbers."""


def labels_on_cpu(logits: Tensor, broader: Sequence[int] | None, threshold: float) -> tuple[Tensor, Tensor]:
    """As `m2h.pixel_labels.labels_of_pixels`."""
    batch, classes, height, width = logits.shape
    maps = logits.detach().float().permute(0, 2, 3, 1).contiguous().view(batch * height, width, classes).numpy()
    group_of = np.arange(classes) if broader is None else np.array(broader)
    confidence = np.zeros(maps.shape[:2], np.float32)
    labels = np.zeros(maps.shape[:2], np.int64)
    rows = split(len(maps), torch.get_num_threads())
    certain = threshold if broader is None else max(threshold, 0.5)

    def work(part: int) -> None:
        name_rows(maps, group_of, np.float32(threshold), np.float32(certain), rows[part], confidence, labels)

    run_parts(work, len(rows))
    shape = (batch, height, width)
    return torch.from_numpy(confidence.reshape(shape)), torch.from_numpy(labels.reshape(shape))


@kernel(nogil=True, error_model="numpy", fastmath=FAST)
def name_rows(
    logits: Floats,
    group_of: NDArray[np.int64],
    threshold: np.float32,
    certain: np.float32,
    rows: tuple[int, int],
    confidence: Floats,
    labels: NDArray[np.int64],
) -> None:
    """The confidence and the label of the pixels from row rows[0] to before rows[1] of logits [R, W, C].

    `group_of` [C] is the class that stands for the group of each, which is asked where the likeliest has less than `certain`.
    """
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
            confidence[row, column] = sure
            labels[row, column] = label if sure >= threshold else 0
