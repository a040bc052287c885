"""Numba kernel: shading normals at the corners of triangles."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mapping.arrays import Float32Array, Float64Array, Int32Array, Int64Array
from mapping.compiling import kernel


def smooth_corner_normals(
    vertices: NDArray[np.float64], faces: NDArray[np.int32], min_cosine: float
) -> NDArray[np.float32]:
    """(F, 3, 3) normals at the corners: the mean over the faces around the point within the angle of `min_cosine`.

    Each face is weighted by its angle at the corner (Thuermer and Wuethrich 1998), so the split of a quad does not
    matter. Vertices at the same position (to 10 micrometres) count as one.
    """
    if len(faces) == 0:
        return np.zeros((0, 3, 3), np.float32)
    _, point = np.unique(np.round(vertices * 1e5).astype(np.int64), axis=0, return_inverse=True)
    corner_point = point.ravel()[faces.ravel()]
    order = np.argsort(corner_point, kind="stable")
    starts = np.searchsorted(corner_point[order], np.arange(point.max() + 2))
    return np.asarray(_smooth(vertices, faces, corner_point, order, starts, min_cosine))


@kernel()
def _smooth(
    vertices: Float64Array,
    faces: Int32Array,
    corner_point: Int64Array,
    order: Int64Array,
    starts: Int64Array,
    min_cosine: float,
) -> Float32Array:
    count = len(faces)
    normals = np.zeros((count, 3))
    angles = np.zeros((count, 3))
    for f in range(count):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        normal = np.cross(b - a, c - a)
        normals[f] = normal / math.sqrt(np.sum(normal * normal))
        for k in range(3):
            at = vertices[faces[f, k]]
            e = vertices[faces[f, (k + 1) % 3]] - at
            g = vertices[faces[f, (k + 2) % 3]] - at
            cosine = np.sum(e * g) / math.sqrt(np.sum(e * e) * np.sum(g * g))
            angles[f, k] = math.acos(min(1.0, max(-1.0, cosine)))
    out = np.zeros((count, 3, 3), np.float32)
    for f in range(count):
        for k in range(3):
            at = corner_point[3 * f + k]
            total = np.zeros(3)
            for i in range(starts[at], starts[at + 1]):
                g, j = order[i] // 3, order[i] % 3
                if np.sum(normals[f] * normals[g]) >= min_cosine:
                    total += angles[g, j] * normals[g]
            length = math.sqrt(np.sum(total * total))
            if length < 1e-9:
                total, length = normals[f], 1.0
            for axis in range(3):
                out[f, k, axis] = total[axis] / length
    return out
