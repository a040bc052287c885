"""Furnishing of each kind of room, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from pipelines.synth.base.materials import Style
from pipelines.synth.base.model import Model
from pipelines.synth.base.plan import WallEdge, WallOpening
from pipelines.synth.furnishing import arrangements as groups
from pipelines.synth.furnishing.placement import Item, KeepOut, RoomScene
from pipelines.synth.furniture import bath, decor, kitchen, props, seating, storage, tables
from pipelines.synth.furniture.base import Maker


def furnish(
    rng: Generator, style: Style, room: RoomScene, windows: Sequence[WallOpening], *, also: Sequence[str] = ()
) -> None:
    """Put everything larger than clutter into a room.

    `also` names functions of this room that no other room has (`kitchen`, `dining_room`, `bedroom`).
    """
    ceiling_lamps(rng, style, room)
    dress_windows(rng, style, room, windows)
    room.keep_out += [window_zone(window) for window in windows]
    RECIPES[room.plan.kind](rng, style, room)
    for kind in also:
        EXTRAS[kind](rng, style, room)
    _wall_things(rng, style, room)


def _some(rng: Generator, style: Style, room: RoomScene, wishes: Sequence[tuple[float, Maker, float]]) -> list[Item]:
    """Each maker with its probability, at a wall with a free depth in front; returns the placed items."""
    placed = []
    for chance, maker, front in wishes:
        if rng.random() < chance:
            item = room.at_wall(rng, maker(rng, style), front=front)
            if item is not None:
                placed.append(item)
    return placed


def living_room(rng: Generator, style: Style, room: RoomScene) -> None:
    """Sofa and television, books, a sideboard, plants and a lamp."""
    sofa = groups.sofa_group(rng, style, room)
    _some(
        rng,
        style,
        room,
        [(0.85, storage.bookshelf, 0.4), (0.6, storage.sideboard, 0.4), (0.3, storage.open_shelves, 0.3)],
    )
    if room.plan.area > 20:
        if rng.random() < 0.5:
            groups.dining_group(rng, style, room, seats=4)
        _some(rng, style, room, [(0.6, storage.bookshelf, 0.4), (0.4, storage.sideboard, 0.4), (0.3, tables.desk, 0.7)])
    if sofa is not None:
        for side in (-1, 1):
            maker: Maker = decor.floor_lamp if side == 1 else tables.side_table
            model = maker(rng, style)
            x = side * (float(sofa.model.size[0] + model.size[0]) / 2 + 0.04)
            room.try_at(
                model, *sofa.to_building(x, -float(sofa.model.size[1]) / 2 + float(model.size[1]) / 2 + 0.02), sofa.yaw
            )
    for maker, chance in ((decor.plant, 0.8), (decor.plant, 0.4), (seating.ottoman, 0.35), (seating.armchair, 0.3)):
        if rng.random() < chance:
            room.on_floor(rng, maker(rng, style))


def dining_corner(rng: Generator, style: Style, room: RoomScene) -> None:
    """A table with chairs in a room that is not a dining room."""
    groups.dining_group(rng, style, room, seats=4)


def kitchen_room(rng: Generator, style: Style, room: RoomScene) -> None:
    """A run of units, more counters, a table where there is space."""
    groups.kitchen_run(rng, style, room)
    if rng.random() < 0.5:
        model = kitchen.counter(rng, style, float(rng.uniform(0.8, 1.4)))
        room.at_wall(rng, model, front=0.6, corner=0.8)
    if room.plan.area > 8.5:
        groups.dining_group(rng, style, room, seats=4 if room.plan.area > 10 else 2)
    if rng.random() < 0.4:
        room.at_wall(rng, kitchen.dishwasher(rng, style), front=0.5)
    if rng.random() < 0.5:
        room.on_wall(rng, storage.wall_shelf(rng, style), (1.35, 1.6))
    if rng.random() < 0.6:
        room.on_floor(rng, props.waste_bin(rng, style))
    if rng.random() < 0.3:
        room.on_floor(rng, seating.stool(rng, style))


def bedroom(rng: Generator, style: Style, room: RoomScene) -> None:
    """A bed with night stands, a wardrobe, a chest of drawers, a rug, optionally a desk."""
    bed = groups.bed_group(rng, style, room)
    _some(rng, style, room, [(0.95, storage.wardrobe, 0.5)])
    dressers = _some(rng, style, room, [(0.75, storage.dresser, 0.45)])
    for dresser in dressers:
        edge, along = room.edge_behind(dresser)
        if rng.random() < 0.6:
            room.hang(decor.mirror(rng, style), edge, along, float(dresser.model.size[2]) + 0.35)
    if room.plan.area > 11 and rng.random() < 0.45:
        groups.desk_group(rng, style, room)
    _some(rng, style, room, [(0.4, storage.bookshelf, 0.3), (0.3, seating.bench, 0.3)])
    if bed is not None:
        _bedside_rug(rng, style, room, bed)
    for maker, chance in (
        (seating.armchair, 0.25),
        (decor.plant, 0.35),
        (bath.laundry_basket, 0.3),
        (seating.dining_chair, 0.35),
    ):
        if rng.random() < chance:
            room.on_floor(rng, maker(rng, style))


def _bedside_rug(rng: Generator, style: Style, room: RoomScene, bed: Item) -> None:
    if rng.random() < 0.8:
        rug = decor.rug(rng, style, float(rng.uniform(0.6, 0.8)), float(rng.uniform(1.1, 1.5)))
        for side in rng.permutation([-1.0, 1.0]):
            x = float(side) * (float(bed.model.size[0] + rug.size[0]) / 2 + 0.06)
            if room.try_at(rug, *bed.to_building(x, 0.25), bed.yaw) is not None:
                return


def bathroom(rng: Generator, style: Style, room: RoomScene) -> None:
    """Tub, basin, toilet, towels, a mat, optionally a washing machine."""
    groups.bath_group(rng, style, room)
    for chance in (0.9, 0.3):
        if rng.random() < chance:
            room.on_wall(rng, bath.towel_rail(rng, style), (0.75, 0.95), tries=24)
    if rng.random() < 0.45:
        room.at_wall(rng, kitchen.dishwasher(rng, style), front=0.4, tries=20)
    if rng.random() < 0.4:
        room.on_wall(rng, storage.wall_cabinet(rng, style), (1.35, 1.5))
    room.on_floor(
        rng,
        decor.rug(rng, style, float(rng.uniform(0.6, 0.8)), float(rng.uniform(0.4, 0.5))),
        near_wall=False,
        tries=30,
    )
    for maker, share in ((bath.laundry_basket, 0.5), (props.waste_bin, 0.5), (seating.stool, 0.15)):
        if rng.random() < share:
            room.on_floor(rng, maker(rng, style))


def office(rng: Generator, style: Style, room: RoomScene) -> None:
    """Desks, shelves, a whiteboard, cabinets."""
    groups.desk_group(rng, style, room)
    if room.plan.area > 10.5 and rng.random() < 0.4:
        groups.desk_group(rng, style, room)
    room.on_wall(rng, decor.whiteboard(rng, style), (0.85, 1.0), tries=24)
    wishes = [(0.9, storage.bookshelf, 0.35), (0.6, storage.filing_cabinet, 0.4), (0.55, storage.open_shelves, 0.3)]
    _some(rng, style, room, wishes)
    if rng.random() < 0.5:
        room.on_wall(rng, storage.wall_shelf(rng, style), (1.3, 1.6))
    if rng.random() < 0.3:
        _some(rng, style, room, [(1.0, tables.folding_table, 0.5)])
    for maker, chance in (
        (props.waste_bin, 0.8),
        (decor.plant, 0.5),
        (seating.armchair, 0.2),
        (seating.dining_chair, 0.3),
    ):
        if rng.random() < chance:
            room.on_floor(rng, maker(rng, style))


def dining_room(rng: Generator, style: Style, room: RoomScene) -> None:
    """A large table, a sideboard and a cabinet."""
    groups.dining_group(rng, style, room, seats=int(rng.integers(4, 9)))
    _some(
        rng, style, room, [(0.85, storage.sideboard, 0.4), (0.4, storage.bookshelf, 0.35), (0.3, storage.wardrobe, 0.4)]
    )
    for maker, chance in ((decor.plant, 0.6), (decor.floor_lamp, 0.35)):
        if rng.random() < chance:
            room.on_floor(rng, maker(rng, style))


def hallway(rng: Generator, style: Style, room: RoomScene) -> None:
    """A coat rack with coats and shoes, a narrow table, a bench, a runner."""
    rack = room.on_wall(rng, storage.coat_rack(rng, style), (1.6, 1.7), tries=24)
    if rack is not None:
        coats = props.hanging_coats(rng, style)
        edge, along = room.edge_behind(rack)
        room.hang(coats, edge, along, 1.58 - float(coats.size[2]), gap=0.012)
    _some(rng, style, room, [(0.7, tables.console, 0.0), (0.4, seating.bench, 0.0), (0.35, storage.dresser, 0.0)])
    if room.plan.area > 8:
        _some(rng, style, room, [(0.5, storage.wardrobe, 0.3), (0.4, storage.bookshelf, 0.3)])
    for _ in range(int(rng.integers(1, 3))):
        room.on_floor(rng, props.shoes(rng, style))
    if rng.random() < 0.6:
        room.on_wall(rng, decor.mirror(rng, style), (0.9, 1.1))
    if rng.random() < 0.5:
        low, high = np.ptp(room.plan.polygon, axis=0)[np.argsort(np.ptp(room.plan.polygon, axis=0))]
        rug = decor.rug(rng, style, min(0.75, float(low) - 0.5), min(1.8, float(high) - 1.2))
        if min(rug.size[:2]) > 0.35:
            _lay(rng, room, rug)


def _lay(rng: Generator, room: RoomScene, rug: Model) -> None:
    """A rug along the longer direction of a room, somewhere free."""
    low, high = room.plan.polygon.min(axis=0), room.plan.polygon.max(axis=0)
    yaw = 0.0 if high[1] - low[1] > high[0] - low[0] else np.pi / 2
    for _ in range(20):
        x, y = rng.uniform(low, high)
        if room.try_at(rug, float(x), float(y), yaw) is not None:
            return


def store_room(rng: Generator, style: Style, room: RoomScene) -> None:
    """Racks, boxes, optionally a washing machine."""
    _some(rng, style, room, [(1.0, storage.open_shelves, 0.25), (0.7, storage.open_shelves, 0.25)])
    _some(rng, style, room, [(0.5, kitchen.dishwasher, 0.3), (0.4, storage.wardrobe, 0.3)])
    for _ in range(int(rng.integers(2, 5))):
        room.on_floor(rng, props.carton(rng, style))


def sleeping_corner(rng: Generator, style: Style, room: RoomScene) -> None:
    """A bed and a wardrobe in a room with all functions."""
    groups.bed_group(rng, style, room)
    _some(rng, style, room, [(0.8, storage.wardrobe, 0.4)])


def cooking_corner(rng: Generator, style: Style, room: RoomScene) -> None:
    """A kitchen run in a room with all functions."""
    groups.kitchen_run(rng, style, room)


RECIPES: dict[str, Callable[[Generator, Style, RoomScene], None]] = {
    "living_room": living_room,
    "kitchen": kitchen_room,
    "bedroom": bedroom,
    "bathroom": bathroom,
    "office": office,
    "dining_room": dining_room,
    "hallway": hallway,
    "storage": store_room,
}
EXTRAS: dict[str, Callable[[Generator, Style, RoomScene], None]] = {
    "dining_room": dining_corner,
    "kitchen": cooking_corner,
    "bedroom": sleeping_corner,
}


def _wall_things(rng: Generator, style: Style, room: RoomScene) -> None:
    """Pictures, clocks and shelves where walls are still free."""
    kind = room.plan.kind
    if kind in ("living_room", "bedroom", "dining_room", "hallway", "office"):
        for _ in range(int(rng.integers(1, 4 if room.plan.area > 9 else 3))):
            room.on_wall(rng, decor.picture(rng, style), (1.25, 1.5), tries=10)
    if kind in ("kitchen", "office", "hallway", "dining_room") and rng.random() < 0.5:
        room.on_wall(rng, decor.wall_clock(rng, style), (1.7, 1.9))
    if kind in ("living_room", "bedroom") and rng.random() < 0.4:
        room.on_wall(rng, storage.wall_shelf(rng, style), (1.3, 1.6))


def ceiling_lamps(rng: Generator, style: Style, room: RoomScene) -> None:
    """Lamps on the ceiling: one over the centre of a room, more in large, long or angled ones."""
    span = np.ptp(room.plan.polygon, axis=0)
    count = int(np.clip(max(round(room.plan.area / 16), np.ceil(max(span) / 5.5)), 1, 4))
    model = decor.ceiling_lamp(rng, style)
    if model.size[2] > 0.2 and room.height < 2.55:
        model = decor.dome_lamp(rng, style)
    for x, y in lamp_spots(room, count):
        item = Item(model, float(x), float(y), room.z + room.height - float(model.size[2]) - 0.001, 0.0, room.index)
        if room.fits(item, hanging=True, soft=False):
            room.items.append(item)


def lamp_spots(room: RoomScene, count: int) -> NDArray[np.float64]:
    """(count, 2) points evenly distributed over a ceiling: Lloyd's algorithm on a grid, away from the holes of stairs."""
    free: BaseGeometry = room.polygon.buffer(-0.3)
    for zone in room.keep_out:
        if zone.z1 >= room.height:
            free = free.difference(zone.area.buffer(0.3))
    low, high = room.plan.polygon.min(axis=0), room.plan.polygon.max(axis=0)
    x, y = (np.arange(a + 0.1, b, 0.2) for a, b in zip(low, high, strict=True))
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    points = points[shapely.contains_xy(free, points[:, 0], points[:, 1])]
    if not len(points):
        return np.zeros((0, 2))
    order = np.argsort(points @ (high - low), kind="stable")
    spots = points[order[((np.arange(count) + 0.5) / count * len(points)).astype(int)]]
    for _ in range(12):
        nearest = np.argmin(np.linalg.norm(points[:, None] - spots[None], axis=2), axis=1)
        spots = np.stack(
            [points[nearest == k].mean(axis=0) if (nearest == k).any() else spots[k] for k in range(count)]
        )
    closest = np.argmin(np.linalg.norm(points[:, None] - spots[None], axis=2), axis=0)
    inside = shapely.contains_xy(free, spots[:, 0], spots[:, 1])
    return np.where(inside[:, None], spots, points[closest])


def dress_windows(rng: Generator, style: Style, room: RoomScene, windows: Sequence[WallOpening]) -> None:
    """Curtains or blinds at windows, radiators below some."""
    kind = room.plan.kind
    for window in windows:
        edge, along = _edge_at(room, window)
        draw = rng.random()
        top = min(window.top + 0.12, room.height - 0.06)
        if kind in ("living_room", "bedroom", "dining_room") and draw < 0.65:
            width = min(window.width + 0.5, 2 * min(along, edge.length - along) - 0.18)
            bottom = 0.03 if rng.random() < 0.6 or window.bottom < 0.5 else window.bottom - 0.12
            if width > window.width * 0.9:
                room.hang(decor.curtain(rng, style, width, top - bottom), edge, along, bottom, gap=0.05)
        elif draw < 0.85 and kind not in ("hallway", "storage"):
            drop = float(rng.uniform(0.3, 1.0)) * (window.top - window.bottom)
            blinds = decor.blinds(rng, style, window.width - 0.03, drop)
            room.hang(blinds, edge, along, window.top + 0.03 - float(blinds.size[2]), gap=0.045)
        if window.bottom > 0.7 and rng.random() < 0.5 and kind != "kitchen":
            room.hang(decor.radiator(rng, style), edge, along, 0.12, gap=0.03)


def window_zone(window: WallOpening) -> KeepOut:
    """The air in front of a window that must stay free of tall items."""
    side = np.array([-window.outward[1], window.outward[0]]) * (window.width / 2 + 0.04)
    inside = window.center - window.outward * 0.17
    corners = [window.center - side, window.center + side, inside + side, inside - side]
    return KeepOut(shapely.Polygon(corners), window.bottom - 0.03, window.top + 0.1)


def _edge_at(room: RoomScene, window: WallOpening) -> tuple[WallEdge, float]:
    """The side of a window and its position along it."""
    for edge in room.plan.edges():
        offset = window.center - edge.start
        if abs(np.dot(offset, edge.inward)) < 1e-3 and np.dot(edge.inward, window.outward) < -0.5:
            along = float(np.dot(offset, edge.along))
            if 0 < along < edge.length:
                return edge, along
    raise AssertionError("a window lies on a side of its room")
