"""Coarser meshes: vertices of one cell of a grid become one (Rossignac and Borrel 1993), without mixing what is told apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh


def clustered(mesh: Mesh, cell_size: float) -> Mesh:
    """The mesh with one vertex for all vertices in a cube of `cell_size` metres that have the same label and object, and look in
    the same of six directions, so that the two sides of a thin wall stay two.

    A vertex lies in the mean of those that it stands for, with their mean colour and confidence. Triangles that lose their area
    are left out, and of equal ones all but the first.
    """
    if not len(mesh.faces):
        return mesh
    keys = np.concatenate(
        [
            np.floor((mesh.vertices - mesh.vertices.min(axis=0)) / cell_size).astype(np.int64),
            _facing(mesh)[:, None],
            *(array.astype(np.int64)[:, None] for array in (mesh.labels, mesh.objects) if array is not None),
        ],
        axis=1,
    )
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    index = index.ravel()
    faces = index[mesh.faces]
    kept = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[kept]
    _, unique = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    merged = Mesh(
        _means(mesh.vertices, index),
        np.ascontiguousarray(faces[np.sort(unique)].astype(np.int32)),
        None if mesh.colors is None else np.rint(_means(mesh.colors, index)).astype(np.uint8),
        None if mesh.labels is None else mesh.labels[first],
        None if mesh.objects is None else mesh.objects[first],
        None if mesh.confidence is None else _means(mesh.confidence[:, None], index)[:, 0].astype(np.float32),
    )
    return merged.submesh(np.ones(len(merged.faces), bool))


def _facing(mesh: Mesh) -> NDArray[np.int64]:
    """(V,) which of the directions +x, -x, +y, -y, +z, -z is nearest to each vertex normal."""
    normals = mesh.vertex_normals()
    axis = np.abs(normals).argmax(axis=1)
    return np.asarray(2 * axis + (normals[np.arange(len(normals)), axis] < 0))


def _means(values: NDArray[np.generic], index: NDArray[np.int64]) -> NDArray[np.float64]:
    """(C, D) means of rows (N, D) by cluster (N,)."""
    counts = np.bincount(index)
    columns = [np.bincount(index, values[:, k].astype(np.float64)) / counts for k in range(values.shape[1])]
    return np.stack(columns, axis=1)
