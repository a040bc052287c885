"""Free space on a regular grid, and the distance from its cells to the nearest surface.

The whole sequence is known, so the distance field is the exact Euclidean transform rather than a wavefront that is
extended frame by frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from mapping.mesh.mesh import Mesh

if TYPE_CHECKING:  # importing the volume loads compiled kernels
    from mapping.tsdf.volume import TSDFVolume

Array = NDArray[np.float64]

UNKNOWN, FREE, OCCUPIED = np.uint8(0), np.uint8(1), np.uint8(2)

MAX_CELLS = 60_000_000
"""Cells of a grid, which takes 9 bytes per cell (540 MB at most). A larger map gets larger cells."""
TILE_CELLS = 8_000_000
"""Cells transformed at once; the transform temporarily needs about 30 bytes per cell."""
TILE_REACH = 6.0
"""Metres: distances are exact up to here when a grid is transformed in tiles, and cut off beyond."""


@dataclass(frozen=True, eq=False)
class FreeSpace:
    """The state of space in cubes of `cell_size` metres.

    state (X, Y, Z) uint8: UNKNOWN, FREE (seen through) or OCCUPIED (contains a surface); cell (i, j, k) spans
    `origin + cell_size * [i, i + 1] ...` in the world. surface_points (S, 3) are the mean surface points of the occupied
    cells, in the order of `np.flatnonzero(state == OCCUPIED)`; distances to them are more precise than a cell.
    """

    origin: Array
    cell_size: float
    state: NDArray[np.uint8]
    surface_points: Array

    def __post_init__(self) -> None:
        if self.state.ndim != 3 or self.state.dtype != np.uint8:
            raise ValueError(f"FreeSpace.state must be uint8 (X, Y, Z), got {self.state.dtype} {self.state.shape}")
        occupied = int((self.state == OCCUPIED).sum())
        if self.surface_points.shape != (occupied, 3):
            raise ValueError(f"FreeSpace.surface_points must be ({occupied}, 3), got {self.surface_points.shape}")

    @property
    def free(self) -> NDArray[np.bool_]:
        """(X, Y, Z) cells that were seen to be free."""
        return self.state == FREE

    @property
    def occupied(self) -> NDArray[np.bool_]:
        """(X, Y, Z) cells that hold a surface."""
        return self.state == OCCUPIED

    def centers(self, cells: ArrayLike) -> Array:
        """World positions (..., 3) of the centres of cells (..., 3)."""
        return np.asarray(self.origin + (np.asarray(cells, dtype=np.float64) + 0.5) * self.cell_size)

    def cell_of(self, points: ArrayLike) -> NDArray[np.int64]:
        """Cells (..., 3) that hold points (..., 3); the nearest border cell for a point outside."""
        cells = np.floor((np.asarray(points, dtype=np.float64) - self.origin) / self.cell_size).astype(np.int64)
        return np.asarray(np.clip(cells, 0, np.array(self.state.shape) - 1))

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which points (..., 3) lie in the grid."""
        local = (np.asarray(points, dtype=np.float64) - self.origin) / self.cell_size
        return np.asarray(((local >= 0) & (local < self.state.shape)).all(axis=-1))

    def is_free(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which points (..., 3) lie in a free cell."""
        i, j, k = np.moveaxis(self.cell_of(points), -1, 0)
        return np.asarray((self.state[i, j, k] == FREE) & self.contains(points))

    @cached_property
    def nearest(self) -> NDArray[np.int32]:
        """(X, Y, Z) row in `surface_points` of the nearest surface of each cell (Voronoi parent); -1 without any surface."""
        return self._field[0]

    @cached_property
    def distance(self) -> NDArray[np.float32]:
        """(X, Y, Z) metres from each cell's centre to the nearest surface; infinite where there is none."""
        return self._field[1]

    @cached_property
    def _field(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Nearest surface and distance.

        The transform is exact between the centres of cells. Surface points lie elsewhere in their cells, so each cell then takes
        the surface of a neighbouring cell where that is nearer than its own.
        """
        if not len(self.surface_points):
            return np.full(self.state.shape, -1, np.int32), np.full(self.state.shape, np.inf, np.float32)
        coarse = _nearest_rows(self.occupied, int(np.ceil(TILE_REACH / self.cell_size)))
        nearest, distance = coarse.copy(), np.full(self.state.shape, np.inf, np.float32)
        padded = np.pad(coarse, 1, constant_values=-1)
        steps = [step for step in np.ndindex(3, 3, 3) if sum(np.abs(np.array(step) - 1)) <= 1]
        points = np.vstack([self.surface_points, np.full(3, np.inf)])  # row -1: none
        columns = np.stack(np.meshgrid(*(np.arange(n) for n in self.state.shape[1:]), indexing="ij"), axis=-1)
        for i in range(self.state.shape[0]):  # by slices, so that no (X, Y, Z, 3) array is made
            centers = self.centers(np.concatenate([np.full((*columns.shape[:2], 1), i), columns], axis=-1))
            for di, dj, dk in steps:
                rows = padded[i + di, dj : dj + columns.shape[0], dk : dk + columns.shape[1]]
                to_surface = np.linalg.norm(points[rows] - centers, axis=-1)
                nearer = to_surface < distance[i]
                nearest[i][nearer], distance[i][nearer] = rows[nearer], to_surface[nearer]
        return nearest, distance

    @cached_property
    def _surface_tree(self) -> cKDTree:
        return cKDTree(self.surface_points)

    def clearance(self, points: ArrayLike) -> Array:
        """Metres (...) from points (..., 3) to the nearest surface, exact; infinite when the map has no surface."""
        points = np.asarray(points, dtype=np.float64)
        if not len(self.surface_points):
            return np.full(points.shape[:-1], np.inf)
        return np.asarray(self._surface_tree.query(points)[0])

    def clearance_along(self, starts: ArrayLike, ends: ArrayLike) -> Array:
        """Metres (N,): the least clearance on the straight lines from starts to ends (N, 3), sampled every half cell."""
        starts, ends = np.asarray(starts, dtype=np.float64), np.asarray(ends, dtype=np.float64)
        if not len(starts):
            return np.zeros(0)
        longest = float(np.linalg.norm(ends - starts, axis=1).max())
        fractions = np.linspace(0, 1, max(2, int(np.ceil(longest / (self.cell_size / 2))) + 1))
        least = np.full(len(starts), np.inf)
        for fraction in fractions:
            least = np.minimum(least, self.clearance(starts + fraction * (ends - starts)))
        return least


def build_free_space(
    surface_points: ArrayLike,
    observed_free: Callable[[Array], NDArray[np.bool_]],
    *,
    cell_size: float = 0.1,
    include: ArrayLike | None = None,
) -> FreeSpace:
    """The grid around all surface points (N, 3), which should lie closer together than a cell (see `dense_surface_points`).

    A cell with a surface point is occupied; of the others those are free whose centre `observed_free` (points (M, 3) to (M,)
    bool) returns as seen through. `include` (K, 3) are further points that the grid must cover, such as camera positions. Grids
    of more than `MAX_CELLS` cells get larger cells.

    Raises ValueError without any point.
    """
    surface = np.asarray(surface_points, dtype=np.float64).reshape(-1, 3)
    covered = (
        surface if include is None else np.concatenate([surface, np.asarray(include, dtype=np.float64).reshape(-1, 3)])
    )
    if not len(covered):
        raise ValueError("free space needs at least one surface point or camera position")
    low, high = covered.min(axis=0), covered.max(axis=0)
    # Cells are aligned to multiples of their size, so that additional points at the border do not shift the grid.
    while np.prod(np.floor(high / cell_size) - np.floor(low / cell_size) + 3) > MAX_CELLS:
        cell_size *= 1.25
    first = np.floor(low / cell_size).astype(np.int64) - 1
    shape = np.floor(high / cell_size).astype(np.int64) + 2 - first
    origin = first * cell_size
    state = np.zeros(tuple(shape), np.uint8)
    centers_yz = np.stack(np.meshgrid(*((np.arange(n) + 0.5) * cell_size for n in shape[1:]), indexing="ij"), axis=-1)
    for i in range(shape[0]):
        x = np.full((*centers_yz.shape[:2], 1), (i + 0.5) * cell_size)
        points = origin + np.concatenate([x, centers_yz], axis=-1)
        state[i] = observed_free(points.reshape(-1, 3)).reshape(centers_yz.shape[:2])
    cells = np.floor(surface / cell_size).astype(np.int64) - first
    flat, rows = np.unique(np.ravel_multi_index(tuple(cells.T), tuple(shape)), return_inverse=True)
    counts = np.bincount(rows.ravel(), minlength=len(flat))
    sums = [np.bincount(rows.ravel(), surface[:, axis], minlength=len(flat)) for axis in range(3)]
    state.reshape(-1)[flat] = OCCUPIED
    means = np.stack(sums, axis=1) / counts[:, None] if len(flat) else np.zeros((0, 3))
    return FreeSpace(origin, cell_size, state, means)


def free_space_from_volume(
    volume: TSDFVolume, mesh: Mesh, *, cell_size: float = 0.1, include: ArrayLike | None = None
) -> FreeSpace:
    """The free space of a map: surface from its mesh, free cells from the volume.

    The mesh may have been cleaned; it must be in the frame of the volume. `include` as for `build_free_space`. Cells are at least
    two voxels wide.
    """
    blocks, voxel_size = volume.blocks(), volume.config.voxel_size
    cell_size = max(cell_size, 2 * voxel_size)
    is_free = free_lookup(blocks.coords, blocks.distance, blocks.weight, voxel_size)
    return build_free_space(dense_surface_points(mesh, 0.75 * cell_size), is_free, cell_size=cell_size, include=include)


def free_lookup(
    coords: NDArray[np.integer], distance: NDArray[np.floating], weight: NDArray[np.floating], voxel_size: float
) -> Callable[[Array], NDArray[np.bool_]]:
    """Whether points (N, 3) lie in a voxel that was seen and is at least half a voxel in front of any surface.

    coords (B, 3), distance and weight (B, 8, 8, 8) are blocks of a TSDF volume; voxel (i, j, k) of a block spans
    `(8 * coords + [i, i + 1] ...) * voxel_size`.
    """
    side = distance.shape[1] if distance.ndim == 4 else 8
    free = (weight > 0) & (distance > voxel_size / 2)
    low = coords.min(axis=0).astype(np.int64) if len(coords) else np.zeros(3, np.int64)
    shape = tuple(coords.max(axis=0).astype(np.int64) - low + 1) if len(coords) else (1, 1, 1)
    keys = np.ravel_multi_index(tuple((coords.astype(np.int64) - low).T), shape)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]

    def is_free(points: Array) -> NDArray[np.bool_]:
        voxels = np.floor(points / voxel_size).astype(np.int64)
        blocks = voxels // side - low
        inside: NDArray[np.bool_] = np.all((blocks >= 0) & (blocks < shape), axis=1)
        wanted = np.ravel_multi_index(tuple(np.where(inside[:, None], blocks, 0).T), shape)
        at = np.minimum(np.searchsorted(ordered, wanted), max(len(ordered) - 1, 0))
        known = inside & (ordered[at] == wanted) if len(ordered) else np.zeros(len(points), dtype=bool)
        result = np.zeros(len(points), dtype=bool)
        result[known] = free[(order[at[known]], *(voxels[known] % side).T)]
        return result

    return is_free


def dense_surface_points(mesh: Mesh, spacing: float) -> Array:
    """(N, 3) points of the surface no farther apart than about `spacing`: vertices, and more on triangles that are larger."""
    corners = mesh.vertices[mesh.faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1, initial=0.0)
    parts = [mesh.vertices]
    steps = np.ceil(longest / spacing).astype(np.int64)
    for step in np.unique(steps[steps > 1]):
        i, j = np.divmod(np.arange((step + 1) ** 2), step + 1)
        a, b = (i[i + j <= step] / step)[:, None], (j[i + j <= step] / step)[:, None]
        large = corners[steps == step][:, None]
        parts.append((large[:, :, 0] * (1 - a - b) + large[:, :, 1] * a + large[:, :, 2] * b).reshape(-1, 3))
    return np.concatenate(parts)


def _nearest_rows(occupied: NDArray[np.bool_], reach: int) -> NDArray[np.int32]:
    """Row (X, Y, Z), in the order of the occupied cells, of the occupied cell nearest to each cell.

    Large grids are transformed in slabs along x that overlap by `reach` cells; cells farther from everything get -1 there.
    """
    rows = np.full(occupied.shape, -1, np.int32)
    number = np.cumsum(occupied.ravel(), dtype=np.int64).astype(np.int32).reshape(occupied.shape) - 1
    per_slice = int(np.prod(occupied.shape[1:]))
    thickness = occupied.shape[0] if occupied.size <= TILE_CELLS else max(TILE_CELLS // per_slice - 2 * reach, reach)
    for start in range(0, occupied.shape[0], thickness):
        stop = min(start + thickness, occupied.shape[0])
        low, high = max(start - reach, 0), min(stop + reach, occupied.shape[0])
        slab = occupied[low:high]
        if not slab.any():
            continue
        parents = distance_transform_edt(~slab, return_distances=False, return_indices=True)
        i, j, k = (axis[start - low : stop - low] for axis in parents)
        rows[start:stop] = number[low:high][i, j, k]
    return rows
