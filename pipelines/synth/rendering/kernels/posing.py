"""Numba kernels: transforming bodies to their poses."""

from __future__ import annotations

import numpy as np

from mapping.arrays import Float32Array, Float64Array, Int32Array
from mapping.compiling import kernel


@kernel(nogil=True)
def moved_points(points: Float64Array, body: Int32Array, T_world_body: Float64Array) -> Float64Array:
    """Points (N, 3) of bodies (N,) in the world, at poses (B, 4, 4)."""
    out = np.zeros_like(points)
    for n in range(len(points)):
        T = T_world_body[body[n]]
        for axis in range(3):
            out[n, axis] = (
                T[axis, 0] * points[n, 0] + T[axis, 1] * points[n, 1] + T[axis, 2] * points[n, 2] + T[axis, 3]
            )
    return out


@kernel(nogil=True)
def moved_faces(
    planes: Float64Array, corner_normals: Float32Array, body: Int32Array, T_world_body: Float64Array
) -> tuple[Float64Array, Float32Array]:
    """Planes (F, 4) and corner normals (F, 3, 3) of faces of bodies (F,) in the world, at poses (B, 4, 4)."""
    moved, normals = np.zeros_like(planes), np.zeros_like(corner_normals)
    for n in range(len(planes)):
        T = T_world_body[body[n]]
        moved[n, 3] = planes[n, 3]
        for axis in range(3):
            moved[n, axis] = T[axis, 0] * planes[n, 0] + T[axis, 1] * planes[n, 1] + T[axis, 2] * planes[n, 2]
            moved[n, 3] += moved[n, axis] * T[axis, 3]
            for k in range(3):
                normals[n, k, axis] = (
                    T[axis, 0] * corner_normals[n, k, 0]
                    + T[axis, 1] * corner_normals[n, k, 1]
                    + T[axis, 2] * corner_normals[n, k, 2]
                )
    return moved, normals
