"""Mean probabilities of all labels on a surface: from labels that frames sampled with their probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from mapping.camera import Intrinsics
from mapping.se3 import inverse, transform_points
from scenegraph.labels import LabelSpace

Array = NDArray[np.float64]

NEAR, NEAR_SHARE = 0.03, 0.05
"""Metres, and share of the distance, by which the depth of a frame may differ from a vertex that it sees."""


class SampledLabels:
    """Counts the labels that frames sample where they see the vertices (V, 3) of a mesh."""

    def __init__(self, vertices: Array, label_space: LabelSpace) -> None:
        self._vertices = vertices
        self._known = np.zeros(max(label_space.by_id) + 1, bool)
        self._known[sorted(label_space.by_id)] = True
        self._vertex: list[NDArray[np.int32]] = []
        self._label: list[NDArray[np.uint16]] = []

    def add(self, depth: NDArray[np.float32], sampled: NDArray[Any], camera: Intrinsics, T_world_camera: Array) -> None:
        """Count the labels that a frame samples.

        depth (H, W), 0 where unknown; sampled (H, W) label ids, of which those that the label space lacks count as 0;
        `T_world_camera` (4, 4).
        """
        points = transform_points(inverse(T_world_camera), self._vertices)
        ahead = np.flatnonzero(points[:, 2] > NEAR)
        pixels = np.rint(camera.project(points[ahead]))
        inside = ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(axis=1)
        ahead, (u, v) = ahead[inside], pixels[inside].astype(np.int64).T
        z = points[ahead, 2]
        seen = np.abs(depth[v, u] - z) < NEAR + NEAR_SHARE * z
        labels = sampled[v[seen], u[seen]].astype(np.int64)
        known = self._known[np.minimum(labels, len(self._known) - 1)] & (labels < len(self._known))
        self._vertex.append(ahead[seen].astype(np.int32))
        self._label.append(np.where(known, labels, 0).astype(np.uint16))

    def counts(self) -> csr_matrix | None:
        """How often each label was sampled at each vertex, (V, number of label ids); None where no frame was added."""
        if not self._vertex:
            return None
        vertex, label = np.concatenate(self._vertex), np.concatenate(self._label)
        shape = (len(self._vertices), len(self._known))
        return csr_matrix((np.ones(len(vertex), np.float32), (vertex, label)), shape=shape)
