"""The objects of a visit with what the other visit knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mapping.se3 import transform_points
from scenegraph.boxes import box_around, box_iou, points_in_box, transform_box, upright
from scenegraph.nodes import ObjectNode, OrientedBox
from scenegraph.objects.sizes import is_whole, plausible
from scenegraph.visits.diff_config import DiffConfig
from scenegraph.visits.space import CONFIRMED, CONTRADICTED, UNKNOWN, ObservedSpace, States, VisitMap, object_vertices

Array = NDArray[np.float64]

MOST_POINTS = 1500
"""Vertices of an object that are looked up in the other visit."""
HALF_SURE = 20.0
"""Known points at which the confidence in what they say is one half."""
PART_POINTS, PART_PURITY = 40, 0.8
"""Least contradicted points of a part of an object that alone is absent, and their least share of all known ones in its box."""
PART_LINK = 3.0
"""Voxels within which contradicted points belong to one part."""
PART_OVERLAP = 0.5
"""Intersection over union with an object of the other visit from which an object has no absent part."""
PIECE_GAP = 0.5
"""Metres between pieces of one object."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An object of one visit, a part of one, or several pieces of one, in the common world.

    points (N, 3) of its surface, colors (N, 3) uint8 or None, states (N,) in the other visit; contradicted, known in [0, 1]: how
    much the other visit saw free of what it knows of the surface, and the share that it knows; count: the points that it knows.
    """

    key: str
    node: ObjectNode
    box: OrientedBox
    points: Array
    colors: NDArray[np.uint8] | None = None
    states: States | None = None
    contradicted: float = 0.0
    known: float = 0.0
    count: float = 0.0

    @property
    def diagonal(self) -> float:
        """Metres."""
        return float(np.linalg.norm(self.box.size))

    @property
    def certainty(self) -> float:
        """How sure it is that the object is absent in the other visit, in [0, 1]."""
        return self.contradicted * self.count / (self.count + HALF_SURE)

    def judged(self, states: States) -> Candidate:
        """The item with what the other visit says of its points."""
        confirmed, contradicted = int((states == CONFIRMED).sum()), int((states == CONTRADICTED).sum())
        count = confirmed + contradicted
        known = count / max(len(states), 1)
        return replace(self, states=states, contradicted=contradicted / max(count, 1), known=known, count=float(count))

    def is_absent(self, config: DiffConfig) -> bool:
        """Whether the other visit knows enough of its surface and saw most of that free."""
        return self.known >= config.min_known and self.contradicted >= config.contradicted_share


def items_of(visit: VisitMap, T_common_visit: Array, other: ObservedSpace | None) -> list[Candidate]:
    """The objects of a visit; with the space of the other visit what that knows of them."""
    items: list[Candidate] = []
    for key, node in visit.graph.nodes("object"):
        item = Candidate(key, node, upright(transform_box(T_common_visit, node.box)), np.zeros((0, 3)))
        if visit.mesh is not None and other is not None:
            at = object_vertices(visit.mesh, node.number, MOST_POINTS)
            colors = None if visit.mesh.colors is None else visit.mesh.colors[at]
            item = replace(item, points=transform_points(T_common_visit, visit.mesh.vertices[at]), colors=colors)
            item = item.judged(other.states(item.points, of_object=True))
        items.append(item)
    return items


def as_changed(
    items: Sequence[Candidate], others: Sequence[Candidate], voxel_size: float, config: DiffConfig
) -> list[Candidate]:
    """The items cut and joined by what is absent in the other visit, whose objects are `others`.

    Two chairs that touch may be one object; when one of them leaves, a part of that object does. And one chair may be several
    pieces, which leave together.
    """
    pieces = [part for item in items for part in _with_part(item, others, voxel_size, config)]
    absent = [item for item in pieces if item.is_absent(config)]
    return [item for item in pieces if not item.is_absent(config)] + _joined(absent)


def _with_part(item: Candidate, others: Sequence[Candidate], voxel_size: float, config: DiffConfig) -> list[Candidate]:
    """The item, or where a coherent part of it is absent, the rest of it and that part; an object of the other visit that is as
    large shows that it is whole there."""
    states = item.states
    if states is None or item.is_absent(config) or _is_matched(item, others):
        return [item]
    contradicted = np.flatnonzero(states == CONTRADICTED)
    if len(contradicted) < PART_POINTS or (states == CONFIRMED).sum() < PART_POINTS:
        return [item]
    part = contradicted[_largest_component(item.points[contradicted], PART_LINK * voxel_size)]
    box = box_around(item.points[part])
    within = points_in_box(item.points, box, margin=1e-9)
    purity = len(part) / max(int((states[within] != UNKNOWN).sum()), 1)
    if len(part) < PART_POINTS or purity < PART_PURITY or np.linalg.norm(box.size) < config.min_diagonal:
        return [item]
    return [_cut(item, ~within, states), _cut(item, within, states)]


def _is_matched(item: Candidate, others: Sequence[Candidate]) -> bool:
    return any(other.node.label == item.node.label and box_iou(item.box, other.box) >= PART_OVERLAP for other in others)


def _joined(items: Sequence[Candidate]) -> list[Candidate]:
    """Absent pieces that touch, of which one alone is less than an object of its class, as one item each."""
    done: list[Candidate] = []
    for item in sorted(items, key=lambda item: (-item.diagonal, item.key)):
        at = next((k for k, whole in enumerate(done) if _is_piece_of(item, whole)), None)
        if at is None:
            done.append(item)
        else:
            done[at] = _union(done[at], item)
    return done


def _is_piece_of(item: Candidate, whole: Candidate) -> bool:
    name = whole.node.label
    if item.node.label != name or (is_whole(name, item.box.size) and is_whole(name, whole.box.size)):
        return False
    if not plausible(name, box_around(np.concatenate([item.points, whole.points])).size):
        return False
    away = cKDTree(whole.points).query(item.points)[0]
    return bool(away.min() <= PIECE_GAP)


def _union(whole: Candidate, piece: Candidate) -> Candidate:
    """Two pieces as one item, named by the larger."""
    assert whole.states is not None
    assert piece.states is not None
    points = np.concatenate([whole.points, piece.points])
    colored = whole.colors is not None and piece.colors is not None
    colors = np.concatenate([whole.colors, piece.colors]) if colored else None  # type: ignore[list-item]
    corners = np.concatenate([whole.box.corners(), piece.box.corners()])
    node = replace(whole.node, views=max(whole.node.views, piece.node.views))
    joined = replace(whole, node=node, points=points, colors=colors, box=box_around(corners))
    return joined.judged(np.concatenate([whole.states, piece.states]))


def _cut(item: Candidate, mask: NDArray[np.bool_], states: States) -> Candidate:
    """The points of a mask (N,) as an item of their own."""
    colors = None if item.colors is None else item.colors[mask]
    points = item.points[mask]
    return replace(item, points=points, colors=colors, box=box_around(points)).judged(states[mask])


def _largest_component(points: Array, link: float) -> NDArray[np.int64]:
    """Numbers of the points (N, 3) of the largest group in which neighbours are at most `link` metres apart."""
    pairs = cKDTree(points).query_pairs(link, output_type="ndarray")
    ones = np.ones(len(pairs), dtype=np.int8)
    links = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points)))
    _, group = connected_components(links, directed=False)
    return np.flatnonzero(group == np.argmax(np.bincount(group)))


def counts_as_change(item: Candidate, config: DiffConfig, *, views_known: bool) -> bool:
    """Whether an object is large enough and observed often enough for its absence to mean something."""
    return (item.node.views >= config.min_views or not views_known) and item.diagonal >= config.min_diagonal


def views_are_known(items: Sequence[Candidate]) -> bool:
    """Whether the graph of these objects knows in how many frames each was seen."""
    return any(item.node.views > 0 for item in items)
