"""Walls, floors, ceilings, doors, windows and stairs of a building plan as bodies.

Walls, floors and ceilings are the visible surfaces of the solid between rooms: a wall's body is the face towards one
room with its baseboard and the reveals of its openings, so all surfaces together enclose the free space, and the two faces of
a wall lie its thickness apart. Leaves, frames, panes and stairs are closed solids.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry.base import BaseGeometry

from pipelines.synth.base.materials import RoomFinish, Style
from pipelines.synth.base.plan import BuildingPlan, DoorPlan, StairPlan, StoreyPlan, WallEdge, WallOpening
from pipelines.synth.base.shapes import Shape, merge
from pipelines.synth.base.world import Body, Material, Part
from pipelines.synth.building.joinery import door_parts, entrance_parts, window_parts
from pipelines.synth.building.openings import CASING, FRAME
from pipelines.synth.building.stairs import railing_parts, stair_parts
from scenegraph.labels import nyu40

Array = NDArray[np.float64]

BASEBOARD = (0.012, 0.07)
"""Depth and height of a baseboard in metres."""
REVEAL = 0.12
"""How far behind the inner face a window frame sits."""
ENTRANCE_REVEAL = 0.05


@dataclass
class BodyList:
    """Bodies with running numbers; visits is the number of poses of each."""

    visits: int
    bodies: list[Body] = field(default_factory=list)

    def add_structure(self, label: str, name: str, parts: Sequence[tuple[Shape, Material]]) -> Body:
        """A body whose shapes are given in the building frame; its own frame lies under the centre of its footprint."""
        low = np.min([shape.vertices.min(axis=0) for shape, _ in parts], axis=0)
        high = np.max([shape.vertices.max(axis=0) for shape, _ in parts], axis=0)
        origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
        own = tuple(Part(shape.vertices - origin, shape.faces, material) for shape, material in parts)
        pose = np.eye(4)
        pose[:3, 3] = origin
        number, poses = len(self.bodies) + 1, tuple(pose.copy() for _ in range(self.visits))
        body = Body(number, nyu40().id_of(label), own, poses, is_object=False, name=name)
        self.bodies.append(body)
        return body


@dataclass(frozen=True)
class Hole:
    """A rectangular hole in a wall face: a to b along the edge, z0 to z1 above the floor, depth of its reveal (0 none)."""

    a: float
    b: float
    z0: float
    z1: float
    depth: float


def build_structure(plan: BuildingPlan, finishes: Sequence[Sequence[RoomFinish]], style: Style, out: BodyList) -> None:
    """Append the bodies of a whole building, storey by storey; finishes[storey][room]."""
    for storey, floor in enumerate(plan.storeys):
        z = plan.floor_z(storey)
        above = plan.stairs[storey] if storey < len(plan.stairs) else None
        below = plan.stairs[storey - 1] if storey > 0 else None
        for index in range(len(floor.rooms)):
            _room_shell(plan, storey, index, finishes[storey][index], out, (below, above))
        for door in floor.doors:
            if door.kind == "door":
                out.add_structure("door", "door", door_parts(door, plan.construction.inner_wall, z, style))
        for window in floor.windows:
            out.add_structure("window", "window", window_parts(window, REVEAL, z, style))
        if floor.entrance is not None:
            out.add_structure("door", "entrance door", entrance_parts(floor.entrance, ENTRANCE_REVEAL, z, style))
        if above is not None:
            parts = stair_parts(above, z, plan.construction, style, solid=storey == 0)
            out.add_structure("otherstructure", "stairs", parts)
        if below is not None:
            rails = railing_parts(below, z, style, open_end=above is not None)
            out.add_structure("otherstructure", "railing", rails)


def _room_shell(
    plan: BuildingPlan,
    storey: int,
    index: int,
    finish: RoomFinish,
    out: BodyList,
    stairs: tuple[StairPlan | None, StairPlan | None],
) -> None:
    """Floor, ceiling and walls of one room; stairs are the flights (from below, to above) of the storey."""
    floor, construction, z = plan.storeys[storey], plan.construction, plan.floor_z(storey)
    room = floor.rooms[index]
    below, above = (s if s is not None and index == 0 else None for s in stairs)
    kind = room.kind.replace("_", " ")
    ground = [_sheet(room.polygon, z, hole=below), *_thresholds(floor, index, construction.inner_wall, z)]
    if below is not None:
        ground.append(_hole_sides(below, z - construction.slab, z))
    out.add_structure("floor", f"{kind} floor", [(merge(ground), finish.floor)])
    ceiling = _sheet(room.polygon, z + construction.ceiling, hole=above)
    flipped = Shape(ceiling.vertices, np.ascontiguousarray(ceiling.faces[:, ::-1]))
    out.add_structure("ceiling", f"{kind} ceiling", [(flipped, finish.ceiling)])
    for number, edge in enumerate(room.edges()):
        holes = _holes(floor, index, edge, construction.inner_wall)
        faces = [_wall_face(edge, holes, z, construction.ceiling)]
        faces += [_reveal(edge, hole, z) for hole in holes if hole.depth > 0]
        parts = [(merge(faces), finish.wall)]
        if finish.baseboard is not None:
            cuts = _board_cuts(floor, index, edge, holes, (below, above))
            parts += [(board, finish.baseboard) for board in _baseboard(room.edges(), number, cuts, z)]
        out.add_structure("wall", f"{kind} wall {number + 1}", parts)


def door_hole(door: DoorPlan) -> tuple[float, float]:
    """Width and height (metres) of the hole in the wall for a door or passage."""
    lining = FRAME if door.kind == "door" else 0.0
    return door.width + 2 * lining, door.height + lining


def _holes(floor: StoreyPlan, index: int, edge: WallEdge, wall: float) -> list[Hole]:
    """Holes in one side of a room; the reveals of a door belong to the wall of its first room."""
    holes = []
    for door in floor.doors:
        if index not in door.rooms:
            continue
        outward = door.direction if door.rooms[0] == index else -door.direction
        width, height = door_hole(door)
        hole = _hole_on(edge, door.center - outward * wall / 2, outward, (width, 0.0, height))
        if hole is not None:
            holes.append(Hole(*hole, wall if door.rooms[0] == index else 0.0))
    openings = [(w, REVEAL + 0.01) for w in floor.windows]
    if floor.entrance is not None:
        openings.append((floor.entrance, ENTRANCE_REVEAL + 0.01))
    for opening, depth in openings:
        if opening.room == index:
            hole = _hole_on(edge, opening.center, opening.outward, (opening.width, opening.bottom, opening.top))
            if hole is not None:
                holes.append(Hole(*hole, depth))
    return sorted(holes, key=lambda h: h.a)


def _hole_on(
    edge: WallEdge, center: Array, outward: Array, extent: tuple[float, float, float]
) -> tuple[float, float, float, float] | None:
    """(a, b, z0, z1) when the opening (width, bottom, top) centred on the inner face lies on this edge."""
    offset = center - edge.start
    along = float(np.dot(offset, edge.along))
    if np.dot(outward, edge.inward) > -0.5 or abs(np.dot(offset, edge.inward)) > 1e-3 or not 0 < along < edge.length:
        return None
    width, bottom, top = extent
    return along - width / 2, along + width / 2, bottom, top


def _quad_sheet(corners: Sequence[ArrayLike]) -> Shape:
    """One rectangle, counter-clockwise seen from its front."""
    return Shape(np.array(corners, dtype=np.float64), np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32))


def _wall_face(edge: WallEdge, holes: Sequence[Hole], z: float, height: float) -> Shape:
    """The face towards the room without its holes, as a grid of rectangles."""
    xs = np.unique(np.round([0.0, edge.length, *(v for h in holes for v in (h.a, h.b))], 6))
    zs = np.unique(np.round([0.0, height, *(v for h in holes for v in (h.z0, h.z1))], 6))
    quads = []
    for a, b in itertools.pairwise(xs):
        for z0, z1 in itertools.pairwise(zs):
            u, v = (a + b) / 2, (z0 + z1) / 2
            if not any(h.a < u < h.b and h.z0 < v < h.z1 for h in holes):
                p, q = edge.point(a), edge.point(b)
                quads.append(_quad_sheet([(*q, z + z0), (*p, z + z0), (*p, z + z1), (*q, z + z1)]))
    return merge(quads)


def _reveal(edge: WallEdge, hole: Hole, z: float) -> Shape:
    """Sides, top and (of windows) bottom of a hole, facing its centre."""
    p0, p1 = edge.point(hole.a), edge.point(hole.a, -hole.depth)
    q0, q1 = edge.point(hole.b), edge.point(hole.b, -hole.depth)
    z0, z1 = z + hole.z0, z + hole.z1
    quads = [
        _quad_sheet([(*p1, z0), (*p0, z0), (*p0, z1), (*p1, z1)]),
        _quad_sheet([(*q0, z0), (*q1, z0), (*q1, z1), (*q0, z1)]),
        _quad_sheet([(*p0, z1), (*q0, z1), (*q1, z1), (*p1, z1)]),
    ]
    if hole.z0 > 0:
        quads.append(_quad_sheet([(*p0, z0), (*p1, z0), (*q1, z0), (*q0, z0)]))
    return merge(quads)


def _sheet(polygon: Array, z: float, *, hole: StairPlan | None) -> Shape:
    """A rectilinear polygon as a grid of upward-facing rectangles, without the hole of a stair."""
    shape: BaseGeometry = shapely.Polygon(polygon)
    xs, ys = list(polygon[:, 0]), list(polygon[:, 1])
    if hole is not None:
        shape = shape.difference(shapely.box(hole.hole_x0, hole.y0, hole.x1, hole.y1))
        xs += [hole.hole_x0, hole.x1]
        ys += [hole.y0, hole.y1]
    grid_x, grid_y = np.unique(np.round(xs, 6)), np.unique(np.round(ys, 6))
    quads = []
    for x0, x1 in itertools.pairwise(grid_x):
        for y0, y1 in itertools.pairwise(grid_y):
            if shape.contains(shapely.Point((x0 + x1) / 2, (y0 + y1) / 2)):
                quads.append(_quad_sheet([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]))
    return merge(quads)


def _thresholds(floor: StoreyPlan, index: int, wall: float, z: float) -> list[Shape]:
    """Floor inside the walls: under doors whose first room this is, and in front of the entrance leaf."""
    sheets = []
    for door in floor.doors:
        if door.rooms[0] == index:
            side = np.array([-door.direction[1], door.direction[0]]) * door_hole(door)[0] / 2
            sheets.append(_floor_strip(door.center - door.direction * wall / 2, door.direction * wall, side, z))
    if floor.entrance is not None and floor.entrance.room == index:
        sheets.append(_entrance_strip(floor.entrance, z))
    return sheets


def _entrance_strip(entrance: WallOpening, z: float) -> Shape:
    side = np.array([-entrance.outward[1], entrance.outward[0]]) * entrance.width / 2
    return _floor_strip(entrance.center, entrance.outward * (ENTRANCE_REVEAL + 0.01), side, z)


def _floor_strip(start: Array, depth: Array, side: Array, z: float) -> Shape:
    corners = [start - side, start - side + depth, start + side + depth, start + side]
    return _quad_sheet([(*corner, z) for corner in corners])


def _hole_sides(stair: StairPlan, z0: float, z1: float) -> Shape:
    """The cut edges of a slab around the hole of a stair, facing into the hole."""
    corners = [(stair.hole_x0, stair.y0), (stair.x1, stair.y0), (stair.x1, stair.y1), (stair.hole_x0, stair.y1)]
    quads = []
    for p, q in zip(corners, [*corners[1:], corners[0]], strict=True):
        quads.append(_quad_sheet([(*q, z0), (*p, z0), (*p, z1), (*q, z1)]))
    return merge(quads)


def _baseboard(edges: Sequence[WallEdge], number: int, cuts: Sequence[tuple[float, float]], z: float) -> list[Shape]:
    """The board along the foot of a wall, mitred at corners and omitted between each (from, to); only its visible faces."""
    depth, _ = BASEBOARD
    edge = edges[number]
    before, after = edges[number - 1], edges[(number + 1) % len(edges)]
    # At an inner corner the board's front is shorter than the wall by its depth, at an outer corner longer.
    trim_start = depth if np.dot(before.along, edge.inward) < 0 else -depth
    trim_end = depth if np.dot(after.along, edge.inward) > 0 else -depth
    at, start_trim = 0.0, trim_start
    quads: list[Shape] = []
    for a, b in [*cuts, (edge.length, edge.length)]:
        last = a >= edge.length - 1e-9
        if a - at > 0.02:
            ends = (at, at + start_trim, a - (trim_end if last else 0.0), a)
            quads += _board_piece(edge, ends, z, capped=(at > 0, not last))
        at, start_trim = b, 0.0
    return [merge(quads)] if quads else []


def _board_cuts(
    floor: StoreyPlan,
    index: int,
    edge: WallEdge,
    holes: Sequence[Hole],
    stairs: tuple[StairPlan | None, StairPlan | None],
) -> list[tuple[float, float]]:
    """Stretches of an edge without baseboard: doors with their casings, a flight along it, the hole in the floor."""
    cuts = []
    for hole in holes:
        if hole.z0 == 0:
            casing = CASING if _has_casing(floor, index, edge, hole) else 0.0
            cuts.append((hole.a - casing, hole.b + casing))
    below, above = stairs
    spans = [(below.hole_x0, below)] if below is not None else []
    spans += [(above.x0, above)] if above is not None else []
    for x0, stair in spans:
        ends = [float(np.dot(np.array([x, stair.y1]) - edge.start, edge.along)) for x in (x0, stair.x1)]
        if abs(np.dot(np.array([x0, stair.y1]) - edge.start, edge.inward)) < 1e-3:
            cuts.append((max(min(ends), 0.0), min(max(ends), edge.length)))
    joined: list[tuple[float, float]] = []
    for a, b in sorted(cuts):
        if joined and a <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(b, joined[-1][1]))
        else:
            joined.append((a, b))
    return joined


def _has_casing(floor: StoreyPlan, index: int, edge: WallEdge, hole: Hole) -> bool:
    """Whether a hole in the floor line has a door casing around it, unlike passages."""
    middle = edge.point((hole.a + hole.b) / 2)
    passages = [door for door in floor.doors if door.kind == "passage" and index in door.rooms]
    return not any(np.linalg.norm(door.center - middle) < 0.25 for door in passages)


def _board_piece(
    edge: WallEdge, ends: tuple[float, float, float, float], z: float, capped: tuple[bool, bool]
) -> list[Shape]:
    """Front, top and cut ends of a board; ends are (wall start, front start, front end, wall end) along the edge."""
    depth, height = BASEBOARD
    p, q = edge.point(ends[0]), edge.point(ends[3])
    fp, fq = edge.point(ends[1], depth), edge.point(ends[2], depth)
    low, top = z, z + height
    quads = [
        _quad_sheet([(*fq, low), (*fp, low), (*fp, top), (*fq, top)]),
        _quad_sheet([(*p, top), (*q, top), (*fq, top), (*fp, top)]),
    ]
    if capped[0]:
        quads.append(_quad_sheet([(*fp, low), (*p, low), (*p, top), (*fp, top)]))
    if capped[1]:
        quads.append(_quad_sheet([(*q, low), (*fq, low), (*fq, top), (*q, top)]))
    return quads
