"""Pixels of a frame that move together, without labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from scenegraph.motion.evidence import Comparison, Points
from scenegraph.motion.full_size import JUMP, JUMP_SHARE

SURE, POSSIBLE = (
    3.0,
    1.0,
)  # frames in a row that looked through a place, from which it is sure or possible that it was free
ALONE_SHARE = 0.4  # of the pixels around one that must be sure as well
ABOVE = 0.3  # metres over the floor plan within which clusters are parts of one thing
LEAST_AREA, LEAST_PIXELS = 0.01, 6  # square metres facing the camera, and pixels


def moving_clusters(comparison: Comparison, frame: int) -> NDArray[np.uint16]:
    """(H, W) numbers of the clusters of a reduced frame whose places were seen to be free at other times; 0 none.

    Hysteresis: a cluster has sure pixels, and extends over possible ones.
    """
    free = comparison.freedom(frame)
    sure = free >= SURE
    numbers = np.zeros(free.shape, np.uint16)
    sure &= uniform_filter(sure.astype(np.float32), 3, mode="constant") >= ALONE_SHARE
    if not sure.any():
        return numbers
    views = comparison.views
    depth = views.at[frame] * views.unit
    component, possible = _components((free >= POSSIBLE), depth)
    pixel_area = depth[possible] ** 2 / float(np.prod(views.cameras[frame, :2]))
    certain = sure[possible]
    area = np.bincount(component, pixel_area * certain)
    kept = (area >= LEAST_AREA) & (np.bincount(component, certain) >= LEAST_PIXELS)
    numbers[possible] = _stacked(comparison.points(frame), component, possible, kept)[component]
    return numbers


def _stacked(
    points: Points, component: NDArray[np.int32], possible: NDArray[np.bool_], kept: NDArray[np.bool_]
) -> NDArray[np.uint16]:
    """The number of each component, 0 of those not kept: those above each other, such as legs and a head, have one."""
    place = np.zeros((possible.size, 2))
    place[points.pixels] = points.place[:, :2]
    place = place[possible.ravel()]
    chosen = np.flatnonzero(kept)
    middle = np.array([np.median(place[component == k], axis=0) for k in chosen]).reshape(-1, 2)
    near = np.linalg.norm(middle[:, None] - middle, axis=2) < ABOVE
    numbers = np.zeros(len(kept), np.uint16)
    numbers[chosen] = 1 + connected_components(near, directed=False)[1]
    return numbers


def _components(mask: NDArray[np.bool_], depth: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The component of each pixel of a mask, row by row: neighbours without a step in depth between them; and the mask."""
    index = np.full(mask.shape, -1)
    index[mask] = np.arange(int(mask.sum()))
    ends = []
    for a, b in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ):
        step = np.abs(depth[a] - depth[b])
        joined = mask[a] & mask[b] & (step <= np.maximum(JUMP, JUMP_SHARE * np.minimum(depth[a], depth[b])))
        ends.append(np.stack([index[a][joined], index[b][joined]]))
    i, j = np.concatenate(ends, axis=1)
    count = int(mask.sum())
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(count, count))
    return connected_components(graph, directed=False)[1], mask
