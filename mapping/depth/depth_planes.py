"""Floors, ceilings, walls and tables as planes in predicted depth, and depth placed on them.

Depth by images is weakest on blank surfaces, and those of a building are mostly plane. Where all frames together show a plane,
a pixel of such a surface whose depth lies about it is taken to lie on it: planes of the structure as a prior of its depth, as in
Manhattan-SDF (Guo et al., CVPR 2022), without the assumption that all walls are at right angles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.histogram_planes import Plane, dominant_yaw, turned_yaw, weighted_peaks

Array = NDArray[np.float64]

BIN = 0.02
LAYERS_APART = 0.4
"""Metres between two floors or ceilings."""
TABLES_APART = 0.08
"""Metres between the heights of two tables."""
WALLS_APART = 0.3
"""Metres between two walls that face the same way."""
DIRECTIONS_APART = np.deg2rad(30.0)
UPRIGHT = 0.35
"""Largest vertical part of the normals of walls."""
LEAST_OBLIQUE = 0.03
"""Share of the walls' weight from which a direction counts that is at no right angle to the others."""
FIT_REACHES = (0.15, 0.1, 0.08, 0.06)
"""Metres from a wall within which samples count, as it is fitted."""
LEAST_SHARE = 0.01
"""Share of the weight of all samples of its kind that a plane has at least."""
NEAR, AROUND = 0.04, 0.24
"""Metres about a plane within which its samples are compared with those farther away."""
LEAST_SHARPNESS = 1.5
"""Times as many samples as if those around a plane were spread evenly."""
INLIER = 0.06
"""Metres from a plane within which samples support it."""
FACING = 0.8
"""Cosine between the normal of a plane and of what lies on it, at least."""
SQUARE = np.deg2rad(5.0)
"""Angle from the walls' common directions below which a wall has one of them."""
CELL = 0.2
"""Side in metres of the cells that say where a plane has surface."""
REACH = 1
"""Cells beyond those with samples into which a plane continues."""
LEAST_CELLS = 8
LARGEST_SHIFT = 0.25
"""Difference of log depth up to which depth is placed on a plane."""
MIN_SLOPE = 0.05
"""Cosine between ray and normal below which no depth is read from a plane."""


class Surface(IntEnum):
    """What is plane as a rule: parts of a building, and the tops of tables."""

    OTHER = 0
    FLOOR = 1
    CEILING = 2
    WALL = 3
    TABLE = 4


@dataclass(frozen=True, eq=False)
class PlaneSamples:
    """N points (N, 3) in metres in a world with z up, their normals (N, 3), what surface each belongs to (N,) and weights (N,),
    which are in proportion to area and to the inverse variance of depth."""

    points: Array
    normals: Array
    kinds: NDArray[np.int64]
    weights: Array

    def of(self, chosen: NDArray[np.bool_]) -> PlaneSamples:
        """Those that are chosen (N,)."""
        return PlaneSamples(self.points[chosen], self.normals[chosen], self.kinds[chosen], self.weights[chosen])


def joined(samples: Sequence[PlaneSamples]) -> PlaneSamples:
    """Samples of several frames as one; at least one frame."""
    return PlaneSamples(
        np.concatenate([each.points for each in samples]),
        np.concatenate([each.normals for each in samples]),
        np.concatenate([each.kinds for each in samples]),
        np.concatenate([each.weights for each in samples]),
    )


@dataclass(frozen=True, eq=False)
class SurfacePlane:
    """A plane, what lies on it, and where: cells (h, w) of side CELL along `axes`, of which the first is `first` (2,)."""

    plane: Plane
    kind: Surface
    cells: NDArray[np.bool_]
    first: NDArray[np.int64]

    def covers(self, points: Array) -> NDArray[np.bool_]:
        """Whether points (..., 3) on the plane lie where it has surface."""
        place = np.floor(points @ plane_axes(self.plane.normal).T / CELL).astype(np.int64) - self.first
        shape = np.array(self.cells.shape)
        inside = ((place >= 0) & (place < shape)).all(axis=-1)
        row, column = np.moveaxis(np.clip(place, 0, shape - 1), -1, 0)
        return np.asarray(inside & self.cells[row, column])


def plane_axes(normal: Array) -> Array:
    """(2, 3) unit vectors that span a horizontal or an upright plane."""
    if abs(normal[2]) > np.sqrt(0.5):
        return np.eye(3)[:2]
    return np.array([[-normal[1], normal[0], 0.0], [0.0, 0.0, 1.0]])


def find_planes(samples: PlaneSamples) -> list[SurfacePlane]:
    """The planes on which surface concentrates, largest first of each kind."""
    found = [
        *_layers(samples, Surface.FLOOR, 1.0, LAYERS_APART),
        *_layers(samples, Surface.CEILING, -1.0, LAYERS_APART),
        *_layers(samples, Surface.TABLE, 1.0, TABLES_APART),
        *_walls(samples),
    ]
    placed = [_supported(plane, kind, samples) for plane, kind in found]
    return [each for each in placed if each is not None]


def _layers(samples: PlaneSamples, kind: Surface, up: float, apart: float) -> list[tuple[Plane, Surface]]:
    """Horizontal planes of a kind whose normals point up (1) or down (-1)."""
    normal = np.array([0.0, 0.0, up])
    chosen = samples.of((samples.kinds == kind) & (samples.normals @ normal > FACING))
    least = LEAST_SHARE * float(chosen.weights.sum())
    peaks = weighted_peaks(chosen.points @ normal, chosen.weights, bin_size=BIN, separation=apart, min_weight=least)
    planes = [Plane(normal, peak.position, peak.weight) for peak in peaks]
    return [(plane, kind) for plane in sorted(planes, key=lambda plane: -plane.area) if _sharp(plane, chosen)]


def _walls(samples: PlaneSamples) -> list[tuple[Plane, Surface]]:
    """Upright planes, the heaviest first; those that are nearly at right angles are so."""
    chosen = samples.of((samples.kinds == Surface.WALL) & (np.abs(samples.normals[:, 2]) < UPRIGHT))
    yaw, _ = dominant_yaw(chosen.normals, chosen.weights)
    directions = _directions(chosen, yaw)
    fits = [fit for direction in directions for fit in _fits(chosen, direction)]
    square = [fit for fit in fits if abs(turned_yaw(fit.yaw - yaw)) < SQUARE]
    if square:
        # Long walls show the common direction better than normals do.
        turns = np.array([turned_yaw(fit.yaw - yaw) for fit in square])
        yaw += float(np.average(turns, weights=[fit.inertia for fit in square]))
    found: list[Plane] = []
    for fit in sorted(fits, key=lambda fit: -fit.weight):
        turn = turned_yaw(fit.yaw - yaw)
        angle = fit.yaw - turn if abs(turn) < SQUARE else fit.yaw
        normal = np.array([np.cos(angle), np.sin(angle), 0.0])
        plane = Plane(normal, float(fit.centre @ normal), fit.weight)
        if _sharp(plane, chosen) and not any(_same(plane, other) for other in found):
            found.append(plane)
    return [(plane, Surface.WALL) for plane in found]


@dataclass(frozen=True, eq=False)
class _Fit:
    """An upright plane through samples: its direction in radians, their mean (3,) and weight, and their weight times the square
    of their extent along it."""

    yaw: float
    centre: Array
    weight: float
    inertia: float


def _directions(samples: PlaneSamples, yaw: float) -> list[float]:
    """The four common directions of walls, and others in which many face."""
    square = [yaw + k * np.pi / 2 for k in range(4)]
    angles = np.arctan2(samples.normals[:, 1], samples.normals[:, 0])
    period = 2 * np.pi
    peaks = weighted_peaks(
        np.concatenate([angles - period, angles, angles + period]),
        np.tile(samples.weights, 3),
        bin_size=np.deg2rad(2.0),
        separation=DIRECTIONS_APART,
        min_weight=LEAST_OBLIQUE * float(samples.weights.sum()),
    )
    inside = [peak.position for peak in peaks if -np.pi <= peak.position < np.pi]
    return square + [angle for angle in inside if abs(turned_yaw(angle - yaw)) > DIRECTIONS_APART / 2]


def _fits(samples: PlaneSamples, yaw: float) -> list[_Fit]:
    """Planes of samples that face about a direction, fitted to those of a histogram's peaks."""
    normal = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    facing = samples.of(samples.normals @ normal > FACING)
    peaks = weighted_peaks(
        facing.points @ normal,
        facing.weights,
        bin_size=BIN,
        separation=WALLS_APART,
        min_weight=LEAST_SHARE * float(samples.weights.sum()),
    )
    return [fit for peak in peaks if (fit := _fitted(facing, yaw, peak.position)) is not None]


def _fitted(facing: PlaneSamples, yaw: float, offset: float) -> _Fit | None:
    """A line through the plan of the samples near a plane, with Tukey's weights; None where it turns far away from it."""
    first = yaw
    for reach in FIT_REACHES:
        normal = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        distance = facing.points @ normal - offset
        near = np.abs(distance) < reach
        weights = facing.weights[near] * (1 - (distance[near] / reach) ** 2) ** 2
        if not weights.sum() > 0:
            return None
        centre = np.average(facing.points[near], axis=0, weights=weights)
        along = (facing.points[near] - centre) @ np.array([-normal[1], normal[0], 0.0])
        inertia = float(weights @ along**2)
        if inertia > 0:
            yaw += float(np.arctan2(-(weights * along) @ distance[near], inertia))
        if abs(yaw - first) > 2 * SQUARE:
            return None
        offset = float(centre @ np.array([np.cos(yaw), np.sin(yaw), 0.0]))
    return _Fit(yaw, centre, float(weights.sum()), inertia)


def _sharp(plane: Plane, samples: PlaneSamples) -> bool:
    """Whether samples concentrate on the plane, instead of being spread about it."""
    facing = samples.normals @ plane.normal > FACING
    distance = np.abs(plane.distance(samples.points))
    near, around = (samples.weights[facing & (distance < reach)].sum() for reach in (NEAR, AROUND))
    return bool(near * AROUND > LEAST_SHARPNESS * NEAR * around)


def _same(plane: Plane, other: Plane) -> bool:
    return bool(plane.normal @ other.normal > np.cos(SQUARE) and abs(plane.offset - other.offset) < 2 * INLIER)


def _supported(plane: Plane, kind: Surface, samples: PlaneSamples) -> SurfacePlane | None:
    """The plane with the cells in which samples lie on it and those next to them; None where they are too few."""
    near = (samples.kinds == kind) & (samples.normals @ plane.normal > FACING)
    near &= np.abs(plane.distance(samples.points)) < INLIER
    cells = np.unique(np.floor(samples.points[near] @ plane_axes(plane.normal).T / CELL).astype(np.int64), axis=0)
    if len(cells) < LEAST_CELLS:
        return None
    first = cells.min(axis=0) - REACH
    grid = np.zeros(cells.max(axis=0) - first + REACH + 1, np.uint8)
    grid[tuple((cells - first).T)] = 1
    spread = cv2.dilate(grid, np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)) > 0
    return SurfacePlane(replace(plane, area=len(cells) * CELL**2), kind, spread, first)


@dataclass(frozen=True, eq=False)
class SurfaceView:
    """Depth (H, W) of a frame in metres with its normals (H, W, 3) and kinds (H, W), the rays (H, W, 3) of its pixels with z = 1,
    both in axes of the world, and the camera's position (3,)."""

    depth: NDArray[np.float32]
    normals: Array
    kinds: NDArray[np.int64]
    rays: Array
    position: Array


def placed(view: SurfaceView, planes: Sequence[SurfacePlane]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Depth (H, W) in which pixels of plane surfaces lie on the nearest plane, and which ones do (H, W)."""
    depth, shift = view.depth.copy(), np.full(view.depth.shape, LARGEST_SHIFT)
    known = np.flatnonzero((view.depth > 0) & (view.kinds != Surface.OTHER))
    kinds, log_depth = view.kinds.flat[known], np.log(view.depth.flat[known])
    rays, normals = view.rays.reshape(-1, 3)[known], view.normals.reshape(-1, 3)[known]
    for each in planes:
        slope, height = rays @ each.plane.normal, float(each.plane.distance(view.position))
        faces = (kinds == each.kind) & (normals @ each.plane.normal > FACING) & (slope < -MIN_SLOPE)
        if height <= 0 or not faces.any():
            continue
        at, own = known[faces], log_depth[faces]
        there = height / -slope[faces]
        off = np.abs(np.log(there) - own)
        closer = off < shift.flat[at]
        closer[closer] = each.covers(view.position + rays[faces][closer] * there[closer, None])
        depth.flat[at[closer]] = there[closer]
        shift.flat[at[closer]] = off[closer]
    return depth, shift < LARGEST_SHIFT
