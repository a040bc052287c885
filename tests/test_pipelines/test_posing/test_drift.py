"""How given poses stray along the path."""

import numpy as np
import pytest

from mapping.se3 import yaw_rotation
from pipelines.posing.drift import measure_drift, unlinked_stretches


def walk(count=41, step=0.1):
    """Cameras along a bent path of four metres."""
    T = np.tile(np.eye(4), (count, 1, 1))
    for i in range(1, count):
        T[i, :3, :3] = yaw_rotation(0.02 * i)
        T[i, :3, 3] = T[i - 1, :3, 3] + T[i, :3, :3] @ [step, 0, 0]
    return T


def test_a_scale_that_is_off_is_a_drift_of_so_many_per_cent():
    true = walk()
    given = true.copy()
    given[:, :3, 3] *= 1.05
    found = measure_drift(given, true)
    assert found.length == pytest.approx(1.0)
    assert found.median == pytest.approx(0.05, abs=0.002)
    assert found.largest == pytest.approx(0.05, abs=0.002)
    assert found.turn_deg == pytest.approx(0.0, abs=1e-5)
    assert "differ from refined ones by 5.0 % of the path and 0.0 degrees over stretches of 1 " in found.describe()


def test_a_slow_turn_adds_up_over_a_stretch_and_a_move_of_all_does_not_count():
    true = walk()
    given = np.array([T @ _turned(0.5 * i) for i, T in enumerate(true)])
    assert measure_drift(given, true).turn_deg == pytest.approx(5.0, abs=0.01)
    moved = _turned(30.0) @ true
    moved[:, :3, 3] += [7.0, -2.0, 1.0]
    assert measure_drift(moved, true).median == pytest.approx(0.0, abs=1e-9)


def test_one_jump_shows_in_the_largest_error():
    true = walk()
    given = true.copy()
    given[30:, :3, 3] += [0.0, 0.0, 0.4]
    found = measure_drift(given, true)
    assert found.largest == pytest.approx(0.4, abs=0.02)
    assert found.median == pytest.approx(0.0, abs=1e-9)


def test_a_camera_that_stands_has_no_drift():
    assert measure_drift(np.tile(np.eye(4), (9, 1, 1)), np.tile(np.eye(4), (9, 1, 1))) is None
    assert measure_drift(walk(4), walk(4)) is None


def test_stretches_that_nothing_links():
    linked = np.array([1, 0, 0, 1, 0, 1, 1, 0, 0, 0], bool)
    assert unlinked_stretches(linked) == [(1, 2), (7, 9)]
    assert unlinked_stretches(np.ones(4, bool)) == []


def _turned(degrees):
    T = np.eye(4)
    T[:3, :3] = yaw_rotation(np.deg2rad(degrees))
    return T
