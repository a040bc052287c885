"""How well objects, rooms, storeys, relations and changes of one graph agree with those of a true one in the same world.

Pure functions on nodes. False positives lower precision, misses lower recall; precision is 1 when nothing was
predicted, recall is 1 when there was nothing to find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mapping.mesh.mesh_metrics import harmonic_mean
from scenegraph.boxes import box_iou, points_in_box
from scenegraph.nodes import ObjectNode, OrientedBox, RoomNode, StoreyNode

Array = NDArray[np.float64]
Triple = tuple[str, str, str]
"""(source key, kind, target key) of a relation."""

ROOM_VOXEL = 0.10  # metres, as in Hydra's evaluation
VOXEL_BITS = 21  # a coordinate in a packed voxel key: 200 km to either side
CHANGE_DISTANCE = 0.5  # metres between the centres of a true and a predicted change
CHANGE_MARGIN = 1.0  # seconds at either end of the sequence in which appearing and disappearing are ignored


def ratio(part: float, whole: float) -> float:
    """part / whole, and 1 where the whole is 0."""
    return float(part / whole) if whole > 0 else 1.0


def match_objects(
    predicted: Mapping[str, ObjectNode], truth: Mapping[str, ObjectNode], *, min_iou: float
) -> dict[str, str]:
    """Predicted key to true key, one to one: pairs of one label, the largest box IoU first, down to `min_iou`."""
    pairs = []
    for p, node in predicted.items():
        for t, true_node in truth.items():
            if node.label == true_node.label and (iou := box_iou(node.box, true_node.box)) >= min_iou:
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


def room_voxels(
    room: RoomNode, obstacles: Sequence[OrientedBox], *, voxel_size: float = ROOM_VOXEL
) -> NDArray[np.int64]:
    """Sorted keys of the free voxels whose centres lie above the room's polygon, between its heights, and in no obstacle.

    The voxel lattice is that of the world, so keys of different rooms can be compared.
    """
    polygon = np.asarray(room.polygon, dtype=np.float64)
    bounds = np.array([[*polygon.min(axis=0), room.z_range[0]], [*polygon.max(axis=0), room.z_range[1]]]) / voxel_size
    x, y, z = (np.arange(np.floor(low), np.ceil(high), dtype=np.int64) for low, high in bounds.T)
    gx, gy = (grid.ravel() for grid in np.meshgrid(x, y, indexing="ij"))
    centre_x, centre_y, centre_z = ((index + 0.5) * voxel_size for index in (gx, gy, z))
    inside = shapely.contains_xy(shapely.make_valid(shapely.Polygon(polygon)), centre_x, centre_y)
    between = (centre_z >= room.z_range[0]) & (centre_z <= room.z_range[1])
    columns, levels = np.stack([gx[inside], gy[inside]], axis=1), z[between]
    cells = np.concatenate([np.repeat(columns, len(levels), axis=0), np.tile(levels, len(columns))[:, None]], axis=1)
    centres = (cells + 0.5) * voxel_size
    for box in obstacles:
        reach = np.linalg.norm(box.size) / 2
        near = np.flatnonzero((np.abs(centres - box.center) <= reach).all(axis=1))
        taken = near[points_in_box(centres[near], box)]
        cells, centres = np.delete(cells, taken, axis=0), np.delete(centres, taken, axis=0)
    packed = cells + (1 << (VOXEL_BITS - 1))
    return np.sort((packed[:, 0] << 2 * VOXEL_BITS) | (packed[:, 1] << VOXEL_BITS) | packed[:, 2])


def room_metrics(
    predicted: Sequence[RoomNode], truth: Sequence[RoomNode], obstacles: Sequence[OrientedBox] = ()
) -> dict[str, float]:
    """Rooms as sets of free voxels, compared by overlap (Hydra, Hughes et al., RSS 2022).

    recall : sum over true rooms of the largest overlap with one predicted room, over the size of all true rooms; precision
    with the roles exchanged; f1; count, count_true. label_accuracy : share of true rooms whose label is that of the predicted
    room that overlaps them most. `obstacles` are the boxes of true objects, which are not free space in either graph.
    """
    voxels_p, voxels_t = ([room_voxels(room, obstacles) for room in rooms] for rooms in (predicted, truth))
    overlap = np.array(
        [[len(np.intersect1d(t, p, assume_unique=True)) for p in voxels_p] for t in voxels_t], dtype=np.float64
    ).reshape(len(truth), len(predicted))
    recall = ratio(overlap.max(axis=1, initial=0).sum(), sum(map(len, voxels_t)))
    precision = ratio(overlap.max(axis=0, initial=0).sum(), sum(map(len, voxels_p)))
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
    matched objects (in either direction for the kinds in `symmetric`). Precision is over the predicted relations of the
    kinds that the truth knows and whose two objects are matched, since the truth is silent about others; recall is over
    all true relations.
    """

    def normal(source: str, kind: str, target: str) -> Triple:
        swap = kind in symmetric and target < source
        return (target, kind, source) if swap else (source, kind, target)

    true_triples = {normal(*triple) for triple in truth}
    kinds = {kind for _, kind, _ in true_triples}
    said = {
        normal(matched[source], kind, matched[target])
        for source, kind, target in predicted
        if kind in kinds and source in matched and target in matched
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
