"""The similarity between two models of structure from motion, from what the images of both show, and whether it is proved."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mapping.depth.robust import MAD_TO_DEVIATION
from mapping.se3 import from_rotation_translation, inverse

Array = NDArray[np.float64]
LIMIT = 0.008
"""Distance in units of the focal length up to which a point lies where the other model's image shows it: models are bent."""
DEPTH_LIMIT = 0.25
"""Logarithm of the ratio of a point's depths in both models, seen from one image, up to which they agree. Between images nearby
only depth determines the size, but it is less certain than where a point is seen."""
LEAST_OBSERVATIONS = 6
"""Of one image from which its pose in the other model is found."""
MOST_IMAGES = 60
"""Images of each model whose pose in the other is found: those that have most in common with it."""
LEAST_POINTS, LEAST_PAIRS = 25, 3
"""Points that must agree, and pairs of different images that show them; an image of both models is a proof by itself."""
RIVAL_SHARE = 0.5
"""Agreeing points of the next best similarity, as a share: with more, two places look alike and nothing is proved."""
MOST_SCALE_DEVIATION, MOST_TURN_DEVIATION_DEG = 0.1, 1.5
"""Standard deviations up to which a similarity is known well enough to be used."""
ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Similarity:
    """`x -> scale * R @ x + t`."""

    scale: float
    R: Array
    t: Array

    def points(self, points: Array) -> Array:
        """Points (..., 3) where it brings them."""
        return np.asarray(self.scale * points @ self.R.T + self.t)

    def pose(self, T: Array) -> Array:
        """A camera's pose (4, 4) in the other world."""
        return from_rotation_translation(self.R @ T[:3, :3], self.points(T[:3, 3]))

    def inverse(self) -> Similarity:
        """The one that leads back."""
        return Similarity(1 / self.scale, self.R.T, -self.R.T @ self.t / self.scale)


@dataclass(frozen=True, eq=False)
class Common:
    """What two models show in common: K times a feature of an image of the first that is one of an image of the second.

    images (K, 2) are numbers of the images in each model, of which `poses` are (N, 4, 4) `T_world_camera`. rays (K, 2, 2) are
    x / z and y / z of the feature in each image, points (K, 2, 3) what it shows in the world of each model. same (K,) is where
    both are one image.
    """

    poses: tuple[Array, Array]
    images: NDArray[np.int64]
    rays: Array
    points: Array
    same: NDArray[np.bool_]

    def chosen(self, which: NDArray[np.bool_]) -> Common:
        """Some of the observations."""
        return replace(
            self, images=self.images[which], rays=self.rays[which], points=self.points[which], same=self.same[which]
        )


@dataclass(frozen=True, eq=False)
class Joint:
    """The best similarity from the second model's world to the first's, and why it is not proved; no reason where it is.

    points are how many different ones agree, pairs of how many pairs of images; scale_deviation is relative.
    """

    similarity: Similarity | None
    reason: str
    points: int = 0
    pairs: int = 0
    scale_deviation: float = 0.0


def find_joint(common: Common) -> Joint:
    """The similarity under which the points of each model lie where the images of the other show them.

    The pose of each image in the other model (Perspective-n-Point with RANSAC) and the ratio of the depths of the points in it
    give a candidate each; the one with which most points agree is adjusted to all of them by the distances in the images.
    It is proved when enough points of several pairs of images agree, determine it, and no other similarity has half as many.
    """
    best, found = _best(common)
    if found is None or count_points(common, best) < LEAST_POINTS:
        return Joint(None, f"only {count_points(common, best)} common points agree")
    counted = count_points(common, best)
    pairs = len(np.unique(common.images[best], axis=0))
    scale_deviation, turn_deviation = _deviations(found, common.chosen(best))
    joint = Joint(found, "", counted, pairs, scale_deviation)
    if count_points(common, best & common.same) < LEAST_POINTS and pairs < LEAST_PAIRS:
        return replace(joint, reason=f"only {pairs} pairs of images show their {counted} common points")
    if scale_deviation > MOST_SCALE_DEVIATION or turn_deviation > MOST_TURN_DEVIATION_DEG:
        return replace(
            joint,
            reason=f"{counted} common points leave it open by {scale_deviation:.0%} of size and {turn_deviation:.1f} degrees",
        )
    others = common.chosen(errors_of(found, common) > 2 * LIMIT)
    rival = count_points(others, _best(others)[0])
    if rival > RIVAL_SHARE * counted:
        return replace(
            joint, reason=f"two places look alike: {counted} and {rival} common points contradict each other"
        )
    return joint


def errors_of(similarity: Similarity, common: Common) -> Array:
    """(K,): the larger distance, in units of the focal length, of a point from where the other model's image shows it; where the
    depths differ more, their difference as a share of `DEPTH_LIMIT`, as one of the distance is of `LIMIT`."""
    back = similarity.inverse()
    moved = similarity.points(common.points[:, 1])
    apart = np.maximum(_distances(common, 0, moved), _distances(common, 1, back.points(common.points[:, 0])))
    return np.maximum(apart, np.abs(_depth_differences(common, moved)))


def _depth_differences(common: Common, moved: Array) -> Array:
    """(K,) logarithms of the ratio of depths in the first model's images, scaled to be compared with distances."""
    depths = [_in_cameras(common, 0, points)[:, 2] for points in (moved, common.points[:, 0])]
    logs = [np.log(np.maximum(depth, 1e-9)) for depth in depths]
    return np.asarray(np.clip((logs[0] - logs[1]) * LIMIT / DEPTH_LIMIT, -1, 1))


def count_points(common: Common, which: NDArray[np.bool_]) -> int:
    """How many different points some observations are of: one of the models may have cut what the other has in one piece."""
    chosen = common.points[which]
    return min((len(np.unique(chosen[:, k], axis=0)) for k in range(2)), default=0) if len(chosen) else 0


def _distances(common: Common, side: int, points: Array) -> Array:
    """(K,) between the features of one model's images and points (K, 3) in its world; infinite behind a camera."""
    seen = _in_cameras(common, side, points)
    front = seen[:, 2] > 1e-9
    projected = seen[:, :2] / np.where(front, seen[:, 2], 1)[:, None]
    return np.where(front, np.linalg.norm(projected - common.rays[:, side], axis=1), np.inf)


def _in_cameras(common: Common, side: int, points: Array) -> Array:
    """Points (K, 3) of one model's world in the cameras of its images."""
    T = common.poses[side][common.images[:, side]]
    return np.einsum("kji,kj->ki", T[:, :3, :3], points - T[:, :3, 3])


def _best(common: Common) -> tuple[NDArray[np.bool_], Similarity | None]:
    """The observations (K,) that agree with the best similarity, and that; none where there is no candidate."""
    nothing = np.zeros(len(common.images), bool)
    candidates = [*_candidates(common, 1), *(candidate.inverse() for candidate in _candidates(_swapped(common), 1))]
    if not candidates:
        return nothing, None
    agreeing = [errors_of(candidate, common) < 2 * LIMIT for candidate in candidates]
    best = candidates[int(np.argmax([count_points(common, which) for which in agreeing]))]
    for limit in np.linspace(2, 1, ROUNDS) * LIMIT:
        within = errors_of(best, common) < limit
        if within.sum() < LEAST_OBSERVATIONS:
            return nothing, None
        best = _adjusted(best, common.chosen(within))
    return errors_of(best, common) < LIMIT, best


def _swapped(common: Common) -> Common:
    """The same with the two models exchanged."""
    first, second = common.poses
    return replace(
        common,
        poses=(second, first),
        images=common.images[:, ::-1],
        rays=common.rays[:, ::-1],
        points=common.points[:, ::-1],
    )


def _candidates(common: Common, side: int) -> list[Similarity]:
    """Similarities from the second world to the first, by each of the second model's images that sees enough of the first's."""
    numbers, counts = np.unique(common.images[:, side], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_IMAGES]
    found = []
    for number in numbers[order][counts[order] >= LEAST_OBSERVATIONS]:
        shown = common.chosen(common.images[:, side] == number)
        T_image_first = _pose_of_image(shown.points[:, 0], shown.rays[:, 1])
        if T_image_first is None:
            continue
        ahead = shown.points[:, 0] @ T_image_first[2, :3] + T_image_first[2, 3]
        behind = _in_cameras(shown, 1, shown.points[:, 1])[:, 2]
        known = (ahead > 0) & (behind > 0)
        if not known.any():
            continue
        scale = float(np.median(ahead[known] / behind[known]))
        T_image_second = inverse(shown.poses[1][number])
        T_image_second[:3, 3] *= scale
        T = inverse(T_image_first) @ T_image_second
        found.append(Similarity(scale, T[:3, :3], T[:3, 3]))
    return found


def _pose_of_image(points: Array, rays: Array) -> Array | None:
    """`T_camera_world` (4, 4) of an image that shows points (n, 3) at rays (n, 2)."""
    try:
        found = cv2.solvePnPRansac(
            points, rays, np.eye(3), None, iterationsCount=300, reprojectionError=LIMIT, flags=cv2.SOLVEPNP_SQPNP
        )
    except cv2.error:  # points on a line
        return None
    done, turn = found[:2]
    shift, inliers = found[2:]
    if not done or inliers is None or len(inliers) < LEAST_OBSERVATIONS:
        return None
    return from_rotation_translation(cv2.Rodrigues(turn)[0], shift.ravel())


def _adjusted(start: Similarity, common: Common) -> Similarity:
    """The similarity that minimises the distances in the images of both models, wrong ones counting little."""
    centre = common.points[:, 1].mean(axis=0)
    solved = least_squares(
        lambda x: _residuals(_moved(start, centre, x), common), np.zeros(7), loss="soft_l1", f_scale=0.3 * LIMIT
    )
    return _moved(start, centre, solved.x)


def _moved(start: Similarity, centre: Array, x: Array) -> Similarity:
    """The similarity grown by exp(x[0]) and turned by x[1:4] about where `centre` goes, which moves by x[4:] of a unit of the
    second world."""
    scale = start.scale * float(np.exp(x[0]))
    R = Rotation.from_rotvec(x[1:4]).as_matrix() @ start.R
    goal = start.points(centre) + start.scale * x[4:]
    return Similarity(scale, R, goal - scale * R @ centre)


def _residuals(similarity: Similarity, common: Common) -> Array:
    """(5 K,) distances along both axes of both images, and differences of depth; limited where a point comes behind a camera."""
    back, moved = similarity.inverse(), similarity.points(common.points[:, 1])
    rows = [_depth_differences(common, moved)[:, None]]
    for side, points in ((0, moved), (1, back.points(common.points[:, 0]))):
        seen = _in_cameras(common, side, points)
        projected = seen[:, :2] / np.maximum(seen[:, 2:], 1e-6)
        rows.append(np.clip(projected - common.rays[:, side], -1, 1))
    return np.concatenate(rows, axis=1).ravel()


def _deviations(similarity: Similarity, common: Common) -> tuple[float, float]:
    """Standard deviations of the scale (relative) and of the rotation in degrees, by the residuals and the linearised problem.

    Several observations of one point are off by the same, so that only different points count.
    """
    centre = common.points[:, 1].mean(axis=0)
    steps = np.eye(7) * 1e-5
    columns = [
        (_residuals(_moved(similarity, centre, step), common) - _residuals(_moved(similarity, centre, -step), common))
        / 2e-5
        for step in steps
    ]
    J = np.stack(columns, axis=1)
    off = MAD_TO_DEVIATION * float(np.median(np.abs(_residuals(similarity, common))))
    repeated = len(common.images) / max(count_points(common, np.ones(len(common.images), bool)), 1)
    try:
        covariance = np.linalg.inv(J.T @ J) * off**2 * repeated
    except np.linalg.LinAlgError:
        return np.inf, np.inf
    variance = np.diag(covariance)
    return float(np.sqrt(variance[0])), float(np.degrees(np.sqrt(variance[1:4].max())))
