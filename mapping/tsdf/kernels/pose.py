"""The inverse of a pose, compiled: for a single matrix numpy's general routines take longer than all other checks of a frame."""

from __future__ import annotations

import numpy as np

from mapping.arrays import Float64Array
from mapping.compiling import kernel

ROUNDS = 4  # each squares the error of a matrix: from 5e-3 to below float64


@kernel(nogil=True, error_model="numpy")
def invert_rigid(T: Float64Array, inverse: Float64Array) -> tuple[float, float]:
    """Write the inverse (4, 4) of a pose (4, 4) whose rotation part is replaced by the nearest rotation.

    That is the orthogonal factor of its polar decomposition, by Newton's iteration (Higham 1986).
    Returns the deviation of T from a rigid transform (the largest element of R R' - I and of the difference of the last row; inf
    when T is not finite) and the determinant of the factor, -1 for a mirror image.
    """
    error = max(max(abs(T[3, 0]), abs(T[3, 1])), max(abs(T[3, 2]), abs(T[3, 3] - 1)))
    for i in range(3):
        for j in range(3):
            product = T[i, 0] * T[j, 0] + T[i, 1] * T[j, 1] + T[i, 2] * T[j, 2]
            error = max(error, abs(product - (1.0 if i == j else 0.0)))
    if not np.isfinite(T.sum()) or not error < 1:
        return np.inf, 1.0
    R, cofactors, det = T[:3, :3].copy(), np.zeros((3, 3)), 0.0
    for _ in range(ROUNDS):
        for i in range(3):
            a, b = (i + 1) % 3, (i + 2) % 3
            for j in range(3):
                c, d = (j + 1) % 3, (j + 2) % 3
                cofactors[i, j] = R[a, c] * R[b, d] - R[a, d] * R[b, c]
        det = R[0, 0] * cofactors[0, 0] + R[0, 1] * cofactors[0, 1] + R[0, 2] * cofactors[0, 2]
        for i in range(3):
            for j in range(3):
                # The inverse, transposed, is cofactors over determinant.
                R[i, j] = 0.5 * (R[i, j] + cofactors[i, j] / det)
    inverse[:] = 0
    inverse[3, 3] = 1
    for i in range(3):
        for j in range(3):
            inverse[i, j] = R[j, i]
        inverse[i, 3] = -(R[0, i] * T[0, 3] + R[1, i] * T[1, 3] + R[2, i] * T[2, 3])
    return error, det
