"""Paths through a world: floors as grids with their clearance, shortest comfortable paths on them and over stairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.synth.base.occupancy import walkable_grid
from pipelines.synth.base.world import Opening, SynthRoom, World
from pipelines.synth.motion.routing import STEPS, travel

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

COMFORT = 0.8
"""Metres from the next obstacle beyond which clearance does not matter."""


@dataclass(frozen=True, eq=False)
class Floor:
    """One storey to walk on: the centre of cell (i, j) is origin + (i + 0.5, j + 0.5) * cell; z of the floor in metres.

    free (nx, ny); clearance (nx, ny) metres from the centre of a free cell to the nearest occupied one.
    """

    storey: int
    z: float
    origin: Array
    cell: float
    free: Mask
    clearance: Array

    def cells(self, points: Array) -> NDArray[np.int64]:
        """(..., 2) cell of points (..., 2), clipped to the grid."""
        cells = np.floor((points - self.origin) / self.cell).astype(np.int64)
        return np.clip(cells, 0, np.array(self.free.shape) - 1)

    def points(self, cells: NDArray[Any]) -> Array:
        """(..., 2) centres of cells (..., 2)."""
        return np.asarray(self.origin + (np.asarray(cells) + 0.5) * self.cell)

    def is_free(self, points: Array) -> Mask:
        """(...,) whether points (..., 2) lie in free cells."""
        cells = self.cells(points)
        inside = ((points >= self.origin) & (points < self.origin + np.array(self.free.shape) * self.cell)).all(axis=-1)
        return np.asarray(self.free[cells[..., 0], cells[..., 1]] & inside)

    def nearest_free(self, point: Array, within: Mask | None = None) -> NDArray[np.int64]:
        """The free cell (2,) next to a point (of those in the mask).

        Raises ValueError when there is none.
        """
        cells = np.argwhere(self.free if within is None else self.free & within)
        if len(cells) == 0:
            raise ValueError(f"storey {self.storey} has no floor to walk on")
        return np.asarray(cells[np.argmin(np.sum((self.points(cells) - point) ** 2, axis=1))])

    def inside(self, room: SynthRoom) -> Mask:
        """(nx, ny) cells with their centre in a room."""
        cells = np.argwhere(self.free)
        xy = self.points(cells)
        mask = np.zeros_like(self.free)
        mask[tuple(cells.T)] = shapely.contains_xy(shapely.Polygon(room.polygon), xy[:, 0], xy[:, 1])
        return mask


@dataclass(frozen=True, eq=False)
class Place:
    """A position on a floor: storey and (2,) position."""

    storey: int
    xy: Array


def make_floor(
    world: World, visit: int, storey: int, radius: float, allowed: Callable[[Array], Mask] | None = None
) -> Floor:
    """The floor of a storey for a walker of a radius: its largest connected piece.

    `allowed` returns whether floor points (N, 3) may be used, in addition to `walkable_grid`.
    """
    origin, cell, free = walkable_grid(world, storey, visit, radius=radius)
    z = world.storeys[storey][0]
    free = free.copy()
    if allowed is not None:
        cells = np.argwhere(free)
        xy = origin + (cells + 0.5) * cell
        free[tuple(cells.T)] = allowed(np.column_stack([xy, np.full(len(xy), z)]))
    numbers, count = ndimage.label(free)
    if count > 1:  # pockets behind furniture that cannot be reached
        free = numbers == 1 + int(np.argmax(np.bincount(numbers.ravel())[1:]))
    padded = np.pad(free, 1)
    clearance = ndimage.distance_transform_edt(padded)[1:-1, 1:-1] * cell
    return Floor(storey, z, origin, cell, free, clearance)


@dataclass(frozen=True, eq=False)
class Navigator:
    """Floors by storey and the stairs between them."""

    floors: tuple[Floor, ...]
    stairs: tuple[Opening, ...]
    stair_storeys: tuple[tuple[int, int], ...]

    def distances(self, start: Place, ends: Sequence[Place]) -> Array:
        """(N,) comfortable lengths in metres of the paths to positions, inf where there is none."""
        fields = {start.storey: self._field(start)}
        for step in (1, -1):
            storey, length = start.storey, fields[start.storey]
            while 0 <= storey + step < len(self.floors):
                (stair, upwards), *_ = self._climbs(storey, storey + step)
                waypoints = stair.waypoints if upwards else stair.waypoints[::-1]
                foot = self.floors[storey].nearest_free(waypoints[0, :2])
                climb = float(np.linalg.norm(np.diff(waypoints, axis=0), axis=1).sum())
                storey += step
                length = length[tuple(foot)] + climb + self._field(Place(storey, waypoints[-1, :2]))
                fields[storey] = length
        cells = [tuple(self.floors[end.storey].nearest_free(end.xy)) for end in ends]
        return np.array([fields[end.storey][cell] for end, cell in zip(ends, cells, strict=True)])

    def _field(self, place: Place) -> Array:
        """(nx, ny) comfortable length in metres from a position to every cell of its storey; inf where there is no path."""
        floor = self.floors[place.storey]
        start = floor.nearest_free(place.xy)
        return np.asarray(travel(_cost(floor), int(start[0]), int(start[1]))[0] * floor.cell)

    def path(self, start: Place, end: Place) -> Array:
        """(N, 3) floor points, about five centimetres apart, from start to end.

        Raises ValueError when there is no path.
        """
        pieces, at = [], start
        for stair, upwards in self._climbs(start.storey, end.storey):
            waypoints = stair.waypoints if upwards else stair.waypoints[::-1]
            storeys = self.stair_storeys[self.stairs.index(stair)]
            pieces.append(self._level_path(at.storey, at.xy, waypoints[0, :2]))
            pieces.append(_dense(waypoints))
            at = Place(storeys[1] if upwards else storeys[0], waypoints[-1, :2])
        pieces.append(self._level_path(at.storey, at.xy, end.xy))
        path = np.concatenate(pieces)
        keep = np.linalg.norm(np.diff(path, axis=0, prepend=path[:1] - 1), axis=1) > 1e-6
        return _dense(path[keep])

    def _climbs(self, start: int, end: int) -> list[tuple[Opening, bool]]:
        """Stairs to take from one storey to another, with whether they are climbed; storeys follow each other."""
        climbs = []
        step = 1 if end > start else -1
        for storey in range(start, end, step):
            pair = (storey, storey + 1) if step > 0 else (storey - 1, storey)
            if pair not in self.stair_storeys:
                raise ValueError(f"there is no stair between storeys {pair[0]} and {pair[1]}")
            climbs.append((self.stairs[self.stair_storeys.index(pair)], step > 0))
        return climbs

    def _level_path(self, storey: int, start: Array, end: Array) -> Array:
        floor = self.floors[storey]
        a, b = floor.nearest_free(start), floor.nearest_free(end)
        length, back = travel(_cost(floor), int(a[0]), int(a[1]))
        if not np.isfinite(length[tuple(b)]):
            raise ValueError(f"storey {storey}: there is no path from {np.round(start, 2)} to {np.round(end, 2)}")
        cells = [b]
        while tuple(cells[-1]) != tuple(a):
            cells.append(cells[-1] + STEPS[back[tuple(cells[-1])]])
        xy = floor.points(np.array(cells[::-1]))
        xy = relax(xy, floor.is_free, 60)
        return np.column_stack([xy, np.full(len(xy), floor.z)])


def _cost(floor: Floor) -> Array:
    """Cost of a cell: one where there is space, up to four next to obstacles."""
    tight = np.maximum(0.0, 1.0 - floor.clearance / COMFORT)
    return np.where(floor.free, 1.0 + 3.0 * tight**2, np.inf)


def relax(points: Array, allowed: Callable[[Array], Mask], rounds: int) -> Array:
    """Points (N, D) smoothed along their order, ends fixed; a point moves only to allowed positions."""
    points = points.copy()
    for _ in range(rounds):
        if len(points) < 3:
            break
        wanted = points.copy()
        wanted[1:-1] = 0.5 * points[1:-1] + 0.25 * (points[:-2] + points[2:])
        ok = allowed(wanted)
        points[ok] = wanted[ok]
    return points


def _dense(points: Array, spacing: float = 0.05) -> Array:
    """A polyline (N, 3) resampled evenly, at most `spacing` metres apart, ends kept."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    count = max(2, int(np.ceil(along[-1] / spacing)) + 1)
    at = np.linspace(0.0, along[-1], count)
    return np.column_stack([np.interp(at, along, points[:, axis]) for axis in range(3)])


def make_navigator(
    world: World, visit: int, radius: float, allowed: Callable[[Array], Mask] | None = None
) -> Navigator:
    """Every storey of a world for a walker of a radius (see `make_floor`)."""
    floors = tuple(make_floor(world, visit, storey, radius, allowed) for storey in range(len(world.storeys)))
    storey_of = {room.number: room.storey for room in world.rooms}
    stairs = tuple(opening for opening in world.openings if opening.kind == "stair")
    pairs = tuple((storey_of[stair.rooms[0]], storey_of[stair.rooms[1]]) for stair in stairs)
    return Navigator(floors, stairs, pairs)


def tour(lengths: Array, start: int = 0) -> list[int]:
    """An order of all positions that begins at `start` and is short by the lengths (N, N): nearest neighbour, then 2-opt."""
    order, left = [start], set(range(len(lengths))) - {start}
    while left:
        order.append(min(sorted(left), key=lambda k: lengths[order[-1], k]))
        left.remove(order[-1])
    improved = True
    while improved:
        improved = False
        for i in range(1, len(order) - 1):
            for j in range(i + 1, len(order)):
                turned = order[:i] + order[i : j + 1][::-1] + order[j + 1 :]
                if _tour_length(turned, lengths) < _tour_length(order, lengths) - 1e-9:
                    order, improved = turned, True
    return order


def _tour_length(order: Sequence[int], lengths: Array) -> float:
    return float(sum(lengths[a, b] for a, b in pairwise(order)))
