"""What differs between two visits to one place: objects that appeared, disappeared or were moved.

Where the maps have surface and volume, rays decide: an object of one visit is absent in the other if that saw free space, or
bare floor or wall, where the object's surface is. Objects that are absent in the other visit are then matched by one global
assignment over shape, label, colour and distance, in which to have disappeared and appeared has its cost; what was seen in half
is compared by what both visits saw. Objects that stood on one that moved, and parts of it, move along.

With graphs alone the same is done by boxes: what one visit has and the other lacks counts where the other has looked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.se3 import inverse, transform_points
from scenegraph.graph import SceneGraph
from scenegraph.nodes import OrientedBox
from scenegraph.objects.sizes import is_whole
from scenegraph.visits.diff_config import DiffConfig
from scenegraph.visits.items import Candidate, as_changed, counts_as_change, items_of, views_are_known
from scenegraph.visits.matching import Move, carried, common_share, moved, stayed
from scenegraph.visits.space import StatesOf, VisitMap, common_spaces

Array = NDArray[np.float64]

KINDS = ("appeared", "disappeared", "moved")
BOXES_SURE = 0.6
"""Confidence of what only boxes show."""
MAX_TILT = np.deg2rad(5.0)


class DiffError(ValueError):
    """Raised for two visits that cannot be compared; the message says what differs."""


@dataclass(frozen=True, eq=False)
class ObjectChange:
    """One change: kind `appeared`, `disappeared` or `moved`, the label, the object's key in either graph, and the centre of its
    box in the world of the first graph, None for a visit in which it is absent. confidence in [0, 1]; `carrier` is the key in the
    first graph of the object that carried it along."""

    kind: str
    label: str
    key_a: str | None
    key_b: str | None
    position_a: Array | None
    position_b: Array | None
    confidence: float = 1.0
    carrier: str | None = None

    @property
    def distance(self) -> float | None:
        """Metres between the two centres."""
        if self.position_a is None or self.position_b is None:
            return None
        return float(np.linalg.norm(self.position_b - self.position_a))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "kind": self.kind,
            "label": self.label,
            "a": self.key_a,
            "b": self.key_b,
            "from": None if self.position_a is None else [round(float(x), 3) for x in self.position_a],
            "to": None if self.position_b is None else [round(float(x), 3) for x in self.position_b],
            "distance": None if self.distance is None else round(self.distance, 3),
            "confidence": round(self.confidence, 3),
            "with": self.carrier,
        }


@dataclass(frozen=True, eq=False)
class GraphDiff:
    """The changes, by kind and place; objects (keys in a and b) that stayed; keys of objects in regions that the other
    visit did not observe; and keys of objects whose surface the other visit has seen in its place, but has no object of."""

    changes: list[ObjectChange]
    unchanged: list[tuple[str, str]]
    unseen_a: list[str]
    unseen_b: list[str]
    confirmed_a: list[str] = field(default_factory=list)
    confirmed_b: list[str] = field(default_factory=list)


def diff_graphs(a: SceneGraph, b: SceneGraph, config: DiffConfig | None = None) -> GraphDiff:
    """What changed from visit a to visit b of one place, by their graphs alone; raises DiffError as `diff_visits`."""
    return diff_visits(VisitMap(a), VisitMap(b), config)


def diff_visits(
    a: VisitMap, b: VisitMap, config: DiffConfig | None = None, *, T_a_b: ArrayLike | None = None
) -> GraphDiff:
    """What changed from visit a to visit b of one place. `T_a_b` (4, 4) takes points of b's world to that of a; without it both
    recordings are taken to be in the same world.

    Raises DiffError when the graphs have different label spaces, or when their vertical axes differ by more than five
    degrees, so that they cannot share a world.
    """
    config = config or DiffConfig()
    if a.graph.label_space.name != b.graph.label_space.name:
        names = f"{a.graph.label_space.name} and {b.graph.label_space.name}"
        raise DiffError(f"the graphs use different label spaces, {names}")
    T = inverse(a.graph.T_input_world) @ b.graph.T_input_world if T_a_b is None else np.asarray(T_a_b, np.float64)
    if T[2, 2] < np.cos(MAX_TILT):
        tilt = np.rad2deg(np.arccos(np.clip(T[2, 2], -1, 1)))
        raise DiffError(
            f"up differs by {tilt:.0f} degrees between the two visits: expected recordings in the same world"
        )
    if a.has_surface and b.has_surface:
        spaces = common_spaces(a, b, T)
        plain = items_of(a, np.eye(4), spaces[1]), items_of(b, T, spaces[0])
        voxel_size = a.volume.config.voxel_size if a.volume is not None else 0.0
        items = (
            as_changed(plain[0], plain[1], voxel_size, config),
            as_changed(plain[1], plain[0], voxel_size, config),
        )
        return _compared(items, stayed(*items, config), (spaces[0].states, spaces[1].states), config)
    items = items_of(a, np.eye(4), None), items_of(b, T, None)
    pairs = stayed(*items, config)
    return _compared(_judged_by_boxes(items, pairs, (a.graph, b.graph, T), config), pairs, None, config)


def _compared(
    items: tuple[list[Candidate], list[Candidate]],
    pairs: list[tuple[int, int]],
    seen: tuple[StatesOf, StatesOf] | None,
    config: DiffConfig,
) -> GraphDiff:
    """The changes, from what either visit knows of the other's objects and pairs of objects that share a place."""
    a, b = items
    known_views = views_are_known(a), views_are_known(b)
    absent = [{i for i, item in enumerate(side) if item.is_absent(config)} for side in items]
    pairs = [(i, j) for i, j in pairs if i not in absent[0] and j not in absent[1]]
    shifted = _shifted(a, b, pairs, config) if seen is not None else []
    large = [
        {i for i in absent[side] if counts_as_change(items[side][i], config, views_known=known_views[side])}
        for side in (0, 1)
    ]
    open_a, open_b = (sorted(large[side] | {pair[side] for pair in shifted}) for side in (0, 1))
    keys = {(a[i].key, b[j].key) for i, j in shifted}
    found = moved([a[i] for i in open_a], [b[j] for j in open_b], seen, config, shifted=keys)
    moves = [replace(move, i=open_a[move.i], j=open_b[move.j]) for move in found]
    taken = {move.i for move in moves}, {move.j for move in moves}
    free = sorted(absent[0] - taken[0]), sorted(absent[1] - taken[1])
    along, parts = carried(moves, a, b, free)
    moves += along
    gone = large[0] - {move.i for move in moves} - parts[0]
    come = large[1] - {move.j for move in moves} - parts[1]
    changes = [_moved_change(a, b, move) for move in moves]
    changes += [_single("disappeared", a[i]) for i in sorted(gone)]
    changes += [_single("appeared", b[j]) for j in sorted(come)]
    still = [(i, j) for i, j in pairs if all(move.i != i and move.j != j for move in moves)]
    return GraphDiff(
        sorted(changes, key=lambda change: KINDS.index(change.kind)),
        [(a[i].key, b[j].key) for i, j in still],
        _unseen(a, {i for i, _ in still}, config),
        _unseen(b, {j for _, j in still}, config),
        _confirmed(a, {i for i, _ in still} | gone | {move.i for move in moves} | parts[0], config),
        _confirmed(b, {j for _, j in still} | come | {move.j for move in moves} | parts[1], config),
    )


def _shifted(
    a: Sequence[Candidate], b: Sequence[Candidate], pairs: Sequence[tuple[int, int]], config: DiffConfig
) -> list[tuple[int, int]]:
    """Pairs that share a place, each of which the other visit saw free in part: they may have been moved a little."""

    def partly(item: Candidate) -> bool:
        whole = is_whole(item.node.label, item.box.size)
        return whole and item.known >= config.contradicted_share and item.contradicted >= config.shifted_share

    return [(i, j) for i, j in pairs if partly(a[i]) and partly(b[j]) and a[i].node.label == b[j].node.label]


def _unseen(items: Sequence[Candidate], paired: set[int], config: DiffConfig) -> list[str]:
    """Keys of objects without a partner of which the other visit does not know."""
    views_known = views_are_known(items)
    return [
        item.key
        for i, item in enumerate(items)
        if i not in paired and item.known < config.min_known and counts_as_change(item, config, views_known=views_known)
    ]


def _confirmed(items: Sequence[Candidate], told: set[int], config: DiffConfig) -> list[str]:
    """Keys of objects of which nothing else is said, and whose surface the other visit has seen where it is."""
    keys = {items[i].key for i in told}
    return [
        item.key
        for i, item in enumerate(items)
        if i not in told
        and item.key not in keys
        and item.count
        and item.known >= config.min_known
        and not item.is_absent(config)
    ]


def _judged_by_boxes(
    items: tuple[list[Candidate], list[Candidate]],
    pairs: Sequence[tuple[int, int]],
    graphs: tuple[SceneGraph, SceneGraph, Array],
    config: DiffConfig,
) -> tuple[list[Candidate], list[Candidate]]:
    """The objects with what the graph of the other visit knows of them: absent where it has looked and has nothing there."""
    a, b, T = graphs
    looked = _looked_at(a, np.eye(4), config), _looked_at(b, T, config)
    sides = []
    for side in (0, 1):
        matched = {pair[side] for pair in pairs}
        judged = []
        for i, item in enumerate(items[side]):
            there = i in matched or _is_covered(item, items[1 - side], config)
            known = 1.0 if there or looked[1 - side](item.box) else 0.0
            judged.append(replace(item, contradicted=0.0 if there else 1.0, known=known))
        sides.append(judged)
    return sides[0], sides[1]


def _is_covered(item: Candidate, others: Sequence[Candidate], config: DiffConfig) -> bool:
    """Whether an object is a part of one of the other visit, or the whole of several."""
    return any(
        item.node.label == other.node.label and common_share(item.box, other.box) >= config.same_overlap
        for other in others
    )


def _looked_at(graph: SceneGraph, T: Array, config: DiffConfig) -> Callable[[OrientedBox], bool]:
    """Whether a visit has observed the space around a box of the common world: some of its free places touch it; always
    true without places."""
    places = [node for _, node in graph.nodes("place")]
    centers = transform_points(T, np.array([node.position for node in places]).reshape(-1, 3))
    radii = np.array([node.radius for node in places])

    def looked(box: OrientedBox) -> bool:
        local = np.abs((centers - box.center) @ box.rotation) - box.size / 2
        return not places or bool((np.linalg.norm(np.maximum(local, 0), axis=1) <= radii + config.reach).any())

    return looked


def _single(kind: str, item: Candidate) -> ObjectChange:
    sure = item.certainty if item.count else BOXES_SURE
    if kind == "appeared":
        return ObjectChange(kind, item.node.label, None, item.key, None, item.box.center, sure)
    return ObjectChange(kind, item.node.label, item.key, None, item.box.center, None, sure)


def _moved_change(a: Sequence[Candidate], b: Sequence[Candidate], move: Move) -> ObjectChange:
    """The box of the visit that saw more of the object, and where its motion takes it."""
    first, second, T = a[move.i], b[move.j], move.motion.T
    start, end = first.box.center, second.box.center
    if first.diagonal >= second.diagonal:
        end = transform_points(T, start)
    else:
        start = transform_points(inverse(T), end)
    sure = BOXES_SURE if not first.count else move.motion.score * float(np.sqrt(first.certainty * second.certainty))
    carrier = None if move.carrier is None else a[move.carrier].key
    return ObjectChange("moved", first.node.label, first.key, second.key, start, end, sure, carrier)
