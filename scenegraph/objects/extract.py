"""Objects: connected surface of one class, cut where it is too large, merged over gaps, boxed.

Hydra clusters the vertices of a class by distance; here connectivity follows the surface itself. The size limits of
a class and concave creases decide what to cut and what to merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mapping.histogram_planes import assign_to_planes, vertical_planes
from mapping.mesh.mesh import Mesh
from scenegraph.faces import Faces
from scenegraph.graph_config import ObjectConfig, StructureConfig
from scenegraph.labels import LabelSpace
from scenegraph.nodes import ObjectNode
from scenegraph.objects.box_fitting import LEVEL_COS, Surroundings, completed_box, robust_box
from scenegraph.objects.evidence import NameEvidence
from scenegraph.objects.naming import IMPROBABLE, found_name, is_named
from scenegraph.objects.pieces import (
    Array,
    Indices,
    Piece,
    PreparedMesh,
    cut_oversized,
    cut_twins,
    fragments,
    join_fragments,
    left_over,
    prepare_surface,
    separated,
    unlabelled_pieces,
)
from scenegraph.objects.sampled_boxes import sampled_box
from scenegraph.objects.samples import PixelSamples
from scenegraph.objects.sizes import FLAT, is_scrap


def extract_objects(
    faces: Faces,
    label_space: LabelSpace,
    config: ObjectConfig,
    *,
    floors: Sequence[float] = (),
    evidence: NameEvidence | None = None,
    samples: PixelSamples | None = None,
    structure: StructureConfig | None = None,
) -> tuple[list[ObjectNode], Mesh]:
    """The objects of a labelled, levelled mesh, numbered from 1 in the order of the list, and the mesh with its `objects`
    filled.

    Objects are ordered by label, then by position (x, y, z to half a metre), so small changes of the map rarely renumber them.
    `floors` are the heights of the storeys' floors, where furniture on legs ends if the floor under it was not observed. Without
    labels there are no objects. With `evidence` an object's scores are the shares of its labels in what all frames said of it.
    Where that includes sampled labels, what frames have no name for is named by them and by its box, or `unknown`, cut by
    `structure`. With `samples` objects of one class that touch are separated, and boxes are fitted to pixels.
    """
    mesh = faces.mesh
    if mesh.labels is None or not len(mesh.faces):
        return [], replace(mesh, objects=np.zeros(len(mesh.vertices), np.uint32))
    surface = prepare_surface(faces, config.smoothing, evidence, samples)
    pieces = separated(fragments(surface, label_space, config), surface, label_space, config)
    pieces = [part for piece in pieces for part in cut_oversized(piece, surface, label_space, config)]
    pieces = join_fragments(pieces, surface, label_space, config)
    pieces = [half for piece in pieces for half in cut_twins(piece, surface, label_space, config)]
    pieces = [piece for piece in pieces if _is_object(piece, label_space, config)]
    if evidence is not None and evidence.sampled is not None:
        pieces += left_over(pieces, surface, label_space, (structure or StructureConfig(), config))
        pieces = [_renamed(piece, surface, evidence, label_space, floors) for piece in pieces]
    return _numbered(pieces, surface, label_space, config, floors)


def _renamed(
    piece: Piece, surface: PreparedMesh, evidence: NameEvidence, label_space: LabelSpace, floors: Sequence[float]
) -> Piece:
    """The piece with its name, or with a probability of 0 where it has none: what frames name it more often than not and is not
    improbable either, else what is likely for it as a whole."""
    areas = surface.areas[piece.vertices] + 1e-12
    probabilities = evidence.probabilities(piece.vertices, areas)
    assert probabilities is not None
    share = evidence.shares(piece.vertices, areas)[piece.label] if piece.label else 0.0
    named = is_named(label_space.name_of(piece.label), piece.box.size, share)
    if named and probabilities[piece.label] >= IMPROBABLE:
        return piece
    below = [floor for floor in floors if floor < piece.box.center[2]]
    found = found_name(probabilities, piece.box, max(below, default=min(floors, default=0.0)), label_space)
    if found is None:
        return replace(piece, probability=0.0)
    return replace(piece, label=found.label, probability=found.probability)


def extract_unlabelled_objects(
    faces: Faces,
    label_space: LabelSpace,
    structure: StructureConfig,
    config: ObjectConfig,
    *,
    floors: Sequence[float] = (),
) -> tuple[list[ObjectNode], Mesh]:
    """Objects of label `unknown` of a mesh on which only structure is labelled (see `structure.label_structure`)."""
    mesh = faces.mesh
    if mesh.labels is None or not len(mesh.faces):
        return [], replace(mesh, objects=np.zeros(len(mesh.vertices), np.uint32))
    surface = prepare_surface(faces, 0)
    pieces = unlabelled_pieces(surface, structure, config)
    return _numbered(pieces, surface, label_space, config, floors)


def _numbered(
    pieces: list[Piece], surface: PreparedMesh, label_space: LabelSpace, config: ObjectConfig, floors: Sequence[float]
) -> tuple[list[ObjectNode], Mesh]:
    """Nodes of the pieces in a stable order, and the mesh with their numbers."""
    pieces = sorted(pieces, key=lambda p: (p.label, *np.round(p.box.center / 0.5).tolist(), *p.box.center.tolist()))
    numbers = np.zeros(len(surface.labels), np.uint32)
    labels = None if surface.mesh.labels is None else surface.mesh.labels.copy()
    for number, piece in enumerate(pieces, start=1):
        numbers[piece.vertices] = number
        if piece.probability is not None and labels is not None:
            labels[piece.vertices] = piece.label
    around = surroundings(surface, label_space, numbers.astype(np.int64), floors)
    nodes = [_node(number, piece, surface, label_space, around, config) for number, piece in enumerate(pieces, start=1)]
    return nodes, replace(surface.mesh, labels=labels, objects=numbers)


def _is_object(piece: Piece, label_space: LabelSpace, config: ObjectConfig) -> bool:
    """Whether a piece is more than a small patch of surface with a wrong label."""
    large = piece.area >= config.min_area and len(piece.vertices) >= config.min_vertices
    return large and not is_scrap(label_space.name_of(piece.label), piece.box.size)


def surroundings(
    surface: PreparedMesh, label_space: LabelSpace, numbers: Indices, floors: Sequence[float] = ()
) -> Surroundings:
    """What the boxes of objects may stand on and hang from; `numbers` (V,) is the object of each vertex, 0 none."""
    faces = surface.faces
    centers, normals, areas = faces.centers, faces.normals, faces.areas
    level = normals[:, 2] > LEVEL_COS
    wall = faces.upright & faces.named(label_space, {"wall"})
    planes = vertical_planes(centers[wall], normals[wall], areas[wall], min_area=0.5)
    of_plane = assign_to_planes(planes, centers[wall], normals[wall], max_distance=0.06, max_angle=0.35)
    on_plane = of_plane >= 0
    return Surroundings(
        centers[level], numbers[faces.mesh.faces[level, 0]], planes, centers[wall][on_plane], of_plane[on_plane], floors
    )


def _node(
    number: int,
    piece: Piece,
    surface: PreparedMesh,
    label_space: LabelSpace,
    around: Surroundings,
    config: ObjectConfig,
) -> ObjectNode:
    name = label_space.name_of(piece.label)
    at, box = piece.vertices, piece.box
    if name in FLAT:
        box = robust_box(surface.mesh.vertices[at], surface.normals[at], surface.areas[at], config.flat_trim)
    if surface.placed is not None:
        box = sampled_box(surface.placed, at, surface.mesh.vertices[at], box, config.sample_trim)
    box = completed_box(box, name, number, surface.normals[at], around, config)
    shares = _label_shares(piece, surface)
    known = None if surface.evidence is None else surface.evidence.probabilities(at, surface.areas[at] + 1e-12)
    if not shares.any():
        shares[piece.label] = 1.0 if surface.evidence is None else 0.0
    confidence = float(shares[piece.label]) if piece.probability is None else piece.probability
    return ObjectNode(
        label=name,
        label_id=piece.label,
        position=box.center,
        box=box,
        label_scores=_label_scores(shares if known is None else known, label_space) or {name: round(confidence, 4)},
        confidence=round(confidence, 4),
        number=number,
    )


def _label_shares(piece: Piece, surface: PreparedMesh) -> Array:
    """(number of label ids,) share of each label in the evidence of the object's surface, or without evidence in that surface
    before its labels were smoothed, where unknown does not count."""
    assert surface.mesh.labels is not None
    areas = surface.areas[piece.vertices] + 1e-12
    if surface.evidence is not None:
        found = surface.evidence.shares(piece.vertices, areas)
        found[0] = 0.0
        return found
    found = np.bincount(surface.mesh.labels[piece.vertices], areas, minlength=piece.label + 1).astype(np.float64)
    found[0] = 0.0
    return np.asarray(found / max(found.sum(), 1e-12))


def _label_scores(shares: Array, label_space: LabelSpace) -> dict[str, float]:
    """Shares (number of label ids,) by name, highest first, without 0 and those of less than a hundredth."""
    scores = {label_space.name_of(int(k)): round(float(shares[k]), 4) for k in np.flatnonzero(shares >= 0.01) if k > 0}
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
