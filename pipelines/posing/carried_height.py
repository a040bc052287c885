"""How high above the floor the camera was carried, in the unit of its poses: evidence of that unit, where a person carried it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.evenly import evenly
from mapping.se3 import transform_points
from pipelines.posing.scale_estimate import SparseView

Array = NDArray[np.float64]
MOST_VIEWS = 48
LEAST_POINTS, LEAST_VIEWS = 60, 4
"""Observations of the floor, and images that have them, from which its plane is sought."""
DRAWS = 400
NEAR_PLANE = 0.03
"""Distance from the plane up to which a point lies on it, as a share of the median distance at which points were observed."""
LEAST_SHARE = 0.5
"""Of the points on what was taken for floor: with fewer on one plane it is no floor, or several."""
LEAST_UPRIGHT = 0.5
"""Mean cosine between the images' upward direction and the plane's normal: walls and ceilings have less."""
MOST_SPREAD = 0.25
"""Relative deviation of the cameras' heights: of one that is moved up and down the height says nothing."""


@dataclass(frozen=True)
class CameraHeight:
    """The median height of the cameras above the floor in the unit of their poses, its relative spread over the cameras, and
    the observations of the floor."""

    height: float
    spread: float
    points: int


def camera_height(
    cameras: Sequence[Intrinsics],
    poses: Array,
    views: Sequence[SparseView],
    floor_of: Callable[[int], NDArray[np.bool_]],
) -> CameraHeight | None:
    """The height of the cameras above the plane of the points on the floor; None where there is no such plane below them.

    Parameters
    ----------
    cameras : of each image, without distortion.
    poses : (N, 4, 4) `T_world_camera` of the images, in order.
    views : the points that each image observed.
    floor_of : where image i shows floor (H, W); asked of at most `MOST_VIEWS` images spread over all.
    """
    useful = [i for i, view in enumerate(views) if len(view.depths)]
    found: list[Array] = []
    distances: list[Array] = []
    for i in evenly(useful, MOST_VIEWS):
        view, floor = views[i], floor_of(i)
        pixels = np.rint(view.pixels).astype(int)
        inside = ((pixels >= 0) & (pixels < [floor.shape[1], floor.shape[0]])).all(axis=1) & (view.depths > 0)
        inside[inside] = floor[pixels[inside, 1], pixels[inside, 0]]
        if inside.any():
            seen = cameras[i].pixel_rays(view.pixels[inside]) * view.depths[inside, None]
            found.append(transform_points(poses[i], seen))
            distances.append(np.linalg.norm(seen, axis=1))
    if len(found) < LEAST_VIEWS or sum(map(len, found)) < LEAST_POINTS:
        return None
    points, tolerance = np.concatenate(found), NEAR_PLANE * float(np.median(np.concatenate(distances)))
    return _above_plane(points, tolerance, poses)


def _above_plane(points: Array, tolerance: float, poses: Array) -> CameraHeight | None:
    """The height of cameras (N, 4, 4) above the plane on which most of the points (P, 3) lie, if it can be a floor."""
    normal, offset = _plane(points, tolerance)
    on = np.abs(points @ normal - offset) < tolerance
    upward = float((-poses[:, :3, 1] @ normal).mean())
    normal, offset, upward = (normal, offset, upward) if upward > 0 else (-normal, -offset, -upward)
    heights = poses[:, :3, 3] @ normal - offset
    middle = float(np.median(heights))
    if on.sum() < max(LEAST_POINTS / 2, LEAST_SHARE * len(points)) or upward < LEAST_UPRIGHT or middle <= tolerance:
        return None
    spread = float(np.median(np.abs(heights / middle - 1))) * 1.4826
    return None if spread > MOST_SPREAD else CameraHeight(middle, spread, int(on.sum()))


def _plane(points: Array, tolerance: float) -> tuple[Array, float]:
    """Unit normal and offset of the plane with most points near it, by random triples, refined by least squares."""
    rng = np.random.default_rng(0)
    triples = points[rng.integers(0, len(points), (DRAWS, 3))]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    normals = normals[lengths > 0] / lengths[lengths > 0, None]
    if not len(normals):  # all points are the same
        return np.array([0.0, 0.0, 1.0]), float(points[0, 2])
    offsets = np.einsum("nc,nc->n", normals, triples[lengths > 0, 0])
    on = np.abs(points @ normals.T - offsets) < tolerance
    chosen = points[on[:, int(on.sum(axis=0).argmax())]]
    centre = chosen.mean(axis=0)
    normal = np.linalg.svd(chosen - centre, full_matrices=False)[2][-1]
    return np.asarray(normal), float(centre @ normal)
