"""Paths on the ground for something of a height and a radius, on a grid of what stands in the way.

The grid has for every cell of the floor plan of each storey which bands of height above the floor contain surface, and which were
observed to be free: so the same file answers for a cleaning robot under a table and for a person who has to go around it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from scenegraph.references import QueryError, Spot

if TYPE_CHECKING:
    from mapping.distance_field import FreeSpace
    from mapping.mesh.mesh import Mesh

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CELL, BAND, BANDS = 0.05, 0.1, 23
"""Metres: edge of a cell, height of a band; number of bands, the lowest of which begins at the floor."""
SMALLEST_RADIUS = CELL
LEAST_FREE = 0.5
"""Share of the bands up to a height that must have been observed to be free for a cell to be passed."""
REACH = 1.5
"""Metres from an end to the ground within which something is reached."""
FULL = (1 << BANDS) - 1
STEPS = [(i, j, (i * i + j * j) ** 0.5) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]


class GroundError(ValueError):
    """A file with a ground grid that cannot be used; the message names it and the field."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What stands on the floors of a building.

    floors (S,) heights of the storeys' floors; occupied, free (S, X, Y) uint32: bit k of a cell is the band of height from
    `k * BAND` to `(k + 1) * BAND` above the floor. Cell (i, j) spans `origin + CELL * [i, i + 1]` and `[j, j + 1]`.
    """

    floors: Array
    origin: Array
    occupied: NDArray[np.uint32]
    free: NDArray[np.uint32]

    def storey_of(self, z: float) -> int:
        """Index of the storey whose floor is the highest one under a height."""
        return int(np.clip(np.searchsorted(self.floors, z + BAND, side="right") - 1, 0, len(self.floors) - 1))

    def center(self, cell: tuple[int, int], storey: int) -> Array:
        """World position (3,) of the centre of a cell, on the floor."""
        x, y = self.origin + (np.array(cell) + 0.5) * CELL
        return np.array([x, y, self.floors[storey]])

    def passable(self, storey: int, *, height: float, radius: float) -> Mask:
        """Cells (X, Y) on which the centre of something upright of that height and radius may be: no surface between 0.1 m and
        its height is nearer than its radius, and the space over the cell was observed."""
        occupied, known = self.cells(storey, height=height)
        return np.asarray(known & ~grown(occupied, max(radius, SMALLEST_RADIUS)))

    def cells(self, storey: int, *, height: float) -> tuple[Mask, Mask]:
        """Cells (X, Y) with surface between 0.1 m above the floor and a height, and cells whose space up to it was observed to
        be free for the most part."""
        bands = min(max(int(np.ceil(height / BAND - 1e-9)), 2), BANDS)
        wanted = np.uint32(((1 << bands) - 1) & ~1)
        occupied, free = self.occupied[storey] & wanted, self.free[storey] & wanted
        seen = sum((free >> np.uint32(k)) & np.uint32(1) for k in range(1, bands))
        return occupied != 0, np.asarray(seen >= LEAST_FREE * (bands - 1))

    def clearance(self, points: Array, storey: int, *, height: float) -> float:
        """Metres from the nearest of points (N, 3) to the nearest occupied cell below that height, at most `REACH`."""
        occupied, _ = self.cells(storey, height=height)
        reach, least = int(REACH / CELL), REACH
        for x, y in (points[:, :2] - self.origin) / CELL:
            i, j = max(int(x) - reach, 0), max(int(y) - reach, 0)
            near = np.argwhere(occupied[i : int(x) + reach + 1, j : int(y) + reach + 1])
            if len(near):
                apart = np.maximum(np.abs(near + np.array([i + 0.5 - x, j + 0.5 - y])) - 0.5, 0)
                least = min(least, CELL * float(np.sqrt((apart**2).sum(axis=1).min())))
        return least


def build_ground(mesh: Mesh, free_space: FreeSpace, storeys: Sequence[tuple[float, float]]) -> Ground:
    """The grid of a levelled map: its surface, and the space that was observed to be free."""
    from mapping.distance_field import FREE, dense_surface_points

    points = dense_surface_points(mesh, CELL)
    low, high = free_space.origin, free_space.origin + free_space.cell_size * np.array(free_space.state.shape)
    origin = np.floor(low[:2] / CELL) * CELL
    shape = tuple(np.ceil((high[:2] - origin) / CELL).astype(int) + 1)
    cells = np.floor((points[:, :2] - origin) / CELL).astype(np.int64)
    inside = ((cells >= 0) & (cells < shape)).all(axis=1)
    flat = (cells[:, 0] * shape[1] + cells[:, 1])[inside]
    columns = [
        np.clip(
            ((origin[axis] + (np.arange(shape[axis]) + 0.5) * CELL - low[axis]) / free_space.cell_size).astype(int),
            0,
            n - 1,
        )
        for axis, n in enumerate(free_space.state.shape[:2])
    ]
    occupied, free = (np.zeros((len(storeys), *shape), np.uint32) for _ in range(2))
    for number, (floor, _) in enumerate(storeys):
        band = np.floor((points[inside, 2] - floor) / BAND).astype(np.int64)
        for k in range(BANDS):
            marked = np.zeros(shape[0] * shape[1], bool)
            marked[flat[band == k]] = True
            occupied[number] |= marked.reshape(shape).astype(np.uint32) << np.uint32(k)
            level = int((floor + (k + 0.5) * BAND - low[2]) / free_space.cell_size)
            if 0 <= level < free_space.state.shape[2]:
                seen = free_space.state[:, :, level][np.ix_(*columns)] == FREE
                free[number] |= seen.astype(np.uint32) << np.uint32(k)
    return Ground(np.array([floor for floor, _ in storeys], dtype=np.float64), origin, occupied, free)


@dataclass(frozen=True, eq=False)
class GroundEnd:
    """An end of a path on the ground: something, and the outline (N, 2) of the room that it is in, None outside of rooms."""

    spot: Spot
    outline: Array | None = None


def ground_path(
    ground: Ground, starts: Sequence[GroundEnd], goals: Sequence[GroundEnd], *, height: float, radius: float
) -> tuple[Array, int]:
    """The shortest path (N, 3) on the floor from one of some ends to one of others, and its storey.

    It begins and ends on the passable cells that are nearest to what is asked for, in the same room if there are any within
    `REACH`. Raises QueryError when nothing can stand near an end, when the ends are on different storeys, and when no path
    connects them.
    """
    for storey in range(len(ground.floors)):
        here = [[e for e in ends if ground.storey_of(float(e.spot.position[2])) == storey] for ends in (starts, goals)]
        if all(here):
            break
    else:
        raise QueryError("the two are on different storeys; paths on the ground stay on one")
    passable = ground.passable(storey, height=height, radius=radius)
    what = f"something {height:g} m high and {2 * radius:g} m wide"
    ends = [_near(ground, passable, group) for group in here]
    for name, cells in zip(("start", "goal"), ends, strict=True):
        if not cells:
            raise QueryError(f"no floor within {REACH:g} m of the {name} on which {what} can stand was observed")
    found = _search(passable, *ends)
    if found is None:
        raise QueryError(f"no path on the ground for {what} connects the two, as far as the map shows")
    corners = _straightened(passable, found)
    return np.array([ground.center(cell, storey) for cell in corners]), storey


def grown(mask: Mask, radius: float) -> Mask:
    """The mask (X, Y) with all cells whose centre is nearer than `radius` metres to a cell of it."""
    # A cell is 0.5 around its centre: by the square, which is more than by the circle.
    reach = int(radius / CELL + 0.5)
    result = mask.copy()
    padded = np.pad(mask, reach).astype(np.int32)
    sums = np.pad(np.cumsum(padded, axis=1), ((0, 0), (1, 0)))
    width = mask.shape[1]
    for i in range(-reach, reach + 1):
        across = max(abs(i) - 0.5, 0)
        half = int((max((radius / CELL) ** 2 - across**2, 0)) ** 0.5 + 0.5)
        rows = slice(reach + i, reach + i + mask.shape[0])
        total = (
            sums[rows, reach + half + 1 : reach + half + 1 + width] - sums[rows, reach - half : reach - half + width]
        )
        result |= total > 0
    return result


def _near(ground: Ground, passable: Mask, ends: Sequence[GroundEnd]) -> list[tuple[int, int]]:
    """For each end the nearest passable cell within reach, of those in its room if there are any."""
    cells = np.argwhere(passable)
    centers = ground.origin + (cells + 0.5) * CELL
    found = []
    for end in ends:
        apart = _apart(centers, end.spot)
        within = apart <= REACH
        if end.outline is not None:
            inside = within & shapely.contains_xy(shapely.Polygon(end.outline), centers)
            within = inside if inside.any() else within
        if within.any():
            i, j = cells[int(np.where(within, apart, np.inf).argmin())].tolist()
            found.append((i, j))
    return list(dict.fromkeys(found))


def _apart(points: Array, spot: Spot) -> Array:
    """Metres (N,) on the floor from points (N, 2) to something: to its box if it has one."""
    if spot.box is None:
        return np.asarray(np.linalg.norm(points - spot.position[:2], axis=1))
    local = (points - spot.box.center[:2]) @ spot.box.rotation[:2, :2]
    return np.asarray(np.linalg.norm(np.maximum(np.abs(local) - spot.box.size[:2] / 2, 0), axis=1))


def _search(
    passable: Mask, starts: list[tuple[int, int]], goals: list[tuple[int, int]]
) -> list[tuple[int, int]] | None:
    """The cells of a shortest path over neighbouring cells, by A*; None when none connects them."""
    width = passable.shape[1] + 2
    open_cells = np.pad(passable, 1).ravel().tobytes()
    flat_goals = {(i + 1) * width + j + 1 for i, j in goals}
    targets = np.array(goals) + 1
    far: dict[int, float] = {}

    def left(cell: int) -> float:
        """At least how far the nearest goal is."""
        if cell not in far:
            apart = np.abs(targets - divmod(cell, width))
            far[cell] = float((apart.max(axis=1) + (2**0.5 - 1) * apart.min(axis=1)).min())
        return far[cell]

    steps = [(i * width + j, i * width, j, length) for i, j, length in STEPS]
    length_to = {(i + 1) * width + j + 1: 0.0 for i, j in starts}
    before: dict[int, int] = {}
    queue = [(left(cell), cell) for cell in length_to]
    heapq.heapify(queue)
    done: set[int] = set()
    while queue:
        _, cell = heapq.heappop(queue)
        if cell in flat_goals:
            return _traced(cell, before, width)
        if cell in done:
            continue
        done.add(cell)
        here = length_to[cell]
        for step, down, right, length in steps:
            other = cell + step
            # Not across the corner of what is in the way.
            if not open_cells[other] or not (open_cells[cell + down] and open_cells[cell + right]):
                continue
            through = here + length
            if through < length_to.get(other, np.inf):
                length_to[other], before[other] = through, cell
                heapq.heappush(queue, (through + left(other), other))
    return None


def _traced(cell: int, before: dict[int, int], width: int) -> list[tuple[int, int]]:
    cells = [cell]
    while cells[-1] in before:
        cells.append(before[cells[-1]])
    return [(cell // width - 1, cell % width - 1) for cell in reversed(cells)]


def _straightened(passable: Mask, cells: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The corners of a path after straight lines over passable cells have replaced what they can."""
    corners, at = [cells[0]], 0
    while at < len(cells) - 1:
        step = 1
        while at + step < len(cells) - 1 and _is_open(passable, cells[at], cells[min(at + 2 * step, len(cells) - 1)]):
            step *= 2
        end = min(at + step, len(cells) - 1)
        last = min(at + 2 * step, len(cells) - 1)
        while end < last and _is_open(passable, cells[at], cells[end + 1]):
            end += 1
        corners.append(cells[end])
        at = end
    return corners


def _is_open(passable: Mask, a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether the straight line between the centres of two cells passes open cells alone."""
    count = 4 * max(abs(b[0] - a[0]), abs(b[1] - a[1])) + 1
    line = np.linspace(np.array(a) + 0.5, np.array(b) + 0.5, count)
    return bool(passable[tuple(np.floor(line).astype(np.int64).T)].all())
