"""Changes between two visits: moved, added and removed objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pipelines.synth.base.materials import Style
from pipelines.synth.base.model import Model
from pipelines.synth.furnishing.placement import REST, Item, RoomScene
from pipelines.synth.furniture import bath, decor, props, seating, tables

LEAST_MOVE = 0.8
"""Least displacement in metres of a moved object."""
LEAST_SIZE = 0.35
"""Diagonal (metres) below which an object is too small to be removed or moved noticeably."""
MOVABLE = frozenset({"chair", "table", "box", "bag", "night_stand", "otherfurniture", "otherprop", "clothes", "books"})
REMOVABLE = MOVABLE | {"pillow", "paper", "picture", "television", "towel", "floor_mat", "lamp", "desk", "dresser"}
FIXED = frozenset({"stove", "extractor hood", "radiator", "coat rack", "washing machine", "table lamp", "floor lamp"})
"""Names of objects that never change: built in, or the body of a light."""
LIGHTS = frozenset({"ceiling lamp", "pendant lamp", "table lamp", "floor lamp"})

NEW: tuple[Callable[[Generator, Style], Model], ...] = (
    props.carton,
    props.bag,
    props.backpack,
    seating.dining_chair,
    seating.stool,
    seating.ottoman,
    seating.armchair,
    seating.swivel_chair,
    decor.plant,
    tables.side_table,
    bath.laundry_basket,
    props.waste_bin,
)
"""Makers of objects that may be added."""
SMALL = (props.bag, props.backpack, props.waste_bin, seating.stool)
"""Makers used where nothing larger fits."""


@dataclass(frozen=True, eq=False)
class Presence:
    """One object over the visits: its placement at each, None where it is absent."""

    places: tuple[Item | None, ...]

    @property
    def first(self) -> Item:
        """Its first placement."""
        return next(place for place in self.places if place is not None)


@dataclass(frozen=True)
class ChangeCounts:
    """How many objects to move, add and remove."""

    moved: int
    added: int
    removed: int


def one_visit(scenes: Sequence[RoomScene]) -> list[Presence]:
    """All objects with one visit."""
    return [Presence((item,)) for scene in scenes for item in scene.items]


def two_visits(rng: Generator, style: Style, scenes: Sequence[RoomScene], counts: ChangeCounts) -> list[Presence]:
    """All objects at both visits; the scenes are left in the state of the second visit.

    The requested number of changes is made if the rooms have enough movable objects and free space; objects on a moved object
    move along and are not counted. Each kind of change draws from its own random stream.
    """
    order = [item for scene in scenes for item in scene.items]
    later: dict[int, Item | None] = {id(item): item for item in order}
    streams = rng.spawn(3)
    for item in _take(streams[0], order, counts.removed, _can_go):
        _scene_of(scenes, item).remove(item)
        later[id(item)] = None
    _move(streams[1], scenes, [item for item in order if later[id(item)] is not None], counts.moved, later)
    added = _add(streams[2], style, scenes, counts.added)
    return [Presence((item, later[id(item)])) for item in order] + [Presence((None, item)) for item in added]


def _scene_of(scenes: Sequence[RoomScene], item: Item) -> RoomScene:
    return next(scene for scene in scenes if any(other is item for other in scene.items))


def _burden(item: Item, items: Sequence[Item]) -> list[Item]:
    """Items on an item, and on those, in order."""
    direct = [other for other in items if other.support is item]
    return [thing for other in direct for thing in (other, *_burden(other, items))]


def _large(item: Item) -> bool:
    return float(np.linalg.norm(item.model.size)) >= LEAST_SIZE


def _can_go(item: Item, items: Sequence[Item]) -> bool:
    known = item.model.label in REMOVABLE and item.model.name not in FIXED | LIGHTS
    return known and _large(item) and not _burden(item, items)


def _can_move(item: Item, items: Sequence[Item]) -> bool:
    return item.model.label in MOVABLE and item.model.name not in FIXED and _large(item) and item.support is None


def _take(
    rng: Generator, items: Sequence[Item], count: int, suits: Callable[[Item, Sequence[Item]], bool]
) -> list[Item]:
    """Up to `count` suitable items, those on the floor three times as likely to be early as those on furniture."""
    candidates = [item for item in items if suits(item, items)]
    keys = [rng.random() ** (1.0 if item.support is None else 3.0) for item in candidates]
    return [candidates[i] for i in np.argsort(keys)[::-1][:count]]


def _move(
    rng: Generator, scenes: Sequence[RoomScene], items: Sequence[Item], count: int, later: dict[int, Item | None]
) -> None:
    """Move up to `count` objects to another position on the floor of their storey, with their load."""
    for item in _take(rng, items, len(items), _can_move):
        if count == 0:
            return
        home = _scene_of(scenes, item)
        if item.z > home.z + 2 * REST:
            continue  # hangs on a wall
        load = _burden(item, home.items)
        for thing in (item, *load):
            home.remove(thing)
        moved = _elsewhere(rng, scenes, home, item, load)
        if moved is None:
            for thing in (item, *load):
                home.add(thing)
            continue
        later.update({id(old): new for old, new in zip((item, *load), moved, strict=True)})
        count -= 1


def _elsewhere(
    rng: Generator, scenes: Sequence[RoomScene], home: RoomScene, item: Item, load: Sequence[Item]
) -> list[Item] | None:
    """The item and its load at a new place, put into a scene; None when twelve attempts fail."""
    storey = [scene for scene in scenes if scene.z == home.z]
    for attempt in range(12):
        scene = home if attempt < 5 or rng.random() < 0.5 else storey[int(rng.integers(len(storey)))]
        placed = scene.on_floor(rng, item.model, tries=3, near_wall=bool(rng.random() < 0.6))
        if placed is None:
            continue
        if np.hypot(placed.x - item.x, placed.y - item.y) < LEAST_MOVE:
            scene.remove(placed)
            continue
        carried = _carry(scene, item, placed, load)
        if carried is not None:
            return [placed, *carried]
        scene.remove(placed)
    return None


def _carry(scene: RoomScene, old: Item, new: Item, load: Sequence[Item]) -> list[Item] | None:
    """The load of an item at the same places on it after it has moved; None when something blocks it there."""
    turn = new.yaw - old.yaw
    c, s = np.cos(turn), np.sin(turn)
    replaced: dict[int, Item] = {id(old): new}
    for thing in load:
        dx, dy = thing.x - old.x, thing.y - old.y
        x, y = new.x + c * dx - s * dy, new.y + s * dx + c * dy
        support = replaced[id(thing.support)]
        item = Item(thing.model, x, y, thing.z + new.z - old.z, thing.yaw + turn, new.room, support)
        if not scene.fits(item, margin=0.002, soft=False):
            for done in list(replaced.values())[1:]:
                scene.remove(done)
            return None
        scene.items.append(item)
        replaced[id(thing)] = item
    return [replaced[id(thing)] for thing in load]


def _add(rng: Generator, style: Style, scenes: Sequence[RoomScene], count: int) -> list[Item]:
    """Up to `count` new objects on free floor."""
    added: list[Item] = []
    for _ in range(count):
        for attempt in range(30):
            scene = scenes[int(rng.integers(len(scenes)))]
            choices = NEW if attempt < 12 else SMALL
            item = scene.on_floor(rng, choices[int(rng.integers(len(choices)))](rng, style), tries=6)
            if item is not None:
                added.append(item)
                break
    return added
