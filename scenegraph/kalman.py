"""Constant-velocity Kalman filter and smoother for points in 3D. States are position and velocity, (6,)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

H = np.hstack([np.eye(3), np.zeros((3, 3))])


def motion(dt: float, acceleration: Array) -> tuple[Array, Array]:
    """Transition and process noise (6, 6) over dt seconds under white-noise acceleration.

    acceleration (3,) is the root of its spectral density along each axis, m / s^1.5 (Bar-Shalom, Estimation with Applications to
    Tracking and Navigation, 6.2.2), so that splitting dt into steps changes nothing.
    """
    F = np.eye(6)
    F[:3, 3:] = dt * np.eye(3)
    density = np.diag(np.asarray(acceleration, dtype=np.float64) ** 2)
    Q = np.block([[density * dt**3 / 3, density * dt**2 / 2], [density * dt**2 / 2, density * dt]])
    return F, Q


def start(position: Array, covariance: Array, speed: Array) -> tuple[Array, Array]:
    """State at rest at a measured position; speed (3,) is the standard deviation of its unknown velocity, m/s."""
    P = np.zeros((6, 6))
    P[:3, :3], P[3:, 3:] = covariance, np.diag(np.asarray(speed, dtype=np.float64) ** 2)
    return np.concatenate([position, np.zeros(3)]), P


def predict(x: Array, P: Array, dt: float, acceleration: Array) -> tuple[Array, Array]:
    """State and covariance dt seconds later."""
    F, Q = motion(dt, acceleration)
    return F @ x, F @ P @ F.T + Q


def update(x: Array, P: Array, position: Array, covariance: Array) -> tuple[Array, Array]:
    """State and covariance after measuring a position (3,) with covariance (3, 3); Joseph form, so that P stays positive."""
    gain = np.linalg.solve(H @ P @ H.T + covariance, H @ P).T
    keep = np.eye(6) - gain @ H
    return x + gain @ (position - H @ x), keep @ P @ keep.T + gain @ covariance @ gain.T


def surprise(x: Array, P: Array, position: Array, covariance: Array) -> float:
    """Squared Mahalanobis distance of a measured position from the predicted one, plus the log determinant of its covariance."""
    S = P[:3, :3] + covariance
    away = position - x[:3]
    return float(away @ np.linalg.solve(S, away) + np.linalg.slogdet(S)[1])


def smooth(
    times: Array,
    measured: Sequence[tuple[Array, Array] | None],
    *,
    speed: Array,
    acceleration: Array,
) -> tuple[Array, Array, float]:
    """States (T, 6) and covariances (T, 6, 6) given all measurements, past and future (Rauch, Tung and Striebel 1965).

    The third value is the log likelihood of the measurements after the first, without its constant: the larger, the better the
    settings fit. times (T,) increasing seconds; measured holds (position, covariance) or None a time, the first of them not None.
    """
    first = measured[0]
    if first is None:
        raise ValueError("smoothing starts at a measured time")
    count = len(times)
    x, P = np.zeros((count, 6)), np.zeros((count, 6, 6))
    x_before, P_before = np.zeros((count, 6)), np.zeros((count, 6, 6))
    x[0], P[0] = start(*first, speed)
    log_likelihood = 0.0
    for k in range(1, count):
        x_before[k], P_before[k] = predict(x[k - 1], P[k - 1], times[k] - times[k - 1], acceleration)
        measurement = measured[k]
        x[k], P[k] = x_before[k], P_before[k]
        if measurement is not None:
            x[k], P[k] = update(x[k], P[k], *measurement)
            log_likelihood -= 0.5 * surprise(x_before[k], P_before[k], *measurement)
    for k in range(count - 2, -1, -1):
        F, _ = motion(times[k + 1] - times[k], acceleration)
        gain = np.linalg.solve(P_before[k + 1], F @ P[k]).T
        x[k] = x[k] + gain @ (x[k + 1] - x_before[k + 1])
        P[k] = P[k] + gain @ (P[k + 1] - P_before[k + 1]) @ gain.T
    return x, P, log_likelihood
