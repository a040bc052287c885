"""Cutting a connected piece of surface in two at its narrowest, most concave place: normalised cuts (Shi and Malik, 2000)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh
from scipy.spatial import cKDTree

from scenegraph.nodes import OrientedBox

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

CELL = 0.06  # metres; vertices closer together than this are cut as one
CONCAVITY = 4.0  # how strongly a concave crease weakens the edges across it
DENSE_NODES = 300
LEAST_POINTS = 40
SYMMETRIC_SHARE, SYMMETRIC_DISTANCE = 0.85, 0.06
"""Share of the points of something symmetric whose mirror images lie within that many metres of it."""


def best_cut(points: Array, normals: Array, edges: Indices) -> tuple[NDArray[np.bool_], float] | None:
    """The two sides (V,) of the cheapest normalised cut of a surface and its value in [0, 2]; None when there is nothing to
    cut.

    points, normals (V, 3) of vertices and the mesh edges (E, 2) between them. The surface is a graph of small patches; an edge
    across a concave crease, such as where one pillow lies on another, costs less to cut. The order of patches along the second
    eigenvector of the normalised Laplacian is searched for the cheapest cut.
    """
    patch, count = patches(points, edges)
    if count < 4:
        return None
    weights = _edge_weights(points, normals, edges)
    a, b = patch[edges[:, 0]], patch[edges[:, 1]]
    across = a != b
    graph = coo_matrix((weights[across], (a[across], b[across])), shape=(count, count)).tocsr()
    graph = graph + graph.T
    degree = np.asarray(graph.sum(axis=1)).ravel()
    if (degree <= 0).any():
        return None
    scale = 1 / np.sqrt(degree)
    vector = scale * _second_eigenvector(diags(scale) @ graph @ diags(scale), np.sqrt(degree))
    order = np.argsort(vector, kind="stable")
    side_of_rank, value = _sweep(graph, degree, order)
    side = np.zeros(count, dtype=bool)
    side[order[:side_of_rank]] = True
    return side[patch], value


def twin_halves(points: Array, box: OrientedBox) -> NDArray[np.bool_] | None:
    """One of the two halves (V,) along the longer side of a box around points (V, 3) if both are symmetric, like two chairs side
    by side; None where they are not.

    Half of a single object is not: an armchair has an arm on one side of it alone.
    """
    local = (points - box.center) @ box.rotation
    along = int(np.argmax(box.size[:2]))
    side = local[:, along] < 0
    halves = local[side], local[~side]
    if min(map(len, halves)) < LEAST_POINTS or not all(_is_symmetric(half, along) for half in halves):
        return None
    return np.asarray(side)


def _is_symmetric(points: Array, axis: int) -> bool:
    """Whether points (N, 3) look alike from both directions along an axis."""
    low, high = np.quantile(points[:, axis], [0.01, 0.99])
    mirrored = points.copy()
    mirrored[:, axis] = low + high - points[:, axis]
    distance = cKDTree(points).query(mirrored)[0]
    return bool(np.quantile(distance, SYMMETRIC_SHARE) < SYMMETRIC_DISTANCE)


def patches(points: Array, edges: Indices) -> tuple[Indices, int]:
    """Connected pieces of the surface within cubes of a grid: patch number (V,) and their count."""
    cubes = np.unique(np.floor(points / CELL).astype(np.int64), axis=0, return_inverse=True)[1].ravel()
    same = cubes[edges[:, 0]] == cubes[edges[:, 1]]
    count = len(points)
    graph = coo_matrix((np.ones(int(same.sum()), np.int8), tuple(edges[same].T)), shape=(count, count))
    number, patch = connected_components(graph, directed=False)
    return patch.astype(np.int64), int(number)


def _edge_weights(points: Array, normals: Array, edges: Indices) -> Array:
    """1 on flat and convex surface, decreasing with the sharpness of a concave crease."""
    step = points[edges[:, 1]] - points[edges[:, 0]]
    length = np.maximum(np.linalg.norm(step, axis=1), 1e-9)
    turn = np.einsum("ij,ij->i", normals[edges[:, 1]] - normals[edges[:, 0]], step) / length
    return np.asarray(np.exp(-CONCAVITY * np.clip(-turn, 0.0, 1.0)))


def _second_eigenvector(matrix: object, first: Array) -> Array:
    """Of the normalised adjacency, the eigenvector with the second largest eigenvalue."""
    count = len(first)
    if count <= DENSE_NODES:
        return np.asarray(np.linalg.eigh(matrix.toarray())[1][:, -2])  # type: ignore[attr-defined]
    start = np.cos(np.arange(count) * 0.7) + 1e-3  # fixed, so that the result is the same in every run
    values, vectors = eigsh(matrix, k=2, which="LA", v0=start - first * (start @ first) / (first @ first))
    return np.asarray(vectors[:, int(np.argsort(values)[0])])


def _sweep(graph: object, degree: Array, order: Indices) -> tuple[int, float]:
    """Number of nodes on the first side of the cheapest cut along an order, and its normalised value."""
    rank = np.zeros(len(order), np.int64)
    rank[order] = np.arange(len(order))
    edges = graph.tocoo()  # type: ignore[attr-defined]
    first, last = np.minimum(rank[edges.row], rank[edges.col]), np.maximum(rank[edges.row], rank[edges.col])
    # An edge is cut by all positions between its ends; each edge is stored twice.
    change = np.zeros(len(order) + 1)
    np.add.at(change, first + 1, edges.data / 2)
    np.add.at(change, last + 1, -edges.data / 2)
    cut = np.cumsum(change)[1:-1]
    volume = np.cumsum(degree[order])[:-1]
    value = cut / volume + cut / (degree.sum() - volume)
    best = int(np.argmin(value))
    return best + 1, float(value[best])
