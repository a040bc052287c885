"""Features followed through the frames of a sequence whose poses are known roughly, and the points that they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mapping.camera import Intrinsics
from mapping.multiview.features import Features, epipolar_distance, match_features
from mapping.se3 import inverse

Array = NDArray[np.float64]
Matches = Mapping[tuple[int, int], NDArray[np.int64]]
NEXT = (1, 2, 4)
"""Each frame is matched with those so many later."""
REVISITS, REVISIT_AFTER = 3, 6
"""And with so many that look the same way from nearby, at least so many frames later: where the camera comes back."""
LARGEST_TURN_DEG = 35.0
NEARBY = 1.0
"""Distance of such frames, as a share of the typical one over `TYPICAL_STEP` frames."""
TYPICAL_STEP = 40
LEAST_MATCHES = 8
RANSAC_ERROR = 0.004
"""Distance from the epipolar line of the motion that most matches of a pair show, in units of the focal length."""
LEAST_ANGLE_DEG = 1.0
"""Between the outermost rays to a point."""


class Limits(NamedTuple):
    """What poses have to explain, in units of the focal length: how far matches are from epipolar lines, and, in the median, a
    point's projections from the pixels that show it."""

    epipolar: float
    residual: float


ROUGH, REFINED = Limits(0.06, 0.04), Limits(0.012, 0.006)
"""For poses that are up to some degrees off, and for those that have been adjusted once."""


class Tracks(NamedTuple):
    """Observations of points: of point `point[k]` in frame `frame[k]` at feature `feature[k]` (K,); points are (P, 3)."""

    point: NDArray[np.int64]
    frame: NDArray[np.int64]
    feature: NDArray[np.int64]
    points: Array


def typical_distance(poses: Array) -> float:
    """The median distance of frames `TYPICAL_STEP` apart, in the unit of the poses (N, 4, 4): how fast the camera moves."""
    step = min(TYPICAL_STEP, len(poses) - 1)
    if step < 1:
        return 0.0
    return float(np.median(np.linalg.norm(poses[step:, :3, 3] - poses[:-step, :3, 3], axis=1)))


def matched_frames(poses: Array) -> list[tuple[int, int]]:
    """Pairs of frames to be matched, the earlier first: the next ones, and those at which the camera comes back."""
    count = len(poses)
    pairs = {(i, i + step) for step in NEXT for i in range(count - step)}
    cosines = np.clip(poses[:, :3, 2] @ poses[:, :3, 2].T, -1, 1)
    turns = np.degrees(np.arccos(cosines)) / LARGEST_TURN_DEG
    positions = poses[:, :3, 3]
    near = max(NEARBY * typical_distance(poses), 1e-9)
    for i in range(count - REVISIT_AFTER):
        distances = np.linalg.norm(positions[i + REVISIT_AFTER :] - positions[i], axis=1) / near
        cost = np.where(
            (turns[i, i + REVISIT_AFTER :] < 1) & (distances < 1), turns[i, i + REVISIT_AFTER :] + distances, np.inf
        )
        best = np.argsort(cost, kind="stable")[:REVISITS]
        pairs.update((i, i + REVISIT_AFTER + int(k)) for k in best[np.isfinite(cost[best])])
    return sorted(pairs)


def match_frames(features: Sequence[Features], camera: Intrinsics, poses: Array) -> Matches:
    """Matches (M, 2) of the features of each pair of frames that may show the same, by their rough poses (N, 4, 4).

    Those of a pair have one motion in common, whatever its poses say: RANSAC on the essential matrix.
    """
    found = {}
    shown = np.flatnonzero([len(found_in.pixels) > 0 for found_in in features])
    for i, j in shown[matched_frames(poses[shown])].tolist() if len(shown) > 1 else []:
        matches = match_features(features[i], features[j])
        if len(matches) < LEAST_MATCHES:
            continue
        in_i = camera.pixel_rays(features[i].pixels[matches[:, 0]])[:, :2]
        in_j = camera.pixel_rays(features[j].pixels[matches[:, 1]])[:, :2]
        _, kept = cv2.findEssentialMat(
            in_i, in_j, np.eye(3), method=cv2.USAC_MAGSAC, prob=0.999, threshold=RANSAC_ERROR
        )
        matches = matches[:0] if kept is None else matches[kept.ravel() > 0]
        if len(matches) >= LEAST_MATCHES:
            found[i, j] = matches
    return found


def find_tracks(
    features: Sequence[Features], matches: Matches, camera: Intrinsics, poses: Array, limits: Limits
) -> Tracks:
    """Points that several frames show, by poses (N, 4, 4) `T_world_camera` and a camera, which may be distorted.

    A track with two features of one frame is wrong somewhere and dropped, as is one whose point the poses do not explain.
    """
    starts = np.cumsum([0, *(len(found.pixels) for found in features)])
    rays = [camera.pixel_rays(found.pixels) for found in features]
    links = [np.zeros((0, 2), np.int64)]
    for (i, j), pairs in matches.items():
        T_j_i = np.asarray(inverse(poses[j]) @ poses[i])
        distance = np.nan_to_num(epipolar_distance(T_j_i, rays[i][pairs[:, 0]], rays[j][pairs[:, 1]]))
        links.append(pairs[distance < limits.epipolar] + starts[[i, j]])
    linked = np.concatenate(links)
    graph = coo_matrix((np.ones(len(linked)), (linked[:, 0], linked[:, 1])), shape=(starts[-1], starts[-1]))
    _, component = connected_components(graph, directed=False)
    frame = np.repeat(np.arange(len(features)), np.diff(starts))
    kept = np.flatnonzero(_proper(component, frame) >= 0)
    _, point = np.unique(component[kept], return_inverse=True)
    frame = frame[kept]
    points, good = _triangulated(point, np.concatenate(rays)[kept], poses[frame], limits)
    chosen = good[point]
    renumbered = np.cumsum(good) - 1
    feature = kept - starts[frame]
    return Tracks(renumbered[point[chosen]], frame[chosen], feature[chosen], points[good])


def _proper(component: NDArray[np.int32], frame: NDArray[np.int64]) -> NDArray[np.int64]:
    """(F,) for each feature the number of its track, -1 for features alone and those of tracks with two in one frame."""
    size = np.bincount(component)
    _, first, times = np.unique(np.stack([component, frame]), axis=1, return_index=True, return_counts=True)
    twice = np.zeros(len(size), bool)
    twice[component[first[times > 1]]] = True
    return np.where((size[component] > 1) & ~twice[component], component, -1)


def _triangulated(
    point: NDArray[np.int64], rays: Array, T_world_camera: Array, limits: Limits
) -> tuple[Array, NDArray[np.bool_]]:
    """Points (P, 3) of observations (K,) by linear least squares of all rays at once (Hartley and Zisserman, 12.2), and which of
    them the poses explain."""
    count = int(point.max(initial=-1)) + 1
    R = T_world_camera[:, :3, :3].swapaxes(1, 2)
    T_camera_world = np.concatenate([R, -R @ T_world_camera[:, :3, 3:]], axis=2)
    rows = rays[:, :2, None] * T_camera_world[:, 2:3] - T_camera_world[:, :2]  # (K, 2, 4)
    squares = np.zeros((count, 4, 4))
    np.add.at(squares, point, np.einsum("kra,krb->kab", rows, rows))
    homogeneous = np.linalg.eigh(squares)[1][:, :, 0] if count else np.zeros((0, 4))
    with np.errstate(divide="ignore", invalid="ignore"):
        points = homogeneous[:, :3] / homogeneous[:, 3:]
    return points, _explained(points, point, T_camera_world, rays, limits.residual)


def _explained(
    points: Array, point: NDArray[np.int64], T_camera_world: Array, rays: Array, largest_residual: float
) -> NDArray[np.bool_]:
    """Which points lie in front of all their cameras, near all their rays, and are seen from different sides."""
    finite = np.isfinite(points).all(axis=1)
    seen = np.einsum("kij,kj->ki", T_camera_world[:, :3, :3], np.nan_to_num(points)[point]) + T_camera_world[:, :3, 3]
    front = seen[:, 2] > 1e-6
    projected = seen[:, :2] / np.where(front, seen[:, 2], 1)[:, None]
    residual = np.where(front, np.linalg.norm(projected - rays[:, :2], axis=1), np.inf)
    order = np.lexsort((residual, point))
    first = np.searchsorted(point[order], np.arange(len(points)))
    size = np.bincount(point, minlength=len(points))
    median = residual[order][first + (size - 1) // 2] if len(points) else np.zeros(0)
    in_front = np.bincount(point, weights=~front, minlength=len(points)) == 0
    towards = np.einsum("kji,kj->ki", T_camera_world[:, :3, :3], seen)
    towards = towards / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-12)
    mean = np.stack([np.bincount(point, weights=towards[:, k], minlength=len(points)) for k in range(3)], axis=1)
    mean = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    from_mean = np.degrees(np.arccos(np.clip(np.einsum("ki,ki->k", towards, mean[point]), -1, 1)))
    widest = np.zeros(len(points))
    np.maximum.at(widest, point, from_mean)
    return np.asarray(finite & in_front & (median < largest_residual) & (2 * widest > LEAST_ANGLE_DEG))
