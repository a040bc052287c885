"""Places: a sparse graph of free spheres along the Voronoi skeleton of free space.

After Hydra (Hughes et al., RSS 2022), whose skeleton is the generalised Voronoi diagram of Lau et al. (2013). The distance
field here is exact and comes with the nearest surface of every cell, so the skeleton is read off neighbouring cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mapping.distance_field import FreeSpace
from scenegraph.graph_config import PlaceConfig

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

HALF_NEIGHBOURS = np.array([(i, j, k) for i in (0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) > (0, 0, 0)])
"""(13, 3): one of each pair of opposite steps to the 26 neighbours of a cell."""


@dataclass(frozen=True, eq=False)
class Places:
    """Places: positions (N, 3), radii (N,) clearance in metres, edges (E, 2) with the smaller index first, and the least
    clearance (E,) in metres on the line between the two ends."""

    positions: Array
    radii: Array
    edges: Indices
    clearances: Array

    def __len__(self) -> int:
        return len(self.positions)


def extract_places(free_space: FreeSpace, config: PlaceConfig) -> Places:
    """The places of free space; none where there is no skeleton. The same free space gives the same places in the same order."""
    skeleton = voronoi_cells(free_space, config)
    clusters, pairs = _clusters(skeleton, free_space, config)
    places = _representatives(skeleton, clusters, pairs, free_space, config)
    places = _with_edges(places, _bridges(places, free_space, config))
    return _without_small_components(places, config.min_component)


def voronoi_cells(free_space: FreeSpace, config: PlaceConfig) -> Indices:
    """Free cells (K, 3) of the skeleton, in the order of the grid.

    A cell belongs to it when a neighbour has its nearest surface somewhere else: far away, or in another direction. Of such a
    pair of neighbours the one with more clearance is used, so that the skeleton is one cell thick where it can be.
    """
    candidate = free_space.free & (free_space.distance >= config.min_clearance) & (free_space.nearest >= 0)
    chosen = np.zeros(candidate.shape, dtype=bool)
    cells = np.argwhere(candidate)
    shape = np.array(candidate.shape)
    for step in HALF_NEIGHBOURS:
        other = cells + step
        inside = ((other >= 0) & (other < shape)).all(axis=1)
        a, b = cells[inside], other[inside]
        both = candidate[tuple(b.T)]
        a, b = a[both], b[both]
        differ = _parents_differ(free_space, a, b, config)
        a, b = a[differ], b[differ]
        a_deeper = free_space.distance[tuple(a.T)] >= free_space.distance[tuple(b.T)]
        chosen[tuple(np.where(a_deeper[:, None], a, b).T)] = True
    return np.argwhere(chosen)


def _parents_differ(free_space: FreeSpace, a: Indices, b: Indices, config: PlaceConfig) -> NDArray[np.bool_]:
    surface_a = free_space.surface_points[free_space.nearest[tuple(a.T)]]
    surface_b = free_space.surface_points[free_space.nearest[tuple(b.T)]]
    to_a, to_b = surface_a - free_space.centers(a), surface_b - free_space.centers(b)
    lengths = np.linalg.norm(to_a, axis=1) * np.linalg.norm(to_b, axis=1)
    cos = np.einsum("ij,ij->i", to_a, to_b) / np.maximum(lengths, 1e-9)
    apart = np.abs(surface_a - surface_b).sum(axis=1)
    return np.asarray((apart >= config.parent_separation) | (cos <= config.parent_cos))


def _clusters(skeleton: Indices, free_space: FreeSpace, config: PlaceConfig) -> tuple[Indices, Indices]:
    """Cluster number (K,) of each skeleton cell, and the pairs (M, 2) of neighbouring skeleton cells.

    A cluster is a connected piece of the skeleton within one cube of the compression grid: a wall through the cube
    splits a cluster.
    """
    pairs = _neighbour_pairs(skeleton, free_space.state.shape)
    cubes = np.floor(free_space.centers(skeleton) / config.compression).astype(np.int64)
    same = (cubes[pairs[:, 0]] == cubes[pairs[:, 1]]).all(axis=1)
    return _components(len(skeleton), pairs[same]), pairs


def _neighbour_pairs(cells: Indices, shape: tuple[int, ...]) -> Indices:
    """Pairs (M, 2) of rows of `cells` that are 26-neighbours."""
    padded = np.array(shape) + 2
    keys = np.ravel_multi_index(
        tuple((cells + 1).T), tuple(padded)
    )  # increasing, since the cells are in the order of the grid
    found = []
    for step in HALF_NEIGHBOURS:
        other = keys + int(
            np.ravel_multi_index(tuple(step + 1), tuple(padded)) - np.ravel_multi_index((1, 1, 1), tuple(padded))
        )
        at = np.minimum(np.searchsorted(keys, other), max(len(keys) - 1, 0))
        hit = np.flatnonzero(keys[at] == other) if len(keys) else np.zeros(0, np.int64)
        found.append(np.stack([hit, at[hit]], axis=1))
    return np.concatenate(found)


def _representatives(
    skeleton: Indices, clusters: Indices, pairs: Indices, free_space: FreeSpace, config: PlaceConfig
) -> Places:
    """One place per cluster, at its cell with the most clearance; connected where clusters touch and the line between
    keeps its clearance."""
    distance = free_space.distance[tuple(skeleton.T)] if len(skeleton) else np.zeros(0)
    order = np.lexsort((np.arange(len(skeleton)), -distance, clusters))
    first = np.flatnonzero(np.diff(clusters[order], prepend=-1))
    best = order[first]  # by cluster number
    positions = free_space.centers(skeleton[best]).reshape(-1, 3)
    radii = free_space.clearance(positions)
    joined = np.sort(clusters[pairs], axis=1)
    joined = np.unique(joined[joined[:, 0] != joined[:, 1]], axis=0).reshape(-1, 2)
    large = radii >= config.min_place_clearance
    joined = joined[large[joined].all(axis=1)]
    renumber = np.cumsum(large) - 1
    places = Places(positions[large], radii[large], np.zeros((0, 2), np.int64), np.zeros(0))
    edges = renumber[joined]
    along = free_space.clearance_along(places.positions[edges[:, 0]], places.positions[edges[:, 1]])
    kept = along >= config.min_edge_clearance
    return Places(places.positions, places.radii, edges[kept], along[kept])


def _bridges(places: Places, free_space: FreeSpace, config: PlaceConfig) -> Places:
    """The shortest straight free lines that connect separate pieces of the graph (as a Places of edges alone)."""
    component = _components(len(places), places.edges)
    near = cKDTree(places.positions).query_pairs(config.max_bridge, output_type="ndarray") if len(places) else None
    if near is None or not len(near):
        return Places(places.positions, places.radii, np.zeros((0, 2), np.int64), np.zeros(0))
    near = np.sort(near.astype(np.int64), axis=1)
    near = near[component[near[:, 0]] != component[near[:, 1]]]
    starts, ends = places.positions[near[:, 0]], places.positions[near[:, 1]]
    along = free_space.clearance_along(starts, ends)
    length = np.linalg.norm(ends - starts, axis=1)
    order = np.lexsort((near[:, 1], near[:, 0], length))
    order = order[(along >= config.min_bridge_clearance)[order] & _all_free(free_space, starts, ends)[order]]
    edges, clearances = [], []
    for row in order:  # Kruskal: an edge only where it still connects two pieces
        a, b = component[near[row]]
        if a != b:
            component[component == b] = a
            edges.append(near[row])
            clearances.append(along[row])
    return Places(
        places.positions, places.radii, np.array(edges, np.int64).reshape(-1, 2), np.array(clearances, np.float64)
    )


def _all_free(free_space: FreeSpace, starts: Array, ends: Array) -> NDArray[np.bool_]:
    """Whether the lines from starts to ends (N, 3) run through free cells only."""
    longest = float(np.linalg.norm(ends - starts, axis=1).max(initial=0.0))
    free = np.ones(len(starts), dtype=bool)
    for fraction in np.linspace(0, 1, int(np.ceil(longest / (free_space.cell_size / 2))) + 1):
        free &= free_space.is_free(starts + fraction * (ends - starts))
    return free


def _with_edges(places: Places, more: Places) -> Places:
    """The places with further edges, all sorted."""
    edges = np.concatenate([places.edges, more.edges])
    clearances = np.concatenate([places.clearances, more.clearances])
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    return Places(places.positions, places.radii, edges[order], clearances[order])


def _without_small_components(places: Places, min_component: int) -> Places:
    component = _components(len(places), places.edges)
    kept = np.bincount(component, minlength=1)[component] >= min_component
    renumber = np.cumsum(kept) - 1
    edge_kept = kept[places.edges].all(axis=1)
    return Places(
        places.positions[kept], places.radii[kept], renumber[places.edges[edge_kept]], places.clearances[edge_kept]
    )


def _components(count: int, pairs: Indices) -> Indices:
    """Component number (count,) of each node of a graph with edges (M, 2), numbered by their first node."""
    if count == 0:
        return np.zeros(0, np.int64)
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    _, first = np.unique(labels, return_index=True)
    rank = np.zeros(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(rank[labels])
