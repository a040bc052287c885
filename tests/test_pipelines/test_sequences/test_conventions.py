"""Pose directions and camera axes."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.se3 import from_rotation_translation, inverse, is_se3, rotation_from_quat_xyzw
from pipelines.frame import SequenceError
from pipelines.sequences.conventions import (
    CAMERA_AXES,
    POSE_DIRECTIONS,
    Convention,
    matrices_from_quaternions,
    rigid_pose,
)

RIGHT, DOWN, FORWARD = np.eye(3)
EXPECTED = {
    "opencv": {"x": RIGHT, "y": DOWN, "z": FORWARD},
    "opengl": {"x": RIGHT, "y": -DOWN, "z": -FORWARD},
    "x_forward": {"x": FORWARD, "y": -RIGHT, "z": -DOWN},
    "ned": {"x": FORWARD, "y": RIGHT, "z": DOWN},
    "z_up": {"x": RIGHT, "y": FORWARD, "z": -DOWN},
}


def random_poses(count: int) -> np.ndarray:
    rng = np.random.default_rng(8)
    return from_rotation_translation(rotation_from_quat_xyzw(rng.normal(size=(count, 4))), rng.normal(size=(count, 3)))


@pytest.mark.parametrize("axes", EXPECTED)
def test_axes_by_hand(axes: str) -> None:
    """A camera whose stored frame is the world's: what its x, y and z axes are in our camera frame."""
    T_world_ours = Convention("camera_to_world", axes).T_world_camera(np.eye(4))  # type: ignore[arg-type]
    for name, vector in EXPECTED[axes].items():
        np.testing.assert_array_equal(T_world_ours[:3, :3] @ vector, np.eye(3)["xyz".index(name)])


def test_left_handed_by_hand() -> None:
    """Unity: y up, z forward; a camera at height 2 that looks along z, turned by 90 degrees from z towards x."""
    stored = np.array([[0, 0, 1, 0], [0, 1, 0, 2], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
    convention = Convention("camera_to_world", "left_handed")
    T = convention.T_world_camera(stored)
    assert is_se3(T)
    np.testing.assert_array_equal(T @ [0, 0, 1, 1], [1, -2, 0, 1])
    np.testing.assert_array_equal(T @ [0, 1, 0, 1], [0, -1, 0, 1])  # a step down in the image goes down: +y of ours
    assert convention.world_vector((0, 1, 0)) == (0, -1, 0)


@pytest.mark.parametrize("direction", POSE_DIRECTIONS)
@pytest.mark.parametrize("axes", CAMERA_AXES)
def test_reading_and_storing_undo_each_other(direction: str, axes: str) -> None:
    convention = Convention(direction, axes)  # type: ignore[arg-type]
    poses = random_poses(10)
    read = convention.T_world_camera(poses)
    assert all(is_se3(T) for T in read)
    np.testing.assert_allclose(convention.stored_matrix(read), poses, atol=1e-12)


def test_direction_is_an_inverse() -> None:
    poses = random_poses(5)
    np.testing.assert_allclose(Convention("world_to_camera").T_world_camera(poses), inverse(poses))


def test_slightly_off_rotation_is_made_one() -> None:
    pose = random_poses(1)[0]
    noisy = pose.copy()
    noisy[:3, :3] += np.random.default_rng(0).uniform(-2e-3, 2e-3, (3, 3))
    T, reason = rigid_pose(noisy)
    assert reason == ""
    assert T is not None
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(T, pose, atol=5e-3)


def _with(row: int, column: int, value: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (None, "no pose"),
        (np.full((4, 4), -np.inf), "not finite"),
        (_with(0, 3, np.nan), "not finite"),
        (_with(3, 0, 0.5), "last row"),
        (_with(0, 0, 1.02), "rotation off by 0.04"),
        (_with(2, 2, -1.0), "mirror image"),
        (np.zeros((4, 4)), "last row"),
    ],
)
def test_poses_that_are_none(matrix: np.ndarray | None, reason: str) -> None:
    T, reported = rigid_pose(matrix)
    assert T is None
    assert reason in reported


def test_quaternions_that_are_not_unit_are_seen() -> None:
    quats = [[0, 0, 0, 1], [0, 0, 0, 1.01], [0, 0, 0, 0.99], [0, 0, 0, 0], [np.nan, 0, 0, 1]]
    matrices = matrices_from_quaternions(np.zeros((5, 3)), quats, "f.txt")
    assert [rigid_pose(matrix)[0] is not None for matrix in matrices] == [True, True, True, False, False]
    with pytest.raises(SequenceError, match=r"f\.txt: the quaternion of pose 2 of 2 has length 1\.1, expected 1"):
        matrices_from_quaternions(np.zeros((2, 3)), [[0, 0, 0, 1], [0, 0, 0, 1.1]], "f.txt")
