"""A storey seen from above: walls, lintels over doorways, and free space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_closing, binary_dilation, distance_transform_edt

from mapping.distance_field import FreeSpace
from scenegraph.faces import Faces
from scenegraph.graph_config import RoomConfig
from scenegraph.labels import LabelSpace

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NOT_WALLS = frozenset(
    {"floor", "ceiling", "floor_mat", "rug", "carpet", "door", "otherstructure", "stairs", "railing", "column", "beam"}
)
"""Structure classes that do not bound a room sideways; door leaves may stand open."""
FLAT_ON_WALLS = frozenset({"picture", "mirror", "whiteboard", "poster", "painting"})
"""Object classes that hide the wall they hang on."""
BIN = 0.1  # metres of height


@dataclass(frozen=True, eq=False)
class WallMap:
    """Masks (X, Y) over cells of `cell_size` metres; cell (i, j) spans `origin + cell_size * [i, i + 1] ...`.

    wall: vertical structure from the floor up; lintel: structure above head height over free space; open: free space at any
    height between floor and ceiling, walls and lintels excluded; observed: free space or any surface; door: surface labelled
    as door.
    """

    origin: Array
    cell_size: float
    wall: Mask
    lintel: Mask
    open: Mask
    observed: Mask
    door: Mask

    def cell_of(self, points_xy: ArrayLike) -> NDArray[np.int64]:
        """Cells (..., 2) of points (..., 2 or more); the nearest border cell for a point outside."""
        xy = np.asarray(points_xy, dtype=np.float64)[..., :2]
        cells = np.floor((xy - self.origin) / self.cell_size).astype(np.int64)
        return np.asarray(np.clip(cells, 0, np.array(self.wall.shape) - 1))

    def centers(self, cells: ArrayLike) -> Array:
        """Positions (..., 2) of the centres of cells (..., 2)."""
        return np.asarray(self.origin + (np.asarray(cells, dtype=np.float64) + 0.5) * self.cell_size)

    @property
    def barrier(self) -> Mask:
        """Walls and lintels."""
        return self.wall | self.lintel


@dataclass(frozen=True, eq=False)
class WallSurface:
    """Upright surface: points (N, 3) on what bounds rooms sideways, points (K, 3) on doors, and centers (M, 3), normals (M,
    3) and areas (M,) of the faces of walls proper."""

    closing_points: Array
    door_points: Array
    centers: Array
    normals: Array
    areas: Array

    @staticmethod
    def of(faces: Faces, label_space: LabelSpace) -> WallSurface:
        """The upright surface of a labelled, levelled mesh. Pictures and similar objects bound rooms like the wall they hide."""
        walls = [c.id for c in label_space.classes if c.kind == "structure" and c.name not in NOT_WALLS]
        flat = [c.id for c in label_space.classes if c.name in FLAT_ON_WALLS]
        wall = faces.upright & faces.bearing(walls)
        closing, door = faces.upright & faces.bearing(walls + flat), faces.upright & faces.named(label_space, {"door"})
        closing_points, door_points = (
            np.concatenate([faces.centers[mask], faces.mesh.vertices[np.unique(faces.mesh.faces[mask])]])
            for mask in (closing, door)
        )
        return WallSurface(closing_points, door_points, faces.centers[wall], faces.normals[wall], faces.areas[wall])

    def faces_between(self, z_range: tuple[float, float]) -> tuple[Array, Array, Array]:
        """Centers, normals and areas of the wall faces between two heights."""
        within = (self.centers[:, 2] > z_range[0]) & (self.centers[:, 2] < z_range[1])
        return self.centers[within], self.normals[within], self.areas[within]


def build_wall_map(
    surface: WallSurface, free_space: FreeSpace, z_range: tuple[float, float], config: RoomConfig
) -> WallMap:
    """The wall map of the storey between two heights, from upright surface and the free space around it.

    Between railings and lintels a cell is wall when `wall_share` of the heights hold structure. Above them structure is a
    wall too (it continues behind tall furniture) unless the space below is free: then it is a lintel, the strongest
    evidence of a doorway.
    """
    floor, ceiling = z_range
    cell = config.plan_cell
    shape_3d = np.array(free_space.state.shape[:2]) * free_space.cell_size
    shape = (int(np.ceil(shape_3d[0] / cell)), int(np.ceil(shape_3d[1] / cell)))
    origin = free_space.origin[:2]
    walls, doors = surface.closing_points, surface.door_points
    top = max(floor + config.lintel_height, ceiling - 0.75)
    low, high = floor + 0.4, min(floor + 1.8, ceiling - 0.4)
    # Railings and low partitions end below; the lower part of a wall is often hidden by furniture.
    middle = _covered_share(walls, (floor + config.railing_height, high), origin, cell, shape) >= config.wall_share
    above = _covered_share(walls, (top, ceiling - 0.1), origin, cell, shape) >= config.wall_share
    free_low, free_high = (
        _state_share(free_space, free_space.free, band, cell, shape) for band in ((low, high), (top, ceiling - 0.1))
    )
    reach = max(round(config.wall_thickness / 2 / cell), 1)
    door = _covered_share(doors, (low, high), origin, cell, shape) >= config.wall_share
    doorway = ((free_low >= 0.5) | binary_dilation(door, iterations=reach)) & ~middle
    inside_lintel = (free_high == 0) & binary_closing(np.pad(above, reach), iterations=reach)[
        reach:-reach, reach:-reach
    ]
    lintel = doorway & (above | inside_lintel)
    wall = middle | (above & ~doorway)
    room_height = (floor + 0.1, ceiling - 0.05)
    any_free = _state_share(free_space, free_space.free, room_height, cell, shape) > 0
    observed = any_free | (_state_share(free_space, free_space.occupied, room_height, cell, shape) > 0)
    return WallMap(origin, cell, wall, lintel, any_free & ~wall & ~lintel, observed, door)


def _covered_share(
    points: Array, band: tuple[float, float], origin: Array, cell: float, shape: tuple[int, int]
) -> Array:
    """(X, Y) share of the height bins of a band that hold a point; 0 everywhere for a band without height."""
    low, high = band
    bins = int(np.floor((high - low) / BIN + 1e-6))
    if bins < 1:
        return np.zeros(shape)
    chosen = points[(points[:, 2] >= low) & (points[:, 2] < low + bins * BIN)]
    xy = np.floor((chosen[:, :2] - origin) / cell).astype(np.int64)
    inside = ((xy >= 0) & (xy < shape)).all(axis=1)
    heights = np.minimum(((chosen[inside, 2] - low) / BIN).astype(np.int64), bins - 1)
    covered = np.zeros((*shape, bins), dtype=bool)
    covered[xy[inside, 0], xy[inside, 1], heights] = True
    return np.asarray(covered.mean(axis=2))


def _state_share(
    free_space: FreeSpace, mask: Mask, band: tuple[float, float], cell: float, shape: tuple[int, int]
) -> Array:
    """(X, Y) share of a band of heights that lies in a mask of free-space cells; 0 for a band without height."""
    k = (np.array(band) - free_space.origin[2]) / free_space.cell_size
    low, high = np.clip(np.round(k).astype(np.int64), 0, free_space.state.shape[2])
    if high <= low:
        return np.zeros(shape)
    share = mask[:, :, low:high].mean(axis=2)
    i, j = (
        np.minimum(((np.arange(n) + 0.5) * cell / free_space.cell_size).astype(np.int64), m - 1)
        for n, m in zip(shape, share.shape, strict=True)
    )
    return np.asarray(share[np.ix_(i, j)])


def nearest_label(labels: NDArray[np.int64], allowed: Mask, reach: float) -> NDArray[np.int64]:
    """Labels (X, Y) >= 0 extended into `allowed` cells by up to `reach` cells, each from the nearest labelled cell.

    One dilation at a time, so that labels go around forbidden cells instead of jumping across.
    """
    result = labels.copy()
    for _ in range(round(reach)):
        empty = (result < 0) & allowed
        border = empty & binary_dilation(result >= 0)
        if not border.any():
            break
        _, (i, j) = distance_transform_edt(result < 0, return_indices=True)
        result[border] = result[i[border], j[border]]
    return result
