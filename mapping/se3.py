"""Rigid transforms as plain (..., 4, 4) float64 arrays: `p_a = T_a_b @ p_b`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def is_se3(T: ArrayLike, tolerance: float = 1e-4) -> bool:
    """Whether `T` is one (4, 4) rigid transform: finite, orthonormal, determinant +1, last row 0 0 0 1."""
    T = np.asarray(T, dtype=np.float64)
    if T.shape != (4, 4) or not np.isfinite(T).all():
        return False
    R = T[:3, :3]
    if np.abs(R).max() > 2:  # squares of larger numbers may overflow
        return False
    return bool(
        np.allclose(R @ R.T, np.eye(3), atol=tolerance)
        and np.linalg.det(R) > 0
        and np.allclose(T[3], [0, 0, 0, 1], atol=tolerance)
    )


def from_rotation_translation(R: ArrayLike, t: ArrayLike) -> Array:
    """(..., 3, 3) rotations and (..., 3) translations to (..., 4, 4) transforms."""
    R, t = np.asarray(R, dtype=np.float64), np.asarray(t, dtype=np.float64)
    T = np.zeros((*np.broadcast_shapes(R.shape[:-2], t.shape[:-1]), 4, 4))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = R, t, 1.0
    return T


def inverse(T: ArrayLike) -> Array:
    """Inverse of rigid transforms (..., 4, 4); `inverse(T_a_b) = T_b_a`."""
    T = np.asarray(T, dtype=np.float64)
    R_t = np.swapaxes(T[..., :3, :3], -1, -2)
    return from_rotation_translation(R_t, -(R_t @ T[..., :3, 3, None])[..., 0])


def yaw_rotation(yaw: float) -> Array:
    """(3, 3) rotation about z by `yaw` radians, counter-clockwise seen from above."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def turn_between(T_a: ArrayLike, T_b: ArrayLike) -> Array:
    """The angle (...) in degrees between the rotations of poses (..., 4, 4), by the trace of one times the other's inverse."""
    A, B = (np.asarray(T, dtype=np.float64)[..., :3, :3] for T in (T_a, T_b))
    cosine = (np.einsum("...ij,...ij->...", A, B) - 1) / 2
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def scaled_translation(T: ArrayLike, scale: float) -> Array:
    """Poses (..., 4, 4) of whose unit one is `scale` of the new one."""
    moved = np.array(T, dtype=np.float64)
    moved[..., :3, 3] *= scale
    return moved


def transform_points(T_a_b: ArrayLike, points_b: ArrayLike) -> Array:
    """Points (..., 3) in frame b to frame a."""
    T, points = np.asarray(T_a_b, dtype=np.float64), np.asarray(points_b, dtype=np.float64)
    return np.asarray(points @ T[:3, :3].T + T[:3, 3])


def rotation_from_quat_xyzw(quat_xyzw: ArrayLike) -> Array:
    """Quaternions (..., 4), normalised here, to rotation matrices (..., 3, 3).

    Raises ValueError when a quaternion has no length.
    """
    q = np.asarray(quat_xyzw, dtype=np.float64)
    norm = np.linalg.norm(q, axis=-1, keepdims=True)
    if not np.all(norm > 1e-9):
        raise ValueError("quaternion of zero length")
    q = q / norm
    x, y, z = np.moveaxis(q[..., :3], -1, 0)
    w = q[..., 3]
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quat_xyzw_from_rotation(R: ArrayLike) -> Array:
    """Rotation matrices (..., 3, 3) to unit quaternions (..., 4) with w >= 0.

    The largest of the four squared components is found first, so that nothing is divided by a small number (Shepperd 1978).
    """
    R = np.asarray(R, dtype=np.float64)
    m00, m11, m22 = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    a, b, c = R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]
    d, e, f = R[..., 1, 0] + R[..., 0, 1], R[..., 0, 2] + R[..., 2, 0], R[..., 2, 1] + R[..., 1, 2]
    rows = np.stack(
        [
            np.stack([1 + m00 - m11 - m22, d, e, a], axis=-1),
            np.stack([d, 1 - m00 + m11 - m22, f, b], axis=-1),
            np.stack([e, f, 1 - m00 - m11 + m22, c], axis=-1),
            np.stack([a, b, c, 1 + m00 + m11 + m22], axis=-1),
        ],
        axis=-2,
    )
    best = np.argmax(np.diagonal(rows, axis1=-2, axis2=-1), axis=-1)
    q = np.take_along_axis(rows, best[..., None, None], axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.asarray(np.where(q[..., 3:] < 0, -q, q))


def interpolate(T_0: ArrayLike, T_1: ArrayLike, fraction: float) -> Array:
    """The pose at `fraction` in [0, 1] between two (4, 4) poses: slerp of the rotation, straight line of the position."""
    T_0, T_1 = np.asarray(T_0, dtype=np.float64), np.asarray(T_1, dtype=np.float64)
    q0, q1 = quat_xyzw_from_rotation(T_0[:3, :3]), quat_xyzw_from_rotation(T_1[:3, :3])
    if np.dot(q0, q1) < 0:  # the shorter arc
        q1 = -q1
    angle = np.arctan2(np.linalg.norm(q1 - np.dot(q0, q1) * q0), np.dot(q0, q1))
    if angle < 1e-6:
        q = (1 - fraction) * q0 + fraction * q1
    else:
        q = (np.sin((1 - fraction) * angle) * q0 + np.sin(fraction * angle) * q1) / np.sin(angle)
    t = (1 - fraction) * T_0[:3, 3] + fraction * T_1[:3, 3]
    return from_rotation_translation(rotation_from_quat_xyzw(q), t)


def interpolate_at(times: Array, poses: Array, time: float, *, max_gap: float) -> Array | None:
    """The pose at `time` from a trajectory, or None where it is unknown.

    Parameters
    ----------
    times : (N,) increasing seconds.
    poses : (N, 4, 4) `T_world_camera`; a pose that is not finite is lost.
    time : seconds.
    max_gap : the longest interval in seconds between two known poses that is interpolated; a pose at exactly `time` is
        always returned, and outside of the trajectory the result is None.
    """
    known = np.flatnonzero(np.isfinite(poses).all(axis=(-2, -1)))
    after = int(np.searchsorted(times[known], time, side="left"))
    if after < len(known) and times[known[after]] == time:
        return np.asarray(poses[known[after]])
    if after in (0, len(known)):
        return None
    i, j = known[after - 1], known[after]
    gap = float(times[j] - times[i])
    if gap > max_gap:
        return None
    return interpolate(poses[i], poses[j], (time - float(times[i])) / gap)


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> Array:
    """`T_world_camera` of a camera at `eye` that looks at `target`, image rows pointing against `up`.

    Raises ValueError when the two are the same point.
    """
    eye, target = np.asarray(eye, dtype=np.float64), np.asarray(target, dtype=np.float64)
    distance = np.linalg.norm(target - eye)
    if not distance > 0:
        raise ValueError(f"look_at: target must differ from eye, got {eye.tolist()} for both")
    forward = (target - eye) / distance
    right = np.cross(forward, np.asarray(up, dtype=np.float64))
    if np.linalg.norm(right) < 1e-9:  # looking along `up`: any horizontal axis is valid
        right = np.cross(forward, [0.0, 1.0, 0.0] if abs(forward[1]) < 0.9 else [1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    return from_rotation_translation(np.stack([right, np.cross(forward, right), forward], axis=1), eye)
