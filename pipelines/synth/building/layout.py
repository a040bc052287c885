"""Floor plans: the rooms and their outlines on every storey.

Candidates are drawn at random from three families and the one with the least penalty for proportion and access is kept, so
that there is always a plan:
- a spine: a hallway (or a long living room) between two columns of rooms, optionally closed by one room across its end;
- slicing: the outline is cut in two recursively (a slicing tree), the living room being the hub;
- around a stair: a spine whose hub ends in a bay across the building with the flight, the same on every storey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray

from pipelines.synth.base.plan import Construction, RoomPlan, StairPlan
from pipelines.synth.building.access import access_cost

Array = NDArray[np.float64]
Rect = tuple[float, float, float, float]
Cell = tuple[str, list[Rect]]

GRID = 0.05
AREAS = {
    "living_room": (17.0, 29.0),
    "kitchen": (7.5, 13.5),
    "bedroom": (10.0, 16.5),
    "bathroom": (4.4, 7.2),
    "office": (8.5, 13.0),
    "dining_room": (10.0, 16.0),
    "hallway": (3.5, 36.0),
    "storage": (3.2, 6.0),
}
LEAST_WIDTH = {"bathroom": 1.65, "storage": 1.45, "hallway": 1.1, "kitchen": 2.1, "living_room": 3.1}
STAIR_WIDTH, TREAD, LANDING = 0.95, 0.25, 1.0
BAY_DEPTH = STAIR_WIDTH + 1.2
TRIES = 48
GOOD_ENOUGH = 0.12
"""Penalty per room at which the search for a plan ends."""


@dataclass(frozen=True)
class StairHall:
    """What all storeys with a stair share: widths of the left column, the strip and the right column, and the strip's length."""

    left: float
    strip: float
    right: float
    length: float

    @property
    def width(self) -> float:
        """Width of the whole building, metres."""
        return self.left + self.strip + self.right


def programme(rng: Generator, count: int, storey: int, storeys: int) -> list[str]:
    """The kinds of `count` rooms of a storey, the hub first."""
    if storey > 0 or (storeys > 1 and count == 1):
        hub = "hallway" if count > 2 else str(rng.choice(["living_room", "hallway"] if storey else ["living_room"]))
        rest = ["bedroom", "bathroom", *rng.permutation(["bedroom", "office", "bedroom"]), "storage", "living_room"]
        return [hub, *map(str, rest)][:count]
    if count == 1:
        return [str(rng.choice(["living_room", "living_room", "bedroom", "kitchen", "office"]))]
    with_hall = storeys > 1 and count > 2
    second = str(rng.choice(["bathroom", "kitchen", "office"]))
    rest = (
        [str(kind) for kind in rng.permutation(["bedroom", second])]
        if count < 4
        else ["kitchen", "bedroom", "bathroom"]
    )
    extra = [str(kind) for kind in rng.permutation(["bedroom", "office", "dining_room", "storage"])]
    if with_hall or (count > 4) or (count == 4 and rng.random() < 0.3):
        return ["hallway", "living_room", *rest, *extra][:count]
    return ["living_room", *rest, *extra][:count]


def snap(value: float) -> float:
    """Rounded to the grid of 5 cm."""
    return round(round(value / GRID) * GRID, 3)


def _target_areas(rng: Generator, kinds: Sequence[str]) -> list[float]:
    """Areas up to the centre lines of the walls, which take about a tenth."""
    return [1.1 * float(rng.uniform(*AREAS[kind])) for kind in kinds]


def _stack(rng: Generator, rooms: list[tuple[str, float]], column: Rect, *, hub_on_right: bool) -> list[Cell]:
    """Rooms (kind, area) one above the other in a column; small ones may be cut from a corner of their neighbour (an L)."""
    rows: list[list[tuple[str, float]]] = []
    for kind, area in rooms:
        small = kind in ("bathroom", "storage")
        if (
            small
            and rows
            and len(rows[-1]) == 1
            and rows[-1][0][0] not in ("bathroom", "storage")
            and rng.random() < 0.5
        ):
            rows[-1].append((kind, area))
        else:
            rows.append([(kind, area)])
    x0, y0, x1, y1 = column
    total = sum(area for row in rows for _, area in row)
    cells: list[Cell] = []
    y = y0
    for number, row in enumerate(rows):
        share = sum(area for _, area in row) / total * (y1 - y0)
        top = y1 if number == len(rows) - 1 else snap(y + share)
        if len(row) == 1:
            cells.append((row[0][0], [(x0, y, x1, top)]))
        else:
            cells += _corner_pair(rng, row, (x0, y, x1, top), hub_on_right=hub_on_right)
        y = top
    return cells


def _corner_pair(rng: Generator, pair: list[tuple[str, float]], row: Rect, *, hub_on_right: bool) -> list[Cell]:
    """A big room that wraps around a small one in the corner towards the hub."""
    big, (small, area) = pair[0][0], pair[1]
    x0, y0, x1, y1 = row
    depth = snap(float(np.clip(np.sqrt(area) * rng.uniform(0.85, 1.1), 1.7, max(1.75, y1 - y0 - 1.4))))
    width = snap(min(area / depth, x1 - x0 - 1.4))
    a, b = (y1 - depth, y1) if rng.random() < 0.5 else (y0, y0 + depth)
    rest = (y0, a) if b == y1 else (b, y1)
    if hub_on_right:
        corner, neighbour = (x1 - width, a, x1, b), (x0, a, x1 - width, b)
    else:
        corner, neighbour = (x0, a, x0 + width, b), (x0 + width, a, x1, b)
    return [(small, [corner]), (big, [(x0, rest[0], x1, rest[1]), neighbour])]


def _two_columns(
    rng: Generator, rooms: list[tuple[str, float]]
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Shuffled rooms assigned to the column with less area; small rooms follow big ones so that they can be paired."""
    order = [rooms[i] for i in rng.permutation(len(rooms))]
    columns: tuple[list[tuple[str, float]], list[tuple[str, float]]] = ([], [])
    for room in sorted(order, key=lambda r: -r[1] * rng.uniform(0.6, 1.4)):
        lighter = min((0, 1), key=lambda c: sum(a for _, a in columns[c]))
        columns[lighter].append(room)
    return columns


def _spine(rng: Generator, kinds: Sequence[str]) -> list[Cell]:
    """A hub strip between two columns (or next to one), optionally with a room across its end."""
    areas = _target_areas(rng, kinds)
    rest = list(zip(kinds[1:], areas[1:], strict=True))
    cap = None
    if kinds[0] == "hallway" and len(rest) > 2 and rng.random() < 0.5:
        cap = rest.pop(int(np.argmax([area for _, area in rest])))
    single = len(rest) <= 2 and rng.random() < 0.6
    left, right = (rest, []) if single else _two_columns(rng, rest)
    heavier = max(sum(a for _, a in column) for column in (left, right))
    wide = float(rng.uniform(2.9, 4.5))
    length = snap(float(np.clip(heavier / wide, 3.0, 12.0)))
    if kinds[0] == "hallway":
        strip = snap(float(rng.uniform(1.25, 1.65)))
    else:
        strip = snap(float(np.clip(areas[0] / length, 3.2, 5.5)))
    w_left, w_right = (snap(sum(a for _, a in column) / length) for column in (left, right))
    cells: list[Cell] = [(kinds[0], [(w_left, 0.0, w_left + strip, length)])]
    cells += _stack(rng, left, (0.0, 0.0, w_left, length), hub_on_right=True) if left else []
    width = snap(w_left + strip + w_right)
    cells += _stack(rng, right, (snap(w_left + strip), 0.0, width, length), hub_on_right=False) if right else []
    if cap:
        cells.append((cap[0], [(0.0, snap(-cap[1] / width), width, 0.0)]))
    return cells


def _slice(rng: Generator, kinds: Sequence[str]) -> list[Cell]:
    """A slicing tree: the outline cut in two by area recursively, always across its longer side."""
    areas = _target_areas(rng, kinds)
    aspect = rng.uniform(1.0, 1.5)
    width = snap(float(np.sqrt(sum(areas) * aspect)))
    cells: list[Cell] = []

    def cut(items: list[tuple[str, float]], rect: Rect) -> None:
        if len(items) == 1:
            cells.append((items[0][0], [rect]))
            return
        half = int(rng.integers(1, len(items)))
        share = sum(a for _, a in items[:half]) / sum(a for _, a in items)
        x0, y0, x1, y1 = rect
        if x1 - x0 >= (y1 - y0) * rng.uniform(0.8, 1.25):
            x = snap(x0 + share * (x1 - x0))
            parts = (x0, y0, x, y1), (x, y0, x1, y1)
        else:
            y = snap(y0 + share * (y1 - y0))
            parts = (x0, y0, x1, y), (x0, y, x1, y1)
        cut(items[:half], parts[0])
        cut(items[half:], parts[1])

    items = [(kinds[i], areas[i]) for i in rng.permutation(len(kinds))]
    cut(items, (0.0, 0.0, width, snap(sum(areas) / width)))
    return cells if rng.random() < 0.5 else _carve_corner(rng, cells)


def _carve_corner(rng: Generator, cells: list[Cell]) -> list[Cell]:
    """Give a corner of the living room to a neighbour that shares a whole end of its side, so that both become L-shaped."""
    for i, (kind, rects) in enumerate(cells):
        x0, y0, x1, y1 = rects[0]
        if kind != "living_room" or len(rects) > 1 or min(x1 - x0, y1 - y0) < 3.8:
            continue
        w, d = snap(float(rng.uniform(1.2, 0.4 * (x1 - x0)))), snap(float(rng.uniform(1.2, 0.4 * (y1 - y0))))
        for j in rng.permutation(len(cells)):
            other = cells[int(j)]
            u0, v0, u1, v1 = other[1][0]
            if int(j) == i or other[0] in ("bathroom", "storage") or u0 != x1 or v0 > y0 or v1 < y0 + d:
                continue
            corner = (x1 - w, y0, x1, y0 + d)
            rest = [(x0, y0, x1 - w, y1), (x1 - w, y0 + d, x1, y1)]
            changed = {i: (kind, rest), int(j): (other[0], [(u0, v0, u1, v1), corner])}
            return [changed.get(k, cell) for k, cell in enumerate(cells)]
    return cells


def stair_run(construction: Construction) -> tuple[int, float]:
    """Number of risers of at most 19 cm and the length of the flight in metres."""
    steps = int(np.ceil(construction.storey_height / 0.19))
    return steps, (steps - 1) * TREAD


def _stair_frame(rng: Generator, kinds: Sequence[str], construction: Construction) -> StairHall:
    areas = _target_areas(rng, kinds)
    least = snap(stair_run(construction)[1] + 2 * LANDING + construction.inner_wall + 0.1)
    if len(kinds) <= 2:
        width = snap(least + float(rng.uniform(0, 0.8)))
        return StairHall(0.0, width, 0.0, snap(float(rng.uniform(3.6, 4.4))))
    left, right = _two_columns(rng, list(zip(kinds[1:], areas[1:], strict=True)))
    heavy = max(sum(a for _, a in column) for column in (left, right))
    length = snap(float(np.clip(heavy / rng.uniform(3.3, 4.6), 3.2, 11.0)))
    widths = [snap(float(np.clip(sum(a for _, a in c) / length, 2.3, 5.0))) for c in (left, right)]
    strip = snap(float(rng.uniform(1.3, 1.6)))
    widths[1] = max(widths[1], snap(least - strip - widths[0]))
    return StairHall(widths[0], strip, widths[1], length)


def _around_stair(rng: Generator, kinds: Sequence[str], frame: StairHall) -> list[Cell]:
    """A storey with a stair: hub strip plus a bay along the top outer wall; with one or two rooms the hub is one rectangle."""
    if len(kinds) <= 2:
        cells: list[Cell] = [(kinds[0], [(0.0, 0.0, frame.width, frame.length)])]
        if len(kinds) == 2:
            cells.append((kinds[1], [(0.0, -3.3, 3.9, 0.0)]))
        return cells
    areas = _target_areas(rng, kinds)
    left, right = _two_columns(rng, list(zip(kinds[1:], areas[1:], strict=True)))
    x0, x1 = frame.left, snap(frame.left + frame.strip)
    top = frame.length
    hub = [(x0, 0.0, x1, top), (0.0, top, frame.width, snap(top + BAY_DEPTH))]
    cells = [(kinds[0], hub)]
    cells += _stack(rng, left, (0.0, 0.0, x0, top), hub_on_right=True)
    cells += _stack(rng, right, (x1, 0.0, frame.width, top), hub_on_right=False)
    return cells


def to_rooms(cells: Sequence[Cell], inner_wall: float) -> list[RoomPlan]:
    """Cells on the centre lines of the walls to rooms along their inner faces; empty when a cell is too narrow."""
    rooms = []
    for kind, rects in cells:
        union = shapely.union_all([shapely.box(*rect) for rect in rects])
        inner = union.buffer(-inner_wall / 2, join_style="mitre").simplify(0.001)
        if not isinstance(inner, shapely.Polygon) or inner.is_empty or inner.interiors:
            return []
        ring = _canonical_ring(inner)
        rooms.append(RoomPlan(kind, ring))
    return rooms


def _canonical_ring(polygon: shapely.Polygon) -> Array:
    """Corners (N, 2) counter-clockwise from the one with the lowest x, then y."""
    ring = np.round(np.asarray(shapely.geometry.polygon.orient(polygon).exterior.coords, dtype=np.float64)[:-1, :2], 4)
    first = int(np.lexsort((ring[:, 1], ring[:, 0]))[0])
    return np.roll(ring, -first, axis=0)


def _cell_penalty(cells: Sequence[Cell], inner_wall: float) -> float:
    """Penalty for implausible room proportions: areas out of range, too narrow, too long. From the rectangles alone."""
    total = 0.0
    for kind, rects in cells:
        sides = [(x1 - x0 - inner_wall, y1 - y0 - inner_wall) for x0, y0, x1, y1 in rects]
        if min(min(pair) for pair in sides) < 0.4:
            return np.inf
        area = sum(w * d for w, d in sides) + inner_wall * 2.0 * (len(rects) - 1)
        low, high = AREAS[kind]
        total += 3 * max(low / area - 1, area / high - 1, 0.0)
        widest = max(min(pair) for pair in sides)
        total += 12 * (widest < LEAST_WIDTH.get(kind, 2.3)) + 4 * max(1.05 - min(min(pair) for pair in sides), 0.0)
        if kind != "hallway":
            width = max(r[2] for r in rects) - min(r[0] for r in rects) - inner_wall
            depth = max(r[3] for r in rects) - min(r[1] for r in rects) - inner_wall
            total += 2 * max(max(width, depth) / min(width, depth) - 1.9, 0.0)
    return total


def layout_storeys(
    rng: Generator, count: int, storeys: int, construction: Construction
) -> tuple[list[list[RoomPlan]], list[StairPlan]]:
    """Rooms of each storey, the hub first, and the stairs between them.

    Parameters
    ----------
    count : rooms on each storey, the hub counted.
    storeys : number of storeys; with more than one each hub contains the stair along its outer wall at the highest y.
    """
    if storeys == 1:
        kinds = programme(rng, count, 0, 1)
        return [_best(rng, kinds, construction, None)[1]], []
    programmes = [programme(rng, count, storey, storeys) for storey in range(storeys)]
    tries: list[tuple[float, int, StairHall, list[RoomPlan]]] = []
    for _ in range(4):
        frame = _stair_frame(rng, programmes[0], construction)
        penalty, rooms = _best(rng, programmes[0], construction, frame)
        tries.append((penalty, len(tries), frame, rooms))
    frame, ground = min(tries, key=lambda entry: entry[:2])[2:]
    plans = [ground, *(_best(rng, k, construction, frame)[1] for k in programmes[1:])]
    steps, run = stair_run(construction)
    top = float(ground[0].polygon[:, 1].max())
    x0 = float(ground[0].polygon[:, 0].min()) + LANDING
    rise = (construction.ceiling - 2.05) / construction.storey_height
    flight = StairPlan(x0, x0 + run, top - STAIR_WIDTH, top, snap(x0 + max(0.3, rise * run)), steps, (0, 0))
    return plans, [flight] * (storeys - 1)


def _best(
    rng: Generator, kinds: list[str], construction: Construction, frame: StairHall | None
) -> tuple[float, list[RoomPlan]]:
    """The least penalty among candidates, and its rooms with the hub first."""
    t = construction.inner_wall
    best: tuple[float, list[RoomPlan]] = (np.inf, [])
    for _ in range(TRIES):
        if frame is not None:
            cells = _around_stair(rng, kinds, frame)
        elif len(kinds) == 1 or (kinds[0] != "hallway" and rng.random() < 0.6):
            cells = _slice(rng, kinds)
        else:
            cells = _spine(rng, kinds)
        penalty = _cell_penalty(cells, t)
        if penalty >= best[0]:
            continue
        rooms = to_rooms(sorted(cells, key=lambda cell: cell[0] != kinds[0]), t)
        penalty += access_cost(rooms, t) if rooms else np.inf
        if penalty < best[0]:
            best = (penalty, rooms)
        if penalty < GOOD_ENOUGH * len(kinds):
            break
    if best[1]:
        return best[0], best[1]
    raise AssertionError("no floor plan: the families always give candidates whose rooms are connected")
