"""What differs between two visits to one place: objects that appeared, disappeared or were moved.

Two scene graphs are all that is needed. They may be levelled differently; `T_input_world` brings both to the world of their
recordings, which must be the same. Objects are matched one to one in steps, each at least total cost: those that have
not moved, then those that differ only in label or in how much of them was mapped, then those of equal label and size in
another position. What one visit has and the other lacks counts only where the other visit has looked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass
from scipy.optimize import linear_sum_assignment

from mapping.se3 import inverse, transform_points
from scenegraph.boxes import box_iou, transform_box, upright
from scenegraph.graph import SceneGraph
from scenegraph.nodes import ObjectNode, OrientedBox

Array = NDArray[np.float64]
Keyed = tuple[str, ObjectNode, OrientedBox]

GROWN = 0.1  # metres added to each side of a box before two are compared, so that flat objects have a volume
EQUAL_SIZE = 1.2  # ratio of edge lengths that two maps of one object may show
COST_OF_WAY = 0.02  # cost of a metre, relative to the logarithm of the ratio of sizes
FORBIDDEN = 1e9
KINDS = ("appeared", "disappeared", "moved")


class DiffError(ValueError):
    """Raised for two graphs that cannot be compared; the message says what differs."""


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DiffConfig:
    """When two objects of two visits are the same."""

    same_place: float = Field(default=0.3, gt=0)
    """Metres between the centres of an object that was not moved; more for larger ones, up to a quarter of their diagonal."""
    same_overlap: float = Field(default=0.35, gt=0, le=1)
    """Share of the smaller box that the two have in common when they are the same or a part of it, whatever their centres."""
    other_label_overlap: float = Field(default=0.5, gt=0, le=1)
    """Intersection over union from which two objects of different labels are one."""
    size_ratio: float = Field(default=1.5, ge=1)
    """Largest ratio of an edge of a moved object between the visits, on top of 5 cm."""
    min_views: int = Field(default=2, ge=0)
    """Frames that must have seen an object for it to count as a change, where graphs know their frames."""
    min_diagonal: float = Field(default=0.35, ge=0)
    """Metres; smaller objects do not count as changes, since they are often found in one visit and missed in the next."""
    reach: float = Field(default=1.0, gt=0)
    """Metres around the free places of a visit within which its observation is taken to be complete."""


@dataclass(frozen=True, eq=False)
class ObjectChange:
    """One change: kind `appeared`, `disappeared` or `moved`, the label, the object's key in either graph, and the centre of its
    box in the world of the first graph, None for a visit in which it is absent."""

    kind: str
    label: str
    key_a: str | None
    key_b: str | None
    position_a: Array | None
    position_b: Array | None

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
        }


@dataclass(frozen=True, eq=False)
class GraphDiff:
    """The changes, by kind and place; objects (keys in a and b) that stayed; keys of objects in regions that the other
    visit did not observe."""

    changes: list[ObjectChange]
    unchanged: list[tuple[str, str]]
    unseen_a: list[str]
    unseen_b: list[str]


def diff_graphs(a: SceneGraph, b: SceneGraph, config: DiffConfig | None = None) -> GraphDiff:
    """What changed from visit a to visit b of one place.

    Raises DiffError when the graphs have different label spaces, or when their vertical axes differ by more than five
    degrees, so that they cannot share a world.
    """
    config = config or DiffConfig()
    if a.label_space.name != b.label_space.name:
        raise DiffError(f"the graphs use different label spaces, {a.label_space.name} and {b.label_space.name}")
    T_a_b = inverse(a.T_input_world) @ b.T_input_world
    if T_a_b[2, 2] < np.cos(np.deg2rad(5.0)):
        tilt = np.rad2deg(np.arccos(np.clip(T_a_b[2, 2], -1, 1)))
        raise DiffError(
            f"up differs by {tilt:.0f} degrees between the two visits: expected recordings in the same world"
        )
    all_a, all_b = _objects(a, np.eye(4)), _objects(b, T_a_b)
    pairs = _stayed(all_a, all_b, config)
    rest_a = _counting(all_a, _uncovered(all_a, {i for i, _ in pairs}, all_b, config), config)
    rest_b = _counting(all_b, _uncovered(all_b, {j for _, j in pairs}, all_a, config), config)
    # Whether an object is gone is known only where the other visit has looked.
    looked_a, looked_b = _looked_at(a, np.eye(4), config), _looked_at(b, T_a_b, config)
    moved = _moved([all_a[i] for i in rest_a], [all_b[j] for j in rest_b], config)
    changes = [_change("moved", all_a[rest_a[i]], all_b[rest_b[j]]) for i, j in moved]
    single_a = [all_a[i] for n, i in enumerate(rest_a) if n not in {i for i, _ in moved}]
    single_b = [all_b[j] for n, j in enumerate(rest_b) if n not in {j for _, j in moved}]
    changes += [_change("disappeared", each, None) for each in single_a if looked_b(each[2])]
    changes += [_change("appeared", None, each) for each in single_b if looked_a(each[2])]
    return GraphDiff(
        sorted(changes, key=lambda change: KINDS.index(change.kind)),
        [(all_a[i][0], all_b[j][0]) for i, j in pairs],
        [each[0] for each in single_a if not looked_b(each[2])],
        [each[0] for each in single_b if not looked_a(each[2])],
    )


def _objects(graph: SceneGraph, T: Array) -> list[Keyed]:
    """Key, node and upright box in the common world of every object."""
    return [(key, node, upright(transform_box(T, node.box))) for key, node in graph.nodes("object")]


def _counting(objects: Sequence[Keyed], numbers: Sequence[int], config: DiffConfig) -> list[int]:
    """Those of the numbers whose objects are large enough and observed often enough that the other visit would have
    found them."""
    known = any(node.views > 0 for _, node, _ in objects)
    return [
        i
        for i in numbers
        if (objects[i][1].views >= config.min_views or not known)
        and np.linalg.norm(objects[i][2].size) >= config.min_diagonal
    ]


def _stayed(a: Sequence[Keyed], b: Sequence[Keyed], config: DiffConfig) -> list[tuple[int, int]]:
    """Pairs of objects that have not moved: of equal label first, then of any label."""
    pairs = _assign(a, b, lambda x, y: _same_cost(x, y, config))
    left_a = [i for i in range(len(a)) if i not in {i for i, _ in pairs}]
    left_b = [j for j in range(len(b)) if j not in {j for _, j in pairs}]
    others = _assign([a[i] for i in left_a], [b[j] for j in left_b], lambda x, y: _relabelled_cost(x, y, config))
    return sorted(pairs + [(left_a[i], left_b[j]) for i, j in others])


def _same_cost(a: Keyed, b: Keyed, config: DiffConfig) -> float:
    if a[1].label != b[1].label:
        return FORBIDDEN
    away = float(np.linalg.norm(a[2].center - b[2].center))
    diagonal = float(min(np.linalg.norm(a[2].size), np.linalg.norm(b[2].size)))
    near = away <= max(config.same_place, diagonal / 4)
    return away if near or _common_share(a[2], b[2]) >= config.same_overlap else FORBIDDEN


def _relabelled_cost(a: Keyed, b: Keyed, config: DiffConfig) -> float:
    overlap = box_iou(_grown(a[2]), _grown(b[2]))
    return 1 - overlap if overlap >= config.other_label_overlap else FORBIDDEN


def _uncovered(these: Sequence[Keyed], matched: set[int], others: Sequence[Keyed], config: DiffConfig) -> list[int]:
    """Numbers of unmatched objects that are neither a part of an object of the other visit nor the whole of several."""
    return [
        i
        for i, each in enumerate(these)
        if i not in matched
        and not any(
            each[1].label == other[1].label and _common_share(each[2], other[2]) >= config.same_overlap
            for other in others
        )
    ]


def _moved(a: Sequence[Keyed], b: Sequence[Keyed], config: DiffConfig) -> list[tuple[int, int]]:
    """Pairs of equal label and similar size; which of several equal objects went where is unknown, so
    the shortest moves are assumed."""

    def cost(x: Keyed, y: Keyed) -> float:
        if x[1].label != y[1].label:
            return FORBIDDEN
        sizes = np.stack([[*np.sort(box.size[:2]), box.size[2]] for box in (x[2], y[2])]) + GROWN / 2
        ratio = float(np.max(np.maximum(sizes[0] / sizes[1], sizes[1] / sizes[0])))
        far = float(np.linalg.norm(x[2].center - y[2].center))
        return float(np.log(max(ratio, EQUAL_SIZE))) + COST_OF_WAY * far if ratio <= config.size_ratio else FORBIDDEN

    return _assign(a, b, cost)


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


def _change(kind: str, a: Keyed | None, b: Keyed | None) -> ObjectChange:
    label = a[1].label if a is not None else b[1].label if b is not None else ""
    return ObjectChange(
        kind,
        label,
        None if a is None else a[0],
        None if b is None else b[0],
        None if a is None else a[2].center,
        None if b is None else b[2].center,
    )


def _assign(a: Sequence[Keyed], b: Sequence[Keyed], cost: Callable[[Keyed, Keyed], float]) -> list[tuple[int, int]]:
    """As many allowed pairs as possible, at the least total cost (Kuhn 1955)."""
    costs = np.array([[cost(x, y) for y in b] for x in a], dtype=np.float64).reshape(len(a), len(b))
    rows, columns = linear_sum_assignment(costs)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if costs[i, j] < FORBIDDEN]


def _grown(box: OrientedBox) -> OrientedBox:
    return OrientedBox(box.center, box.size + GROWN, box.rotation)


def _common_share(a: OrientedBox, b: OrientedBox) -> float:
    """Volume that two boxes have in common over that of the smaller one."""
    a, b = _grown(a), _grown(b)
    iou = box_iou(a, b)
    return iou * (a.volume + b.volume) / (1 + iou) / min(a.volume, b.volume)
