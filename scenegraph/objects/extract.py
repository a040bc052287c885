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
from scenegraph.objects.pieces import (
    Indices,
    Piece,
    PreparedMesh,
    cut_oversized,
    cut_twins,
    fragments,
    join_fragments,
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
) -> tuple[list[ObjectNode], Mesh]:
    """The objects of a labelled, levelled mesh, numbered from 1 in the order of the list, and the mesh with its `objects`
    filled.

    Objects are ordered by label, then by position (x, y, z to half a metre), so small changes of the map rarely renumber them.
    `floors` are the heights of the storeys' floors, where furniture on legs ends if the floor under it was not observed. Without
    labels there are no objects. With `evidence` an object's scores are the shares of its labels in what all frames said of it.
    With `samples` objects of one class that touch are separated, and boxes are fitted to pixels.
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
    return _numbered(pieces, surface, label_space, config, floors)


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
    pieces = [piece for piece in pieces if piece.area >= structure.min_area]
    return _numbered(pieces, surface, label_space, config, floors)


def _numbered(
    pieces: list[Piece], surface: PreparedMesh, label_space: LabelSpace, config: ObjectConfig, floors: Sequence[float]
) -> tuple[list[ObjectNode], Mesh]:
    """Nodes of the pieces in a stable order, and the mesh with their numbers."""
    pieces = sorted(pieces, key=lambda p: (p.label, *np.round(p.box.center / 0.5).tolist(), *p.box.center.tolist()))
    numbers = np.zeros(len(surface.labels), np.uint32)
    for number, piece in enumerate(pieces, start=1):
        numbers[piece.vertices] = number
    around = surroundings(surface, label_space, numbers.astype(np.int64), floors)
    nodes = [_node(number, piece, surface, label_space, around, config) for number, piece in enumerate(pieces, start=1)]
    return nodes, replace(surface.mesh, objects=numbers)


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
    scores = _label_scores(piece, surface, label_space)
    return ObjectNode(
        label=name,
        label_id=piece.label,
        position=box.center,
        box=box,
        label_scores=scores,
        confidence=scores.get(name, 0.0),
        number=number,
    )


def _label_scores(piece: Piece, surface: PreparedMesh, label_space: LabelSpace) -> dict[str, float]:
    """Share of each label in the evidence of the object's surface, or without evidence in that surface before its labels were
    smoothed, where unknown does not count; highest first."""
    assert surface.mesh.labels is not None
    areas = surface.areas[piece.vertices] + 1e-12
    if surface.evidence is not None:
        found = surface.evidence.shares(piece.vertices, areas)
    else:
        found = np.bincount(surface.mesh.labels[piece.vertices], areas).astype(np.float64)
        found[0] = 0.0
        found /= max(found.sum(), 1e-12)
    shares = {label_space.name_of(int(k)): float(found[k]) for k in np.flatnonzero(found) if k > 0}
    scores = {name: round(share, 4) for name, share in shares.items() if share >= 0.01}
    scores = dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
    return scores or {label_space.name_of(piece.label): 1.0 if surface.evidence is None else 0.0}
