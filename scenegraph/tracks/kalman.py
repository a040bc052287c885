"""Constant-velocity Kalman filter and smoother for points in 3D.

States are position and velocity, x (..., 6) with covariance P (..., 6, 6); leading axes are filters that run side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

H = np.hstack([np.eye(3), np.zeros((3, 3))])


def transition(dt: float, acceleration: ArrayLike) -> tuple[Array, Array]:
    """Transition (6, 6) and process noise (..., 6, 6) over dt seconds under white-noise acceleration.

    acceleration (..., 3) is the root of its spectral density along each axis, m / s^1.5 (Bar-Shalom, Estimation with Applications
    to Tracking and Navigation, 6.2.2), so that splitting dt into steps does not change the result.
    """
    F = np.eye(6)
    F[:3, 3:] = dt * np.eye(3)
    density = np.asarray(acceleration, dtype=np.float64)[..., None] ** 2 * np.eye(3)
    Q = np.zeros((*density.shape[:-2], 6, 6))
    Q[..., :3, :3], Q[..., 3:, 3:] = density * dt**3 / 3, density * dt
    Q[..., :3, 3:] = Q[..., 3:, :3] = density * dt**2 / 2
    return F, Q


def initial_state(position: Array, covariance: Array, speed: Array) -> tuple[Array, Array]:
    """State at rest at a measured position; speed (3,) is the standard deviation of its unknown velocity, m/s."""
    P = np.zeros((6, 6))
    P[:3, :3], P[3:, 3:] = covariance, np.diag(np.asarray(speed, dtype=np.float64) ** 2)
    return np.concatenate([position, np.zeros(3)]), P


def predict(x: Array, P: Array, dt: float, acceleration: ArrayLike) -> tuple[Array, Array]:
    """State and covariance dt seconds later."""
    F, Q = transition(dt, acceleration)
    return x @ F.T, F @ P @ F.T + Q


def update(x: Array, P: Array, position: Array, covariance: Array) -> tuple[Array, Array]:
    """State and covariance after measuring a position (3,) with covariance (3, 3); Joseph form, so that P stays positive."""
    gain = P[..., :3] @ np.linalg.inv(P[..., :3, :3] + covariance)
    keep = np.eye(6) - gain @ H
    away = (position - x[..., :3])[..., None]
    transposed = np.swapaxes(keep, -1, -2), np.swapaxes(gain, -1, -2)
    return x + (gain @ away)[..., 0], keep @ P @ transposed[0] + gain @ covariance @ transposed[1]


def deviance(x: Array, P: Array, position: Array, covariance: Array) -> Array:
    """(...) minus twice the log likelihood of a measured position, but for a constant: its squared Mahalanobis distance from the
    predicted one plus the log determinant."""
    S = P[..., :3, :3] + covariance
    away = (position - x[..., :3])[..., None]
    squared = (np.swapaxes(away, -1, -2) @ np.linalg.inv(S) @ away)[..., 0, 0]
    return np.asarray(squared + np.linalg.slogdet(S)[1])


def smooth(
    times: Array,
    measured: Sequence[tuple[Array, Array] | None],
    *,
    speed: Array,
    accelerations: ArrayLike,
) -> tuple[Array, Array, int]:
    """States (T, 6) and covariances (T, 6, 6) given all measurements, past and future (Rauch, Tung and Striebel 1965).

    Parameters
    ----------
    times : (T,) increasing seconds. measured : (position, covariance) or None per time, the first not None.
    speed : (3,) m/s, standard deviation of the first velocity. accelerations : (K, 3), as in `transition`, the candidates.

    The third value is the index of the acceleration under which the measurements are most likely; the states are those under it.
    """
    first = measured[0]
    if first is None:
        raise ValueError("smoothing starts at a measured time")
    tried = np.asarray(accelerations, dtype=np.float64)
    count = len(times)
    x, P = np.zeros((count, len(tried), 6)), np.zeros((count, len(tried), 6, 6))
    x_before, P_before = x.copy(), P.copy()
    x[0], P[0] = initial_state(*first, speed)
    total = np.zeros(len(tried))
    for k in range(1, count):
        x_before[k], P_before[k] = predict(x[k - 1], P[k - 1], times[k] - times[k - 1], tried)
        x[k], P[k] = x_before[k], P_before[k]
        measurement = measured[k]
        if measurement is not None:
            x[k], P[k] = update(x[k], P[k], *measurement)
            total += deviance(x_before[k], P_before[k], *measurement)
    best = int(np.argmin(total))
    states, covariances = x[:, best], P[:, best]
    for k in range(count - 2, -1, -1):
        F, _ = transition(times[k + 1] - times[k], tried[best])
        gain = np.linalg.solve(P_before[k + 1, best], F @ covariances[k]).T
        states[k] += gain @ (states[k + 1] - x_before[k + 1, best])
        covariances[k] += gain @ (covariances[k + 1] - P_before[k + 1, best]) @ gain.T
    return states, covariances, best
