"""How well objects, rooms, storeys, relations and changes of one graph agree with those of a true one in the same world.

Pure functions on nodes. False positives lower precision, misses lower recall; precision is 1 when nothing was
predicted, recall is 1 when there was nothing to find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mapping.mesh.mesh_metrics import harmonic_mean
from scenegraph.boxes import box_iou
from scenegraph.nodes import ObjectNode, OrientedBox, RoomNode, StoreyNode

Array = NDArray[np.float64]
Triple = tuple[str, str, str]
"""(source key, kind, target key) of a relation."""

CHANGE_DISTANCE = 0.5  # metres between the centres of a true and a predicted change
CHANGE_MARGIN = 1.0  # seconds at either end of the sequence in which appearing and disappearing are ignored


def ratio(part: float, whole: float) -> float:
    """part / whole, and 1 where the whole is 0."""
    return float(part / whole) if whole > 0 else 1.0


def match_objects(
    predicted: Mapping[str, ObjectNode], truth: Mapping[str, ObjectNode], *, min_iou: float
) -> dict[str, str]:
    """Predicted key to true key, one to one: pairs of one label id, the largest box IoU first, down to `min_iou`.

    The ids are those of one label space.
    """
    pairs = []
    for p, node in predicted.items():
        for t, true_node in truth.items():
            if node.label_id == true_node.label_id and (iou := box_iou(node.box, true_node.box)) >= min_iou:
                pairs.append((-iou, p, t))
    matched: dict[str, str] = {}
    for _, p, t in sorted(pairs):
        if p not in matched and t not in matched.values():
            matched[p] = t
    return matched


def object_metrics(predicted: Mapping[str, ObjectNode], truth: Mapping[str, ObjectNode]) -> dict[str, float]:
    """precision_25, recall_25, f1_25 at a box IoU of 0.25 and f1_50 at 0.5, within the label; count, count_true."""
    scores: dict[int, tuple[float, float]] = {}
    for percent in (25, 50):
        found = len(match_objects(predicted, truth, min_iou=percent / 100))
        scores[percent] = ratio(found, len(predicted)), ratio(found, len(truth))
    return {
        "precision_25": scores[25][0],
        "recall_25": scores[25][1],
        "f1_25": harmonic_mean(*scores[25]),
        "f1_50": harmonic_mean(*scores[50]),
        "count": len(predicted),
        "count_true": len(truth),
    }


def free_volume(polygon: shapely.Geometry, z_range: tuple[float, float], obstacles: Sequence[OrientedBox]) -> float:
    """Cubic metres above a polygon between two heights and in no upright obstacle, exactly."""
    footprints = [
        (_footprint(box), box.center[2] - box.size[2] / 2, box.center[2] + box.size[2] / 2) for box in obstacles
    ]
    near = [
        each
        for each in footprints
        if shapely.intersects(each[0], polygon) and each[1] < z_range[1] and each[2] > z_range[0]
    ]
    heights = {z_range[0], z_range[1], *(np.clip(z, *z_range) for _, low, high in near for z in (low, high))}
    levels = sorted(float(z) for z in heights)
    total = 0.0
    for low, high in pairwise(levels):
        taken = shapely.union_all([shape for shape, bottom, top in near if bottom <= low and top >= high])
        total += (high - low) * float(shapely.difference(polygon, taken).area)
    return total


def _footprint(box: OrientedBox) -> shapely.Polygon:
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * box.size[:2] / 2
    return shapely.Polygon(box.center[:2] + corners @ box.rotation[:2, :2].T)


def _ground_plan(room: RoomNode) -> shapely.Geometry:
    return shapely.make_valid(shapely.Polygon(np.asarray(room.polygon, dtype=np.float64)))


def room_metrics(
    predicted: Sequence[RoomNode], truth: Sequence[RoomNode], obstacles: Sequence[OrientedBox] = ()
) -> dict[str, float]:
    """Rooms as free space, compared by the volume of their overlap (Hydra, Hughes et al., RSS 2022, which counts voxels).

    recall : sum over true rooms of the largest overlap with one predicted room, over the size of all true rooms; precision
    with the roles exchanged; f1; count, count_true. label_accuracy : share of true rooms whose label is that of the predicted
    room that overlaps them most. `obstacles` are the boxes of true objects, which are not free space in either graph.
    """
    plans_p, plans_t = ([_ground_plan(room) for room in rooms] for rooms in (predicted, truth))
    sizes_p, sizes_t = (
        [free_volume(plan, room.z_range, obstacles) for plan, room in zip(plans, rooms, strict=True)]
        for plans, rooms in ((plans_p, predicted), (plans_t, truth))
    )
    overlap = np.zeros((len(truth), len(predicted)))
    for i, j in np.ndindex(overlap.shape):
        low, high = (f(truth[i].z_range[k], predicted[j].z_range[k]) for k, f in ((0, max), (1, min)))
        if low < high and shapely.intersects(plans_t[i], plans_p[j]):
            overlap[i, j] = free_volume(shapely.intersection(plans_t[i], plans_p[j]), (low, high), obstacles)
    recall = ratio(overlap.max(axis=1, initial=0).sum(), sum(sizes_t))
    precision = ratio(overlap.max(axis=0, initial=0).sum(), sum(sizes_p))
    right = sum(
        overlap[i].max(initial=0) > 0 and predicted[int(np.argmax(overlap[i]))].label == room.label
        for i, room in enumerate(truth)
    )
    return {
        "precision": precision,
        "recall": recall,
        "f1": harmonic_mean(precision, recall),
        "count": len(predicted),
        "count_true": len(truth),
        "label_accuracy": ratio(right, len(truth)),
    }


def storey_metrics(predicted: Sequence[StoreyNode], truth: Sequence[StoreyNode]) -> dict[str, float | None]:
    """count, count_true, and height_error_m: mean metres from the floor of each true storey to the nearest predicted floor, None
    without any."""
    error = None
    if predicted and truth:
        floors, true_floors = (np.array([node.z_range[0] for node in nodes]) for nodes in (predicted, truth))
        error = float(np.abs(true_floors[:, None] - floors).min(axis=1).mean())
    return {"count": len(predicted), "count_true": len(truth), "height_error_m": error}


def relation_metrics(
    predicted: Sequence[Triple], truth: Sequence[Triple], matched: Mapping[str, str], *, symmetric: frozenset[str]
) -> dict[str, float]:
    """Precision and recall of relations between objects.

    `matched` maps predicted to true object keys. A predicted relation is right when the truth has the same kind between the
    matched objects (in either direction for the kinds in `symmetric`). Precision is over all predicted relations of the kinds
    that the truth knows, also those of objects that match none; recall is over all true relations.
    """

    def normal(source: str, kind: str, target: str) -> Triple:
        swap = kind in symmetric and target < source
        return (target, kind, source) if swap else (source, kind, target)

    true_triples = {normal(*triple) for triple in truth}
    kinds = {kind for _, kind, _ in true_triples}
    said = {
        normal(matched.get(source, f"predicted {source}"), kind, matched.get(target, f"predicted {target}"))
        for source, kind, target in predicted
        if kind in kinds
    }
    right = len(said & true_triples)
    return {"precision": ratio(right, len(said)), "recall": ratio(right, len(true_triples))}


@dataclass(frozen=True, eq=False)
class Change:
    """Something that `appeared` or `disappeared`: its label and the centre (3,) of its box."""

    kind: str
    label: str
    position: Array


def changes_of(
    objects: Sequence[ObjectNode], time_range: tuple[float, float], *, margin: float = CHANGE_MARGIN
) -> list[Change]:
    """The changes implied by presence intervals, within the times of the sequence (seconds).

    An object whose presence starts after the first `margin` seconds appeared, one whose presence ends before the last
    `margin` seconds disappeared, and a gap between two intervals is both. Moving is disappearing in one place and
    appearing in another: two nodes or two changes. An object without intervals was always present.
    """
    changes = []
    for node in objects:
        if not node.presence:
            continue
        starts, ends = (sorted(times) for times in zip(*node.presence, strict=True))
        appeared = sum(start > time_range[0] + margin for start in starts)
        disappeared = sum(end < time_range[1] - margin for end in ends)
        for kind, number in (("appeared", appeared), ("disappeared", disappeared)):
            changes += [Change(kind, node.label, node.box.center)] * number
    return changes


def change_metrics(predicted: Sequence[Change], truth: Sequence[Change]) -> dict[str, float]:
    """precision, recall, count and count_true of changes, matched one to one within kind and label, at most 0.5 m apart."""
    possible = np.array(
        [
            [
                p.kind == t.kind and p.label == t.label and np.linalg.norm(p.position - t.position) <= CHANGE_DISTANCE
                for t in truth
            ]
            for p in predicted
        ],
        dtype=bool,
    ).reshape(len(predicted), len(truth))
    rows, columns = linear_sum_assignment(possible, maximize=True)
    right = int(possible[rows, columns].sum())
    return {
        "precision": ratio(right, len(predicted)),
        "recall": ratio(right, len(truth)),
        "count": len(predicted),
        "count_true": len(truth),
    }
