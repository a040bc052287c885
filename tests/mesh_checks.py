"""Invariants of closed triangle meshes, as assertions that name the violation."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipelines.synth.base.shapes import signed_volume


def assert_closed(faces, what=""):
    """Each edge is used once in each direction: the surface has no border and one side."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    keys = edges[:, 0] << 32 | edges[:, 1]
    assert len(np.unique(keys)) == len(keys), f"{what}: an edge is used twice in one direction"
    assert set(keys.tolist()) == set((edges[:, 1] << 32 | edges[:, 0]).tolist()), f"{what}: the surface has a border"


def assert_outward(vertices, faces, what=""):
    """Every connected piece encloses a positive volume."""
    graph = coo_matrix(
        (np.ones(2 * len(faces)), (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())), shape=(len(vertices),) * 2
    )
    piece = connected_components(graph, directed=False)[1][faces[:, 0]]
    for number in np.unique(piece):
        own = faces[piece == number]
        assert signed_volume(vertices - vertices[own[0, 0]], own) > 0, f"{what}: a piece is turned inside out"
