"""Names on a plan: every room's, and of objects as many as fit without covering one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipelines.views.measured import Measured
from pipelines.views.plan.drawing import Drawing, Label, overlaps
from pipelines.views.summary_text import is_uninformative_label, words

Array = NDArray[np.float64]

ROOM_TEXT, AREA_TEXT, OBJECT_TEXT = 1.25, 1.0, 0.8
"""Heights relative to the drawing's."""
LINE_SPACING = 1.35
GRID = 0.15
"""Metres between the places that are tried for a room's name."""
GREY, DARK = (102, 102, 102), (51, 51, 51)
SHORTEST_NAMED, THINNEST_NAMED = 0.35, 0.12
"""Metres of the longer and the shorter side of an object with a name: pictures on walls have none."""


def add_names(
    drawing: Drawing, rooms: Sequence[tuple[str, Any]], objects: Sequence[tuple[str, Any]], measured: Measured
) -> None:
    """Add the names of the rooms with their areas, then those of objects, from large to small, where there is place."""
    footprints = [shapely.Polygon(node.box.corners()[:4, :2]) for _, node in objects]
    for key, room in rooms:
        area = measured.areas.get(key)
        lines = [
            (f"{key} {words(room.label)}", ROOM_TEXT, DARK),
            (f"{'–' if area is None else f'{area:.1f}'} m²", AREA_TEXT, GREY),
        ]
        drawing.labels += _room_labels(drawing, room.polygon, lines, footprints)
    for _, node in objects:
        short, long = sorted(node.box.size[:2])
        if not is_uninformative_label(node.label) and long >= SHORTEST_NAMED and short >= THINNEST_NAMED:
            label = _object_label(drawing, node)
            if label is not None:
                drawing.labels.append(label)


def _room_labels(
    drawing: Drawing, polygon: Array, lines: list[tuple[str, float, Any]], footprints: list[shapely.Polygon]
) -> list[Label]:
    """The lines of a room's name, one below another, where they cover least furniture, near the middle."""
    unit = drawing.text_height
    made = [
        Label("NAMES", np.zeros(2), text, unit * share, color, bold=i == 0)
        for i, (text, share, color) in enumerate(lines)
    ]
    offsets = np.cumsum([0.0, *(LINE_SPACING * unit * ROOM_TEXT for _ in lines[1:])])
    offsets -= offsets.mean()
    boxes = np.array([label.box for label in made])
    half = np.array([boxes[:, 1, 0].max(), offsets[-1] + boxes[-1, 1, 1]])
    outline = shapely.Polygon(polygon)
    middle = np.asarray(shapely.maximum_inscribed_circle(outline).coords)[0]
    steps = [np.arange(low, high, GRID) for low, high in zip(polygon.min(axis=0), polygon.max(axis=0), strict=True)]
    places = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2)
    places = np.concatenate([middle[None], places[shapely.contains_xy(outline, places)]])
    cells = shapely.box(*(places - half).T, *(places + half).T)
    whole = float(4 * half.prod())
    outside = 1 - shapely.area(shapely.intersection(cells, outline)) / whole
    covered = shapely.area(shapely.intersection(cells, shapely.union_all(footprints))) / whole if footprints else 0.0
    others = [label.box for label in drawing.labels]
    taken = np.array([any(overlaps(np.stack([p - half, p + half]), box) for box in others) for p in places])
    away = np.linalg.norm(places - middle, axis=1) / max(float(np.ptp(polygon, axis=0).max()), 1e-6)
    best = places[int(np.argmin(6 * taken + 4 * outside + 2 * covered + away))]
    return [
        Label(label.layer, best - [0, offset], label.text, label.height, label.color, bold=label.bold)
        for label, offset in zip(made, offsets, strict=True)
    ]


def _object_label(drawing: Drawing, node: Any) -> Label | None:
    """The name of an object on or next to its footprint, None where every place is taken."""
    height = drawing.text_height * OBJECT_TEXT
    corners = node.box.corners()[:4, :2]
    reach = np.ptp(corners, axis=0) / 2
    shifts = [(0, 0), (0, 0.5), (0, -0.5), (0, 1), (0, -1), (0.5, 0), (-0.5, 0)]
    for shift in shifts:
        gap = np.array([0, 0.75 * height]) * np.sign(shift) * (abs(shift[1]) == 1)
        label = Label("NAMES", node.box.center[:2] + shift * reach + gap, words(node.label), height)
        inside = (label.box[0] >= drawing.low).all() and (label.box[1] <= drawing.high).all()
        if inside and not any(overlaps(label.box, other.box) for other in drawing.labels):
            return label
    return None
