"""Walls between rooms and the doors in them, from the outlines of the rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from scenegraph.graph import Edge, SceneGraph

Array = NDArray[np.float64]

THICKEST_WALL = 0.5
"""Metres; a wider gap between two rooms is not one wall, and may be anything."""
THINNEST_WALL = 0.06
DEFAULT_WIDTH, WIDEST_DOOR = 0.8, 1.4
"""Metres of a door whose width is unknown, and up to which an opening has a leaf."""
SWING_STEPS = 12


@dataclass(frozen=True, eq=False)
class Doorway:
    """An opening in a wall: its middle (2,), unit vectors along and across the wall (2,), width and thickness in metres.

    `leaf`: an open leaf (2, 2) and the quarter circle (N, 2) of its edge, where it is narrow enough for a door and there is
    evidence of one. From which side it hangs is not known: it is drawn where it meets the least furniture and wall.
    """

    edge: Edge
    middle: Array
    along: Array
    across: Array
    width: float
    thickness: float
    leaf: tuple[Array, Array] | None = None

    @property
    def gap(self) -> Array:
        """(4, 2) corners of the opening in the wall."""
        a, c = self.along * self.width / 2, self.across * self.thickness / 2
        return np.stack([self.middle - a - c, self.middle + a - c, self.middle + a + c, self.middle - a + c])

    @property
    def jambs(self) -> tuple[Array, Array]:
        """The two ends of the wall, (2, 2) each."""
        corners = self.gap
        return corners[[0, 3]], corners[[1, 2]]

    def leaves(self) -> list[tuple[Array, Array]]:
        """All four ways in which a leaf may hang."""
        angles = np.linspace(0, np.pi / 2, SWING_STEPS)
        found = []
        for side in (1, -1):
            for end in (1, -1):
                hinge = self.middle - end * self.along * self.width / 2 + side * self.across * self.thickness / 2
                turned = np.outer(np.cos(angles), end * self.along) + np.outer(np.sin(angles), side * self.across)
                found.append((np.stack([hinge, hinge + self.width * side * self.across]), hinge + self.width * turned))
        return found


def wall_areas(outlines: list[shapely.Polygon]) -> list[shapely.Polygon]:
    """What lies between rooms that are no further apart than walls are thick."""
    if not outlines:
        return []
    rooms = shapely.union_all(outlines)
    half = THICKEST_WALL / 2
    closed = rooms.buffer(half, join_style="mitre").buffer(-half, join_style="mitre")
    between = closed.difference(rooms.buffer(1e-6)).buffer(-0.005).buffer(0.005, join_style="mitre")
    pieces = shapely.get_parts(between)
    return [piece for piece in pieces if isinstance(piece, shapely.Polygon) and piece.area > 0.01]


def doorways(
    graph: SceneGraph, rooms: dict[str, shapely.Polygon], furniture: Sequence[shapely.Polygon] = ()
) -> list[Doorway]:
    """The openings between rooms of one storey, as the graph has them."""
    found = []
    standing = shapely.union_all(list(furniture))
    for edge in graph.edges("room_edge"):
        if edge.source in rooms and edge.target in rooms and edge.attributes.get("door") is not None:
            a, b = rooms[edge.source], rooms[edge.target]
            opening = _doorway(edge, a, b)
            evidence = edge.attributes.get("evidence") or {}
            is_door = bool(evidence.get("door") or evidence.get("lintel") or not evidence)
            if is_door and opening.width <= WIDEST_DOOR:
                free = shapely.union(a, b).difference(standing)
                opening = replace(opening, leaf=max(opening.leaves(), key=lambda leaf: _room_of(leaf, free)))
            found.append(opening)
    return found


def _room_of(leaf: tuple[Array, Array], free: shapely.Geometry) -> float:
    """How much of the area that a leaf sweeps is free, in square metres, to the millimetre."""
    swept = shapely.Polygon(np.concatenate([leaf[0][:1], leaf[1]]))
    return round(float(shapely.intersection(swept, free).area), 3)


def _doorway(edge: Edge, a: shapely.Polygon, b: shapely.Polygon) -> Doorway:
    at = np.asarray(edge.attributes["door"], dtype=np.float64)[:2]
    point = shapely.Point(at)
    near_a, along = _nearest_side(a, at)
    near_b, _ = _nearest_side(b, at)
    across = np.array([-along[1], along[0]])
    apart = abs(float(np.dot(near_b - near_a, across)))
    is_wall = apart <= THICKEST_WALL and a.distance(point) <= THICKEST_WALL and b.distance(point) <= THICKEST_WALL
    middle = (near_a + near_b) / 2 if is_wall else at
    width = float(edge.attributes.get("width") or DEFAULT_WIDTH)
    return Doorway(edge, middle, along, across, width, max(apart if is_wall else 0.0, THINNEST_WALL))


def _nearest_side(polygon: shapely.Polygon, at: Array) -> tuple[Array, Array]:
    """The nearest point (2,) of an outline, and the unit direction (2,) of the side on which it lies."""
    corners = np.asarray(polygon.exterior.coords)
    starts, ends = corners[:-1], corners[1:]
    spans = ends - starts
    lengths = np.linalg.norm(spans, axis=1)
    starts, spans, lengths = (values[lengths > 1e-6] for values in (starts, spans, lengths))
    share = np.clip(np.einsum("ij,ij->i", at - starts, spans) / lengths**2, 0, 1)
    points = starts + share[:, None] * spans
    # A longer side among those equally near: a door is in a wall, not in a corner of the outline.
    nearest = int(np.argmin(np.linalg.norm(points - at, axis=1) - 0.02 * np.minimum(lengths, 1.0)))
    return points[nearest], spans[nearest] / lengths[nearest]
