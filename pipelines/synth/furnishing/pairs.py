"""Two pieces of one class that touch: chairs or cabinets side by side, which a map shows as one surface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from pipelines.synth.base.materials import Style
from pipelines.synth.furnishing.placement import Item, RoomScene
from pipelines.synth.furniture import seating, storage
from pipelines.synth.furniture.base import Maker

GAP = 0.002
"""Metres between the two."""
TOUCHING_MARGIN = 0.001
"""Least metres between the second piece and all others."""
MAKERS: tuple[Maker, ...] = (
    seating.dining_chair,
    seating.dining_chair,
    seating.armchair,
    storage.filing_cabinet,
    storage.sideboard,
    storage.wardrobe,
)
SAME_MODEL = 0.7
"""Probability that the second piece is of the same model as the first one."""


def touching_pairs(rng: Generator, style: Style, rooms: Sequence[RoomScene], share: float) -> int:
    """Put a pair into a share of the rooms, rounded up; returns the number of pairs.

    Rooms are tried in random order, and one without space is replaced by the next.
    """
    wanted, placed = int(np.ceil(share * len(rooms) - 1e-9)), 0
    for number in rng.permutation(len(rooms)):
        if placed == wanted:
            break
        placed += touching_pair(rng, style, rooms[int(number)])
    return placed


def touching_pair(rng: Generator, style: Style, room: RoomScene) -> bool:
    """Whether two pieces were placed side by side, at a wall of the room or chairs anywhere, of the first maker that fits."""
    for choice in rng.permutation(len(MAKERS)):
        maker = MAKERS[int(choice)]
        model = maker(rng, style)
        other = model if rng.random() < SAME_MODEL else maker(rng, style)
        for attempt in range(6):
            at_wall = attempt < 3 or model.label != "chair"
            first = room.at_wall(rng, model, tries=6) if at_wall else room.on_floor(rng, model)
            if first is None:
                continue
            if any(_next_to(room, first, Item(other, 0, 0, room.z, first.yaw, room.index), side) for side in (-1, 1)):
                return True
            room.remove(first)
    return False


def _next_to(room: RoomScene, first: Item, second: Item, side: int) -> bool:
    """Whether the second item was placed beside the first, at its left (-1) or right (1), their backs in line."""
    one, two = first.model, second.model
    x = one.high[0] + GAP - two.low[0] if side > 0 else one.low[0] - GAP - two.high[0]
    at = first.to_building(float(x), float(one.low[1] - two.low[1]))
    return room.try_at(two, *at, first.yaw, soft=False, margin=TOUCHING_MARGIN) is not None
