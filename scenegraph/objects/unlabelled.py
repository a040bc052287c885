"""Objects without labels: what remains without the structure, cut where the surface is concave.

Smooth pieces are found first (Felzenszwalb and Huttenlocher, IJCV 2004) and then merged where they meet convexly, like the
sides of a box; objects that stand on one another meet in a concave crease and stay separate (Stein et al., CVPR 2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from scenegraph.graph_config import StructureConfig
from scenegraph.objects.split import patches

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def concave_segments(points: Array, normals: Array, edges: Indices, config: StructureConfig) -> Indices:
    """Segment number (V,) of each vertex of a surface: pieces between concave creases.

    points, normals (V, 3); edges (E, 2) between vertices. The surface is averaged over patches of a few centimetres to
    suppress noise. A crease separates two smooth pieces when the surface turns inwards by more than `concavity_deg` there.
    """
    if not len(points):
        return np.zeros(0, np.int64)
    patch, count = patches(points, edges)
    center = _means(points, patch, count)
    normal = _unit(_means(normals, patch, count))
    pairs = np.sort(patch[edges], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).reshape(-1, 2)
    smooth = _smooth_pieces(normal, pairs, count, config.smoothness_deg)
    smooth = _without_small(smooth, pairs, normal, config.min_patches)
    return _joined_convex(smooth, pairs, center, normal, config.concavity_deg)[patch]


def _smooth_pieces(normal: Array, pairs: Indices, count: int, smoothness_deg: float) -> Indices:
    """Graph-based segmentation: patches are merged in the order of the angle between them, two pieces only where that angle
    is not much larger than those within either; `smoothness_deg` over the number of patches is what "much" means."""
    angle = np.rad2deg(np.arccos(np.clip(np.einsum("ij,ij->i", normal[pairs[:, 0]], normal[pairs[:, 1]]), -1, 1)))
    parent = list(range(count))
    size, inner = [1] * count, [0.0] * count

    def root(a: int) -> int:
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        return a

    for row in np.argsort(angle, kind="stable").tolist():
        a, b, w = root(int(pairs[row, 0])), root(int(pairs[row, 1])), float(angle[row])
        if a != b and w <= min(inner[a] + smoothness_deg / size[a], inner[b] + smoothness_deg / size[b]):
            a, b = min(a, b), max(a, b)
            parent[b] = a
            size[a] += size[b]
            inner[a] = w
    return np.unique(np.array([root(a) for a in range(count)]), return_inverse=True)[1].ravel()


def _joined_convex(piece: Indices, pairs: Indices, center: Array, normal: Array, concavity_deg: float) -> Indices:
    """Pieces merged with the neighbours that they meet smoothly or convexly.

    How two pieces meet follows from their mean normals and the direction across their common border.
    """
    count = int(piece.max()) + 1
    mean = _unit(np.stack([np.bincount(piece, normal[:, axis], minlength=count) for axis in range(3)], axis=1))
    border = pairs[piece[pairs[:, 0]] != piece[pairs[:, 1]]]
    if not len(border):
        return piece
    swap = piece[border[:, 0]] > piece[border[:, 1]]
    border[swap] = border[swap][:, ::-1]
    a, b = piece[border].T
    keys, index = np.unique(a * count + b, return_inverse=True)
    across = _means(center[border[:, 1]] - center[border[:, 0]], index.ravel(), len(keys))
    # The patches at a border straddle the crease, so the mean normals of the pieces are blended with those next to the border.
    near = [
        _unit(_means(normal[border[:, side]], index.ravel(), len(keys)) + mean[k])
        for side, k in ((0, keys // count), (1, keys % count))
    ]
    angle = np.rad2deg(np.arccos(np.clip(np.einsum("ij,ij->i", *near), -1, 1)))
    turn = angle * np.sign(np.einsum("ij,ij->i", near[1] - near[0], across))
    joined = keys[turn > -concavity_deg]
    graph = coo_matrix((np.ones(len(joined), np.int8), (joined // count, joined % count)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)[piece]


def _without_small(piece: Indices, pairs: Indices, normal: Array, min_patches: int) -> Indices:
    """Pieces of few patches are merged into the large neighbour whose surface they continue best, ring by ring."""
    result = piece.copy()
    likeness = 1.01 + np.einsum("ij,ij->i", normal[pairs[:, 0]], normal[pairs[:, 1]])
    both, likeness = np.concatenate([pairs, pairs[:, ::-1]]), np.concatenate([likeness, likeness])
    for _ in range(4):
        size = np.bincount(result)
        useful = (size[result[both[:, 0]]] < min_patches) & (size[result[both[:, 1]]] >= min_patches)
        if not useful.any():
            break
        width = len(size)
        keys, index = np.unique(result[both[useful, 0]] * width + result[both[useful, 1]], return_inverse=True)
        total = np.bincount(index.ravel(), likeness[useful])
        order = np.lexsort((keys % width, -total, keys // width))
        small, first = np.unique(keys[order] // width, return_index=True)
        to = np.arange(width)
        to[small] = keys[order][first] % width
        result = to[result]
    return np.unique(result, return_inverse=True)[1].ravel()


def _means(values: Array, index: Indices, count: int) -> Array:
    """Mean (count, 3) of the values (N, 3) of each index."""
    sums = np.stack([np.bincount(index, values[:, axis], minlength=count) for axis in range(3)], axis=1)
    return np.asarray(sums / np.maximum(np.bincount(index, minlength=count), 1)[:, None])


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
