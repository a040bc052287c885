"""Placing objects in a room so that they touch nothing, block no door and leave a path to walk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from pipelines.synth.base.model import Model, SupportSurface
from pipelines.synth.base.occupancy import RoomGrid, boxes_meet, footprint, turned_boxes
from pipelines.synth.base.plan import RoomPlan, WallEdge

Array = NDArray[np.float64]

WALL_GAP = 0.02
"""Metres between a wall and furniture at it; baseboards are 12 mm deep."""
REST = 0.001
"""Clearance between an object and its support, so that no faces coincide."""
WALKER = 0.32
"""Radius (metres) of a walker for which paths are kept while furnishing: the guaranteed one plus the error of two grids."""


@dataclass(eq=False)
class Item:
    """A placed model: x, y, z of its origin in the building frame, yaw about z, its supporting item, and its room's index."""

    model: Model
    x: float
    y: float
    z: float
    yaw: float
    room: int
    support: Item | None = None
    boxes: Array = field(init=False)
    reach: float = field(init=False)
    """Radius (metres) of a circle around the origin that contains the whole footprint."""

    def __post_init__(self) -> None:
        self.boxes = turned_boxes(self.model.solids, self.x, self.y, self.z, self.yaw)
        self.reach = float(np.hypot(*np.maximum(np.abs(self.model.low), np.abs(self.model.high))[:2]))

    def near(self, other: Item) -> bool:
        """Whether the two might touch, by their circles."""
        return bool((self.x - other.x) ** 2 + (self.y - other.y) ** 2 < (self.reach + other.reach + 0.05) ** 2)

    def to_building(self, x: float, y: float) -> tuple[float, float]:
        """A point of the item's own frame in the building frame."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return float(c * x - s * y + self.x), float(s * x + c * y + self.y)

    @property
    def pose(self) -> Array:
        """The (4, 4) transform from the item's frame to the building frame."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[c, -s, 0, self.x], [s, c, 0, self.y], [0, 0, 1, self.z], [0, 0, 0, 1.0]])


@dataclass(frozen=True, eq=False)
class KeepOut:
    """An area (building frame) that stays free between two heights above the floor; `soft` ones apply only to items
    that are placed later and do not belong to the same group."""

    area: BaseGeometry
    z0: float
    z1: float
    soft: bool = False


def yaw_facing(direction: Array) -> float:
    """The yaw that rotates a body's front (+y) to a direction (2,)."""
    return float(np.arctan2(-direction[0], direction[1]))


class RoomScene:
    """A room while it is being furnished: its items, reserved areas, and walkable cells."""

    def __init__(
        self, index: int, plan: RoomPlan, z: float, height: float, keep_out: Sequence[KeepOut], doors: Sequence[Array]
    ) -> None:
        self.index, self.plan = index, plan
        self.z, self.height = z, height
        self.keep_out = list(keep_out)
        self.targets = list(doors)
        self.items: list[Item] = []
        self.polygon = shapely.Polygon(plan.polygon)
        self._standing = self.polygon.buffer(-WALL_GAP + 1e-4, join_style="mitre")
        self._hanging = self.polygon.buffer(-0.0005, join_style="mitre")
        shapely.prepare(self._standing)
        shapely.prepare(self._hanging)
        self.grid = RoomGrid(plan.polygon, WALKER)
        self._empty = self.grid.free.copy()
        self.share = 0.14

    def fits(self, item: Item, *, margin: float = 0.006, soft: bool = True, hanging: bool = False) -> bool:
        """Whether an item lies inside the room, clear of all items and reserved areas."""
        print_ = footprint(item.boxes)
        if not (self._hanging if hanging else self._standing).covers(print_):
            return False
        low, high = item.boxes[:, 6].min() - self.z, item.boxes[:, 7].max() - self.z
        if low < 0 or high > self.height:
            return False
        for area in self.keep_out:
            if (soft or not area.soft) and low < area.z1 and high > area.z0 and area.area.intersects(print_):
                return False
        return not any(item.near(other) and boxes_meet(item.boxes, other.boxes, margin) for other in self.items)

    def keeps_access(self, item: Item) -> bool:
        """Whether all doors stay connected with the item in place."""
        blocked = self.grid.blocked_by(self._above_floor(item))
        if not (blocked & self.grid.free).any():
            return True
        return self.grid.connected(self.grid.free & ~blocked, self.targets, self.share)

    def block(self, area: BaseGeometry) -> None:
        """Mark an area as occupied by something that is not an item (a flight of stairs, an open door)."""
        near = area.buffer(self.grid.radius)
        self.grid.free &= ~np.asarray(shapely.contains_xy(near, self.grid.x, self.grid.y))
        self.grid.start_count = int(self.grid.free.sum())
        self._empty = self.grid.free.copy()

    def add(self, item: Item) -> Item:
        """Add an item."""
        self.items.append(item)
        self.grid.free &= ~self.grid.blocked_by(self._above_floor(item))
        return item

    def remove(self, item: Item) -> None:
        """Remove an item and its blocked cells."""
        self.items = [other for other in self.items if other is not item]
        self.grid.free = self._empty.copy()
        for other in self.items:
            if other.support is None:
                self.grid.free &= ~self.grid.blocked_by(self._above_floor(other))

    def remove_with_load(self, item: Item, *, also: Sequence[Item] = ()) -> None:
        """Remove an item with everything on it, and other items with it."""
        for other in [i for i in self.items if i is item or i.support is item or any(i is a for a in also)]:
            self.remove(other)

    def _above_floor(self, item: Item) -> Array:
        """The item's boxes with heights above this room's floor."""
        relative = item.boxes.copy()
        relative[:, 6:] -= self.z
        return relative

    def try_at(
        self,
        model: Model,
        x: float,
        y: float,
        yaw: float,
        *,
        soft: bool = True,
        margin: float = 0.006,
        on: Item | None = None,
    ) -> Item | None:
        """Put a model on the floor (or on a rug) at a point if it fits and paths stay open."""
        z = self.z + REST if on is None else on.z + on.model.size[2] + REST
        item = Item(model, x, y, float(z), yaw, self.index, on)
        if on is not None and not footprint(on.boxes).covers(footprint(item.boxes)):
            return None
        if self.fits(item, margin=margin, soft=soft) and self.keeps_access(item):
            return self.add(item)
        return None

    def edges(self, rng: Generator, least: float) -> list[WallEdge]:
        """Sides at least that long, in random order, longer ones more likely first."""
        edges = [edge for edge in self.plan.edges() if edge.length >= least]
        keys = [edge.length * rng.uniform(0.4, 1.0) for edge in edges]
        return [edges[i] for i in np.argsort(keys)[::-1]]

    def free_stretches(self, edge: WallEdge, depth: float, height: float) -> list[tuple[float, float]]:
        """Stretches along a side (from, to in metres) in front of which a strip `depth` deep is free up to a height."""
        ends = [edge.point(0.0, WALL_GAP), edge.point(edge.length, WALL_GAP)]
        corners = [*ends, edge.point(edge.length, WALL_GAP + depth), edge.point(0.0, WALL_GAP + depth)]
        strip = shapely.Polygon(corners)
        taken: list[BaseGeometry] = [strip.difference(self._standing)]
        taken += [zone.area for zone in self.keep_out if zone.z0 < height and zone.area.intersects(strip)]
        for item in self.items:
            if item.boxes[:, 6].min() - self.z < height:
                taken.append(footprint(item.boxes))
        spans = []
        for area in taken:
            for piece in shapely.get_parts(area.intersection(strip)):
                along = (shapely.get_coordinates(piece) - edge.start) @ edge.along
                if len(along) and np.ptp(along) > 1e-6:
                    spans.append((float(along.min()) - 0.008, float(along.max()) + 0.008))
        free, at = [], WALL_GAP
        for low, high in [*sorted(spans), (edge.length - WALL_GAP, edge.length)]:
            if low - at > 0.05:
                free.append((at, low))
            at = max(at, high)
        return free

    def at_wall(
        self,
        rng: Generator,
        model: Model,
        *,
        tries: int = 12,
        front: float = 0.0,
        gap: float = WALL_GAP,
        corner: float = 0.5,
    ) -> Item | None:
        """Put a model on the floor with its back to a wall; `front` metres in front of it stay free; `corner`:
        probability of a corner."""
        w = float(model.size[0])
        options = []
        for edge in self.edges(rng, w + 2 * WALL_GAP):
            stretches = self.free_stretches(edge, float(model.size[1]) + gap - WALL_GAP, float(model.size[2]))
            options += [(edge, a, b) for a, b in stretches if b - a > w]
        for attempt in range(tries if options else 0):
            edge, a, b = options[attempt % len(options)]
            slack = b - a - w
            draw = float(rng.choice([0.001, 0.999])) if rng.random() < corner else float(rng.uniform(0.001, 0.999))
            item = self.at_edge(model, edge, a + draw * slack + w / 2, front=front, gap=gap)
            if item is not None:
                return item
        return None

    def at_edge(
        self, model: Model, edge: WallEdge, along: float, *, front: float = 0.0, gap: float = WALL_GAP
    ) -> Item | None:
        """Put a model at a distance along a side, its back to it."""
        x, y = edge.point(along, gap - float(model.low[1]))
        yaw = yaw_facing(edge.inward)
        if front > 0:
            zone = self.front_zone(model, (float(x), float(y)), yaw, front)
            clash = any(
                not i.support and footprint(i.boxes).intersects(zone) and i.boxes[:, 7].max() - self.z > 0.05
                for i in self.items
            )
            if clash or self.polygon.intersection(zone).area < 0.9 * zone.area:
                return None
        item = self.try_at(model, float(x), float(y), yaw)
        if item is not None and front > 0:
            self.keep_out.append(KeepOut(zone, 0.02, 2.0, soft=True))
        return item

    def front_zone(self, model: Model, at: tuple[float, float], yaw: float, depth: float) -> shapely.Polygon:
        """The floor in front of a model placed at a point."""
        low, high = model.low, model.high
        solid = np.array([[low[0] + 0.05, high[1] + 0.01, 0, high[0] - 0.05, high[1] + depth, 1]])
        return footprint(turned_boxes(solid, *at, 0.0, yaw))

    def on_wall(
        self, rng: Generator, model: Model, bottom: tuple[float, float], *, tries: int = 14, gap: float = 0.003
    ) -> Item | None:
        """Hang a model on a wall with its base at a height from a range (metres above the floor)."""
        w = float(model.size[0])
        edges = self.edges(rng, w + 0.1)
        for attempt in range(tries):
            if not edges:
                return None
            edge = edges[attempt % len(edges)]
            along = float(rng.uniform(w / 2 + 0.05, max(edge.length - w / 2 - 0.05, w / 2 + 0.051)))
            item = self.hang(model, edge, along, float(rng.uniform(*bottom)), gap=gap)
            if item is not None:
                return item
        return None

    def hang(self, model: Model, edge: WallEdge, along: float, bottom: float, *, gap: float = 0.003) -> Item | None:
        """Hang a model at a distance along a side and a height above the floor."""
        x, y = edge.point(along, gap - float(model.low[1]))
        item = Item(model, float(x), float(y), self.z + bottom, yaw_facing(edge.inward), self.index)
        # The face of a cupboard or the leaf of a door may lie a little into the room: what hangs must stay visible.
        if self.fits(item, hanging=True, soft=False) and self.keeps_access(item):
            return self.add(item)
        return None

    def edge_behind(self, item: Item) -> tuple[WallEdge, float]:
        """The side at an item's back and the item's position along it in metres."""
        front = np.array([-np.sin(item.yaw), np.cos(item.yaw)])
        at = np.array([item.x, item.y])
        sides = []
        for number, edge in enumerate(self.plan.edges()):
            along, away = float(np.dot(at - edge.start, edge.along)), float(np.dot(at - edge.start, edge.inward))
            if np.dot(edge.inward, front) > 0.9 and away > 0:
                sides.append((not 0 <= along <= edge.length, away, number, along))
        number, along = min(sides)[2:]
        return self.plan.edges()[number], along

    def on_floor(self, rng: Generator, model: Model, *, tries: int = 20, near_wall: bool = True) -> Item | None:
        """Put a model somewhere on the floor at a random yaw, by preference near a wall or a corner."""
        low, high = self.plan.polygon.min(axis=0), self.plan.polygon.max(axis=0)
        for _ in range(tries):
            if near_wall:
                edge = self.edges(rng, 0.4)[0]
                depth = float(max(model.size[:2])) / 2 + WALL_GAP + float(rng.uniform(0.01, 0.15))
                x, y = edge.point(float(rng.uniform(0.1, 0.9)) * edge.length, depth)
            else:
                x, y = rng.uniform(low, high)
            item = self.try_at(model, float(x), float(y), float(rng.uniform(-np.pi, np.pi)))
            if item is not None:
                return item
        return None

    def on_item(
        self,
        rng: Generator,
        model: Model,
        support: Item,
        surface: SupportSurface,
        *,
        yaw: tuple[float, float] = (0.0, 0.0),
        tries: int = 8,
    ) -> Item | None:
        """Stand a model on a surface of another, rotated from its front by an angle from a range."""
        if model.size[2] > surface.headroom - 0.01:
            return None
        for _ in range(tries):
            turn = float(rng.uniform(*yaw))
            corners = np.abs(np.cos(turn)) * model.size[:2] / 2 + np.abs(np.sin(turn)) * model.size[1::-1] / 2
            spans = [
                (surface.x[0] + corners[0], surface.x[1] - corners[0]),
                (surface.y[0] + corners[1], surface.y[1] - corners[1]),
            ]
            if spans[0][0] > spans[0][1] or spans[1][0] > spans[1][1]:
                continue
            item = self.put_on(
                model, support, surface, (float(rng.uniform(*spans[0])), float(rng.uniform(*spans[1]))), turn
            )
            if item is not None:
                return item
        return None

    def put_on(
        self,
        model: Model,
        support: Item,
        surface: SupportSurface,
        at: tuple[float, float],
        turn: float,
        lift: float = REST,
    ) -> Item | None:
        """Stand a model on a surface at a point of the support's frame."""
        x, y = support.to_building(*at)
        item = Item(model, x, y, support.z + surface.z + lift, support.yaw + turn, self.index, support)
        if not self.fits(item, margin=0.004, soft=False):
            return None
        self.items.append(item)
        return item
