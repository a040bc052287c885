"""Dimensions of a plan: the lengths of the walls of each room, and the extent of all rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.views.plan.drawing import Drawing, Label, overlaps

Array = NDArray[np.float64]

TEXT = 0.75
"""Height relative to the drawing's."""
SHORTEST = 0.6
"""Metres of a wall whose length is written."""
MOST_SIDES, WHOLE_SHARE = 8, 0.6
"""Sides of an outline beyond which it is ragged: of such a room only lengths that are at least this share of its extent are
written, as its short sides follow furniture and what was in view more than walls."""
SAME = 0.03
"""Metres by which two parallel walls of a room may differ and have one number."""
BLUE = (70, 100, 140)
LEVEL, STRAIGHT_SHARE = np.sin(np.deg2rad(3.0)), 0.9


def add_dimensions(drawing: Drawing, rooms: Sequence[tuple[str, Any]]) -> None:
    """Add the lengths along walls inside of the rooms, each once, where no name is, and two lines with the whole extent."""
    if not rooms:
        return
    for _, room in rooms:
        if not _is_rectilinear(room.polygon):
            continue  # its sides follow furniture and what was in view more than walls
        written: list[tuple[bool, float]] = []
        is_ragged = len(room.polygon) > MOST_SIDES
        shortest = WHOLE_SHARE * np.ptp(room.polygon, axis=0) if is_ragged else np.full(2, SHORTEST)
        sides = np.roll(room.polygon, -1, axis=0) - room.polygon
        for start, side in sorted(
            zip(room.polygon, sides, strict=True), key=lambda item: -float(np.linalg.norm(item[1]))
        ):
            if (np.abs(side) >= shortest).any():
                _add_wall_length(drawing, start, side, written)
    corners = np.concatenate([room.polygon for _, room in rooms])
    low, high = corners.min(axis=0), corners.max(axis=0)
    for axis in (0, 1):
        _add_extent(drawing, low, high, axis)
    room_for = 3.2 * drawing.text_height
    drawing.low = np.minimum(drawing.low, low - room_for)


def _is_rectilinear(polygon: Array) -> bool:
    """Whether nearly all of an outline runs along x or y."""
    sides = np.abs(np.roll(polygon, -1, axis=0) - polygon)
    lengths = np.linalg.norm(sides, axis=1)
    return bool(lengths[sides.min(axis=1) <= LEVEL * lengths].sum() >= STRAIGHT_SHARE * lengths.sum())


def _add_wall_length(drawing: Drawing, start: Array, side: Array, written: list[tuple[bool, float]]) -> None:
    length = float(np.linalg.norm(side))
    if length < SHORTEST or min(abs(side)) > LEVEL * length:
        return
    is_upright = abs(side[1]) > abs(side[0])
    if any(upright == is_upright and abs(other - length) < SAME for upright, other in written):
        return
    height = TEXT * drawing.text_height
    inward = np.array([-side[1], side[0]]) / length
    for share in (0.5, 0.35, 0.65, 0.2, 0.8):
        at = start + share * side + 0.85 * height * inward
        label = Label("DIMENSIONS", at, f"{length:.2f}", height, BLUE, angle=90.0 if is_upright else 0.0)
        if not any(overlaps(label.box, other.box) for other in drawing.labels):
            drawing.labels.append(label)
            written.append((is_upright, length))
            return


def _add_extent(drawing: Drawing, low: Array, high: Array, axis: int) -> None:
    """A line below (axis 0) or left of (axis 1) the rooms, with its ends marked and its length in the middle."""
    unit = drawing.text_height
    away = low[1 - axis] - 1.3 * unit
    ends = np.stack([low, high])
    ends[:, 1 - axis] = away
    drawing.line("DIMENSIONS", ends, stroke=BLUE, width=0.6)
    for end in ends:
        tick = np.stack([end, end])
        tick[:, 1 - axis] += [-0.5 * unit, 0.9 * unit]
        drawing.line("DIMENSIONS", tick, stroke=BLUE, width=0.6)
    at = ends.mean(axis=0)
    at[1 - axis] -= 0.75 * unit
    text = f"{high[axis] - low[axis]:.2f} m"
    drawing.labels.append(Label("DIMENSIONS", at, text, unit, BLUE, angle=90.0 * axis))
