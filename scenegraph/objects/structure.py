"""Floor, walls and ceiling by geometry: from gravity, planes and their extent; without labels, or against predicted ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mapping.histogram_planes import assign_to_planes, vertical_planes
from mapping.mesh.mesh import Mesh
from scenegraph.faces import Faces
from scenegraph.graph_config import StructureConfig
from scenegraph.labels import LabelSpace
from scenegraph.objects.sizes import ON_WALLS, SIZES
from scenegraph.rooms.storeys import storey_of

LEVEL = 0.8  # least upward share of the normal of a level face
WALL_SHARE = 0.8  # share of the height of a storey up to which a wall is seen at least
HIGHEST_FLOOR = 0.3  # metres above the floor from which on nothing is floor
LOWEST_CEILING = 1.6  # metres above the floor below which nothing is ceiling
LYING = frozenset({"floor_mat"})  # classes that are as flat as the floor
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def has_labels(mesh: Mesh, least_share: float = 0.01) -> bool:
    """Whether at least a share of the mesh's vertices has labels."""
    return mesh.labels is not None and len(mesh.labels) > 0 and float((mesh.labels > 0).mean()) >= least_share


class Structure(NamedTuple):
    """Which faces (F,) of a mesh are floor, wall and ceiling."""

    floor: Mask
    wall: Mask
    ceiling: Mask


def label_structure(
    faces: Faces, label_space: LabelSpace, storeys: Sequence[tuple[float, float]], config: StructureConfig
) -> Mesh:
    """The mesh with its floors, walls and ceilings labelled by geometry (see `find_structure`), and everything else unknown (0).

    Vertices next to structure and close to its plane are added to it, so that rims do not become objects.

    Raises LabelSpaceError when the label space has no class of those names.
    """
    mesh, found = faces.mesh, find_structure(faces, storeys, config)
    labels = np.zeros(len(mesh.vertices), np.uint16)
    for mask, name in ((found.ceiling, "ceiling"), (found.wall, "wall"), (found.floor, "floor")):
        labels[mesh.faces[mask].ravel()] = label_space.id_of(name)
    return replace(mesh, labels=_with_rims(mesh, labels, config))


def correct_structure(
    faces: Faces, label_space: LabelSpace, storeys: Sequence[tuple[float, float]], config: StructureConfig
) -> Mesh:
    """The mesh with those of its predicted labels replaced or removed that contradict where the surface lies.

    Level surface at the height of the floor is floor, whatever a network calls it; likewise the ceiling; and upright surface
    from the floor to above what the class reaches (`sizes.SIZES`) is wall. Floor far above the floor, a ceiling within reach,
    and level wall become unknown. Unchanged without labels, and in a label space that has no class of those names.
    """
    mesh = faces.mesh
    if mesh.labels is None or not {"floor", "wall", "ceiling"} <= {c.name for c in label_space.classes}:
        return mesh
    found = find_structure(faces, storeys, config)
    labels = mesh.labels.copy()
    floor, wall, ceiling = (label_space.id_of(name) for name in ("floor", "wall", "ceiling"))
    low = np.array([low for low, _ in storeys])
    height = mesh.vertices[:, 2] - low[storey_of(mesh.vertices[:, 2], list(storeys))]
    level = np.abs(faces.vertex_normals()[:, 2]) > LEVEL
    labels[(labels == floor) & (height > HIGHEST_FLOOR)] = 0
    labels[(labels == ceiling) & (height < LOWEST_CEILING)] = 0
    labels[(labels == wall) & level] = 0
    top = WALL_SHARE * min(high - low for low, high in storeys)
    lower = [c.id for c in label_space.classes if c.name in SIZES and not may_be_wall(c.name, top)]
    carpets = [c.id for c in label_space.classes if c.name in LYING]
    for mask, label in ((found.ceiling, ceiling), (found.wall, wall), (found.floor, floor)):
        vertices = np.unique(mesh.faces[mask])
        now = labels[vertices]
        gives_way = np.isin(now, [*lower, 0, floor, ceiling]) if label == wall else ~np.isin(now, carpets)
        labels[vertices[gives_way]] = label
    return replace(mesh, labels=labels)


def may_be_wall(name: str, top: float) -> bool:
    """Whether objects of a class hang on walls or reach up to `top` metres, so that wall may be theirs."""
    return name in ON_WALLS or SIZES[name].large[2] >= top


def find_structure(faces: Faces, storeys: Sequence[tuple[float, float]], config: StructureConfig) -> Structure:
    """Floors, walls and ceilings of a levelled mesh by geometry alone.

    `storeys` are its (floor z, ceiling z). Floor is level surface at a storey's height; ceiling is downward-facing surface at its
    top; a wall is a connected upright plane that begins low enough, ends high enough and is long enough not to be furniture.
    """
    mesh = faces.mesh
    centers, normals, areas = faces.centers, faces.normals, faces.areas
    floor, ceiling = np.zeros(len(mesh.faces), dtype=bool), np.zeros(len(mesh.faces), dtype=bool)
    wall = floor.copy()
    planes = vertical_planes(centers, normals, areas, min_area=config.min_wall_area)
    of_plane = assign_to_planes(
        planes, centers, normals, max_distance=config.plane_distance, max_angle=np.deg2rad(30.0)
    )
    lowest = min(low for low, _ in storeys)
    floor |= (centers[:, 2] < lowest + 0.5 * config.plane_distance) & (centers[:, 2] > lowest - config.below_floor)
    for low, high in storeys:
        floor |= (np.abs(centers[:, 2] - low) < config.plane_distance) & (normals[:, 2] > LEVEL)
        ceiling |= (np.abs(centers[:, 2] - high) < config.plane_distance) & (normals[:, 2] < -LEVEL)
        within = (centers[:, 2] > low) & (centers[:, 2] < high + config.plane_distance) & (of_plane >= 0)
        patches = _connected_patches(mesh.faces, np.where(within, of_plane, -1))
        here = centers[(centers[:, 2] > low) & (centers[:, 2] < high), 2]
        top = (
            min(config.wall_top, WALL_SHARE * (high - low), 0.85 * (float(np.quantile(here, 0.99)) - low))
            if len(here)
            else 0.0
        )
        chosen = [p for p in patches if _is_wall(centers[p], areas[p], (low, low + top), config)]
        for patch in [*chosen, *_in_line(patches, chosen, centers, of_plane, config.wall_continuation)]:
            wall[patch] = True
    return Structure(floor, wall, ceiling)


def _connected_patches(faces: NDArray[np.int32], group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Faces of each connected piece of each group (F,) >= 0, pieces that share a vertex are merged, in the order of the faces."""
    chosen = np.flatnonzero(group >= 0)
    if not len(chosen):
        return []
    corner = np.repeat(chosen, 3)
    # A node for every (vertex, group); faces join their three.
    node = faces[chosen].ravel().astype(np.int64) * (int(group.max()) + 1) + group[corner]
    nodes, node = np.unique(node, return_inverse=True)
    node = node.reshape(-1, 3)
    links = np.concatenate([node[:, [0, 1]], node[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(links), np.int8), tuple(links.T)), shape=(len(nodes), len(nodes)))
    piece = connected_components(graph, directed=False)[1][node[:, 0]]
    order = np.argsort(piece, kind="stable")
    return np.split(chosen[order], np.flatnonzero(np.diff(piece[order])) + 1)


def _is_wall(centers: Array, areas: Array, reach: tuple[float, float], config: StructureConfig) -> bool:
    """Whether an upright patch is large enough for a wall and spans from near the floor `reach[0]` up to at least `reach[1]`."""
    if areas.sum() < config.min_wall_area:
        return False
    low, high = np.quantile(centers[:, 2], [0.03, 0.97])
    length = np.linalg.norm(np.ptp(centers[:, :2], axis=0))
    tall = high >= reach[1] and low <= reach[0] + config.wall_bottom and high - low >= config.min_wall_height
    return bool(tall and length >= config.min_wall_length)


def _in_line(
    patches: list[NDArray[np.int64]],
    walls: list[NDArray[np.int64]],
    centers: Array,
    of_plane: NDArray[np.int64],
    reach: float,
) -> list[NDArray[np.int64]]:
    """Patches on the plane of a wall within `reach` metres of it: what continues over doors and around windows."""
    spans = [(of_plane[w[0]], centers[w].min(axis=0) - reach, centers[w].max(axis=0) + reach) for w in walls]
    found = []
    for patch in patches:
        low, high = centers[patch].min(axis=0), centers[patch].max(axis=0)
        plane = of_plane[patch[0]]
        if any(plane == k and (low < top).all() and (high > bottom).all() for k, bottom, top in spans):
            found.append(patch)
    return found


def _with_rims(mesh: Mesh, labels: NDArray[np.uint16], config: StructureConfig) -> NDArray[np.uint16]:
    """Small unknown pieces that touch only structure take its label: they are noise on walls and floors."""
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]).astype(np.int64)
    unknown = labels == 0
    inner = edges[unknown[edges].all(axis=1)]
    count = len(labels)
    graph = coo_matrix((np.ones(len(inner), np.int8), tuple(inner.T)), shape=(count, count))
    piece = connected_components(graph, directed=False)[1]
    small = unknown & (np.bincount(piece, minlength=1)[piece] < config.rim_vertices)
    result = labels.copy()
    for _ in range(config.rim_vertices):
        border = edges[(result[edges[:, 0]] > 0) & small[edges[:, 1]] & (result[edges[:, 1]] == 0)]
        border = np.concatenate(
            [border, edges[(result[edges[:, 1]] > 0) & small[edges[:, 0]] & (result[edges[:, 0]] == 0)][:, ::-1]]
        )
        if not len(border):
            break
        border = border[np.lexsort((-result[border[:, 0]].astype(np.int64), border[:, 1]))]
        target, first = np.unique(border[:, 1], return_index=True)
        result[target] = result[border[first, 0]]
    return result
