"""Objects of one class that touch: connected surface cut where the frames' segments say that it is not one thing.

Frames vote for each pair of nearby patches of the surface whether both belong to one segment. The surface is then divided by
greedy additive edge contraction (Keuper et al., ICCV 2015): the pair of parts with most agreement is joined first, until no two
agree.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scenegraph.objects.samples import PixelSamples
from scenegraph.objects.split import patches

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

REACH = 0.15
"""Metres between patches that are compared."""
PAIRS_AT_ONCE = 4096
LEAST_SAMPLES = 2
"""Samples of a patch in a frame from which its segment there is known ..."""
PURE = 0.7
"""... if that many of them are of one segment."""
COPLANAR_COS = np.cos(np.deg2rad(35.0))
"""Between patches that are more inclined an edge is a crease, which says nothing."""
CONTACT = 0.5
"""Agreement of patches that touch, without any vote."""
PRIOR = np.log(4.0)
"""Log odds that two patches in one plane are of one object: doors and drawers have edges in some frames, a seam between two
objects in all of them."""
MOST_AGREEMENT = 3.0
"""Frames are not independent, so agreement, a logarithm of the odds, has a limit."""
CERTAIN = -0.5
"""Agreement below which a pair is a reason to look for two objects."""


def vote_parts(points: Array, normals: Array, edges: Indices, votes: tuple[PixelSamples, Indices, Indices]) -> Indices:
    """(V,) number of the part of each vertex of a surface, all 0 where nothing says that it is more than one object.

    points, normals (V, 3); edges (E, 2) between vertices. votes : all samples, those (N,) of this surface, and the vertex (N,) of
    each.
    """
    patch, count = patches(points, edges)
    none = np.zeros(len(points), np.int64)
    if count < 4:
        return none
    samples, chosen, vertex = votes
    segment = _segments_of_patches(patch[vertex], samples.segments[chosen], samples.frame_of_segment, count)
    pairs, agreement = _agreement(points, normals, patch, count, segment)
    if not len(pairs) or agreement.min() > CERTAIN:
        return none
    touching = np.sort(patch[edges], axis=1)
    touching = touching[touching[:, 0] != touching[:, 1]]
    pairs = np.concatenate([pairs, np.unique(touching, axis=0)])
    agreement = np.concatenate([agreement, np.full(len(pairs) - len(agreement), CONTACT)])
    return contracted(pairs, agreement, count)[patch]


def _segments_of_patches(
    patch: Indices, segment: NDArray[np.int32], frame_of_segment: NDArray[np.int32], count: int
) -> NDArray[np.int32]:
    """(count, F) the segment of each patch in each frame that shows any, 0 where it is unknown."""
    inside = segment > 0
    patch, number = patch[inside], segment[inside].astype(np.int64)
    if not len(patch):
        return np.zeros((count, 0), np.int32)
    width = len(frame_of_segment)
    keys, votes = np.unique(patch * width + number, return_counts=True)
    of_patch, number = keys // width, keys % width
    frames, column = np.unique(frame_of_segment[number], return_inverse=True)
    total, most = np.zeros((count, len(frames))), np.zeros((count, len(frames)))
    np.add.at(total, (of_patch, column), votes)
    np.maximum.at(most, (of_patch, column), votes)
    result = np.zeros((count, len(frames)), np.int32)
    wins = votes == most[of_patch, column]
    result[of_patch[wins], column[wins]] = number[wins]
    result[(total < LEAST_SAMPLES) | (most < PURE * total)] = 0
    return result


def _agreement(
    points: Array, normals: Array, patch: Indices, count: int, segment: NDArray[np.int32]
) -> tuple[Indices, Array]:
    """Pairs (P, 2) of nearby patches, and the log odds (P,) that both are of one object."""
    size = np.maximum(np.bincount(patch, minlength=count), 1)[:, None]
    center = _sums(points, patch, count) / size
    normal = _sums(normals, patch, count)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    pairs = cKDTree(center).query_pairs(REACH, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    together, apart = _votes(pairs, segment)
    coplanar = np.einsum("ij,ij->i", normal[pairs[:, 0]], normal[pairs[:, 1]]) > COPLANAR_COS
    apart = np.where(coplanar, apart, 0)
    odds = PRIOR + np.log((together + 1.0) / (apart + 1.0))
    known = together + apart > 0
    return pairs[known], np.clip(odds[known], -MOST_AGREEMENT, MOST_AGREEMENT)


def _votes(pairs: Indices, segment: NDArray[np.int32]) -> tuple[Indices, Indices]:
    """Number of frames (P,) in which both patches of a pair are of one segment, and in which they are of two."""
    together, apart = np.zeros(len(pairs), np.int64), np.zeros(len(pairs), np.int64)
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        one, other = segment[pairs[part, 0]], segment[pairs[part, 1]]
        both, same = (one > 0) & (other > 0), one == other
        together[part], apart[part] = (both & same).sum(axis=1), (both & ~same).sum(axis=1)
    return together, apart


def _sums(values: Array, index: Indices, count: int) -> Array:
    return np.stack([np.bincount(index, values[:, axis], minlength=count) for axis in range(3)], axis=1)


def contracted(pairs: Indices, agreement: Array, count: int) -> Indices:
    """(count,) number from 0 of the part of each node of a graph with signed edges: pairs (P, 2), which may repeat, and their
    agreement (P,), positive for what belongs together."""
    links: list[dict[int, float]] = [{} for _ in range(count)]
    for (a, b), weight in zip(pairs.tolist(), agreement.tolist(), strict=True):
        links[a][b] = links[b][a] = links[a].get(b, 0.0) + weight
    heap = [(-weight, a, b) for a in range(count) for b, weight in links[a].items() if a < b and weight > 0]
    heapq.heapify(heap)
    parent = list(range(count))
    while heap:
        weight, a, b = heapq.heappop(heap)
        if parent[a] != a or parent[b] != b or links[a].get(b) != -weight:
            continue  # one of them was joined to another part since
        if len(links[a]) < len(links[b]):
            a, b = b, a
        parent[b] = a
        del links[a][b]
        for other, more in links[b].items():
            if other == a:
                continue
            del links[other][b]
            total = links[a].get(other, 0.0) + more
            links[a][other] = links[other][a] = total
            if total > 0:
                heapq.heappush(heap, (-total, min(a, other), max(a, other)))
        links[b] = {}
    return _numbered(parent)


def _numbered(parent: Sequence[int]) -> Indices:
    """(N,) roots of a forest, numbered from 0."""
    root = np.asarray(parent, np.int64)
    while (root[root] != root).any():
        root = root[root]
    return np.unique(root, return_inverse=True)[1].ravel().astype(np.int64)
