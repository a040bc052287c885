"""When objects were there, over several visits: each visit saw the object's surface, or through it, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from mapping.se3 import inverse, transform_points
from scenegraph.boxes import box_iou, transform_box, upright
from scenegraph.graph import SceneGraph
from scenegraph.nodes import ObjectNode
from scenegraph.visits.diff_config import DiffConfig
from scenegraph.visits.items import MOST_POINTS
from scenegraph.visits.space import CONFIRMED, CONTRADICTED, ObservedSpace, VisitMap, object_vertices

Array = NDArray[np.float64]
Interval = tuple[float, float]

SAME_OBJECT = 0.3
"""Box overlap from which an object of a visit is that of the merged map."""
TOUCHING = 1e-6  # seconds


@dataclass(frozen=True, eq=False)
class PlacedVisit:
    """A visit in a common world and a common time: `T_world_visit` (4, 4), and the first and last second of its frames. `shift`
    seconds were added to its own times."""

    visit: VisitMap
    T_world_visit: Array
    times: Interval
    shift: float = 0.0

    @cached_property
    def space(self) -> ObservedSpace:
        """What it saw, for points of the common world."""
        return ObservedSpace(self.visit, inverse(self.T_world_visit))


def fill_visit_presence(
    graph: SceneGraph, mesh: Mesh, visits: Sequence[PlacedVisit], config: DiffConfig | None = None
) -> None:
    """Give the objects of a graph, whose numbers are those of the mesh, their presence over the visits.

    An object is absent from a visit that saw most of its surface free. Where an object of that visit is the same, its presence
    within the visit is taken over. A change between two visits is placed halfway; a visit that did not look says nothing.
    """
    config = config or DiffConfig()
    order = sorted(range(len(visits)), key=lambda k: visits[k].times)
    for key, node in graph.nodes("object"):
        at = object_vertices(mesh, node.number, MOST_POINTS)
        known = [(visits[k].times, _within(node, mesh.vertices[at], visits[k], config)) for k in order]
        said = [(times, pieces) for times, pieces in known if pieces is not None]
        graph.replace(key, replace(node, presence=joined_presence(said, _span(visits))))


def _span(visits: Sequence[PlacedVisit]) -> Interval:
    return min(visit.times[0] for visit in visits), max(visit.times[1] for visit in visits)


def _within(node: ObjectNode, points: Array, visit: PlacedVisit, config: DiffConfig) -> tuple[Interval, ...] | None:
    """The intervals of a visit in which an object was there; None where the visit does not know."""
    states = visit.space.states(points, of_object=True)
    confirmed, contradicted = int((states == CONFIRMED).sum()), int((states == CONTRADICTED).sum())
    if confirmed + contradicted < config.min_known * max(len(states), 1):
        return None
    if contradicted >= config.contradicted_share * (confirmed + contradicted):
        return ()
    best = max(
        (
            (box_iou(node.box, upright(transform_box(visit.T_world_visit, other.box))), other)
            for _, other in visit.visit.graph.nodes("object")
            if other.label == node.label
        ),
        key=lambda entry: entry[0],
        default=(0.0, node),
    )
    if best[0] < SAME_OBJECT or not best[1].presence:
        return (visit.times,)
    return tuple((start + visit.shift, end + visit.shift) for start, end in best[1].presence)


def joined_presence(visits: Sequence[tuple[Interval, tuple[Interval, ...]]], span: Interval) -> tuple[Interval, ...]:
    """Presence over all of `span` from that within visits (times, intervals), in the order of time.

    What lasts to the end of one visit and from the start of the next lasts in between; a change between two visits is
    halfway. Before the first visit that knows, and after the last, it is as there.
    """
    pieces: list[list[float]] = []
    previous_end, was_there = span[0], None
    for (start, end), inside in visits:
        first_open = bool(inside) and inside[0][0] <= start + TOUCHING
        halfway = (previous_end + start) / 2
        if was_there and pieces and not first_open:
            pieces[-1][1] = max(halfway, pieces[-1][0])
        for number, (low, high) in enumerate(inside):
            if number == 0 and first_open and was_there and pieces:
                pieces[-1][1] = max(high, pieces[-1][1])
            elif number == 0 and first_open:
                pieces.append([span[0] if was_there is None else halfway, high])
            else:
                pieces.append([low, high])
        was_there = bool(inside) and inside[-1][1] >= end - TOUCHING
        previous_end = max(end, previous_end)
    if was_there and pieces:
        pieces[-1][1] = span[1]
    return tuple((low, high) for low, high in pieces)


def visit_points(visit: PlacedVisit, points: Array) -> Array:
    """Points (N, 3) of the common world in the visit's own."""
    return transform_points(inverse(visit.T_world_visit), points)
