"""Which frames see the same surfaces as a frame, with enough baseline to measure their depth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.camera import Intrinsics
from mapping.multiview.multiview_config import NeighbourConfig
from mapping.se3 import inverse

Array = NDArray[np.float64]

GRID = 6  # points across the image in which overlap is measured
DEPTH_FACTORS = (0.5, 1.0, 2.0)  # of the scene depth, for overlap
ROOM_DEPTH = 2.0  # metres, where the settings have no scene depth


def choose_neighbours(
    poses: ArrayLike, intrinsics: Intrinsics, index: int, config: NeighbourConfig | None = None
) -> list[int]:
    """The frames to compare frame `index` with, best first; fewer than `count`, or none, where not enough are suitable.

    The score of a candidate is its overlap times how close its triangulation angle at the scene depth is to the best one (a
    log-normal, one octave wide on the short side and half of that on the long side, after the view selection of Yao et al.,
    MVSNet, ECCV 2018). Neighbours are chosen one at a time, and a candidate near a chosen one scores less: views from both
    sides see behind what hides a surface from one.

    Parameters
    ----------
    poses : (N, 4, 4) `T_world_camera`; poses that are not finite are never chosen.
    intrinsics : the camera of all frames, without lens distortion.
    config : settings; without a scene depth in them, that of a room in metres is assumed.
    index : the frame whose neighbours are wanted.

    Raises ValueError when poses have another shape, or the frame's own pose is not finite.
    """
    config = config or NeighbourConfig()
    T_world_camera = np.asarray(poses, dtype=np.float64)
    if T_world_camera.ndim != 3 or T_world_camera.shape[1:] != (4, 4):
        raise ValueError(f"poses must have shape (N, 4, 4), got {T_world_camera.shape}")
    if not np.isfinite(T_world_camera[index]).all():
        raise ValueError(f"the pose of frame {index} is not finite")
    candidates, score = _candidates(T_world_camera, intrinsics, index, config)
    offsets = T_world_camera[candidates, :3, 3] - T_world_camera[index, :3, 3]
    chosen: list[int] = []
    while len(chosen) < config.count and score.size and score.max() > 0:
        best = int(np.argmax(score))
        chosen.append(int(candidates[best]))
        between = np.linalg.norm(offsets - offsets[best], axis=1)
        apart = between / np.maximum(np.linalg.norm(offsets[best]), 1e-9)
        score = score * np.clip(apart, 0.0, 1.0)
        score[best] = 0.0
    return chosen


def _candidates(
    T_world_camera: Array, intrinsics: Intrinsics, index: int, config: NeighbourConfig
) -> tuple[NDArray[np.int64], Array]:
    """Indices (M,) of the candidate frames and the score (M,) of each."""
    T, scene_depth = T_world_camera[index], config.scene_depth or ROOM_DEPTH
    finite = np.isfinite(T_world_camera).all(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        baseline = np.linalg.norm(T_world_camera[:, :3, 3] - T[:3, 3], axis=1)
        turn = np.degrees(np.arccos(np.clip(T_world_camera[:, :3, 2] @ T[:3, 2], -1, 1)))
        angle = 2 * np.degrees(np.arctan(0.5 * baseline / scene_depth))
    fits = finite & (baseline > 0) & (turn <= config.max_turn_deg)
    fits &= (angle > 0.1 * config.best_angle_deg) & (angle < 5 * config.best_angle_deg)
    candidates = np.flatnonzero(fits)
    octaves = np.log2(angle[candidates] / config.best_angle_deg)
    angle_score = np.exp(-0.5 * (octaves / np.where(octaves < 0, 1.0, 0.5)) ** 2)
    # Overlap is the costly part, so it is computed only for candidates of good angle.
    order = np.argsort(-angle_score, kind="stable")[: 16 * config.count]
    candidates, angle_score = candidates[order], angle_score[order]
    overlap = _overlap(T, T_world_camera[candidates], intrinsics, scene_depth)
    return candidates, angle_score * overlap * (overlap >= config.min_overlap)


def _overlap(T_world_a: Array, T_world_b: Array, intrinsics: Intrinsics, scene_depth: float) -> Array:
    """Share (M,) of the points seen by a, at several depths, that project into the images of b (M, 4, 4)."""
    pinhole = replace(intrinsics.resized(GRID, GRID), distortion=())
    rays = pinhole.rays().reshape(-1, 3)
    points = np.concatenate([rays * (scene_depth * factor) for factor in DEPTH_FACTORS])
    T_b_a = inverse(T_world_b) @ T_world_a
    in_b = points @ T_b_a[:, :3, :3].swapaxes(1, 2) + T_b_a[:, None, :3, 3]
    return np.asarray(pinhole.contains(pinhole.project(in_b)).mean(axis=1), dtype=np.float64)
