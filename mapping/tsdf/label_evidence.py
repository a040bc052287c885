"""The evidence of all labels at points of a volume's surface, which a mesh's one label per vertex does not show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.tsdf.store import SumStore


@dataclass(frozen=True, eq=False)
class LabelEvidence:
    """What frames said of N points: entries (E,) sorted by point and label.

    point (E,) int64 and label (E,) uint16, not 0, with the summed weight (E,) float64 of the frames that showed the label there.
    """

    point: NDArray[np.int64]
    label: NDArray[np.uint16]
    weight: NDArray[np.float64]


def label_evidence(store: SumStore, points: NDArray[np.float64], voxel_size: float) -> LabelEvidence:
    """Evidence at points (N, 3) in world metres that lie on edges between voxels, as a mesh's vertices do.

    Of the two voxels at the ends of the edge each counts by its nearness.
    """
    grid = points / voxel_size - 0.5
    near = np.rint(grid).astype(np.int64)
    offset = grid - near
    rows, axis = np.arange(len(points)), np.argmax(np.abs(offset), axis=1)
    fraction = np.abs(offset[rows, axis])
    far = near.copy()
    far[rows, axis] += np.where(offset[rows, axis] < 0, -1, 1)
    keys, weights = [], []
    for voxels, share in ((near, 1 - fraction), (far, fraction)):
        labels, evidence = store.read_labels(voxels)
        at, counter = np.nonzero(evidence)
        keys.append(at.astype(np.int64) << 16 | labels[at, counter].astype(np.int64))
        weights.append(evidence[at, counter] * share[at])
    found, entry = np.unique(np.concatenate(keys), return_inverse=True)
    weight = np.bincount(entry.ravel(), np.concatenate(weights), minlength=len(found)).astype(np.float64)
    return LabelEvidence(found >> 16, (found & 0xFFFF).astype(np.uint16), weight)
