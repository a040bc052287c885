import numpy as np
import pytest

from scenegraph.tracks import kalman


def test_splitting_a_step_changes_nothing():
    rng = np.random.default_rng(0)
    x, root = rng.normal(size=6), rng.normal(size=(6, 6))
    P, acceleration = root @ root.T, np.array([1.0, 0.5, 0.1])
    whole = kalman.predict(x, P, 0.7, acceleration)
    half = kalman.predict(*kalman.predict(x, P, 0.3, acceleration), 0.4, acceleration)
    for a, b in zip(whole, half, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_smoother_is_the_least_squares_solution():
    """All states at once, by the normal equations of the same linear Gaussian model."""
    rng = np.random.default_rng(1)
    times = np.array([0.0, 0.3, 0.5, 1.1, 1.2])
    speed, acceleration = np.array([1.0, 1.0, 0.2]), np.array([0.8, 0.8, 0.1])
    R = np.diag([0.01, 0.04, 0.02])
    measured = [(rng.normal(size=3), R) if k != 2 else None for k in range(5)]
    states, covariances, _ = kalman.smooth(times, measured, speed=speed, accelerations=[acceleration])
    information, vector = np.zeros((30, 30)), np.zeros(30)
    information[3:6, 3:6] += np.diag(1 / speed**2)
    for k, measurement in enumerate(measured):
        if measurement is not None:
            position, noise = measurement
            information[6 * k : 6 * k + 3, 6 * k : 6 * k + 3] += np.linalg.inv(noise)
            vector[6 * k : 6 * k + 3] += np.linalg.solve(noise, position)
    for k in range(4):
        F, Q = kalman.transition(times[k + 1] - times[k], acceleration)
        J = np.zeros((6, 30))
        J[:, 6 * k : 6 * k + 6], J[:, 6 * k + 6 : 6 * k + 12] = -F, np.eye(6)
        information += J.T @ np.linalg.solve(Q, J)
    np.testing.assert_allclose(states.ravel(), np.linalg.solve(information, vector), atol=1e-8)
    blocks = np.linalg.inv(information)
    for k in range(5):
        np.testing.assert_allclose(covariances[k], blocks[6 * k : 6 * k + 6, 6 * k : 6 * k + 6], atol=1e-8)


def test_smoothing_starts_with_a_measurement():
    with pytest.raises(ValueError, match="starts at a measured time"):
        kalman.smooth(np.array([0.0]), [None], speed=np.ones(3), accelerations=np.ones((1, 3)))


@pytest.mark.parametrize("true", [0.02, 0.3, 3.0])
def test_the_likeliest_acceleration_is_taken(true):
    rng = np.random.default_rng(2)
    times = np.arange(300) * 0.1
    F, Q = kalman.transition(0.1, np.full(3, true))
    x, measured = np.zeros(6), []
    for _ in times:
        x = rng.multivariate_normal(F @ x, Q)
        measured.append((x[:3] + 0.05 * rng.normal(size=3), 0.05**2 * np.eye(3)))
    tried = [0.02, 0.3, 3.0]
    states, _, best = kalman.smooth(times, measured, speed=np.ones(3), accelerations=np.outer(tried, np.ones(3)))
    assert tried[best] == true
    alone = kalman.smooth(times, measured, speed=np.ones(3), accelerations=np.full((1, 3), true))[0]
    np.testing.assert_allclose(states, alone, atol=1e-9)
