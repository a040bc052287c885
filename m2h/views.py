"""Posed frames as input of the network: which frames are useful neighbours, and the projection between them.

Plain numpy, shared by training and inference. Poses are `T_world_camera` (4, 4), cameras look along +z with y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m2h.camera import Camera

Array = NDArray[np.float64]

OVERLAP_DEPTHS = (1.0, 2.0, 4.0)
"""Metres at which it is asked what another camera sees."""
OVERLAP_GRID = (-0.75, -0.25, 0.25, 0.75)
"""Where in the image, in half its sides from its middle."""
BEST_BASELINE = 0.25
"""Metres between the cameras that suit rooms best."""
BASELINES = (0.03, 1.5)
"""Metres between which a neighbour can be used."""
LEAST_OVERLAP = 0.25


@dataclass(frozen=True, eq=False)
class View:
    """An image (H, W, 3) uint8 with its camera, without lens distortion, and its pose."""

    rgb: NDArray[np.uint8]
    camera: Camera
    T_world_camera: Array


def view_score(T_world_camera: Array, index: int, camera: Camera, size: tuple[int, int]) -> Array:
    """The score of each of the frames (N, 4, 4) as a neighbour of frame `index`, (N,) in [0, 1]; 0 where it cannot be one.

    The share of points ahead of the frame, at some depths, that the other sees, times how near the baseline is to the best one (a
    log-normal, one octave wide, as in the view selection of Yao et al., MVSNet, ECCV 2018). `camera` is that of all frames, their
    `size` (H, W).
    """
    T = np.asarray(T_world_camera, dtype=np.float64)
    baseline = np.linalg.norm(T[:, :3, 3] - T[index, :3, 3], axis=1)
    usable = np.isfinite(T).all(axis=(1, 2)) & (baseline > BASELINES[0]) & (baseline < BASELINES[1])
    score = np.zeros(len(T))
    chosen = np.flatnonzero(usable)
    if not len(chosen):
        return score
    half = np.array([size[1] / (2 * camera.fx), size[0] / (2 * camera.fy)])
    x, y = (grid.ravel() for grid in np.meshgrid(OVERLAP_GRID, OVERLAP_GRID))
    rays = np.column_stack([x * half[0], y * half[1], np.ones(len(x))])
    points = np.concatenate([rays * depth for depth in OVERLAP_DEPTHS])
    T_other_own = np.linalg.inv(T[chosen]) @ T[index]
    there = points @ T_other_own[:, :3, :3].swapaxes(1, 2) + T_other_own[:, None, :3, 3]
    z = np.maximum(there[..., 2], 1e-6)
    inside = (there[..., 2] > 0) & (np.abs(there[..., :2] / z[..., None]) < half).all(axis=-1)
    overlap = inside.mean(axis=1)
    apt = np.exp(-0.5 * np.log2(baseline[chosen] / BEST_BASELINE) ** 2)
    score[chosen] = np.where(overlap >= LEAST_OVERLAP, overlap * apt, 0.0)
    return score


def projection(own: Camera, other: Camera, T_other_own: Array, depth_factor: float) -> Array:
    """(3, 4) from `(u d, v d, d, 1)` to homogeneous pixels of the other camera; see `m2h.model.cross_view.Neighbours`.

    d is canonical depth: metres divided by `depth_factor`.
    """
    K_own, K_other = calibration(own), calibration(other)
    rotation = K_other @ T_other_own[:3, :3] @ np.linalg.inv(K_own)
    return np.column_stack([rotation, K_other @ T_other_own[:3, 3] / depth_factor])


def calibration(camera: Camera) -> Array:
    """The matrix (3, 3) from camera axes to homogeneous pixels."""
    return np.array([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])
