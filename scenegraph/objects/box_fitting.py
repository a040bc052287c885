"""Boxes of objects: upright, robust to outliers, and extended to what the object stands on or hangs from.

A map has no surface where no camera could look: under a bed, behind a cupboard, on legs thinner than a voxel. Gravity and
walls determine where such a box must end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mapping.histogram_planes import Plane, dominant_yaw
from mapping.se3 import yaw_rotation
from scenegraph.boxes import smallest_rectangle_yaw
from scenegraph.graph_config import ObjectConfig
from scenegraph.nodes import OrientedBox
from scenegraph.objects.sizes import FLAT, ON_LEGS, ON_WALLS, SIZES

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

YAW_SLACK = 1.06  # how much larger than the smallest footprint one along preferred directions may be
FACES_SLACK = 0.4  # and this much larger when all upright faces of the object agree with it
SAME_YAW = np.deg2rad(4.0)
WALL_ANGLE_COS = np.cos(np.deg2rad(12.0))
WALL_REACH = 0.4  # metres around the object within which the wall behind it must have been observed
LEVEL_COS = np.cos(np.deg2rad(25.0))
MAX_INTO_WALL = 0.06  # metres by which a box may reach into a wall that truncates it
THIN_SHARE = 0.4  # share of the thickness of a class that must be missing for only the front to have been observed
FRONT_MEAN = 0.5  # and the mean component of the normals along the thin side from which all of them face one direction
BACK_COS, BACK_SHARE = 0.7, 0.04  # share of the surface facing the wall above which a back was observed


class Surroundings:
    """Surface that boxes may end at.

    level_centers (N, 3) are centres of level faces seen from above, level_objects (N,) the object number of each (0 none);
    wall_centers (M, 3) are centres of faces of walls, wall_of_face (M,) the index in `walls` of the wall each belongs to;
    floors are the heights of the storeys' floors.
    """

    def __init__(
        self,
        level_centers: Array,
        level_objects: Indices,
        walls: Sequence[Plane],
        wall_centers: Array,
        wall_of_face: Indices,
        floors: Sequence[float] = (),
    ) -> None:
        self.level_centers, self.level_objects = level_centers, level_objects
        self.walls, self.wall_centers, self.wall_of_face = walls, wall_centers, wall_of_face
        self.floors = tuple(floors)
        self._level_tree = cKDTree(level_centers[:, :2]) if len(level_centers) else None
        self._wall_tree = cKDTree(wall_centers) if len(wall_centers) else None

    def level_near(self, center: Array, radius: float) -> Indices:
        """Indices of the level faces within a circle around a point on the floor plan."""
        return _within(self._level_tree, center[:2], radius)

    def walls_near(self, center: Array, radius: float) -> Indices:
        """Indices of the wall faces within a ball."""
        return _within(self._wall_tree, center, radius)


def _within(tree: cKDTree | None, center: Array, radius: float) -> Indices:
    return np.array(sorted(tree.query_ball_point(center, radius)) if tree is not None else [], dtype=np.int64)


def robust_box(points: Array, normals: Array, areas: Array, trim: float) -> OrientedBox:
    """The upright box around points (N, 3) without outliers, a share of up to `trim` at either end of an axis; normals (N, 3) and
    areas (N,) are those of the surface at the points.

    Of the building's direction, the direction of the object's own upright faces and that of the smallest rectangle, the first
    whose footprint is about as small as the smallest is chosen, so that noise does not turn a box; the more of the object's
    faces agree on a direction, the larger its footprint may be (an L-shaped counter).
    """
    own_yaw, agreement = dominant_yaw(normals, areas)
    own_slack = YAW_SLACK + FACES_SLACK * max(2 * agreement - 1, 0.0)
    yaws = [0.0, own_yaw % (np.pi / 2), smallest_rectangle_yaw(points[:, :2])]
    slack = [own_slack if abs(own_yaw) < SAME_YAW else YAW_SLACK, own_slack, 1.0]
    extents = [_extent(points @ yaw_rotation(yaw), trim) for yaw in yaws]
    footprints = [float(np.prod((high - low)[:2])) for low, high in extents]
    chosen = next(i for i in range(3) if i == 2 or footprints[i] <= slack[i] * min(footprints) + 1e-12)
    return _box(*extents[chosen], yaw_rotation(yaws[chosen]))


def completed_box(
    box: OrientedBox, name: str, number: int, normals: Array, around: Surroundings, config: ObjectConfig
) -> OrientedBox:
    """The box extended down to the surface below it and back to the wall behind it, where those are near enough.

    normals (N, 3) are those of the object's vertices: a box is extended back farther than `wall_gap` only where no back
    was observed.
    """
    low, high = -box.size / 2, box.size / 2
    local_normals = normals @ box.rotation
    for side, sign, distance in _walls_at(box, around, max(config.wall_gap, _depth(name))):
        back_seen = (local_normals[:, side] * sign > BACK_COS).mean() > BACK_SHARE
        deep = not back_seen and box.size[side] + distance <= _depth(name)
        if distance < config.wall_gap or deep:
            (low if sign < 0 else high)[side] += sign * distance
    if name in FLAT:
        side = int(np.argmin(box.size[:2]))
        missing = config.flat_depth - (high - low)[side]
        if missing > 0 and local_normals[:, side].mean() > 0:
            low[side] -= missing
        elif missing > 0:
            high[side] += missing
    _thicken(low, high, name, local_normals)
    base = box.center[2] + low[2]
    bottom = _support_height(box, number, around)
    gap = config.leg_gap if name in ON_LEGS else 0.0 if name in ON_WALLS else config.support_gap
    if bottom is not None and -config.support_gap <= base - bottom <= gap:
        low[2] = (bottom if name in ON_LEGS else min(bottom, base)) - box.center[2]
    if (high - low <= 0).any():
        return box
    return OrientedBox(box.center + box.rotation @ ((low + high) / 2), high - low, box.rotation)


def _thicken(low: Array, high: Array, name: str, local_normals: Array) -> None:
    """Extend a box from `low` to `high` (3,) back to the thickness of its class where only its front was observed.

    local_normals (N, 3) are those of its surface along the box axes. Of books in a row the spines are observed, and where their
    board is above the camera nothing else.
    """
    thick = SIZES[name].thick if name in SIZES else 0.0
    side = int(np.argmin((high - low)[:2]))
    missing, front = thick - (high - low)[side], float(local_normals[:, side].mean())
    if missing < THIN_SHARE * thick or abs(front) < FRONT_MEAN:
        return
    if front > 0:
        low[side] -= missing
    else:
        high[side] += missing


def _depth(name: str) -> float:
    return SIZES[name].depth if name in SIZES else 0.0


def _walls_at(box: OrientedBox, around: Surroundings, gap: float) -> list[tuple[int, int, float]]:
    """Walls behind sides of the box: the box axis, the sign of the side, and the signed distance to the wall, up to `gap`.

    A distance is negative where the box reaches into the wall. Of several walls behind one side the nearest is used.
    """
    near = around.walls_near(box.center, float(np.linalg.norm(box.size / 2 + WALL_REACH)) + gap)
    local = (around.wall_centers[near] - box.center) @ box.rotation
    adjacent = (np.abs(local) < box.size / 2 + np.maximum(WALL_REACH, gap)).all(axis=1)
    found: dict[tuple[int, int], float] = {}
    for index in np.unique(around.wall_of_face[near[adjacent]]):
        plane = around.walls[int(index)]
        along = plane.normal @ box.rotation
        side = int(np.argmax(np.abs(along[:2])))
        sign = -1 if along[side] > 0 else 1
        distance = float(plane.normal @ box.center - plane.offset - box.size[side] / 2)
        into = min(0.5 * box.size[side] + 0.02, MAX_INTO_WALL)
        if abs(along[side]) >= WALL_ANGLE_COS and -into < distance < gap:
            best = found.get((side, sign), np.inf)
            found[side, sign] = distance if abs(distance) < abs(best) else best
    return [(side, sign, distance) for (side, sign), distance in sorted(found.items())]


def _support_height(box: OrientedBox, number: int, around: Surroundings) -> float | None:
    """Height of the highest level surface of other things under the box, else of the floor below; None when there is none."""
    near = around.level_near(box.center, float(np.linalg.norm(box.size[:2])))
    local = (around.level_centers[near] - box.center) @ box.rotation
    margin, rise = np.minimum(0.1, 0.2 * box.size[:2]), min(0.1, 0.3 * box.size[2])
    under = (np.abs(local[:, :2]) < box.size[:2] / 2 + margin).all(axis=1) & (local[:, 2] < -box.size[2] / 2 + rise)
    under &= around.level_objects[near] != number
    if under.sum() < 3:
        floors = [floor for floor in around.floors if floor < box.center[2]]
        return max(floors, default=None)
    heights = around.level_centers[near[under], 2]
    top = float(np.quantile(heights, 0.9))
    return float(np.median(heights[heights > top - 0.05]))


def _extent(local: Array, trim: float) -> tuple[Array, Array]:
    """Lowest and highest box coordinates, without a few outliers at the ends that are separated from the rest."""
    low = np.quantile(local, trim, axis=0, method="lower")
    high = np.quantile(local, 1 - trim, axis=0, method="higher")
    return low, high


def _box(low: Array, high: Array, rotation: Array) -> OrientedBox:
    return OrientedBox(rotation @ ((low + high) / 2), high - low, rotation)
