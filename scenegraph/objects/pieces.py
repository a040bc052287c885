"""Pieces of surface that may be objects: connected vertices of one class, cut where too large, merged over gaps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mapping.mesh.mesh import Mesh
from scenegraph.boxes import points_in_box
from scenegraph.faces import Faces
from scenegraph.graph_config import ObjectConfig, StructureConfig
from scenegraph.labels import LabelSpace
from scenegraph.nodes import OrientedBox
from scenegraph.objects.box_fitting import robust_box
from scenegraph.objects.evidence import MORE_OFTEN_THAN_NOT, NameEvidence
from scenegraph.objects.instances import vote_parts
from scenegraph.objects.samples import PixelSamples, PlacedSamples
from scenegraph.objects.sizes import SIZES, are_abreast, excess, is_compact, is_whole, plausible, varies
from scenegraph.objects.split import best_cut, twin_halves
from scenegraph.objects.unlabelled import concave_segments

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

FACING = 0.5  # cosine between a surface's normal and the direction across a gap above which the surface ends there
CLOSEST = 8  # closest pairs of vertices that decide how two surfaces meet
OVER_SHARE = 0.5  # share of a piece that must lie over or under another one to belong to it
SAMPLE_REACH = 2.0  # lengths of a mesh edge within which a pixel belongs to a vertex
HOVERING = 0.02  # share of a piece's vertices that meet other surface, below which nothing holds it


@dataclass(frozen=True, eq=False)
class PreparedMesh:
    """A mesh prepared for cutting: smoothed labels (V,), edges (E, 2), normals (V, 3) and areas (V,) of vertices.

    Where labels are predicted, also the evidence behind them, and certain (V,): where the surface is more likely than not
    of the label's object and where the map has it. Where depth is measured, the pixels at each vertex.
    """

    faces: Faces
    labels: NDArray[np.uint16]
    edges: Indices
    normals: Array
    areas: Array
    evidence: NameEvidence | None = None
    certain: NDArray[np.bool_] | None = None
    placed: PlacedSamples | None = None

    @property
    def mesh(self) -> Mesh:
        """The mesh itself, with its original labels."""
        return self.faces.mesh

    @cached_property
    def meets_other(self) -> NDArray[np.bool_]:
        """(V,) which vertices have a neighbour of another label."""
        meets = np.zeros(len(self.labels), dtype=bool)
        meets[self.edges[self.labels[self.edges[:, 0]] != self.labels[self.edges[:, 1]]]] = True
        return meets


@dataclass(frozen=True, eq=False)
class Piece:
    """Vertices (N,) of one class that belong together, with their box and area.

    Pieces with the same `family`, unless it is 0, were separated by what single frames show. `probability` is that of a label
    that was found for the piece as a whole, 0 where none was; None where what frames name it counts.
    """

    label: int
    vertices: Indices
    box: OrientedBox
    area: float
    family: int = 0
    probability: float | None = None


def prepare_surface(
    faces: Faces, smoothing: int, evidence: NameEvidence | None = None, samples: PixelSamples | None = None
) -> PreparedMesh:
    """Edges, normals and areas of a labelled mesh, and its labels after some rounds of majority voting over neighbours.

    With the evidence of predicted labels there is no voting: it was smoothed itself.
    """
    mesh = faces.mesh
    assert mesh.labels is not None
    count = len(mesh.vertices)
    sides = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]).astype(np.int64)
    sides.sort(axis=1)
    keys = np.sort(sides[:, 0] * count + sides[:, 1])
    keys = keys[np.diff(keys, prepend=-1) > 0]
    edges = np.stack([keys // count, keys % count], axis=1)
    weights = np.ones(count) if mesh.confidence is None else np.maximum(mesh.confidence.astype(np.float64), 0.05)
    labels = mesh.labels
    for _ in range(smoothing if evidence is None else 0):
        labels = _majority(labels, weights, edges)
    certain = None if evidence is None else evidence.share_of(labels) >= MORE_OFTEN_THAN_NOT
    placed = None if samples is None else _placed(samples, mesh, labels, edges)
    return PreparedMesh(faces, labels, edges, faces.vertex_normals(), faces.vertex_areas(), evidence, certain, placed)


def _placed(samples: PixelSamples, mesh: Mesh, labels: NDArray[np.uint16], edges: Indices) -> PlacedSamples:
    """The samples at the vertices of their own label."""
    chosen = np.flatnonzero(np.isin(labels, np.unique(samples.labels)))
    a, b = mesh.vertices[edges[:: max(len(edges) // 10_000, 1)]].swapaxes(0, 1)
    reach = SAMPLE_REACH * float(np.median(np.linalg.norm(b - a, axis=1)))
    return PlacedSamples.of(samples, mesh.vertices, labels, chosen, reach)


def _majority(labels: NDArray[np.uint16], weights: Array, edges: Indices) -> NDArray[np.uint16]:
    """The label with the most weight among a vertex (counted twice) and its neighbours; unknown (0) only where all are."""
    mixed = np.zeros(len(labels), dtype=bool)
    mixed[edges[labels[edges[:, 0]] != labels[edges[:, 1]]]] = True
    chosen = np.flatnonzero(mixed)
    row = np.zeros(len(labels), np.int64)
    row[chosen] = np.arange(len(chosen))
    classes, column = np.unique(labels, return_inverse=True)
    flat_votes = np.zeros(len(chosen) * len(classes))
    for voter, receiver in ((edges[:, 0], edges[:, 1]), (edges[:, 1], edges[:, 0]), (chosen, chosen), (chosen, chosen)):
        mixed_receiver = mixed[receiver]
        keys = row[receiver[mixed_receiver]] * len(classes) + column[voter[mixed_receiver]]
        flat_votes += np.bincount(keys, weights[voter[mixed_receiver]], minlength=len(flat_votes))
    votes = flat_votes.reshape(len(chosen), len(classes))
    votes[:, classes == 0] = 1e-9
    result = labels.copy()
    result[chosen] = classes[np.argmax(votes, axis=1)]
    return result


def fragments(surface: PreparedMesh, label_space: LabelSpace, config: ObjectConfig) -> list[Piece]:
    """Connected surface of each object class, without components of fewer than four vertices."""
    is_object = label_space.mask_of_kind("object", surface.labels)
    a, b = surface.edges.T
    same = is_object[a] & (surface.labels[a] == surface.labels[b])
    count = len(surface.labels)
    graph = coo_matrix((np.ones(int(same.sum()), np.int8), (a[same], b[same])), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    chosen = np.flatnonzero(is_object & (np.bincount(component, minlength=1)[component] >= 4))
    return [make_piece(vertices, surface, config) for vertices in _grouped(chosen, component[chosen])]


def unlabelled_pieces(surface: PreparedMesh, structure: StructureConfig, config: ObjectConfig) -> list[Piece]:
    """Surface without a label, between structure and concave creases."""
    return concave_pieces(np.flatnonzero(surface.labels == 0), surface, structure, config)


def left_over(
    pieces: list[Piece], surface: PreparedMesh, label_space: LabelSpace, settings: tuple[StructureConfig, ObjectConfig]
) -> list[Piece]:
    """Surface of neither the pieces nor structure, between concave creases: what has no name is there all the same."""
    free = ~label_space.mask_of_kind("structure", surface.labels)
    for piece in pieces:
        free[piece.vertices] = False
    found = concave_pieces(np.flatnonzero(free), surface, *settings)
    return [replace(piece, label=0) for piece in found]


def concave_pieces(
    vertices: Indices, surface: PreparedMesh, structure: StructureConfig, config: ObjectConfig
) -> list[Piece]:
    """The surface of some vertices (N,), cut at concave creases, without pieces of less than the least area."""
    edges = _edges_within(vertices, surface)
    segment = concave_segments(surface.mesh.vertices[vertices], surface.normals[vertices], edges, structure)
    pieces = [make_piece(part, surface, config) for part in _grouped(vertices, segment)]
    return [piece for piece in pieces if piece.area >= structure.min_area]


def _edges_within(vertices: Indices, surface: PreparedMesh) -> Indices:
    """Edges (E, 2) of the surface between some vertices, as positions in `vertices`."""
    position = np.full(len(surface.labels), -1, np.int64)
    position[vertices] = np.arange(len(vertices))
    edges = position[surface.edges]
    return np.asarray(edges[(edges >= 0).all(axis=1)])


def separated(pieces: list[Piece], surface: PreparedMesh, label_space: LabelSpace, config: ObjectConfig) -> list[Piece]:
    """The pieces, cut where the segments of single frames say that they are several objects that touch.

    Only of compact classes: a picture and its frame, or the books of a row, have edges between them as well.
    """
    if surface.placed is None:
        return pieces
    result: list[Piece] = []
    for family, piece in enumerate(pieces, start=1):
        name = label_space.name_of(piece.label)
        parts = _voted_parts(piece, surface, surface.placed, config) if is_compact(name) else [piece]
        parts = _only_whole(parts, surface, name, config) if len(parts) > 1 else [piece]
        result += [replace(part, family=family) for part in parts] if len(parts) > 1 else [piece]
    return result


def _voted_parts(piece: Piece, surface: PreparedMesh, placed: PlacedSamples, config: ObjectConfig) -> list[Piece]:
    """The parts of a piece that the frames' segments show."""
    chosen, vertex = placed.of_vertices(piece.vertices)
    if not len(chosen):
        return [piece]
    points, normals = surface.mesh.vertices[piece.vertices], surface.normals[piece.vertices]
    part = vote_parts(points, normals, _edges_within(piece.vertices, surface), (placed.samples, chosen, vertex))
    return [make_piece(vertices, surface, config) for vertices in _grouped(piece.vertices, part)]


def _only_whole(parts: list[Piece], surface: PreparedMesh, name: str, config: ObjectConfig) -> list[Piece]:
    """The parts, those that are no whole object of the class joined to the neighbour with the longest common border."""
    while len(parts) > 1:
        part_of = np.full(len(surface.labels), -1, np.int64)
        for number, part in enumerate(parts):
            part_of[part.vertices] = number
        broken = [k for k, part in enumerate(parts) if not _may_be_object(part, name, config)]
        if not broken:
            break
        smallest = min(broken, key=lambda k: (parts[k].area, k))
        ends = part_of[surface.edges[(part_of[surface.edges] == smallest).any(axis=1)]].ravel()
        border = np.bincount(ends[(ends >= 0) & (ends != smallest)], minlength=len(parts))
        other = int(np.argmax(border))
        if border[other] == 0:  # in a piece of its own
            other = 0 if smallest else 1
        union = make_piece(np.sort(np.concatenate([parts[smallest].vertices, parts[other].vertices])), surface, config)
        parts = [union if k == other else part for k, part in enumerate(parts) if k != smallest]
    return parts


def _may_be_object(part: Piece, name: str, config: ObjectConfig) -> bool:
    large = part.area >= config.min_area and len(part.vertices) >= config.min_vertices
    return large and is_whole(name, part.box.size)


def cut_oversized(piece: Piece, surface: PreparedMesh, label_space: LabelSpace, config: ObjectConfig) -> list[Piece]:
    """The piece, or its parts where it is too large to be one object of its class and has two equal halves or a narrow place.

    Of predicted labels it is cut at its narrowest place however wide that is: as a whole it would lose its name.
    """
    name = label_space.name_of(piece.label)
    if plausible(name, piece.box.size):
        return [piece]
    halves = cut_twins(piece, surface, label_space, config)
    if len(halves) > 1:
        return halves
    edges = _edges_within(piece.vertices, surface)
    cut = best_cut(surface.mesh.vertices[piece.vertices], surface.normals[piece.vertices], edges)
    if cut is None or (surface.evidence is None and cut[1] > config.max_cut):
        return [piece]
    parts = [make_piece(piece.vertices[side], surface, config) for side in (cut[0], ~cut[0])]
    if max(excess(name, part.box.size) for part in parts) >= excess(name, piece.box.size):
        return [piece]
    return [whole for part in parts for whole in cut_oversized(part, surface, label_space, config)]


def cut_twins(piece: Piece, surface: PreparedMesh, label_space: LabelSpace, config: ObjectConfig) -> list[Piece]:
    """The piece, or its halves where it is as wide as two objects of its class side by side and each half may be one.

    Not of predicted labels, whose surface is not exact enough to be symmetric.
    """
    name = label_space.name_of(piece.label)
    if surface.evidence is not None or not are_abreast(name, piece.box.size):
        return [piece]
    half = twin_halves(surface.mesh.vertices[piece.vertices], piece.box)
    if half is None:
        return [piece]
    halves = [make_piece(piece.vertices[side], surface, config) for side in (half, ~half)]
    whole = all(is_whole(name, each.box.size) and plausible(name, each.box.size) for each in halves)
    return halves if whole else [piece]


def join_fragments(
    pieces: list[Piece], surface: PreparedMesh, label_space: LabelSpace, config: ObjectConfig
) -> list[Piece]:
    """Pieces of one class merged over gaps in the surface, nearest first, as long as one object of the class may be that
    large."""
    joined: list[Piece] = []
    for label in sorted({piece.label for piece in pieces}):
        joined += _join_class([p for p in pieces if p.label == label], surface, label_space.name_of(label), config)
    return joined


def _join_class(pieces: list[Piece], surface: PreparedMesh, name: str, config: ObjectConfig) -> list[Piece]:
    """Agglomeration of the pieces of one class: the pair with the smallest gap is considered first."""
    stack = SIZES[name].stack if name in SIZES else 0.0
    gaps, facing = _gaps(pieces, surface, max(config.max_gap, stack))
    alive: list[Piece | None] = list(pieces)
    hovering = [surface.evidence is None and _is_hovering(piece, surface) for piece in pieces]
    while gaps.size and np.isfinite(gaps.min()):
        i, j = (int(k) for k in np.unravel_index(int(np.argmin(gaps)), gaps.shape))
        a, b = alive[i], alive[j]
        gap, gaps[i, j] = float(gaps[i, j]), np.inf
        assert a is not None
        assert b is not None
        stacked = _stacked(a, b, surface)
        touching = gap <= config.touch_gap and not facing[i, j]
        near = stacked and gap <= 2 * config.touch_gap
        both_whole = is_whole(name, a.box.size) and is_whole(name, b.box.size)
        part = not both_whole and (gap <= config.max_gap or (stacked and gap <= stack))
        held = stacked and gap <= stack and varies(name) and (hovering[i] or hovering[j])
        if not (touching or near or part or held):
            continue
        union = make_piece(np.sort(np.concatenate([a.vertices, b.vertices])), surface, config)
        if not plausible(name, union.box.size) or (both_whole and _are_two(a, b, union, surface, name)):
            continue
        alive[i], alive[j] = replace(union, family=a.family or b.family), None
        hovering[i] &= hovering[j]
        for k in range(len(alive)):
            to_i, to_j = (min(k, i), max(k, i)), (min(k, j), max(k, j))
            if gaps[to_j] < gaps[to_i]:
                gaps[to_i], facing[to_i] = gaps[to_j], facing[to_j]
            gaps[to_j] = np.inf
    return [piece for piece in alive if piece is not None]


def _are_two(a: Piece, b: Piece, union: Piece, surface: PreparedMesh, name: str) -> bool:
    """Whether two pieces that may be whole objects are two, whatever lies between them."""
    if a.family and a.family == b.family:
        return True
    return surface.evidence is None and are_abreast(name, union.box.size)


def _is_hovering(piece: Piece, surface: PreparedMesh) -> bool:
    """Whether the surface of a piece meets next to no other surface: then it is held by a part of the same object."""
    return float(surface.meets_other[piece.vertices].mean()) < HOVERING


def _gaps(pieces: list[Piece], surface: PreparedMesh, max_gap: float) -> tuple[Array, NDArray[np.bool_]]:
    """Distances (P, P) between pieces above the diagonal, infinite beyond `max_gap`, and whether their surfaces face each other
    across the gap: then the gap is real and not unobserved surface."""
    gaps = np.full((len(pieces), len(pieces)), np.inf)
    facing = np.zeros_like(gaps, dtype=bool)
    points = [surface.mesh.vertices[piece.vertices] for piece in pieces]
    trees = [cKDTree(p) for p in points]
    lows, highs = np.array([p.min(axis=0) for p in points]), np.array([p.max(axis=0) for p in points])
    for i in range(len(pieces)):
        apart = np.maximum(np.maximum(lows[i] - highs[i + 1 :], lows[i + 1 :] - highs[i]), 0.0)
        for j in i + 1 + np.flatnonzero(np.linalg.norm(apart, axis=1) <= max_gap):
            few, many = (i, int(j)) if len(points[i]) <= len(points[j]) else (int(j), i)
            distance, nearest = trees[many].query(points[few], distance_upper_bound=max_gap)
            if not np.isfinite(distance).any():
                continue
            closest = np.argsort(distance, kind="stable")[:CLOSEST]
            closest = closest[np.isfinite(distance[closest])]
            gaps[i, j] = distance[closest[0]]
            across = points[many][nearest[closest]] - points[few][closest]
            across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
            out = np.einsum("ij,ij->i", surface.normals[pieces[few].vertices[closest]], across)
            back = np.einsum("ij,ij->i", surface.normals[pieces[many].vertices[nearest[closest]]], -across)
            facing[i, j] = bool(np.median(np.minimum(out, back)) > FACING)
    return gaps, facing


def _stacked(a: Piece, b: Piece, surface: PreparedMesh) -> bool:
    """Whether most of the smaller piece lies over, under or inside the larger one: a seat and its back, a lamp and its foot."""
    small, large = (a, b) if a.area < b.area else (b, a)
    points = surface.mesh.vertices[small.vertices].copy()
    points[:, 2] = large.box.center[2]
    return bool(points_in_box(points, large.box, margin=0.05).mean() > OVER_SHARE)


def make_piece(vertices: Indices, surface: PreparedMesh, config: ObjectConfig) -> Piece:
    """The piece of some vertices (N,), all of one label; its box is around those that are certain, if they are most of it."""
    area, boxed = float(surface.areas[vertices].sum()), vertices
    if surface.certain is not None:
        certain = vertices[surface.certain[vertices]]
        boxed = certain if surface.areas[certain].sum() > MORE_OFTEN_THAN_NOT * area else vertices
    points, normals, areas = surface.mesh.vertices[boxed], surface.normals[boxed], surface.areas[boxed]
    return Piece(int(surface.labels[vertices[0]]), vertices, robust_box(points, normals, areas, config.trim), area)


def _grouped(values: Indices, keys: NDArray[np.integer]) -> list[Indices]:
    """Values grouped by key, in the order of the keys; values keep their order."""
    order = np.argsort(keys, kind="stable")
    cuts = np.flatnonzero(np.diff(keys[order])) + 1
    return np.split(values[order], cuts) if len(values) else []
