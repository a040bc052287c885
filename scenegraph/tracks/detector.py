"""Moving things in one view: pixels to keep out of the static map, and detections for the tracker."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, grey_dilation, grey_erosion
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mapping.depth.depth_weights import normals_from_depth
from mapping.se3 import transform_points, yaw_rotation
from scenegraph.labels import LabelSpace
from scenegraph.tracks.appearance import NO_LOOK, appearance_features
from scenegraph.tracks.detection import Detection, LabelledView
from scenegraph.tracks.one_distance import at_one_distance
from scenegraph.tracks.track_config import DetectionConfig

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

REPAIR_ANGLE = 0.04  # radians: flying pixels closer than this to a part belong to it
OUTLINE_ANGLE = 0.025  # radians beyond a part's outline in which occluders are searched
FLOOR_COLUMNS = 160  # about this many columns of the image, evenly spaced, are sampled to find the floor
MIN_FLOOR_PIXELS = 10
USUAL_HEIGHT = 1.7  # metres
LEVEL_COS = 0.94  # cosine to the vertical of the normal of a floor
SAME_LEVEL = 0.1  # metres
WIDER, LOWEST = (
    2.0,
    0.05,
)  # where the floor is not labelled: how much farther it is searched, and share of lower outliers
LABEL_BITS, NAMELESS = 16, 1 << 40  # of the numbers of groups of pixels
NAMED_SHARE = 0.3  # of what moves that has a dynamic class, where its pixels without one are no thing of their own
SLIVER_SHARE = 0.5  # of the area in the fullest cell of the floor plan, for things that show little
TAIL = 0.01  # share of a thing's pixels that may lie outside its bounds at either end


def widened(moving: Mask, *, dilate_px: int, depth: NDArray[np.float32] | None = None) -> Mask:
    """Pixels (H, W) that must not enter the static map for those (H, W) that move: these, widened by `dilate_px`.

    Where depth is given, flying pixels that touch the widened border (depth that jumps on its way from the silhouette to what is
    behind) are masked as well, up to `dilate_px` farther out, so that silhouettes leave no trace.
    """
    if not moving.any():
        return moving
    near = _dilated(moving, dilate_px)
    if depth is None or dilate_px == 0:
        return near
    return near | (_dilated(near, dilate_px) & _jumps(depth, depth > 0))


def detect(view: LabelledView, label_space: LabelSpace, config: DetectionConfig | None = None) -> list[Detection]:
    """Things of dynamic classes and things that were seen to move in one view, ordered by class and place.

    Pixels of a class are counted in the cells of the floor plan; cells that show too little of a column are dropped (flying
    pixels between two depths), and each connected component of the rest is a thing. So two people who overlap in the image at
    different depths are two, and one person behind a pole or a table is one. Instances, where given, are kept separate.
    What moves without a label of a dynamic class has label 0.
    """
    return [found for found, _ in detect_parts(view, label_space, config)]


def detect_parts(
    view: LabelledView, label_space: LabelSpace, config: DetectionConfig | None = None, *, separate: bool = False
) -> list[tuple[Detection, Mask]]:
    """As `detect`, with the pixels (H, W) of each; `separate` says that what moves under one number may be several things."""
    config = config or DetectionConfig()
    groups = _groups(view, label_space)
    groups[(view.depth <= 0) | (view.depth > config.max_depth)] = 0
    moving = groups > 0
    if moving.sum() < config.min_pixels:
        return []
    ground = _ground(view, label_space)
    if config.one_distance:
        view = at_one_distance(view, moving)
    window = _window(view, moving)
    whole, view = moving.shape, _cropped(view, window)
    groups, moving = groups[window], moving[window]
    ground = replace(ground, mask=ground.mask[window])
    solid = moving & ~_jumps(view.depth, moving)
    found = []
    for group in np.unique(groups[moving]).tolist():
        region = moving & (groups == group)
        label_id = group >> LABEL_BITS if group < NAMELESS else 0
        single = group % (1 << LABEL_BITS) != 0 and not (separate and group >= NAMELESS)
        parts = _parts(view, region & solid, config, single=single)
        repaired, parts = _with_flying_pixels(view, region, parts)
        for part in parts:
            pixels = np.zeros(whole, dtype=bool)
            pixels[window] = part
            found.append((_describe(repaired, part, label_id, ground, config), pixels))
    return sorted(found, key=lambda pair: (pair[0].label_id, *pair[0].low, *pair[0].high))


def _groups(view: LabelledView, label_space: LabelSpace) -> NDArray[np.int64]:
    """(H, W) which pixels may be one thing: by label and instance, else by what moves together; 0 for what does not move."""
    groups = np.zeros(view.depth.shape, dtype=np.int64)
    named = np.zeros(view.depth.shape, dtype=bool)
    if view.labels is not None:
        named = label_space.mask_of_kind("dynamic", view.labels)
        numbers = 0 if view.instances is None else view.instances[named].astype(np.int64)
        groups[named] = (view.labels[named].astype(np.int64) << LABEL_BITS) + numbers
    if view.moving is not None:
        for number in np.unique(view.moving[view.moving > 0]).tolist():
            own = view.moving == number
            if named[own].mean() < NAMED_SHARE:
                groups[own & ~named] = NAMELESS + number
    return groups


def _dilated(mask: Mask, radius_px: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def _jumps(depth: NDArray[np.float32], known: Mask) -> Mask:
    """Where known depth varies within 3 x 3 known pixels by more than a slanted surface would."""
    far = grey_dilation(np.where(known, depth, -np.inf), size=(3, 3))
    near = grey_erosion(np.where(known, depth, np.inf), size=(3, 3))
    return np.asarray(known & (far - near > np.maximum(0.15, 0.05 * depth)))


@dataclass(frozen=True, eq=False)
class _Ground:
    """The floor of a view: its pixels (H, W), some of its points (N, 3), and whether other level surfaces may be among them."""

    mask: Mask
    points: Array
    is_guess: bool

    def level(self, middle: Array, radius: float) -> float | None:
        """Height of the floor around a thing with that middle (3,), None where too little of it is in view."""
        radius = WIDER * radius if self.is_guess else radius
        around = self.points[np.linalg.norm(self.points[:, :2] - middle[:2], axis=1) < radius]
        heights = around[around[:, 2] < middle[2], 2]
        if len(heights) < MIN_FLOOR_PIXELS:
            return None
        if self.is_guess:
            heights = heights[heights < np.quantile(heights, LOWEST) + SAME_LEVEL]
        return float(np.median(heights))


def _ground(view: LabelledView, label_space: LabelSpace) -> _Ground:
    """Pixels labelled as floor; without any labels the level surfaces, of which the lowest around a thing is its floor."""
    mask: Mask = np.zeros(view.depth.shape, dtype=bool)
    if view.labels is None:
        normals = normals_from_depth(view.depth, view.intrinsics)
        mask = np.asarray((normals * view.T_world_camera[2, :3]).sum(axis=2) > LEVEL_COS)
    elif "floor" in label_space.names:
        mask = np.asarray((view.labels == label_space.id_of("floor")) & (view.depth > 0))
    stride = max(1, mask.shape[1] // FLOOR_COLUMNS)
    sparse = np.zeros(mask.shape, dtype=bool)
    sparse[::stride, ::stride] = mask[::stride, ::stride]
    return _Ground(mask, _points(view, sparse), view.labels is None)


def _with_flying_pixels(view: LabelledView, region: Mask, parts: list[Mask]) -> tuple[LabelledView, list[Mask]]:
    """Assign the region's pixels that belong to no part to the nearest part in the image, with the depth of the pixel there.

    The direction to a flying pixel is right and only its depth is wrong, so silhouettes keep their extent.
    """
    if not parts:
        return view, parts
    kept = np.logical_or.reduce(parts)
    away, nearest = distance_transform_edt(~kept, return_indices=True)
    moved = region & ~kept & (away <= max(2.0, REPAIR_ANGLE * view.intrinsics.fx))
    source = (nearest[0][moved], nearest[1][moved])
    depth = view.depth.copy()
    depth[moved] = view.depth[source]
    wider = []
    for part in parts:
        whole = part.copy()
        whole[moved] = part[source]
        wider.append(whole)
    return replace(view, depth=depth), wider


def _parts(view: LabelledView, region: Mask, config: DetectionConfig, *, single: bool) -> list[Mask]:
    """The region's pixels as things separated on the floor plan; `single` keeps them together and only drops flying pixels.

    What the image border cuts, and what has a number of its own, may show less than `min_area`.
    """
    rows, columns = np.nonzero(region)
    if len(rows) < config.min_pixels:
        return []
    xy = _points(view, region)[:, :2]
    depth = view.depth[rows, columns].astype(np.float64)
    area = depth**2 / (view.intrinsics.fx * view.intrinsics.fy)
    cells, cell_of = np.unique(np.floor(xy / config.cell_size).astype(np.int64), axis=0, return_inverse=True)
    cell_of = cell_of.reshape(-1)
    cell_area = np.bincount(cell_of, area)
    # A sliver of a body fills no column; then its fullest cells are kept.
    full = cell_area >= min(config.min_column * config.cell_size, SLIVER_SHARE * cell_area.max())
    cell_depth = np.bincount(cell_of, depth) / np.bincount(cell_of)
    thing = np.full(len(cells), -1)
    thing[full] = (
        0 if single else _connected(config.cell_size * cells[full].astype(np.float64), cell_depth[full], config)
    )
    at_border = (rows == 0) | (rows == region.shape[0] - 1) | (columns == 0) | (columns == region.shape[1] - 1)
    parts = []
    for number in range(thing.max() + 1):
        chosen = thing[cell_of] == number
        enough = single or at_border[chosen].any() or area[chosen].sum() >= config.min_area
        if enough and chosen.sum() >= config.min_pixels:
            part = np.zeros(region.shape, dtype=bool)
            part[rows[chosen], columns[chosen]] = True
            parts.append(part)
    return parts


def _connected(centers: Array, depth: Array, config: DetectionConfig) -> NDArray[np.int64]:
    """Components of cells (N, 2) under a distance that grows with their depth (N,)."""
    reach = np.maximum(config.join_distance, config.join_share * depth) + config.cell_size
    pairs = cKDTree(centers).query_pairs(float(reach.max()), output_type="ndarray")
    apart = np.linalg.norm(centers[pairs[:, 0]] - centers[pairs[:, 1]], axis=1)
    pairs = pairs[apart <= np.minimum(reach[pairs[:, 0]], reach[pairs[:, 1]]) + 1e-9]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(centers), len(centers)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _describe(view: LabelledView, part: Mask, label_id: int, ground: _Ground, config: DetectionConfig) -> Detection:
    """Bounds of the part along and across the line of sight, and the sides on which it is cut."""
    camera = np.asarray(view.T_world_camera[:3, 3])
    inside = _points(view, part)
    middle = np.median(inside, axis=0)
    towards = middle[:2] - camera[:2]
    bearing = float(np.arctan2(towards[1], towards[0]))
    axes = yaw_rotation(bearing)
    local = inside @ axes
    # Quantiles, not extremes: labels spill over silhouettes, and a few outlying pixels must not stretch the box. What an even
    # spread loses by that is added back; along the line of sight a surface is not spread evenly
    low = np.array([np.quantile(local[:, 0], 0.05), *np.quantile(local[:, 1:], TAIL, axis=0)])
    high = np.array([np.quantile(local[:, 0], 0.95), *np.quantile(local[:, 1:], 1 - TAIL, axis=0)])
    lost = (high - low) * TAIL / (1 - 2 * TAIL) * [0, 1, 1]
    low, high = low - lost, high + lost
    level = ground.level(middle, config.floor_radius)
    cut = _cut_sides(view, part, local, axes, _hiding(view, part, ground.mask, config))
    base = level if level is not None else _base(low, high, cut)
    return Detection(
        time=view.time,
        label_id=label_id,
        pixels=int(part.sum()),
        bearing=bearing,
        distance=float(np.linalg.norm(towards)),
        low=low,
        high=high,
        cut=cut,
        floor=level,
        look=NO_LOOK if view.rgb is None or base is None else appearance_features(view.rgb[part], inside[:, 2] - base),
    )


def _base(low: Array, high: Array, cut: frozenset[str]) -> float | None:
    """Height on which a thing stands, to separate its upper from its lower part, when its floor is out of view: its
    feet, or about a person's height below its top; None when both are out of view."""
    if "below" not in cut:
        return float(low[2])
    return float(high[2]) - USUAL_HEIGHT if "above" not in cut else None


def _window(view: LabelledView, mask: Mask) -> tuple[slice, slice]:
    """Rows and columns that hold the mask, with the margin that is examined beyond outlines."""
    margin = _outline_px(view) + 1
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    return (
        slice(max(int(spans[0][0]) - margin, 0), int(spans[0][-1]) + margin + 1),
        slice(max(int(spans[1][0]) - margin, 0), int(spans[1][-1]) + margin + 1),
    )


def _cropped(view: LabelledView, window: tuple[slice, slice]) -> LabelledView:
    depth = view.depth[window]
    return LabelledView(
        view.time,
        depth,
        None if view.labels is None else view.labels[window],
        view.intrinsics.cropped(window[1].start, window[0].start, depth.shape[1], depth.shape[0]),
        view.T_world_camera,
        None if view.instances is None else view.instances[window],
        None if view.rgb is None else view.rgb[window],
        None if view.moving is None else view.moving[window],
    )


def _outline_px(view: LabelledView) -> int:
    return max(1, round(OUTLINE_ANGLE * view.intrinsics.fx))


def _points(view: LabelledView, mask: Mask) -> Array:
    """(N, 3) world points of the mask's pixels, row by row."""
    rows, columns = np.nonzero(mask)
    K = view.intrinsics
    rays = np.stack([(columns - K.cx) / K.fx, (rows - K.cy) / K.fy, np.ones(len(rows))], axis=1)
    return transform_points(view.T_world_camera, rays * view.depth[mask].astype(np.float64)[:, None])


def _hiding(view: LabelledView, part: Mask, floor: Mask, config: DetectionConfig) -> Mask:
    """Pixels of occluders between the camera and the part; the floor in front of its feet is none."""
    middle = float(np.median(view.depth[part]))
    nearer = (view.depth > 0) & (view.depth < middle - max(config.occlusion_gap, 0.05 * middle))
    return np.asarray(nearer & ~floor & ~part)


def _cut_sides(view: LabelledView, part: Mask, local: Array, axes: Array, hiding: Mask) -> frozenset[str]:
    """Sides on which the part's outline near its end runs along the image border or along an occluder.

    local (N, 3) are the part's pixels along the detection's axes (3, 3), in the order of `part`.
    """
    low, high = np.quantile(local, TAIL, axis=0), np.quantile(local, 1 - TAIL, axis=0)
    axis_of = {"right": (1, low), "left": (1, high), "below": (2, low), "above": (2, high)}
    reach = np.maximum(0.05, 0.15 * (high - low))
    # Labels end a little short of the border and depth is smeared, so a few pixels beyond the outline are examined.
    steps = sorted({1, _outline_px(view)})
    cut = set()
    for direction in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        side = _side_of(direction, view.T_world_camera[:3, :3].T @ axes)
        axis, end = axis_of[side]
        outline = ~_neighbour(part, direction, outside=False)[part]
        near = outline & (np.abs(local[:, axis] - end[axis]) < reach[axis])
        hidden = [_neighbour(hiding, (step * direction[0], step * direction[1]), outside=True)[part] for step in steps]
        if near.any() and np.logical_or.reduce(hidden)[near].mean() > 0.3:
            cut.add(side)
    return frozenset(cut)


def _side_of(step: tuple[int, int], R_camera_detection: Array) -> str:
    """The side of a detection to which a step (du, dv) in the image leads, also in a rotated image."""
    _, left, up = np.array([*step, 0.0]) @ R_camera_detection
    if abs(left) > abs(up):
        return "left" if left > 0 else "right"
    return "above" if up > 0 else "below"


def _neighbour(mask: Mask, step: tuple[int, int], *, outside: bool) -> Mask:
    """The mask's value at (u + du, v + dv) of each pixel (u, v); `outside` beyond the image border."""
    du, dv = step
    margin = max(abs(du), abs(dv))
    height, width = mask.shape
    padded = np.pad(mask, margin, constant_values=outside)
    return padded[margin + dv : margin + dv + height, margin + du : margin + du + width]
