"""Bundle adjustment of given poses: features of neighbouring frames, the given poses as priors, one camera for all (pycolmap)."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from mapping.camera import Intrinsics
from mapping.multiview.features import Features
from mapping.se3 import from_rotation_translation, inverse
from pipelines.posing.bundle import PRIOR_TURN, build_model, deviation_of, solve_model
from pipelines.posing.tracks import REFINED, ROUGH, Tracks, find_tracks, match_frames

Array = NDArray[np.float64]
OBSERVATIONS = 250
"""Observations of a frame that suffice: the longest tracks are used first."""
LEAST_OBSERVATIONS = 25
"""With fewer a frame is not adjusted, but moved as its neighbours are."""
LEAST_FRAMES, LEAST_SHARE = 5, 0.5
"""Frames, and share of those with features, that are adjusted at least: fewer do not show how the others moved."""
LARGEST_FOCAL_CHANGE = 0.3
"""Logarithm of the ratio of focal lengths beyond which the images do not determine it."""


@dataclass(frozen=True, eq=False)
class Adjustment:
    """Poses (N, 4, 4) `T_world_camera` and the camera of all frames that fit the images.

    `adjusted` (N,) says which frames were adjusted themselves; error is the mean reprojection error in pixels.
    """

    poses: Array
    camera: Intrinsics
    adjusted: NDArray[np.bool_]
    points: int
    error: float


def can_adjust() -> bool:
    """Whether the library for it is there."""
    return sys.modules.get("pycolmap", True) is not None and importlib.util.find_spec("pycolmap") is not None


def adjust_poses(
    features: Sequence[Features],
    camera: Intrinsics,
    poses: Array,
    times: Array,
) -> Adjustment | None:
    """Refine rough poses and the camera; None where too few frames show common points.

    Parameters
    ----------
    features : of each frame.
    camera : of all frames, without distortion. Its focal lengths are refined in proportion, and one radial coefficient is found.
    poses : (N, 4, 4) rough `T_world_camera`; they hold the result in their world and unit.
    times : (N,) seconds, increasing.
    """
    matches = match_frames(features, camera, poses)
    least = max(LEAST_FRAMES, LEAST_SHARE * sum(len(shown.pixels) > 0 for shown in features))
    found, used, lens = poses, np.zeros(len(poses), bool), camera
    for limits in (ROUGH, REFINED):
        tracks = _enough(find_tracks(features, matches, lens, found, limits), len(poses))
        used = np.bincount(tracks.frame, minlength=len(poses)) >= LEAST_OBSERVATIONS
        if used.sum() < least:
            return None
        model = build_model(features, tracks, lens, found, used)
        solve_model(model, poses, used)
        lens = _camera_of(model, camera)
        found = neighbours_moved(_in_given_world(_poses_of(model, poses, used), poses, used), poses, used, times)
    if abs(np.log(lens.fx / camera.fx)) > LARGEST_FOCAL_CHANGE:
        return None
    return Adjustment(found, lens, used, model.num_points3D(), float(model.compute_mean_reprojection_error()))


def _poses_of(model: Any, poses: Array, used: NDArray[np.bool_]) -> Array:
    """The poses with those of the model in their places."""
    found = poses.copy()
    for i in np.flatnonzero(used):
        T_camera_world = np.eye(4)
        T_camera_world[:3] = model.image(int(i) + 1).cam_from_world().matrix()
        found[i] = inverse(T_camera_world)
    return found


def _in_given_world(found: Array, given: Array, used: NDArray[np.bool_]) -> Array:
    """The poses turned as a whole about their centre to where positions and rotations are nearest to the given ones.

    Positions of a straight path leave the turn about it free. The rotation that maximises the trace (Kabsch, 1976) of what
    both say, each by its deviation.
    """
    centre, goal = found[used, :3, 3].mean(axis=0), given[used, :3, 3].mean(axis=0)
    positions = np.einsum("ni,nj->ij", given[used, :3, 3] - goal, found[used, :3, 3] - centre)
    turns = np.einsum("nik,njk->ij", given[used, :3, :3], found[used, :3, :3])
    U, _, Vt = np.linalg.svd(positions / deviation_of(given) ** 2 + turns / PRIOR_TURN**2)
    R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    T = from_rotation_translation(R, goal - R @ centre)
    return np.where(used[:, None, None], T @ found, found)


def _camera_of(model: Any, camera: Intrinsics) -> Intrinsics:
    parameters = model.camera(1).params  # SIMPLE_RADIAL: f, cx, cy, k1
    focal, k1 = float(parameters[0]), float(parameters[3])
    return replace(camera, fx=focal, fy=focal * camera.fy / camera.fx, distortion=(k1, 0.0, 0.0, 0.0))


def _enough(tracks: Tracks, frames: int) -> Tracks:
    """The longest tracks, until each frame has enough observations."""
    length = np.bincount(tracks.point, minlength=len(tracks.points))
    order = np.argsort(tracks.point, kind="stable")
    first = np.searchsorted(tracks.point[order], np.arange(len(tracks.points)))
    count = np.zeros(frames, np.int64)
    kept = np.zeros(len(tracks.points), bool)
    for point in np.argsort(-length, kind="stable"):
        members = tracks.frame[order[first[point] : first[point] + length[point]]]
        if (count[members] < OBSERVATIONS).any():
            kept[point] = True
            count[members] += 1
    chosen = kept[tracks.point]
    renumbered = np.cumsum(kept) - 1
    return Tracks(renumbered[tracks.point[chosen]], tracks.frame[chosen], tracks.feature[chosen], tracks.points[kept])


def neighbours_moved(found: Array, given: Array, used: NDArray[np.bool_], times: Array) -> Array:
    """The poses with the frames that were not adjusted moved in the world as those before and after them were."""
    moved = found.copy()
    known = np.flatnonzero(used)
    corrections = np.array([found[i] @ inverse(given[i]) for i in known])
    at = np.clip(times, times[known[0]], times[known[-1]])
    turns = Slerp(times[known], Rotation.from_matrix(corrections[:, :3, :3]))(at).as_matrix()
    for i in np.flatnonzero(~used):
        shift = [np.interp(at[i], times[known], corrections[:, k, 3]) for k in range(3)]
        moved[i] = from_rotation_translation(turns[i], np.array(shift)) @ given[i]
    return moved
