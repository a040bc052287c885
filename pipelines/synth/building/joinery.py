"""Door leaves and frames, the entrance and windows as closed solids in the building frame.

Each is built in a local frame centred on the opening: x to the right when looking out of the room (or from
the door's first room to its second), y along that direction, z up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.synth.base.materials import METAL, WHITE, Style, lacquer, plain
from pipelines.synth.base.plan import DoorPlan, WallOpening
from pipelines.synth.base.shapes import Shape, box, cylinder, merge, rounded_box, tube
from pipelines.synth.base.world import Material
from pipelines.synth.building.openings import CASING, FRAME, leaf_line

Array = NDArray[np.float64]
Pieces = list[tuple[Shape, Material]]

GAP = 0.0015
"""Clearance between touching solids, so that no two faces coincide."""


def to_building(shape: Shape, center: Array, direction: Array, z: float) -> Shape:
    """From the local frame at `center` (2,), whose y runs along the unit vector `direction` (2,), to the building frame."""
    turned = shape.rotated("z", float(np.arctan2(-direction[0], direction[1])))
    return turned.moved(float(center[0]), float(center[1]), z)


def _lining(width: float, height: float, depth: tuple[float, float]) -> list[Shape]:
    """Two jambs and a head in a hole that is FRAME wider on each side, between two depths y."""
    y0, y1 = depth
    outer, inner = width / 2 + FRAME - GAP, width / 2
    return [
        box((-outer, y0, GAP), (-inner, y1, height)),
        box((inner, y0, GAP), (outer, y1, height)),
        box((-outer, y0, height), (outer, y1, height + FRAME - GAP)),
    ]


def _casing(width: float, height: float, face: float, side: int) -> list[Shape]:
    """Boards on the wall around a hole; the wall's face lies at y = face and the room on the side -1 or +1."""
    y = sorted((face + side * GAP, face + side * 0.014))
    inner, outer = width / 2 + 0.012, width / 2 + FRAME + CASING
    low = height + 0.012
    return [
        box((-outer, y[0], GAP), (-inner, y[1], low)),
        box((inner, y[0], GAP), (outer, y[1], low)),
        box((-outer, y[0], low), (outer, y[1], height + FRAME + CASING)),
    ]


def _handle(height: float, half_thickness: float) -> list[Shape]:
    """A rosette and a lever on both faces of a leaf that lies in the plane y = 0, at x = 0, the lever towards -x."""
    shapes = []
    for side in (-1, 1):
        rose = cylinder(0.024, 0.0, 0.007, 12).rotated("x", -side * np.pi / 2)
        shapes.append(rose.moved(0, side * (half_thickness + 0.0005), height))
        y = side * half_thickness
        path = [(0, y + side * 0.006, height), (0, y + side * 0.04, height), (-0.02, y + side * 0.045, height)]
        shapes.append(tube([*path, (-0.115, y + side * 0.045, height)], 0.008, 8))
    return shapes


def door_parts(door: DoorPlan, wall: float, z: float, style: Style) -> Pieces:
    """Lining, casings and the open leaf of a door; the hinges sit on the face of the wall towards the leaf's room."""
    frame = _lining(door.width, door.height, (-wall / 2, wall / 2))
    frame += _casing(door.width, door.height, -wall / 2, -1) + _casing(door.width, door.height, wall / 2, 1)
    leaf = rounded_box((door.width - 0.024, 0.04, door.height - 0.012), 0.004)
    hinge, tip, _ = leaf_line(door, wall)
    axis = (tip - hinge) / np.linalg.norm(tip - hinge)
    panels = [leaf]
    half = (door.width - 0.024) / 2
    handle = merge(_handle(1.02, 0.02)).moved(half - 0.065)
    middle = hinge + axis * half
    normal = np.array([-axis[1], axis[0]])  # with y along the normal, local x runs along the leaf towards its tip
    white = lacquer(WHITE)
    wood = white if style.front.texture == "plain" else style.wood
    pieces: Pieces = [(to_building(merge(frame), door.center, door.direction, z), wood)]
    pieces.append((to_building(merge(panels), middle, normal, z + 0.008), wood))
    pieces.append((to_building(handle, middle, normal, z), METAL))
    return pieces


def entrance_parts(entrance: WallOpening, depth: float, z: float, style: Style) -> Pieces:
    """A closed entrance door whose leaf sits `depth` behind the inner face of the outer wall, with a casing around it."""
    w, h = entrance.width, entrance.top
    reach = 0.006
    leaf = box((-w / 2 - reach, depth, -reach), (w / 2 + reach, depth + 0.05, h + reach))
    panels = [
        box((-w / 2 + 0.12, depth - 0.012, a), (w / 2 - 0.12, depth - GAP, b)) for a, b in ((0.18, 0.85), (1.15, 1.9))
    ]
    casing = _casing(w - 2 * FRAME, h - FRAME, 0.0, -1)
    handle = merge(_handle(1.02, 0.0)).moved(w / 2 - 0.08, depth)
    handle = Shape(handle.vertices, handle.faces)
    pieces: Pieces = [(to_building(merge([leaf, *panels]), entrance.center, entrance.outward, z), style.wood)]
    pieces.append((to_building(merge(casing), entrance.center, entrance.outward, z), style.wood))
    pieces.append((to_building(handle, entrance.center, entrance.outward, z), METAL))
    return pieces


def window_parts(window: WallOpening, depth: float, z: float, style: Style) -> Pieces:
    """Frame, mullions, a bright pane and a sill board; the frame starts `depth` behind the inner face."""
    w, low, high = window.width, window.bottom, window.top
    reach, bar, back = 0.006, 0.06, depth + 0.06
    x, z0, z1 = w / 2 + reach, low - reach, high + reach
    frame = [
        box((-x, depth, z0), (x, back, low + bar)),
        box((-x, depth, high - bar), (x, back, z1)),
        box((-x, depth, low + bar), (-w / 2 + bar, back, high - bar)),
        box((w / 2 - bar, depth, low + bar), (x, back, high - bar)),
    ]
    count = max(1, round(w / 0.85))
    for k in range(1, count):
        at = -w / 2 + w * k / count
        frame.append(box((at - 0.04, depth - 0.01, low + bar + GAP), (at + 0.04, back - 0.02, high - bar - GAP)))
    pane = box(
        (-w / 2 + bar - reach, depth + 0.025, low + bar - reach),
        (w / 2 - bar + reach, depth + 0.035, high - bar + reach),
    )
    board = rounded_box((w - 2 * GAP, depth + 0.035 - GAP, 0.025), 0.006)
    board = board.moved(0, (depth - 0.035 - GAP) / 2, low + GAP)
    sky = plain((0.72, 0.84, 1.0), specular=0.3, emission=1.6)
    frame_material = lacquer(WHITE) if style.front.texture == "plain" else style.second_wood
    shapes = [(merge(frame), frame_material), (pane, sky), (board, lacquer(WHITE))]
    return [(to_building(shape, window.center, window.outward, z), material) for shape, material in shapes]
