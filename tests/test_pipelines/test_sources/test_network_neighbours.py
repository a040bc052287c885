"""Which frames a network is given with a frame."""

from __future__ import annotations

import numpy as np

from mapping import Intrinsics
from mapping.multiview.multiview_config import NeighbourConfig
from pipelines.settings import NetworkConfig
from pipelines.sources.network import network_neighbours

CAMERA = Intrinsics(fx=260, fy=260, cx=159.5, cy=119.5, width=320, height=240)


def sideways(count: int, step: float) -> np.ndarray:
    """(N, 4, 4) poses of cameras side by side that look the same way."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = step * np.arange(count)
    return poses


def angles(chosen: list[int], poses: np.ndarray, index: int) -> np.ndarray:
    """Degrees at which rays from the frames to a point 2 m ahead meet."""
    baseline = np.linalg.norm(poses[chosen, :3, 3] - poses[index, :3, 3], axis=1)
    return np.degrees(2 * np.arctan(0.5 * baseline / 2.0))


def test_wide_neighbours_follow_those_that_match_best() -> None:
    poses = sideways(61, 0.03)
    chosen = network_neighbours(poses, CAMERA, 30, NetworkConfig())
    assert len(chosen) == len(set(chosen)) == 8
    assert 30 not in chosen
    found = angles(chosen, poses, 30)
    assert abs(float(np.mean(found[:4])) - 7) < 2
    assert float(np.mean(found[4:])) > float(np.mean(found[:4])) + 4


def test_no_frame_is_given_twice_and_few_frames_give_few_neighbours() -> None:
    poses = sideways(4, 0.25)
    assert sorted(network_neighbours(poses, CAMERA, 0, NetworkConfig())) == [1, 2, 3]


def test_the_number_of_wide_neighbours_is_a_setting() -> None:
    poses = sideways(61, 0.03)
    config = NetworkConfig(wide_neighbours=NeighbourConfig(count=1, best_angle_deg=14.0))
    assert len(network_neighbours(poses, CAMERA, 30, config)) == 5
