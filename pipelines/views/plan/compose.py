"""The floor plan of a storey: rooms, walls, doors, furniture, paths, names and dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from pipelines.views.measured import Measured
from pipelines.views.plan.dimensions import add_dimensions
from pipelines.views.plan.drawing import Color, Drawing
from pipelines.views.plan.names import add_names
from pipelines.views.plan.paths import smoothed
from pipelines.views.plan.walls import Doorway, doorways, wall_areas
from pipelines.views.summary_text import words
from scenegraph.graph import SceneGraph

ROOM_FILLS: tuple[Color, ...] = (
    (232, 241, 250), (253, 240, 225), (234, 246, 233), (246, 234, 245),
    (253, 247, 217), (230, 245, 244), (243, 237, 230), (236, 236, 248),
)  # fmt: skip
WALL: Color = (70, 70, 70)
PAPER: Color = (255, 255, 255)
GRID: Color = (232, 232, 228)
DOOR: Color = (138, 90, 43)
CAMERA: Color = (59, 111, 182)
MOVING: Color = (210, 60, 60)
SMALLEST_DRAWN, SMALLEST_CARRIED = 0.25, 0.5
"""Metres of the longer side of a footprint, below which an object is clutter on a plan: by itself, and on or in another one."""
MARGIN = 0.4
TEXT_SHARE, SMALLEST_TEXT, LARGEST_TEXT = 1 / 75, 0.07, 0.4
"""Height of names: a share of the plan's longer side, within limits in metres."""


def storey_drawings(graph: SceneGraph, measured: Measured) -> list[Drawing]:
    """The plan of every storey with something in it, lowest first; one of everything where there are no storeys."""
    storeys = [key for key, _ in graph.nodes("storey")]
    keys: list[str | None] = [*storeys] or [None]
    drawings = [storey_drawing(graph, measured, key) for key in keys]
    return [drawing for drawing in drawings if drawing is not None]


def storey_drawing(graph: SceneGraph, measured: Measured, storey: str | None = None) -> Drawing | None:
    """The plan of one storey (or of everything), x to the right and y up; None where it has no room, object or camera."""
    rooms, objects = (_in_storey(graph, layer, storey) for layer in ("room", "object"))
    agents, tracks = (_in_storey(graph, layer, storey) for layer in ("agent", "track"))
    carried = {edge.source for edge in graph.edges() if edge.kind in ("on", "in")}
    objects = [
        (key, node)
        for key, node in objects
        if max(node.box.size[:2]) >= (SMALLEST_CARRIED if key in carried else SMALLEST_DRAWN)
    ]
    objects.sort(key=lambda item: -float(np.prod(item[1].box.size[:2])))  # small ones are drawn on top
    points = [room.polygon for _, room in rooms] + [node.box.corners()[:4, :2] for _, node in objects]
    points += [np.asarray(node.position)[None, :2] for _, node in agents]
    if not points:
        return None
    corners = np.concatenate(points)
    low, high = corners.min(axis=0), corners.max(axis=0)
    text = float(np.clip(float((high - low).max()) * TEXT_SHARE, SMALLEST_TEXT, LARGEST_TEXT))
    drawing = Drawing(f"storey {storey}" if storey else "plan", low - MARGIN, high + MARGIN, text)
    outlines = {key: shapely.Polygon(room.polygon) for key, room in rooms}
    openings = doorways(graph, outlines, [shapely.Polygon(node.box.corners()[:4, :2]) for _, node in objects])
    _add_rooms(drawing, rooms, measured)
    _add_objects(drawing, graph, objects)
    _add_walls(drawing, list(outlines.values()), openings)
    _add_paths(drawing, agents, tracks, outlines, openings)
    add_names(drawing, rooms, objects, measured)
    add_dimensions(drawing, rooms)
    _add_grid(drawing)
    return drawing


def _in_storey(graph: SceneGraph, layer: str, storey: str | None) -> list[tuple[str, Any]]:
    """Nodes of a layer below a storey (all when it is None)."""
    nodes = graph.nodes(layer)
    if storey is None:
        return nodes
    several = len(graph.nodes("storey")) > 1
    return [(key, node) for key, node in nodes if graph.ancestor(key, "storey") == storey or not several]


def _add_grid(drawing: Drawing) -> None:
    """Lines every metre, below all else."""
    rest = drawing.shapes
    drawing.shapes = []
    for axis in (0, 1):
        for at in np.arange(np.ceil(drawing.low[axis]), drawing.high[axis]):
            ends = np.array([drawing.low, drawing.high])
            ends[:, axis] = at
            drawing.line("GRID", ends, stroke=GRID, width=0.4)
    drawing.shapes += rest


def _add_rooms(drawing: Drawing, rooms: Sequence[tuple[str, Any]], measured: Measured) -> None:
    for number, (key, room) in enumerate(rooms):
        area = measured.areas.get(key)
        title = f"{key} {words(room.label)}, {'–' if area is None else f'{area:.1f}'} m²"
        fill = ROOM_FILLS[number % len(ROOM_FILLS)]
        drawing.area("ROOMS", room.polygon, fill=fill, title=title, key=key)


def _add_objects(drawing: Drawing, graph: SceneGraph, objects: Sequence[tuple[str, Any]]) -> None:
    palette = {c.name: c.color for c in graph.label_space.classes}
    for key, node in objects:
        color = palette.get(node.label, (128, 128, 128))
        dark = tuple(round(0.7 * x) for x in color)
        size = " × ".join(f"{s:.2f}" for s in node.box.size)
        title = f"{key} {words(node.label)}, {size} m, {node.views} views"
        corners = node.box.corners()[:4]
        drawing.area("FURNITURE", corners, fill=color, fill_opacity=0.4, stroke=dark, width=0.7, title=title, key=key)


def _add_walls(drawing: Drawing, outlines: list[shapely.Polygon], openings: Sequence[Doorway]) -> None:
    """Walls between rooms in grey, the faces of all walls as lines, and in both the openings of the doors."""
    gaps = shapely.union_all([shapely.Polygon(opening.gap).buffer(0.01, join_style="mitre") for opening in openings])
    for wall in wall_areas(outlines):
        for piece in shapely.get_parts(wall.difference(gaps)):
            if isinstance(piece, shapely.Polygon) and piece.area > 1e-3:
                holes = [ring.coords for ring in piece.interiors]
                drawing.area("WALLS", piece.exterior.coords, *holes, fill=(150, 150, 150))
    for outline in outlines:
        for line in shapely.get_parts(outline.exterior.difference(gaps)):
            drawing.line("WALLS", line.coords, stroke=WALL, width=1.6)
    for opening in openings:
        _add_door(drawing, opening)


def _add_door(drawing: Drawing, opening: Doorway) -> None:
    a, b = opening.edge.source, opening.edge.target
    what = "opening" if opening.leaf is None else "door"
    title = f"{what} {a} - {b}, {opening.width:.2f} m"
    drawing.area("DOORS", opening.gap, fill=PAPER, title=title, key=a)
    for jamb in opening.jambs:
        drawing.line("DOORS", jamb, stroke=WALL, width=1.6)
    if opening.leaf is not None:
        leaf, arc = opening.leaf
        drawing.line("DOORS", leaf, stroke=DOOR, width=1.4, title=title)
        drawing.line("DOORS", arc, stroke=DOOR, width=0.6, title=title)
    else:
        corners = opening.gap
        for side in (corners[[0, 1]], corners[[3, 2]]):
            drawing.line("DOORS", side, stroke=DOOR, width=0.6, dash=(0.08, 0.08), title=title)


def _add_paths(
    drawing: Drawing,
    agents: Sequence[tuple[str, Any]],
    tracks: Sequence[tuple[str, Any]],
    outlines: dict[str, shapely.Polygon],
    openings: Sequence[Doorway],
) -> None:
    gaps = [shapely.Polygon(opening.gap).buffer(0.05) for opening in openings]
    free = shapely.union_all([*outlines.values(), *gaps])
    if len(agents) > 1:
        ordered = sorted((node for _, node in agents), key=lambda node: node.time)
        times, positions = np.array([node.time for node in ordered]), np.array([node.position for node in ordered])
        for line in smoothed(times, positions[:, :2], free, longest_gap=np.inf):  # poses are there when it moves
            drawing.line("CAMERA", line, stroke=CAMERA, width=0.8)
    for key, track in tracks:
        for line in smoothed(np.asarray(track.times), np.asarray(track.positions)[:, :2], free):
            title = f"{key} {words(track.label)}"
            drawing.line("MOVING", line, stroke=MOVING, width=1.2, dash=(0.12, 0.08), title=title, key=key)
