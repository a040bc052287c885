"""Which convention of poses and depths fits a sequence's own images: frames are warped into neighbours under each.

With depth, a frame's points are moved into another frame, whose own depth must agree with them. Without, features that are
found in both images must lie on the epipolar lines of the poses, in front of both cameras.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.multiview.features import epipolar_distance
from mapping.se3 import inverse, transform_points
from pipelines.checks.matches import MatchedPair
from pipelines.frame import Frame
from pipelines.sequences.conventions import CAMERA_AXES, DEPTH_KINDS, POSE_DIRECTIONS, Convention

Array = NDArray[np.float64]
DEPTH_SCALES = (1000.0, 5000.0, 6553.5, 4000.0, 256.0, 100.0, 1.0)
"""Stored units per metre in use: millimetres, TUM, Replica, RealSense's quarter of a millimetre, KITTI, centimetres, metres."""
AGREEMENT = 0.05
"""Greatest relative depth difference of agreeing frames."""
LEAST_OVERLAP = 0.25
"""Least share of a frame's points that must project into the other image; with fewer the missing ones count as disagreeing."""
EPIPOLAR_TOLERANCE = 0.003
"""Greatest distance from the epipolar line of an inlier, in units of the focal length (1.5 pixels at 500)."""
GRID_POINTS = 2000


@dataclass(frozen=True)
class Score:
    """How well a convention fits: `fit` in [0, 1] ranks, `agreement` is the share of points or features that agree, of the
    share `overlap` that could be compared.

    All are means over pairs of frames; `fits` are those of each pair.
    """

    convention: Convention
    fit: float
    agreement: float
    overlap: float = 1.0
    fits: tuple[float, ...] = ()

    def is_better_than(self, other: Score) -> bool:
        """Whether the fits of the same pairs distinguish the two: by three standard errors of their differences and by 0.01.

        Half the fit is always worse; with fewer than three pairs a difference of one twentieth suffices.
        """
        if other.fit < 0.5 * self.fit:
            return True
        differences = np.subtract(self.fits, other.fits)
        if len(differences) < 3:
            return self.fit > other.fit / 0.95
        error = float(differences.std(ddof=1)) / len(differences) ** 0.5
        return float(differences.mean()) > max(0.01, 3 * error)


@dataclass(frozen=True, eq=False)
class _StoredPoses:
    """The pose matrices (4, 4) of two frames as they are stored."""

    a: Array
    b: Array

    def T_b_a(self, convention: Convention) -> Array:
        T_a, T_b = (convention.T_world_camera(matrix) for matrix in (self.a, self.b))
        return np.asarray(inverse(T_b) @ T_a)


@dataclass(frozen=True, eq=False)
class DepthPair:
    """Points (N, 3) of a frame in the axes of its camera, and the depth (H, W) and camera of another in which they are looked
    up; both as they are read."""

    poses: _StoredPoses
    points: Array
    depth: NDArray[np.float32]
    camera: Intrinsics


def is_usual(convention: Convention, assumed: Convention) -> bool:
    """Whether a format has the depth scale of a convention, or it was assumed."""
    return convention.depth_scale in (*DEPTH_SCALES, assumed.depth_scale)


def candidate_conventions(assumed: Convention, *, depth: bool) -> list[Convention]:
    """The assumed convention first, then every other pose direction, camera axes and, with depth, usual scale and kind of it."""
    scales = (assumed.depth_scale, *DEPTH_SCALES) if depth else (assumed.depth_scale,)
    kinds = DEPTH_KINDS if depth else (assumed.depth_kind,)
    grid = itertools.product(POSE_DIRECTIONS, CAMERA_AXES, dict.fromkeys(scales), kinds)
    others = [Convention(*values) for values in grid]
    return [assumed, *(convention for convention in others if convention != assumed)]


def depth_pair(a: Frame, b: Frame, assumed: Convention) -> DepthPair | None:
    """What is compared of two frames; None where one has no depth."""
    if a.recorded.depth is None or b.recorded.depth is None:
        return None
    step = grid_step(a)
    poses = _StoredPoses(assumed.stored_matrix(a.T_world_camera), assumed.stored_matrix(b.T_world_camera))
    return DepthPair(poses, grid_points(a, step), b.recorded.depth, b.intrinsics)


def score_by_depth(pairs: Sequence[DepthPair], assumed: Convention, candidates: Sequence[Convention]) -> list[Score]:
    """Scores of the candidates, in their order; the pairs are read with `assumed`."""
    scores = []
    for convention in candidates:
        depth_of = _DepthOf(assumed, convention)
        scores.append(_score(convention, np.array([_depth_agreement(pair, convention, depth_of) for pair in pairs])))
    return scores


@dataclass(frozen=True)
class _DepthOf:
    """Turns z as it was read with `assumed` into what `convention` reads of the same file."""

    assumed: Convention
    convention: Convention

    def factor(self, ray_lengths: Array) -> Array:
        """For pixels (N,) of these distances along the ray per z."""
        power = (self.assumed.depth_kind == "ray") - (self.convention.depth_kind == "ray")
        return np.asarray(self.assumed.depth_scale / self.convention.depth_scale * ray_lengths**power)


def fitted_depth_scale(pairs: Sequence[DepthPair], assumed: Convention, start: Convention) -> Score:
    """`start` with the depth scale, usual or not, at which depth and poses fit best, and its score.

    Found on a logarithmic grid from a quarter to four times the scale of `start`, refined twice, to about a hundredth.
    """
    best = score_by_depth(pairs, assumed, [start])[0]
    width = float(np.log(4.0))
    for _ in range(3):
        factors = np.exp(np.linspace(-width, width, 11))
        candidates = [replace(start, depth_scale=best.convention.depth_scale * float(factor)) for factor in factors]
        best = max([best, *score_by_depth(pairs, assumed, candidates)], key=lambda score: score.fit)
        width /= 5
    return best


def score_by_images(
    matches: Sequence[MatchedPair], assumed: Convention, candidates: Sequence[Convention]
) -> list[Score] | None:
    """Scores of the candidates, in their order, from matched features; None when there are none."""
    if not matches:
        return None
    stored = [(_StoredPoses(*map(assumed.stored_matrix, match.poses)), match.rays) for match in matches]
    scores = []
    for convention in candidates:
        results = np.array([_epipolar_agreement(poses.T_b_a(convention), rays) for poses, rays in stored])
        scores.append(_score(convention, results))
    return scores


def _score(convention: Convention, results: Array) -> Score:
    """From (pairs, 3) fits, agreements and overlaps."""
    fit, agreement, overlap = map(float, results.mean(axis=0))
    return Score(convention, fit, agreement, overlap, tuple(map(float, results[:, 0])))


def grid_step(frame: Frame) -> int:
    """Pixels from one to the next of those of a frame that are compared."""
    return max(1, round((frame.rgb[..., 0].size / GRID_POINTS) ** 0.5))


def grid_points(frame: Frame, step: int) -> Array:
    """Points (N, 3) in camera axes of every `step`-th pixel of a frame, both ways, that has depth."""
    assert frame.recorded.depth is not None
    depth = frame.recorded.depth[::step, ::step]
    v, u = np.nonzero(depth)
    return frame.intrinsics.pixel_rays(np.stack([u, v], axis=1) * step) * depth[v, u, None]


def _depth_agreement(pair: DepthPair, convention: Convention, depth_of: _DepthOf) -> tuple[float, float, float]:
    """(fit, agreement, overlap) of the points among the other frame's depth, both as `depth_of` reads them.

    The fit falls linearly from 1 for equal depths to 0 at the tolerance, so that it distinguishes candidates within the
    tolerance.
    """
    points, camera = pair.points, pair.camera
    lengths = np.linalg.norm(points, axis=1) / points[:, 2]
    seen = transform_points(pair.poses.T_b_a(convention), points * depth_of.factor(lengths)[:, None])
    u, v, inside = pixels_of(camera, seen)
    there = pair.depth[v, u] * depth_of.factor(np.linalg.norm(camera.pixel_rays(np.stack([u, v], axis=1)), axis=1))
    known = inside & (there > 0)
    error = np.abs(there[known] - seen[known, 2]) / seen[known, 2]
    counted = max(int(known.sum()), LEAST_OVERLAP * len(points), 1.0)
    fit, agreement = np.clip(1 - error / AGREEMENT, 0, 1).sum() / counted, (error < AGREEMENT).sum() / counted
    return float(fit), float(agreement), float(known.sum() / max(len(points), 1))


def pixels_of(intrinsics: Intrinsics, points: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Nearest pixels u, v (0 where outside) of points in camera axes, and whether they are inside."""
    uv = np.rint(np.clip(np.nan_to_num(intrinsics.project(points), nan=-1.0), -1.0, 1e6)).astype(np.int64)
    u, v = uv[:, 0], uv[:, 1]
    inside = np.asarray((u >= 0) & (v >= 0) & (u < intrinsics.width) & (v < intrinsics.height))
    return np.where(inside, u, 0), np.where(inside, v, 0), inside


def _epipolar_agreement(T_b_a: Array, rays: tuple[Array, Array]) -> tuple[float, float, float]:
    """(fit, agreement, overlap) of matched rays with a relative pose: on the epipolar line and in front of both cameras."""
    rays_a, rays_b = rays
    R, t = T_b_a[:3, :3], T_b_a[:3, 3]
    error = np.nan_to_num(epipolar_distance(T_b_a, rays_a, rays_b))
    front = _in_front(rays_a @ R.T, rays_b, t / max(float(np.linalg.norm(t)), 1e-12))
    fit = np.clip(1 - error / (2 * EPIPOLAR_TOLERANCE), 0, 1) * front
    return float(fit.mean()), float(((error < EPIPOLAR_TOLERANCE) & front).mean()), 1.0


def _in_front(turned: Array, rays_b: Array, t: Array) -> NDArray[np.bool_]:
    """Whether the rays meet in front of both cameras (s turned + t = r rays_b in the least squares, s and r positive).

    Rays that are almost parallel meet so far away that their side is noise: they count as in front.
    """
    normal = np.cross(turned, rays_b)
    square = (normal**2).sum(axis=1)
    s = np.einsum("nc,nc->n", np.cross(rays_b, t), normal)
    r = np.einsum("nc,nc->n", np.cross(turned, t), normal)
    return np.asarray((square < EPIPOLAR_TOLERANCE**2) | ((s > 0) & (r > 0)))
