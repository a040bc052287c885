"""Poses that are off as those of hand-held trackers are, and how far off poses are."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mapping.se3 import inverse


def roughened(poses: np.ndarray, metres: float, degrees: float, seed: int = 1) -> np.ndarray:
    """With a slow drift and some noise in every frame."""
    rng = np.random.default_rng(seed)
    wave = np.sin(np.linspace(0, 5, len(poses)))[:, None]
    shift = metres * (wave * rng.normal(size=3) + 0.5 * rng.normal(size=(len(poses), 3)))
    turn = np.radians(degrees) * (wave * rng.normal(size=3) + 0.5 * rng.normal(size=(len(poses), 3))) / 2
    rough = poses.copy()
    rough[:, :3, :3] = Rotation.from_rotvec(turn).as_matrix() @ poses[:, :3, :3]
    rough[:, :3, 3] += shift
    return rough


def relative_errors(poses: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Median error of the motion from each frame to the fourth next, in metres and degrees."""
    moved, turned = [], []
    for i in range(len(true) - 4):
        error = inverse(inverse(poses[i]) @ poses[i + 4]) @ inverse(true[i]) @ true[i + 4]
        moved.append(np.linalg.norm(error[:3, 3]))
        turned.append(np.degrees(np.linalg.norm(Rotation.from_matrix(error[:3, :3]).as_rotvec())))
    return float(np.median(moved)), float(np.median(turned))
