"""Group axioms, quaternions and interpolation of rigid transforms."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import random_se3
from scipy.spatial.transform import Rotation

from mapping.se3 import (
    from_rotation_translation,
    interpolate,
    interpolate_at,
    inverse,
    is_se3,
    look_at,
    quat_xyzw_from_rotation,
    rotation_from_quat_xyzw,
    transform_points,
)

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_group_axioms(seed):
    rng = np.random.default_rng(seed)
    T_a_b, T_b_c, T_c_d = (random_se3(rng) for _ in range(3))
    assert is_se3(T_a_b @ T_b_c)
    np.testing.assert_allclose(T_a_b @ inverse(T_a_b), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(inverse(T_a_b) @ T_a_b, np.eye(4), atol=1e-12)
    np.testing.assert_allclose((T_a_b @ T_b_c) @ T_c_d, T_a_b @ (T_b_c @ T_c_d), atol=1e-12)
    np.testing.assert_allclose(inverse(T_a_b @ T_b_c), inverse(T_b_c) @ inverse(T_a_b), atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_points_follow_the_inner_names(seed):
    rng = np.random.default_rng(seed)
    T_a_b, T_b_c, points_c = random_se3(rng), random_se3(rng), rng.normal(size=(7, 2, 3))
    points_a = transform_points(T_a_b, transform_points(T_b_c, points_c))
    np.testing.assert_allclose(points_a, transform_points(T_a_b @ T_b_c, points_c), atol=1e-12)
    np.testing.assert_allclose(transform_points(inverse(T_a_b @ T_b_c), points_a), points_c, atol=1e-12)
    by_hand = (T_a_b @ [*points_c[3, 1], 1.0])[:3]
    np.testing.assert_allclose(transform_points(T_a_b, points_c)[3, 1], by_hand, atol=1e-12)


def test_inverse_of_many_is_the_inverse_of_each():
    rng = np.random.default_rng(0)
    T = np.stack([random_se3(rng) for _ in range(6)]).reshape(2, 3, 4, 4)
    np.testing.assert_allclose(inverse(T), np.linalg.inv(T), atol=1e-12)


@pytest.mark.parametrize(
    "T",
    [
        np.eye(3),
        np.diag([1.0, 1.0, -1.0, 1.0]),
        np.diag([2.0, 2.0, 2.0, 1.0]),
        np.diag([1.0, 1.0, 1.0, 2.0]),
        np.full((4, 4), np.nan),
        np.zeros((4, 4)),
        np.eye(4) + np.eye(4, k=1) * 0.01,
    ],
)
def test_is_se3_rejects(T):
    assert not is_se3(T)


def test_is_se3_accepts_rounded_files():
    T = random_se3(np.random.default_rng(0))
    assert is_se3(T)
    assert is_se3(np.round(T, 5))


def half_turns() -> np.ndarray:
    """Rotations of exactly 180 degrees about the axes, the diagonals and random axes."""
    axes = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, -1), (0, 1, 1), (1, 1, 1), (-1, 2, 0.001)]
    axes = np.concatenate([axes, np.random.default_rng(0).normal(size=(20, 3))])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return 2 * axes[:, :, None] * axes[:, None, :] - np.eye(3)


@pytest.mark.parametrize("kind", ["random", "half turns", "nearly half turns", "tiny turns", "identity"])
def test_quaternion_round_trip(kind):
    rng = np.random.default_rng(1)
    R = {
        "random": Rotation.random(200, rng=1).as_matrix(),
        "half turns": half_turns(),
        "nearly half turns": half_turns() @ Rotation.from_rotvec(rng.normal(scale=1e-7, size=(28, 3))).as_matrix(),
        "tiny turns": Rotation.from_rotvec(rng.normal(scale=1e-9, size=(50, 3))).as_matrix(),
        "identity": np.eye(3)[None],
    }[kind]
    q = quat_xyzw_from_rotation(R)
    np.testing.assert_allclose(rotation_from_quat_xyzw(q), R, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(q, axis=-1), 1.0)
    assert (q[:, 3] >= 0).all()
    scipy_q = Rotation.from_matrix(R).as_quat()
    agreement = np.abs(np.einsum("ij,ij->i", q, scipy_q))  # q and -q are the same rotation
    np.testing.assert_allclose(agreement, 1.0, atol=1e-9)


def test_quaternions_by_hand():
    s = np.sqrt(0.5)
    np.testing.assert_allclose(rotation_from_quat_xyzw([0, 0, s, s]), [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(rotation_from_quat_xyzw([0, 0, 5 * s, 5 * s]), rotation_from_quat_xyzw([0, 0, s, s]))
    np.testing.assert_allclose(quat_xyzw_from_rotation([[1, 0, 0], [0, 0, -1], [0, 1, 0]]), [s, 0, 0, s], atol=1e-12)
    with pytest.raises(ValueError, match="zero length"):
        rotation_from_quat_xyzw([[0, 0, 0, 1], [0, 0, 0, 0]])


def turn_z(angle_deg: float, position: float = 0.0) -> np.ndarray:
    a = np.deg2rad(angle_deg)
    R = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    return from_rotation_translation(R, [position, 0, 0])


@pytest.mark.parametrize("turn", [0.0, 1e-6, 30.0, 179.0, -90.0])
@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 1.0])
def test_interpolation_turns_evenly_and_moves_straight(turn, fraction):
    got = interpolate(turn_z(170, 1.0), turn_z(170 + turn, 3.0), fraction)
    np.testing.assert_allclose(got, turn_z(170 + fraction * turn, 1.0 + 2.0 * fraction), atol=1e-9)


def test_interpolation_takes_the_shorter_way():
    np.testing.assert_allclose(interpolate(turn_z(-170), turn_z(170), 0.5), turn_z(180), atol=1e-9)


def test_interpolation_of_opposite_poses_is_rigid_and_half_way():
    half = interpolate(turn_z(0), turn_z(180), 0.5)
    assert is_se3(half)
    for end in (turn_z(0), turn_z(180)):
        assert np.trace(half[:3, :3] @ end[:3, :3].T) == pytest.approx(1.0)  # 90 degrees from both


TIMES = np.array([0.0, 1.0, 2.0, 3.0, 10.0])
POSES = np.stack([turn_z(10 * t, t) for t in TIMES])


def test_poses_at_times_between():
    np.testing.assert_allclose(interpolate_at(TIMES, POSES, 1.25, max_gap=1.5), turn_z(12.5, 1.25), atol=1e-9)
    np.testing.assert_array_equal(interpolate_at(TIMES, POSES, 2.0, max_gap=0.1), POSES[2])


@pytest.mark.parametrize("time", [-0.1, 10.1, 5.0])
def test_no_pose_outside_or_in_a_wide_gap(time):
    assert interpolate_at(TIMES, POSES, time, max_gap=5.0) is None


def test_ends_count_as_known():
    np.testing.assert_array_equal(interpolate_at(TIMES, POSES, 0.0, max_gap=1.0), POSES[0])
    np.testing.assert_array_equal(interpolate_at(TIMES, POSES, 10.0, max_gap=1.0), POSES[4])


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_lost_poses_are_bridged_only_within_the_gap(value):
    poses = POSES.copy()
    poses[2, 1, 3] = value  # one bad number makes the pose lost
    np.testing.assert_allclose(interpolate_at(TIMES, poses, 2.0, max_gap=2.0), turn_z(20, 2.0), atol=1e-9)
    assert interpolate_at(TIMES, poses, 2.0, max_gap=1.9) is None
    assert interpolate_at(TIMES, np.full_like(POSES, np.nan), 1.0, max_gap=99.0) is None


@pytest.mark.parametrize(
    ("eye", "target", "up"),
    [
        ((1, 2, 3), (4, 0, 1), (0, 0, 1)),
        ((0, 0, 0), (0, 5, 0), (0, 0, 1)),
        ((1, 1, 1), (-1, 1, 2), (0, 1, 0)),
        ((0, 0, 3), (0, 0, 0), (0, 0, 1)),
        ((0, 0, 0), (0, 9, 0), (0, 1, 0)),
    ],
)
def test_look_at_centres_the_target_and_keeps_up_up(eye, target, up):
    T_world_camera = look_at(eye, target, up)
    assert is_se3(T_world_camera, 1e-9)
    in_camera = transform_points(inverse(T_world_camera), target)
    np.testing.assert_allclose(in_camera, [0, 0, np.linalg.norm(np.subtract(target, eye))], atol=1e-9)
    up_in_camera = T_world_camera[:3, :3].T @ up
    assert up_in_camera[0] == pytest.approx(0, abs=1e-9)
    assert up_in_camera[1] <= 1e-9  # image rows run down


def test_look_at_by_hand():
    # From the origin along +y: right is +x, down is -z.
    np.testing.assert_allclose(look_at([0, 0, 0], [0, 1, 0])[:3, :3].T, [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-12)


def test_look_at_itself_is_refused():
    with pytest.raises(ValueError, match="target must differ from eye"):
        look_at([1, 2, 3], [1, 2, 3])
