"""Upright oriented boxes: the best yaw, overlap, containment. World metres, z up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull, QhullError

from mapping.se3 import transform_points, yaw_rotation
from scenegraph.nodes import OrientedBox

Array = NDArray[np.float64]

UPRIGHT_TOLERANCE_DEG = 1.0
SAME_AREA = 1e-9  # relative: between rectangles whose areas are closer than this the yaw decides, not rounding
SAME_YAW = 1e-9  # radians


def smallest_rectangle_yaw(points_xy: ArrayLike) -> float:
    """Yaw in [0, pi / 2) of the rectangle of least area around points (N, 2); 0 when all coincide.

    One side of the smallest rectangle lies on an edge of the convex hull (Freeman and Shapira 1975), so every hull edge is
    tried. Of equally small rectangles the one with the smallest yaw wins, so the result does not depend on the order of the
    points.
    """
    points_xy = np.asarray(points_xy, dtype=np.float64)
    corners = _convex_hull(points_xy)
    sides = np.roll(corners, -1, axis=0) - corners
    sides = sides[np.linalg.norm(sides, axis=1) > 0]
    if len(sides) == 0:
        return 0.0
    yaws = np.arctan2(sides[:, 1], sides[:, 0]) % (np.pi / 2)
    yaws[np.pi / 2 - yaws < SAME_YAW] = 0.0
    yaws = np.unique(yaws)
    along = corners @ np.stack([np.cos(yaws), np.sin(yaws)])
    across = corners @ np.stack([-np.sin(yaws), np.cos(yaws)])
    areas = np.ptp(along, axis=0) * np.ptp(across, axis=0)
    scale = np.ptp(corners, axis=0).max() ** 2
    return float(yaws[np.argmax(areas <= areas.min() + SAME_AREA * scale)])


def box_iou(a: OrientedBox, b: OrientedBox) -> float:
    """Intersection over union of two upright boxes, exact; 0 without volume.

    Raises ValueError when a box is tilted by more than a degree (see `upright`).
    """
    common = common_volume(a, b)
    return float(np.clip(common / (a.volume + b.volume - common), 0.0, 1.0)) if common > 0 else 0.0


def share_inside(a: OrientedBox, b: OrientedBox) -> float:
    """Share of the volume of one upright box that lies in another one; 0 without volume. Raises ValueError as `box_iou` does."""
    common = common_volume(a, b)
    return float(np.clip(common / a.volume, 0.0, 1.0)) if common > 0 else 0.0


def common_volume(a: OrientedBox, b: OrientedBox) -> float:
    """Cubic metres that two upright boxes have in common, exact: clipped footprints times the common height. Raises ValueError as
    `box_iou` does."""
    base_a, base_b = a.center[2] - a.size[2] / 2, b.center[2] - b.size[2] / 2
    height = min(base_a + a.size[2], base_b + b.size[2]) - max(base_a, base_b)
    corners_a, corners_b = footprint(a), footprint(b)
    reach = (np.linalg.norm(a.size[:2]) + np.linalg.norm(b.size[:2])) / 2
    apart = height <= 0 or np.linalg.norm(a.center[:2] - b.center[:2]) >= reach
    if apart or min(a.volume, b.volume) <= 0:
        return 0.0
    return float(height * polygon_area(clip_convex(corners_a, corners_b)))


def points_in_box(points: ArrayLike, box: OrientedBox, *, margin: float = 0.0) -> NDArray[np.bool_]:
    """Which of the points (..., 3) lie in the box, its surface included; `margin` metres widen it on every side."""
    local = (np.asarray(points, dtype=np.float64) - box.center) @ box.rotation
    return np.asarray((np.abs(local) <= box.size / 2 + margin).all(axis=-1))


def footprint(box: OrientedBox) -> Array:
    """(4, 2) corners of the box on the floor plan, counter-clockwise from above.

    Raises ValueError when the box is tilted by more than a degree (see `upright`).
    """
    if box.rotation[2, 2] < np.cos(np.deg2rad(UPRIGHT_TOLERANCE_DEG)):
        tilt = np.rad2deg(np.arccos(np.clip(box.rotation[2, 2], -1, 1)))
        raise ValueError(f"box must be upright (turned about z only), got one that is tilted by {tilt:.1f} deg")
    return upright(box).corners()[:4, :2]


def upright(box: OrientedBox) -> OrientedBox:
    """The box without its tilt: same centre and size, turned about z by the yaw of its first axis."""
    return replace(box, rotation=yaw_rotation(float(np.arctan2(box.rotation[1, 0], box.rotation[0, 0]))))


def box_around(points: ArrayLike) -> OrientedBox:
    """The upright box of least footprint around points (N, 3); raises ValueError without any."""
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    if not len(points):
        raise ValueError("box_around needs at least one point")
    rotation = yaw_rotation(smallest_rectangle_yaw(points[:, :2]))
    local = points @ rotation
    low, high = local.min(axis=0), local.max(axis=0)
    return OrientedBox(rotation @ ((low + high) / 2), high - low, rotation)


def transform_box(T_a_b: ArrayLike, box: OrientedBox) -> OrientedBox:
    """The box of frame b in frame a; it stays upright only when `T_a_b` turns about z."""
    T = np.asarray(T_a_b, dtype=np.float64)
    return OrientedBox(transform_points(T, box.center), box.size, T[:3, :3] @ box.rotation)


def clip_convex(subject: ArrayLike, window: ArrayLike) -> Array:
    """The part (K, 2) of a convex polygon (N, 2) inside a convex window (M, 2), both counter-clockwise.

    Sutherland and Hodgman 1974: cut by the line of each side of the window in turn. K is 0 when nothing is left.
    """
    polygon, window = np.asarray(subject, dtype=np.float64), np.asarray(window, dtype=np.float64)
    for start, end in zip(window, np.roll(window, -1, axis=0), strict=True):
        if len(polygon) == 0:
            break
        side = end - start
        signed = side[0] * (polygon[:, 1] - start[1]) - side[1] * (polygon[:, 0] - start[0])
        polygon = _cut(polygon, signed)
    return polygon


def polygon_area(polygon: ArrayLike) -> float:
    """Area of a simple polygon (N, 2), positive when counter-clockwise; 0 with fewer than three corners."""
    polygon = np.asarray(polygon, dtype=np.float64)
    if len(polygon) < 3:
        return 0.0
    x, y = (polygon - polygon[0]).T
    return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _cut(polygon: Array, signed: Array) -> Array:
    """The corners where `signed` >= 0 and the points where it changes its sign along the border."""
    following, signed_following = np.roll(polygon, -1, axis=0), np.roll(signed, -1)
    inside, crosses = signed >= 0, (signed >= 0) != (signed_following >= 0)
    fraction = np.divide(signed, signed - signed_following, out=np.zeros_like(signed), where=crosses)
    crossing = polygon + fraction[:, None] * (following - polygon)
    both = np.stack([polygon, crossing], axis=1).reshape(-1, 2)
    return np.asarray(both[np.stack([inside, crosses], axis=1).ravel()])


def _convex_hull(points_xy: Array) -> Array:
    """Corners (K, 2) of the hull, counter-clockwise; the two ends when the points lie on a line."""
    try:
        return np.asarray(points_xy[ConvexHull(points_xy).vertices])
    except (QhullError, ValueError):  # fewer than three points, or all on a line
        spread = points_xy - points_xy.mean(axis=0)
        direction = np.linalg.svd(spread.T @ spread)[0][:, 0]
        along = spread @ direction
        return points_xy[[int(np.argmin(along)), int(np.argmax(along))]]
