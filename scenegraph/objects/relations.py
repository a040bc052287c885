"""Spatial relations between objects by geometry: on, in and next_to, each with a score and its evidence.

The rules are those of DovSG (Yan et al. 2024: overlap of footprints with the nearest lower object, containment by hull) on
upright boxes, with the surface around an object's base as further evidence: an object hides its support, and the box of
a bookcase does not show its boards, but the board around the object does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scenegraph.boxes import clip_convex, footprint, polygon_area
from scenegraph.faces import Faces
from scenegraph.graph_config import RelationConfig
from scenegraph.nodes import ObjectNode
from scenegraph.objects.box_fitting import LEVEL_COS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Relation:
    """`source` is on, in or next_to `target` (positions in the list of objects); score in (0, 1] and its components."""

    source: int
    target: int
    kind: str
    score: float
    evidence: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Layout:
    """Boxes as arrays: base and top heights (N,), footprints [(4, 2)] and their areas (N,)."""

    bases: Array
    tops: Array
    footprints: list[Array]
    areas: Array

    @staticmethod
    def of(objects: Sequence[ObjectNode]) -> _Layout:
        centers = np.array([node.box.center[2] for node in objects])
        heights = np.array([node.box.size[2] for node in objects])
        prints = [footprint(node.box) for node in objects]
        return _Layout(
            centers - heights / 2, centers + heights / 2, prints, np.array([polygon_area(p) for p in prints])
        )

    def overlap(self, a: int, b: int) -> float:
        """Share of a's footprint that lies over b's."""
        common = polygon_area(clip_convex(self.footprints[a], self.footprints[b]))
        return common / max(float(self.areas[a]), 1e-9)


def object_relations(objects: Sequence[ObjectNode], faces: Faces, config: RelationConfig) -> list[Relation]:
    """Relations between objects of one map, in the order of their sources; at most one between two objects.

    `faces` are those of the map's mesh, whose `objects` hold the numbers of the objects. An object is on at most one other, the
    one that its base fits best, and in at most one; `next_to` relates neighbouring objects that rest on the same support.
    """
    if len(objects) < 2:
        return []
    layout = _Layout.of(objects)
    near = _near_pairs(objects, config.next_distance)
    around = _Supports(objects, faces, config)
    found: list[Relation] = []
    support = np.full(len(objects), -1)
    for a in range(len(objects)):
        relation = _best([_on(a, b, layout, around.share(a, b), config) for b in near[a]])
        relation = relation or _best([_in(a, b, objects, layout, config) for b in near[a]])
        if relation is not None and support[relation.target] != a:
            support[a] = relation.target
            found.append(relation)
    joined = {(relation.source, relation.target) for relation in found}
    for a in range(len(objects)):
        for b in near[a]:
            apart = a < b and support[a] == support[b] and (a, b) not in joined and (b, a) not in joined
            next_to = _next_to(a, b, layout, config) if apart else None
            if next_to is not None:
                found.append(next_to)
    return sorted(found, key=lambda relation: (relation.source, relation.target))


class _Supports:
    """Level surface around the base of each object, grouped by the object that it belongs to."""

    def __init__(self, objects: Sequence[ObjectNode], faces: Faces, config: RelationConfig) -> None:
        mesh = faces.mesh
        level = faces.normals[:, 2] > LEVEL_COS
        numbers = np.zeros(len(mesh.vertices), np.int64) if mesh.objects is None else mesh.objects.astype(np.int64)
        centers, areas, owner = faces.centers[level], faces.areas[level], numbers[mesh.faces[level, 0]]
        at = {node.number: i for i, node in enumerate(objects)}
        tree = cKDTree(centers[:, :2]) if len(centers) else None
        self._shares: list[dict[int, float]] = []
        for node in objects:
            shares: dict[int, float] = {}
            if tree is not None:
                radius = float(np.linalg.norm(node.box.size[:2]) / 2 + config.margin)
                close = np.array(sorted(tree.query_ball_point(node.box.center[:2], radius)), np.int64)
                local = (centers[close] - node.box.center) @ node.box.rotation
                under = (np.abs(local[:, :2]) <= node.box.size[:2] / 2 + config.margin).all(axis=1)
                under &= np.abs(local[:, 2] + node.box.size[2] / 2) <= config.max_gap
                under &= owner[close] != node.number
                of, area = owner[close][under], areas[close][under]
                shares = {
                    at[number]: float(area[of == number].sum() / area.sum())
                    for number in np.unique(of).tolist()
                    if number in at
                }
            self._shares.append(shares)

    def share(self, a: int, b: int) -> float:
        """Of the level surface around the base of a, at its height, the share that belongs to b."""
        return self._shares[a].get(b, 0.0)


def _on(a: int, b: int, layout: _Layout, share: float, config: RelationConfig) -> Relation | None:
    """a on b: a's footprint lies over b's, and a's base is at b's top or at a board of b around it."""
    gap = float(layout.bases[a] - layout.tops[b])
    at_top = float(np.exp(-((gap / config.max_gap) ** 2)))
    touches = max(at_top, share)
    if touches < config.min_touch or layout.bases[b] >= layout.bases[a] - 0.5 * config.max_gap:
        return None
    overlap = layout.overlap(a, b)
    if overlap < config.min_overlap:
        return None
    evidence = {"overlap": round(overlap, 3), "gap": round(gap, 3), "surface_share": round(share, 3)}
    return Relation(a, b, "on", round(overlap * touches, 3), evidence)


def _in(a: int, b: int, objects: Sequence[ObjectNode], layout: _Layout, config: RelationConfig) -> Relation | None:
    """a in b: nearly all of a's box lies in b's, which is larger."""
    height = layout.tops[a] - layout.bases[a]
    common = min(layout.tops[a], layout.tops[b]) - max(layout.bases[a], layout.bases[b])
    if height <= 0 or common <= 0 or objects[b].box.volume < 2 * objects[a].box.volume:
        return None
    inside = layout.overlap(a, b) * float(common / height)
    if inside < config.min_inside:
        return None
    return Relation(a, b, "in", round(min(inside, 1.0), 3), {"inside": round(inside, 3)})


def _next_to(a: int, b: int, layout: _Layout, config: RelationConfig) -> Relation | None:
    """a next to b: overlapping in height, with a small horizontal gap."""
    common = float(min(layout.tops[a], layout.tops[b]) - max(layout.bases[a], layout.bases[b]))
    lower = float(min(layout.tops[a] - layout.bases[a], layout.tops[b] - layout.bases[b]))
    if lower <= 0 or common < config.min_beside * lower:
        return None
    gap = _polygon_distance(layout.footprints[a], layout.footprints[b])
    if gap > config.next_distance:
        return None
    score = 1.0 - gap / (2 * config.next_distance)
    return Relation(a, b, "next_to", round(score, 3), {"gap": round(gap, 3)})


def _polygon_distance(a: Array, b: Array) -> float:
    """Metres between two polygons (N, 2), 0 where they overlap."""
    return float(shapely.Polygon(a).distance(shapely.Polygon(b)))


def _best(relations: Sequence[Relation | None]) -> Relation | None:
    """The one with the highest score, the first among equals."""
    return max((r for r in relations if r is not None), key=lambda r: r.score, default=None)


def _near_pairs(objects: Sequence[ObjectNode], distance: float) -> list[list[int]]:
    """For each object, the others whose boxes' circumscribed circles come within `distance` metres on the floor plan."""
    centers = np.array([node.box.center[:2] for node in objects])
    radii = np.array([np.linalg.norm(node.box.size[:2]) / 2 for node in objects])
    between = np.linalg.norm(centers[:, None] - centers, axis=2) - radii[:, None] - radii
    np.fill_diagonal(between, np.inf)
    return [np.flatnonzero(row <= distance).tolist() for row in between]
