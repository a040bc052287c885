"""Colour corrections that make the views meet without seams: Lempitsky and Ivanov, "Seamless Mosaicing of Image-Based Texture
Maps" (2007), equation 3, solved for each colour channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import cg

from mapping.mesh.mesh import Mesh
from mapping.texture.views import TextureView

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

SMOOTHNESS, REST = 0.3, 0.01
"""Weights of equal corrections along edges, and of none at all, next to 1 for equal colours on both sides of a seam."""
LARGEST = 70.0
"""Of a correction, in steps of 8-bit colour."""
SEAM_BLUR = 3.0
"""Pixels over which colours are averaged at a seam."""


def seam_corrections(mesh: Mesh, views: Sequence[TextureView], gains: Array, chosen: Ints) -> Array:
    """(F, 3, 3) what is to be added to the colours (0 to 255, exposure corrected) at the corners of faces in their chosen view.

    chosen (F,) is the view of each face, -1 for none.
    """
    corrections = np.zeros((len(mesh.faces), 3, 3))
    covered = np.flatnonzero(chosen >= 0)
    if not len(covered):
        return corrections
    keys = mesh.faces[covered].astype(np.int64) * len(views) + chosen[covered, None]
    corners, index = np.unique(keys, return_inverse=True)
    index = index.reshape(-1, 3)
    vertex, view = np.divmod(corners, len(views))
    colors = np.zeros((len(corners), 3))
    for number in np.unique(view).tolist():
        rows = np.flatnonzero(view == number)
        pixels = views[number].pixels(mesh.vertices[vertex[rows]])
        colors[rows] = views[number].colors_at(pixels, blur=SEAM_BLUR) * gains[number]
    same = np.flatnonzero(vertex[1:] == vertex[:-1])
    edges = np.unique(np.sort(np.concatenate([index[:, [0, 1]], index[:, [1, 2]], index[:, [2, 0]]]), axis=1), axis=0)
    solved = _solved(colors, np.column_stack([same, same + 1]), edges)
    corrections[covered] = np.clip(solved, -LARGEST, LARGEST)[index]
    return corrections


def _solved(colors: Array, seams: Ints, edges: Ints) -> Array:
    """(C, 3) corrections g of colours (C, 3): least squares of g_a - g_b = c_b - c_a over seams, of g_a = g_b over edges, and of
    g = 0."""
    count = len(colors)
    matrix = diags([np.full(count, REST)], [0]).tocsr()
    for pairs, weight in ((seams, 1.0), (edges, SMOOTHNESS)):
        a, b = pairs.T
        ones = np.full(len(pairs), weight)
        rows, columns = np.concatenate([a, b, a, b]), np.concatenate([a, b, b, a])
        matrix = matrix + coo_matrix((np.concatenate([ones, ones, -ones, -ones]), (rows, columns)), (count, count))
    a, b = seams.T
    step = colors[b] - colors[a]
    right = np.stack(
        [np.bincount(a, step[:, k], minlength=count) - np.bincount(b, step[:, k], minlength=count) for k in range(3)],
        axis=1,
    )
    preconditioner = diags([1 / matrix.diagonal()], [0])
    return np.stack(
        [cg(matrix.tocsr(), right[:, k], rtol=1e-4, maxiter=500, M=preconditioner)[0] for k in range(3)], axis=1
    )
