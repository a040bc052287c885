"""Outlines of rooms: from cells of a floor plan to simple polygons with sides on the walls."""

from __future__ import annotations

import itertools

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_fill_holes, binary_opening, label

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LINE_LENGTH = 0.3  # metres of outline on a line for the rest to be aligned with it
LINE_WINDOW = 0.15  # metres within which parallel pieces of outline count as one line
MIN_AGREEMENT = 0.9  # least intersection over union of a rectilinear outline with its cells ...
STRAIGHT_LOSS = 0.04  # ... and how much lower than that of the free outline it may be
SIMPLIFY = 0.15  # metres
SMOOTH = 0.4  # metres
SNAP_DISTANCE = 0.15  # greatest metres from a side to the wall surface it is moved to
SNAP_COS = np.cos(np.deg2rad(20.0))
MIN_SNAP_AREA = 0.15  # least m^2 of wall for a side


def region_polygon(region: Mask, origin: Array, cell_size: float) -> Array:
    """Corners (N, 2), counter-clockwise, of the largest connected piece of a mask (X, Y), its holes filled.

    Rectilinear with sides along x and y where that fits (the world is aligned with the walls), else simplified.
    """
    pieces, _ = label(region)
    counts = np.bincount(pieces.ravel())
    counts[0] = 0
    mask = binary_fill_holes(pieces == int(np.argmax(counts)))
    if not mask.any():
        raise ValueError("region_polygon needs at least one cell")
    outline, straight = _contour(mask, cell_size), _rectilinear(mask, cell_size)
    if straight is not None and _agreement(straight, mask) >= max(
        MIN_AGREEMENT, _agreement(outline, mask) - STRAIGHT_LOSS
    ):
        outline = straight
    return np.asarray(origin + _ring(outline) * cell_size)


def snap_to_walls(polygon: Array, centers: Array, normals: Array, areas: Array) -> Array:
    """The polygon (N, 2) with each side moved onto the wall surface next to it.

    centers, normals (M, 3), areas (M,) are faces of walls. A side follows the area-weighted median of the faces that look
    into the room within 15 cm of it; corners are the intersections of neighbouring sides. Unchanged when the result is
    not a simple polygon.
    """
    low, high = polygon.min(axis=0) - SNAP_DISTANCE, polygon.max(axis=0) + SNAP_DISTANCE
    around = ((centers[:, :2] > low) & (centers[:, :2] < high)).all(axis=1)
    centers, normals, areas = centers[around], normals[around], areas[around]
    following = np.roll(polygon, -1, axis=0)
    lengths = np.linalg.norm(following - polygon, axis=1)
    along = (following - polygon) / np.maximum(lengths, 1e-12)[:, None]
    inward = np.stack([-along[:, 1], along[:, 0]], axis=1)
    offsets = np.einsum("ij,ij->i", inward, polygon)
    for i in range(len(polygon)):
        off = centers[:, :2] @ inward[i] - offsets[i]
        t = (centers[:, :2] - polygon[i]) @ along[i]
        near = (np.abs(off) < SNAP_DISTANCE) & (t > 0) & (t < lengths[i]) & (normals[:, :2] @ inward[i] > SNAP_COS)
        if areas[near].sum() >= MIN_SNAP_AREA:
            offsets[i] += _weighted_median(off[near], areas[near])
    moved = polygon.copy()
    for i in range(len(polygon)):
        lines = np.stack([inward[i - 1], inward[i]])
        if abs(np.linalg.det(lines)) > 0.2:
            moved[i] = np.linalg.solve(lines, [offsets[i - 1], offsets[i]])
    shape = shapely.Polygon(moved)
    before = shapely.Polygon(polygon)
    if not shape.is_valid or not 0.5 < shape.area / max(before.area, 1e-9) < 2:
        return polygon
    return moved


def _rectilinear(mask: Mask, cell_size: float) -> shapely.Polygon | None:
    """The rectilinear outline with lines along x and y; None where that does not describe the cells."""
    padded = np.pad(mask, 1)
    xs = _lines(np.abs(np.diff(padded.astype(np.int8), axis=0))[:, 1:-1].sum(axis=1), cell_size)
    ys = _lines(np.abs(np.diff(padded.astype(np.int8), axis=1))[1:-1].sum(axis=0), cell_size)
    rectangles = []
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(ys):
            block = mask[round(x0) : round(x1), round(y0) : round(y1)]
            if block.size and block.mean() > 0.5:
                rectangles.append(shapely.box(x0, y0, x1, y1))
    union = shapely.union_all(rectangles)
    if not isinstance(union, shapely.Polygon) or union.is_empty:
        return None
    return _simple(union, 1e-6)


def _agreement(outline: shapely.Polygon, mask: Mask) -> float:
    """Intersection over union of an outline with its cells."""
    cells = np.argwhere(mask) + 0.5
    covered = int(shapely.contains_xy(outline, cells[:, 0], cells[:, 1]).sum())
    return float(covered / (len(cells) + outline.area - covered))


def _lines(counts: NDArray[np.int64], cell_size: float) -> list[float]:
    """Positions (cells) with a long run of outline across an axis; `counts` is the number of cell sides at each position."""
    window = max(round(LINE_WINDOW / cell_size), 1)
    left = counts.astype(np.float64)
    lines: list[float] = []
    while True:
        running = np.convolve(left, np.ones(2 * (window // 2) + 1), mode="same")
        best = int(np.argmax(running))
        if running[best] * cell_size < LINE_LENGTH:
            return sorted(lines)
        low, high = max(best - window // 2, 0), best + window // 2 + 1
        lines.append(float(np.average(np.arange(low, min(high, len(left))), weights=left[low:high])))
        left[max(best - window, 0) : best + window + 1] = 0.0


def _contour(mask: Mask, cell_size: float) -> shapely.Polygon:
    """The outline of the cells without bays and spurs narrower than `SMOOTH`, simplified."""
    steps = max(round(SMOOTH / 2 / cell_size), 1)
    padded = np.pad(mask, steps + 1)
    smooth = binary_opening(binary_closing(padded, iterations=steps), iterations=steps)
    chosen = (smooth if smooth.any() else padded)[steps + 1 : -steps - 1, steps + 1 : -steps - 1]
    runs = []
    for i, row in enumerate(np.pad(chosen, ((0, 0), (1, 1)))):
        changes = np.flatnonzero(np.diff(row.astype(np.int8)))
        runs += [shapely.box(i, a, i + 1, b) for a, b in changes.reshape(-1, 2)]
    union = shapely.union_all(runs)
    if isinstance(union, shapely.MultiPolygon):  # pieces that touch at a corner
        union = max(union.geoms, key=lambda piece: piece.area)
    assert isinstance(union, shapely.Polygon)
    return _simple(union, SIMPLIFY / cell_size)


def _simple(polygon: shapely.Polygon, tolerance: float) -> shapely.Polygon:
    """The outer ring without corners closer to the rest than `tolerance`; unchanged where nothing would remain."""
    outer = shapely.Polygon(polygon.exterior)
    simple = outer.simplify(tolerance)
    return simple if isinstance(simple, shapely.Polygon) and simple.area > 0 else outer


def _ring(polygon: shapely.Polygon) -> Array:
    """Corners (N, 2) counter-clockwise, starting from the one with the smallest (x, y)."""
    ring = np.asarray(shapely.geometry.polygon.orient(polygon).exterior.coords)[:-1]
    return np.roll(ring, -int(np.lexsort((ring[:, 1], ring[:, 0]))[0]), axis=0)


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values, kind="stable")
    running = np.cumsum(weights[order])
    return float(values[order][int(np.searchsorted(running, running[-1] / 2))])
