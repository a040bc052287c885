"""Which object of one visit is which of the other: those that stayed, and by one global assignment those that were moved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mapping.se3 import from_rotation_translation, inverse
from scenegraph.boxes import box_iou, transform_box
from scenegraph.nodes import OrientedBox
from scenegraph.objects.sizes import is_whole
from scenegraph.visits.alignment import ObjectMotion, SeenObject, align
from scenegraph.visits.diff_config import DiffConfig
from scenegraph.visits.items import Candidate
from scenegraph.visits.space import StatesOf

Array = NDArray[np.float64]

GROWN = 0.1  # metres added to each side of a box before two are compared, so that flat objects have a volume
FORBIDDEN = 1e9
EQUAL_SIZE = 1.2  # ratio of edge lengths that two maps of one object may show
COST_PER_METRE = 0.15  # of a move, in the unit of the cost of shape
EQUAL_SHAPE = (
    0.8  # score from which two maps of one object, thin parts of which may be missing in either, do not differ
)
COST_OF_SHAPE, COST_OF_PART, COST_OF_COLOR = 4.0, 0.5, 0.8
ALONE_AS_PART = 0.85  # cost of a piece that stays alone, to that of a whole object of its class
OTHER_COLOR = 40.0  # difference in CIELAB at which colours are taken to be of different objects
LEAST_SHIFT = 0.15  # metres; smaller moves are not distinguished from noise
SAME_NAME = 0.2  # least share that the label scores of two objects of different labels have in common


@dataclass(frozen=True, eq=False)
class Move:
    """Number i of the first visit's objects is number j of the second's; motion as `ObjectMotion`; `carried` by the object of
    another move, that of number `carrier`."""

    i: int
    j: int
    motion: ObjectMotion
    carrier: int | None = None


def stayed(a: Sequence[Candidate], b: Sequence[Candidate], config: DiffConfig) -> list[tuple[int, int]]:
    """Pairs of objects that have not moved, by their boxes: of equal label first, then of any label."""
    pairs = assign(a, b, lambda x, y: _same_cost(x, y, config))
    left_a = [i for i in range(len(a)) if i not in {i for i, _ in pairs}]
    left_b = [j for j in range(len(b)) if j not in {j for _, j in pairs}]
    others = assign([a[i] for i in left_a], [b[j] for j in left_b], lambda x, y: _relabelled_cost(x, y, config))
    return sorted(pairs + [(left_a[i], left_b[j]) for i, j in others])


def moved(
    a: Sequence[Candidate],
    b: Sequence[Candidate],
    seen: tuple[StatesOf, StatesOf] | None,
    config: DiffConfig,
    *,
    shifted: Collection[tuple[str, str]] = (),
) -> list[Move]:
    """The moves of least total cost, where to have disappeared and appeared has a cost as well.

    a and b are objects that are absent in the other visit, and those that are in part, which only match their own: `shifted`
    are the keys of such pairs. `seen` are the states of space of either visit; without them only boxes are compared.
    """
    motions: dict[tuple[int, int], ObjectMotion] = {}

    def cost(i: int, j: int) -> float:
        x, y = a[i], b[j]
        partly = min(x.contradicted, y.contradicted) < config.contradicted_share
        if _common_names(x, y) < SAME_NAME or (partly and (x.key, y.key) not in shifted):
            return FORBIDDEN
        move = COST_PER_METRE * float(np.linalg.norm(x.box.center - y.box.center))
        if seen is None or not len(x.points) or not len(y.points):
            ratio = _size_ratio(x.box, y.box)
            motions[i, j] = ObjectMotion(_between(x.box, y.box), min(1.0, EQUAL_SIZE / ratio))
            return float(np.log(max(ratio, EQUAL_SIZE))) + move if ratio <= config.size_ratio else FORBIDDEN
        motion = align(SeenObject(x.points, x.box, seen[0]), SeenObject(y.points, y.box, seen[1]))
        motions[i, j] = motion
        shift = np.linalg.norm((motion.T @ [*x.box.center, 1.0])[:3] - x.box.center)
        if motion.score < config.min_shape or shift < LEAST_SHIFT:
            return FORBIDDEN
        shape = COST_OF_SHAPE * max(EQUAL_SHAPE - motion.score, 0.0) + COST_OF_PART * (1 - motion.coverage)
        return shape + _color_cost(x, y) + move

    costs = np.array([[cost(i, j) for j in range(len(b))] for i in range(len(a))]).reshape(len(a), len(b))
    alone = [np.array([_cost_alone(item, config) for item in side]) for side in (a, b)]
    pairs = _assign_or_leave(costs, alone[0], alone[1])
    return [Move(i, j, motions[i, j]) for i, j in pairs]


def _cost_alone(item: Candidate, config: DiffConfig) -> float:
    whole = is_whole(item.node.label, item.box.size)
    return config.unmatched_cost / 2 * (1.0 if whole else ALONE_AS_PART)


def _assign_or_leave(costs: Array, alone_a: Array, alone_b: Array) -> list[tuple[int, int]]:
    """The assignment of least total cost (Kuhn 1955) in which rows (N,) and columns (M,) may also stay alone for their costs."""
    n, m = costs.shape
    full = np.full((n + m, n + m), FORBIDDEN)
    full[:n, :m] = costs
    full[np.arange(n), m + np.arange(n)] = alone_a
    full[n + np.arange(m), np.arange(m)] = alone_b
    full[n:, m:] = 0.0
    rows, columns = linear_sum_assignment(full)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(i, j) for i, j in pairs if i < n and j < m and costs[i, j] < FORBIDDEN]


def carried(
    moves: Sequence[Move], a: Sequence[Candidate], b: Sequence[Candidate], free: tuple[list[int], list[int]]
) -> tuple[list[Move], tuple[set[int], set[int]]]:
    """Further moves of objects that touch one that moved and went along; and numbers of pieces that were parts of it.

    `free` are the numbers of objects that have no partner yet. A piece is a part when its place after the motion is taken by the
    object itself, or when the same piece of the same label moved with it.
    """
    found: list[Move] = []
    parts: tuple[set[int], set[int]] = (set(), set())
    for move in sorted(moves, key=lambda move: -a[move.i].diagonal):
        for i in free[0]:
            if (
                i == move.i
                or i in parts[0]
                or any(other.i == i for other in found)
                or not _touch(a[i].box, a[move.i].box)
            ):
                continue
            there = transform_box(move.motion.T, a[i].box)
            partner = _at_place(there, a[i], [(j, b[j]) for j in free[1] if all(other.j != j for other in found)])
            if (
                partner is not None
                and a[i].node.label == a[move.i].node.label
                and _touch(b[partner].box, b[move.j].box)
            ):
                parts[0].add(i)
                parts[1].add(partner)
            elif partner is not None:
                found.append(Move(i, partner, move.motion, move.i))
            elif _covered(there, b[move.j].box):
                parts[0].add(i)
        back = inverse(move.motion.T)
        for j in free[1]:
            if (
                j == move.j
                or j in parts[1]
                or any(other.j == j for other in found)
                or not _touch(b[j].box, b[move.j].box)
            ):
                continue
            if _covered(transform_box(back, b[j].box), a[move.i].box):
                parts[1].add(j)
    return found, parts


def _at_place(box: OrientedBox, item: Candidate, others: Sequence[tuple[int, Candidate]]) -> int | None:
    """The number of the nearest object of the same label whose centre is where the box is."""
    reach = max(0.15, float(np.linalg.norm(box.size)) / 4)
    away = [
        (float(np.linalg.norm(other.box.center - box.center)), number)
        for number, other in others
        if other.node.label == item.node.label
    ]
    near = [entry for entry in away if entry[0] <= reach]
    return min(near)[1] if near else None


def _covered(part: OrientedBox, whole: OrientedBox) -> bool:
    """Whether most of a box lies in another one."""
    return common_share(part, whole) >= 0.6 and part.volume <= 1.2 * whole.volume


def _touch(a: OrientedBox, b: OrientedBox) -> bool:
    return common_share(a, b) > 0.0


def assign(
    a: Sequence[Candidate], b: Sequence[Candidate], cost: Callable[[Candidate, Candidate], float]
) -> list[tuple[int, int]]:
    """As many allowed pairs as possible, at the least total cost (Kuhn 1955)."""
    costs = np.array([[cost(x, y) for y in b] for x in a], dtype=np.float64).reshape(len(a), len(b))
    rows, columns = linear_sum_assignment(costs)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if costs[i, j] < FORBIDDEN]


def _same_cost(a: Candidate, b: Candidate, config: DiffConfig) -> float:
    if a.node.label != b.node.label:
        return FORBIDDEN
    away = float(np.linalg.norm(a.box.center - b.box.center))
    near = away <= max(config.same_place, min(a.diagonal, b.diagonal) / 4)
    return away if near or common_share(a.box, b.box) >= config.same_overlap else FORBIDDEN


def _relabelled_cost(a: Candidate, b: Candidate, config: DiffConfig) -> float:
    overlap = box_iou(_grown(a.box), _grown(b.box))
    return 1 - overlap if overlap >= config.other_label_overlap else FORBIDDEN


def _common_names(a: Candidate, b: Candidate) -> float:
    """Share that two objects' label scores have in common; 1 for the same label."""
    if a.node.label == b.node.label:
        return 1.0
    mine, theirs = a.node.label_scores, b.node.label_scores
    return sum(min(score, theirs.get(name, 0.0)) for name, score in mine.items())


def _size_ratio(a: OrientedBox, b: OrientedBox) -> float:
    """Largest ratio of two corresponding edges, which sides are which being unknown."""
    sizes = np.stack([[*np.sort(box.size[:2]), box.size[2]] for box in (a, b)]) + GROWN / 2
    return float(np.max(np.maximum(sizes[0] / sizes[1], sizes[1] / sizes[0])))


def _between(a: OrientedBox, b: OrientedBox) -> Array:
    """The translation from one box to the other."""
    return from_rotation_translation(np.eye(3), b.center - a.center)


def _color_cost(a: Candidate, b: Candidate) -> float:
    """By the difference of mean colours, in which brightness counts half: the light may be another."""
    if a.colors is None or b.colors is None:
        return 0.0
    lab = [
        cv2.cvtColor((item.colors[None].astype(np.float32) / 255), cv2.COLOR_RGB2LAB)[0].mean(axis=0)
        for item in (a, b)
        if item.colors is not None
    ]
    difference = float(np.linalg.norm((lab[0] - lab[1]) * [0.5, 1.0, 1.0]))
    return COST_OF_COLOR * min(difference / OTHER_COLOR, 1.0)


def _grown(box: OrientedBox) -> OrientedBox:
    return OrientedBox(box.center, box.size + GROWN, box.rotation)


def common_share(a: OrientedBox, b: OrientedBox) -> float:
    """Volume that two boxes, each grown by 5 cm on every side, have in common over that of the smaller one."""
    a, b = _grown(a), _grown(b)
    iou = box_iou(a, b)
    return iou * (a.volume + b.volume) / (1 + iou) / min(a.volume, b.volume)
